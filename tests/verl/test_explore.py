"""3SPO's agent loop gives verl what our exploration gives the learner: the same rows with the same advantages."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("verl", reason="verl is not installed: it needs an environment of its own (the extra verl)")

from omegaconf import OmegaConf  # noqa: E402
from verl.workers.rollout.replica import TokenOutput  # noqa: E402

from repro import environments  # noqa: E402
from repro.algorithms.threespo import StateTable, reading  # noqa: E402
from repro.algorithms.threespo_nodes import Proposal, Task  # noqa: E402
from repro.algorithms.threespo_tree import Epoch  # noqa: E402
from repro.environments.query import Query  # noqa: E402
from repro.errors import ReproError  # noqa: E402
from repro.verl import explore  # noqa: E402

pytestmark = pytest.mark.oracle
WORLD = SimpleNamespace(max_turns=6)
QUERIES = [Query(f"walk-{k}", f"reach {k + 2}", "", "walk") for k in range(3)]


class Corridor:
    """Steps right until the goal, which is its query's number + 2; left is the way back."""

    def __init__(self, query):
        self.goal = int(query.text.split()[1])

    def reset(self):
        self.place = self.turn = 0
        return f"place {self.place}"

    def step(self, action):
        self.place += {"right": 1, "left": -1}.get(action, 0)
        self.turn += 1
        return f"place {self.place}", float(self.won), self.won or self.turn >= WORLD.max_turns

    @property
    def won(self):
        return self.place == self.goal

    def prompt(self):
        return f"goal {self.goal} place {self.place} turn {self.turn}"

    def admissible(self):
        return ["left", "right"]

    def snapshot(self):
        return self.place, self.turn

    def restore(self, snapshot):
        self.place, self.turn = snapshot

    def state_key(self, with_goal=False):
        return f"{self.place}" + f" of {self.goal}" * with_goal

    def abstract_key(self):
        return f"{self.goal - self.place}"


class Letters:
    """A tokenizer of one token a letter, whose end token is 0."""

    eos_token_id = 0

    def apply_chat_template(self, chat, add_generation_prompt, tokenize):
        assert add_generation_prompt and not tokenize
        return f"[{chat[0]['content']}]"

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [ord(letter) for letter in text]}

    def decode(self, tokens, skip_special_tokens):
        return "".join(chr(token) for token in tokens if token)


class Engine:
    """Answers that depend on the prompt and how often it was asked before."""

    def __init__(self):
        self.asked = Counter()

    def answer(self, prompt):
        self.asked[prompt] += 1
        return random.Random(f"{prompt}:{self.asked[prompt]}").choice(
            ["right", "right", "left", "dance", "endless" * 3]
        )

    async def generate(self, request_id, *, prompt_ids, sampling_params):
        assert sampling_params == {"temperature": 1.0}
        await asyncio.sleep(0)
        words = self.answer("".join(map(chr, prompt_ids)))
        tokens = [ord(letter) for letter in words] + [0] * (words != "endless" * 3)
        return TokenOutput(token_ids=tokens, log_probs=[-0.5] * len(tokens))


@pytest.fixture
def loop_of(monkeypatch):
    monkeypatch.setattr(explore, "_queries", lambda *where: (WORLD, QUERIES))
    monkeypatch.setattr(explore, "_TABLES", {})
    monkeypatch.setattr(environments, "episode", lambda world, query: Corridor(query))

    def make(kind, name="continuation", pieces=(), workers=1, prompt_length=64):
        made = object.__new__(kind)  # verl's own set-up wants a real tokenizer
        rollout = {"prompt_length": prompt_length, "response_length": 21, "seed": 0, "agent": {"num_workers": workers}}
        made.config = OmegaConf.create({"threespo": {"reading": name, "pieces": list(pieces)}})
        made.rollout_config = OmegaConf.create(rollout)
        made.tokenizer, made.server_manager, made.apply_chat_template_kwargs = Letters(), Engine(), {}
        return made

    return make


def row(k=0, **about):
    about = {"study": "walks", "seed": 0, "split": "train", "index": k, "id": f"walk-{k}"} | about
    return {"extra_info": about, "data_source": "walks", "raw_prompt": [], "global_steps": 1}


def run(loop, k=0, **about):
    return asyncio.run(loop.run({"temperature": 1.0}, **row(k, **about)))


def direct(name, pieces, k):
    """(prompt, words, advantage) of every branch, from our own exploration with the same answers."""
    engine = Engine()

    def propose(nodes, counts):
        made = []
        for node, count in zip(nodes, counts, strict=True):
            node.task.environment.restore(node.snapshot)
            prompt = f"[{node.task.environment.prompt()}]"
            words = [engine.answer(prompt) for _ in range(count)]
            commands = ["" if w == "endless" * 3 else w for w in words]
            made.append([Proposal(c, c in node.admissible, (prompt, w)) for c, w in zip(commands, words, strict=True)])
        return made

    config = replace(reading(name, *pieces), tasks=1, generations=None, turns=WORLD.max_turns)
    task = Task(QUERIES[k].id, Corridor(QUERIES[k]), QUERIES[k].text)
    epoch = Epoch(config, StateTable(), [task], propose, seed=0)
    return [(*b.proposal.sample, b.advantage) for groups in epoch.explore() for g in groups for b in g.branches]


@pytest.mark.parametrize(
    "name, pieces", [("continuation", ()), ("table", ("all_groups",)), ("literal", ("post_trajectory",))]
)
def test_branches_and_advantages_are_ours(loop_of, monkeypatch, name, pieces):
    differing = 0
    for k in range(3):
        monkeypatch.setattr(explore, "_TABLES", {})  # each task alone
        expected = direct(name, pieces, k)
        outputs = run(loop_of(explore.Explore, name, pieces), k)
        got = [as_verl_reads(output) for output in outputs]
        assert [found[:2] for found in got] == [found[:2] for found in expected]
        assert [found[2] for found in got] == pytest.approx([found[2] for found in expected])
        differing += any(found[2] for found in expected)
    assert differing


def as_verl_reads(output):
    """(prompt, words, advantage), after verl has written the last row's score over all of them."""
    output.reward_score = 77.0
    fields = output.as_dict()
    assert fields["response_mask"].sum() == len(fields["responses"]) == len(fields["rollout_log_probs"])
    assert not fields["rm_scores"][:-1].any() and "advantage" not in fields
    prompt, words = (Letters().decode(fields[name].tolist(), True) for name in ("prompts", "responses"))
    return prompt, words, fields["rm_scores"][-1].item()


def test_tasks_at_once_do_not_disturb_each_other(loop_of):
    """Concurrent tasks of a reading that needs no table give what each gives alone."""

    async def together():
        loops = [loop_of(explore.Explore) for _ in QUERIES]
        runs = (loop.run({"temperature": 1.0}, **row(k)) for k, loop in enumerate(loops))
        return await asyncio.gather(*runs)

    for k, outputs in enumerate(asyncio.run(together())):
        assert [o.advantage for o in outputs] == pytest.approx(
            [advantage for *_, advantage in direct("continuation", (), k)]
        )


def test_tasks_share_a_table_by_reading(loop_of):
    for k in (0, 1):
        run(loop_of(explore.Explore, "table"), k)
    (table,) = explore._TABLES.values()
    assert table.epoch == 1 and table.trajectories == 4  # a step of two tasks, two rollouts each
    asyncio.run(loop_of(explore.Explore, "table").run({"temperature": 1.0}, **row(2) | {"global_steps": 2}))
    assert table.epoch == 2 and table.trajectories == 6


def test_updates_within_an_episode_are_refused(loop_of):
    with pytest.raises(ReproError, match="reading 'literal' updates the policy within an episode.*repro run"):
        run(loop_of(explore.Explore, "literal"))


def test_other_faults(loop_of):
    with pytest.raises(ReproError, match="num_workers=1"):
        run(loop_of(explore.Explore, workers=8))
    with pytest.raises(ReproError, match="walk-9 is not number 0 of walks: write the file again"):
        run(loop_of(explore.Explore), 0, id="walk-9")
    with pytest.raises(ReproError, match="data.max_prompt_length is 8"):
        run(loop_of(explore.Explore, prompt_length=8))


def test_an_episode(loop_of):
    """Every turn is a row that carries the episode's reward; a response without end is an action without words."""
    outputs = run(loop_of(explore.PlayEpisode))
    engine, world, words = Engine(), Corridor(QUERIES[0]), []
    world.reset()
    done = False
    while not done:
        words.append(engine.answer(f"[{world.prompt()}]"))
        _, reward, done = world.step("" if words[-1] == "endless" * 3 else words[-1])
    assert [Letters().decode(output.response_ids, True) for output in outputs] == words
    assert {output.reward_score for output in outputs} == {float(world.won)}
    assert outputs[-1].extra_fields["reward_extra_info"] == {"won": float(world.won)}
    assert {output.num_turns for output in outputs} == {len(words)}
