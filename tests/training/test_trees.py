"""3SPO in the loop: trees as rollouts, by hand on a corridor; prompts in tokens; bills, states, budgets, kills."""

import json
from dataclasses import replace

import pytest
import torch

from repro.algorithms import ALGORITHMS, Recipe
from repro.algorithms.allocation import Uniform, order
from repro.algorithms.grpo import GRPO
from repro.algorithms.sgpo import SGPO
from repro.algorithms.smepo import EscalatingTrace
from repro.algorithms.threespo import READINGS, StateTable, ThreeSPO
from repro.algorithms.threespo_tree import Epoch
from repro.config import from_dict, override, to_dict
from repro.environments.search import SearchConfig
from repro.errors import ReproError
from repro.policy.sampler import Completion
from repro.study.runs import read_metrics
from repro.training import episodes, loop, trees
from repro.training.accounting import Cost, Requests, update_flops
from repro.training.config import (
    BudgetedTraining,
    EpisodeEvaluation,
    EvaluationConfig,
    Lagged,
    RunConfig,
    TrainingConfig,
)
from repro.training.counts import Counts, Met, due
from repro.training.learner import Learner
from repro.training.sampling import Sampler
from repro.training.trees import Proposer, TreeSource
from tests.training.walk_world import Module, Walk, WalkConfig, walk_policy

TREE = ThreeSPO(tasks=1, g_max=2, turns=4, omega_k=0.1)
CONFIG = RunConfig(
    study="test", arm="tree", tier="smoke", seed=1,
    recipe=Recipe(GRPO("token"), allocation=Uniform(prompts=1), exploration=TREE), schedule=Lagged(0, 0),
    world=WalkConfig(),
    training=BudgetedTraining(generations=120, max_new_tokens=6, learning_rate=1e-2, checkpoint_every=30,
                              gradient_split_every=0),
    evaluation=EvaluationConfig(every=50, queries=2, samples=2, final_queries=2, final_samples=2),
)  # fmt: skip
FAST = {"g_max": 4, "tasks": 2}


def exploring(exploration, **training):
    recipe = replace(CONFIG.recipe, exploration=exploration, allocation=Uniform(prompts=exploration.tasks))
    return replace(CONFIG, recipe=recipe, training=replace(CONFIG.training, **training))


@pytest.fixture(autouse=True)
def untaught(monkeypatch):
    monkeypatch.setattr(loop, "warm_start", lambda *_: walk_policy())


@pytest.fixture(scope="module")
def policy():
    return walk_policy()


class Script:
    """Stands for the sampler: each prompt's k-th response is the k-th word of the script, and the end token."""

    def __init__(self, policy, words):
        self.policy, self.words, self.calls = policy, words, []

    def __call__(self, dec, prompts, prompt_B, seeds, *_):
        self.calls.append((prompts, prompt_B))
        numbers = [prompt_B[:b].count(p) for b, p in enumerate(prompt_B)]
        tokens = [[*self.policy.encode(self.words[k]), self.policy.end_token] for k in numbers]
        return [Completion(ids, [-0.5] * len(ids), True) for ids in tokens]


def source_of(policy, config, state=None):
    return TreeSource(config, policy, Module.train_list(config.world, 1), state)


def drained(source):
    """All rollouts that a source gives, without learning."""
    found = []
    while (supply := source.next(len(found))) is not None:
        found.append(supply[0])
        source.updated(len(found) - 1)
    return found


# By hand -------------------------------------------------------------------------------------------------------------


def test_one_tree_by_hand(policy, monkeypatch):
    """Task w0 wins at the left end, two steps away; every state is answered `apple` (left) and `basil`, and n = 2.

    From mango apple leads to cedar, basil to pearl, both new in training. N(mango) = 0, so omega = 0.5 and R = 0.5
    each. Equals stay in the order of sampling: cedar is next. There apple wins at acorn (new and won: R = 1), and basil
    leads back to mango, which was met (unseen as nothing is recorded yet: S = 1 twice, R = 0).
    """
    monkeypatch.setattr(trees, "sample", Script(policy, ["apple", "basil"]))
    source = source_of(policy, exploring(replace(TREE, key="state"), generations=4))
    source.queries = source.queries[:1]
    apple, basil = ([*policy.encode(word), policy.end_token] for word in ("apple", "basil"))
    question = policy.encode(source.queries[0].text)

    first, waiting = source.next(0)
    assert (first.prompts, first.prompt_B, first.responses) == ([question], [0, 0], [apple, basil])
    assert (first.reward_B, first.advantage_B, first.group_B) == ([0.5, 0.5], [0.0, 0.0], [0, 0])
    assert (first.query_B, first.behaviour_logp) == (["w0", "w0"], [[-0.5, -0.5]] * 2)
    assert waiting == {"epoch": 1} and first.generations == 2 and first.finished_B == [True, True]
    source.updated(0)
    second, _ = source.next(1)
    assert second.prompts == [question + apple + policy.encode("cedar =")]
    assert (second.reward_B, second.advantage_B) == ([1.0, 0.0], [0.5, -0.5])
    assert second.requests == [Requests([len(question) + 4, 0], [0, 0], [2, 2])]
    source.updated(1)
    assert source.next(2) is None and not source.exhausted  # the budget is spent
    (record,) = source.records()
    assert (record["kind"], record["epoch"], record["update"], record["generations"]) == ("epoch", 1, 2, 4)
    assert (record["leaves"], record["leaf_wins"], record["n_2"], record["pending"]) == (1, 1, 2, 2)  # mango, pearl


def test_the_bill_by_hand(policy, monkeypatch):
    """A group of two at the start; a plain rollout of two turns before it, and one generation after it."""
    rollouts = replace(
        drained_once(policy, monkeypatch),
        requests=[Requests([3], [0], [2]), Requests([6], [0], [2]), Requests([3], [0, 0], [2, 2])],
    )
    unit = Cost(per_token=100, per_pair=10, per_logits=1000, parameters=50)
    assert [len(p) for p in rollouts.prompts] == [3] and [len(r) for r in rollouts.responses] == [2, 2]
    # Sampled: prompts of 3, 6 and 3 tokens, each with one input of a response (two, the last); logits 2 + 2 + 4.
    tokens, pairs, logits = 12 + 4, (6 + 4) + (21 + 7) + (6 + 8), 8
    sampled = 100 * tokens + 10 * pairs + 1000 * logits
    rows = 100 * (3 + 2) + 10 * (6 + 8) + 1000 * 4  # scored, and trained on
    assert update_flops(unit, rollouts, [True, True]) == {
        "rollouts": 4,
        "prompt_tokens": 12,
        "generated_tokens": 8,
        "flops": sampled + 3 * rows,
        "flops_needed": sampled + 3 * rows,
        "flops_2p6p": 50 * (2 * (3 + 6 + 3 + 3 + 8) + 6 * (3 + 3 + 4)),
    }
    assert rollouts.generations == 4


def drained_once(policy, monkeypatch):
    monkeypatch.setattr(trees, "sample", Script(policy, ["apple", "basil"]))
    return source_of(policy, exploring(TREE, generations=2)).next(0)[0]


def test_states_by_hand(policy, monkeypatch):
    """Words apple, basil; all states of two turns. Starts and final observations count, each string once."""
    monkeypatch.setattr(trees, "sample", Script(policy, ["apple", "basil"]))
    config = exploring(replace(TREE, key="state", turns=2, backtrack="none"), generations=4)
    (first, second) = drained(source_of(policy, config))
    # Start, cedar, pearl; then acorn and mango, which as a text was not there before (the start shows the question).
    assert [len(known) for known in first.met] == [3, 3, 3] and [len(known) for known in second.met] == [2, 2, 2]
    counts = Counts()
    counts.add(first)
    counts.add(second)
    assert counts.metrics() == {
        "generations": 4,
        "states_observation": 5,
        "states_goal_observation": 5,
        "states_state": 4,  # the start is mango
    }
    again = Counts(json.loads(json.dumps(counts.state())))
    assert again.metrics() == counts.metrics() and again.met.sets == counts.met.sets


def test_states_of_episodes_count_the_same(policy, monkeypatch):
    """Two tasks: both walk to the left; the one that wins there ends at acorn after two turns, the other goes on."""
    monkeypatch.setattr(episodes, "sample", Script(policy, ["apple"] * 9))
    left, right = Module.train_list(WalkConfig(), 1)[:2]
    met = Met()
    starts = [episodes.Start(query, policy.encode(query.text), lambda turn: turn) for query in (left, right)]
    episodes.play(policy.decoder(), policy, starts, CONFIG, met)
    # Texts: two starts, cedar, acorn. With goals, and as states with goals: the start, cedar and acorn of each.
    assert [len(known) for known in met.hashes()] == [4, 6, 6]
    unwatched = Met()
    assert unwatched.hashes() == [] == unwatched.take()


def test_multiples_that_fall_due():
    assert [t for t in range(1, 13) if due(4, t - 1, t)] == [4, 8, 12]
    assert due(50, 49, 180) and due(50, 149, 150) and not due(50, 150, 199) and not due(0, 1, 99)


# Prompts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", [None, 0, 1])
@pytest.mark.parametrize("reading", READINGS)
def test_a_nodes_prompt_is_what_an_episode_with_its_past_sees(policy, monkeypatch, reading, history):
    changes = {"g_max": 3, "tasks": 2} | ({"min_std": None, "nodes": 3} if reading != "literal" else {})
    config = exploring(replace(READINGS[reading], **changes), generations=150, max_new_tokens=3)
    config = replace(config, world=WalkConfig(history=history))
    nodes, real = {}, Proposer.__call__

    def spy(self, asked, counts):
        proposals = real(self, asked, counts)
        for node, given in zip(asked, proposals, strict=True):
            nodes.setdefault((self.epoch, node.id), (node, given[0].sample))
        return proposals

    monkeypatch.setattr(Proposer, "__call__", spy)
    found = drained(source_of(policy, config))
    monkeypatch.undo()
    deep = unfinished = 0
    for node, sample in nodes.values():
        past, led = [], node.sample
        while led is not None:
            past.append(led.completion)
            led = next((n.sample for n, s in nodes.values() if s.transcript == led.transcript), None)
        past.reverse()
        turns = []

        def scripted(dec, prompts, *_, past=past, turns=turns):
            turns.append(list(prompts[0]))
            return [past[len(turns) - 1] if len(turns) <= len(past) else Completion([], [], False)]

        monkeypatch.setattr(episodes, "sample", scripted)
        query = node.task.environment.query
        start = episodes.Start(query, policy.encode(query.text), lambda turn: turn)
        episodes.play(policy.decoder(), policy, [start], config)
        assert turns[node.turn] == sample.prompt
        deep, unfinished = max(deep, node.turn), unfinished + any(not one.finished for one in past)
    assert deep == 3 and unfinished and all(r.mismatch_kl < 1e-9 for r in found)


def test_equal_prompts_are_computed_once_and_draws_depend_on_their_place(policy, monkeypatch):
    config = exploring(replace(READINGS["table"], **FAST, nodes=2, rollouts=2, min_std=None))
    proposer = Proposer(config, policy)
    tasks = [proposer.task(query) for query in Module.train_list(WalkConfig(), 1)[:2]]

    def explored():
        proposer.start(1)
        proposer.requests = []
        return [
            g for groups in Epoch(config.recipe.exploration, StateTable(), tasks, proposer).explore() for g in groups
        ]

    groups, requests = explored(), proposer.requests
    assert requests[0].prompt_B == [0, 0, 1, 1] and len(requests[0].prompts) == 3  # and the empty one
    sampled = [[b.proposal.sample.completion for b in group.branches] for group in groups]
    assert len({tuple(c.tokens) for group in sampled for c in group}) > 4
    assert sampled == [[b.proposal.sample.completion for b in group.branches] for group in explored()]


def test_where_the_context_would_overflow_nothing_is_sampled(policy, monkeypatch):
    config = exploring(replace(TREE, key="state"), generations=60)
    monkeypatch.setattr(policy.model.config, "max_position_embeddings", 16)
    source = source_of(policy, config)
    learner = Learner(walk_policy(), config.recipe, config.training)
    seen = 0
    while (supply := source.next(seen)) is not None:
        rollouts = supply[0]
        for b, (response, advantage) in enumerate(zip(rollouts.responses, rollouts.advantage_B, strict=True)):
            long = len(rollouts.prompts[rollouts.prompt_B[b]]) + 6 > 16
            assert bool(response) != long and (not long or advantage == 0.0)
        learner.update(rollouts)
        source.updated(seen)
        seen += 1
    overflows = sum(record["overflow"] for record in source.records())
    assert overflows > 0 and source.table.generations > 50


# In the loop ---------------------------------------------------------------------------------------------------------


def timeless(folder):
    return [{k: v for k, v in line.items() if not k.startswith("seconds")} for line in read_metrics(folder)]


def of_kind(lines, kind):
    return [line for line in lines if line["kind"] == kind]


def checked_run(config, folder):
    """The lines of a run, after what holds for every run of a tree."""
    result = loop.train(config, folder)
    lines = timeless(folder)
    updates, budget = of_kind(lines, "update"), config.training.generations
    assert result["status"] == "finished" and result["updates"] == len(updates)
    for line in updates:
        assert line["kl_k3"] < 1e-9 and line["mismatch_kl"] < 1e-9  # sampled by the very weights that are updated
    ends = [line["generations"] for line in lines if line["kind"] in ("update", "rest")]
    assert ends == sorted(ends) and ends[-1] == sum(u["rollouts"] for u in updates + of_kind(lines, "rest"))
    assert budget - config.recipe.exploration.g_max < ends[-1] <= budget or result.get("exhausted")
    epochs = of_kind(lines, "epoch")
    assert [e["epoch"] for e in epochs] == list(range(1, len(epochs) + 1)) and epochs[-1]["generations"] == ends[-1]
    assert sum(e["epoch_generations"] for e in epochs) == ends[-1]
    assert [e["generations"] for e in of_kind(lines, "eval")][-1] == ends[-1]
    return lines


RUNS = {
    "literal": replace(READINGS["literal"], **FAST, xi=1000.0),
    "literal, pruned": replace(READINGS["literal"], **FAST, xi=3.0),
    "one update an epoch": replace(READINGS["literal"], **FAST, xi=1000.0, update_every=None),
    "table": replace(READINGS["table"], **FAST, nodes=2, min_std=None),
    "continuation": replace(READINGS["continuation"], **FAST, min_std=None),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_and_the_same_run_killed(name, tmp_path):
    config = exploring(RUNS[name], generations=240)
    whole = checked_run(config, tmp_path / "whole")
    updates = len(of_kind(whole, "update"))
    assert updates > 3
    for k, stop in enumerate((updates // 2, updates - 1)):
        folder = tmp_path / f"part{k}"

        def progress(state, stop=stop):
            if state.get("update") == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            loop.train(config, folder, progress)
        seen = []
        loop.train(config, folder, lambda state, seen=seen: seen.append(state.get("update")))
        assert timeless(folder) == whole
        if stop == updates - 1:
            assert seen[0] > 1  # it went on from a checkpoint


def test_saved_only_between_epochs(policy):
    config = exploring(replace(READINGS["literal"], **FAST, xi=1000.0, turns=2))
    source, states = source_of(policy, config), []
    for update in range(8):
        assert source.next(update) is not None
        source.updated(update)
        states.append(source.state())
    assert None in states and any(states)
    ended = {record["update"] for record in source.records()}
    assert {t + 1 for t, state in enumerate(states) if state} == ended
    state = json.loads(json.dumps(next(filter(None, states))))
    assert source_of(policy, config, state).state() == state
    with pytest.raises(ReproError, match="the state table is of"):
        source_of(policy, replace(config, seed=2), state)


def test_all_arms_meet_the_same_tasks_in_the_same_order(policy):
    config = exploring(replace(READINGS["literal"], **FAST, turns=1), generations=1000)
    source = source_of(policy, config)
    assert len(source.queries) == 4
    met = []
    for update in range(4):
        rollouts, _ = source.next(update)
        source.updated(update)
        met.append(list(dict.fromkeys(rollouts.query_B)))
    asked = [source.queries[k].id for epoch in (0, 1) for k in order(4, 1, epoch)]
    assert [query for queries in met for query in queries] == asked


def test_a_run_whose_states_are_all_given_up_ends(tmp_path):
    """One failure is enough to give a state up: after some epochs no start state is left."""
    hopeless = replace(READINGS["literal"], g_max=2, tasks=2, xi=1.0, zeta=1.0, turns=1)
    config = exploring(hopeless, generations=10_000, checkpoint_every=0)
    lines = checked_run(config, tmp_path)
    assert json.loads((tmp_path / "result.json").read_text())["exhausted"] is True
    epochs = of_kind(lines, "epoch")
    assert [e["epoch_generations"] > 0 for e in epochs] == [True, True, False, False]  # two epochs are a pass
    assert epochs[-1]["pruned_starts"] == 2


def test_a_run_that_ends_in_the_middle_of_an_epoch_says_so(tmp_path):
    config = exploring(RUNS["literal"], generations=10_000, updates=2, checkpoint_every=0)
    loop.train(config, tmp_path)
    lines = timeless(tmp_path)
    assert [line["kind"] for line in lines] == ["eval", "update", "update", "epoch", "eval"]
    assert lines[3]["generations"] == lines[2]["generations"] == lines[4]["generations"] < 10_000


def test_episodes_end_with_the_first_update_at_the_budget(tmp_path, monkeypatch):
    real, drawn = Sampler.__call__, []
    monkeypatch.setattr(Sampler, "__call__", lambda self, *at: drawn.append(at) or real(self, *at))
    recipe = replace(ALGORITHMS["grpo_episodes"], allocation=Uniform(prompts=2, group_size=3))
    evaluation = EpisodeEvaluation(**vars(CONFIG.evaluation) | {"every": 40})
    training = replace(CONFIG.training, generations=100)
    config = replace(CONFIG, recipe=recipe, training=training, evaluation=evaluation)
    reports = []
    loop.train(config, tmp_path, reports.append)
    lines = timeless(tmp_path)
    updates, evals = of_kind(lines, "update"), of_kind(lines, "eval")
    total = 0
    for line in updates:
        assert total < 100
        total += round(line["turns"] * line["rollouts"])
        assert line["generations"] == total and line["rollouts"] == 6
        assert 0 < line["states_state"] <= line["states_goal_observation"]
    assert total >= 100
    crossed = [u["update"] for before, u in zip([0, *(u["generations"] for u in updates)], updates, strict=False)
               if before // 40 < u["generations"] // 40 and u["generations"] < 100]  # fmt: skip
    last = len(updates)
    assert drawn == [(update, update) for update in range(last)]  # and nothing beyond the end
    assert [(e["update"], e["temperature"]) for e in evals] == [
        (0, 1.0), (0, 0.4), *((update, 1.0) for update in crossed), (last, 1.0), (last, 0.4),
    ]  # fmt: skip
    assert [e["generations"] for e in evals][-1] == total and evals[0]["generations"] == 0
    assert {"won", "turns", "fault_nowhere", "mean_at_k"} <= set(evals[0])
    assert reports[-1] == {"update": last, "updates": last}
    assert reports[0]["updates"] == 100 // updates[0]["generations"]


def test_a_step_by_the_number_of_rows_with_a_gradient(policy, monkeypatch):
    config = exploring(replace(READINGS["literal"], **FAST), reference_rows=40)
    rollouts = source_of(policy, config).next(0)[0]
    rollouts = replace(rollouts, advantage_B=[0.5, -0.5] + [0.0] * (len(rollouts.responses) - 2))
    small, whole = Learner(walk_policy(), config.recipe, config.training), None
    metrics, seen = small.update(rollouts)
    assert metrics["learning_rate"] == pytest.approx(1e-2 * 2 / 40) and metrics["trained_B"].count(True) == 2
    assert seen.advantage_B.tolist() == rollouts.advantage_B  # credit is not asked
    plain = replace(config.training, reference_rows=None, learning_rate=1e-2 * 2 / 40)
    whole = Learner(walk_policy(), config.recipe, plain)
    assert "learning_rate" not in whole.update(rollouts)[0]
    for name, tensor in whole.policy.snapshot().items():
        assert torch.equal(tensor, small.policy.snapshot()[name])
    many = Learner(walk_policy(), config.recipe, replace(config.training, reference_rows=2))
    assert many.update(rollouts)[0]["learning_rate"] == 1e-2
    assert many.update(replace(rollouts, advantage_B=[0.1] * 8))[0]["learning_rate"] == 1e-2  # never more


# Configs -------------------------------------------------------------------------------------------------------------


def test_configs_go_to_json_and_back():
    for recipe in (ALGORITHMS[f"threespo_{name}"] for name in READINGS):
        config = replace(CONFIG, world=SearchConfig(), recipe=recipe, evaluation=EpisodeEvaluation(also=(0.4, 0.0)))
        assert from_dict(RunConfig, json.loads(json.dumps(to_dict(config)))) == config
    tuned = override(CONFIG, {"recipe.exploration.alpha": 1.0, "training.generations": 7})
    assert tuned.recipe.exploration.alpha == 1.0 and tuned.training.generations == 7


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"recipe.exploration.tasks": 3}, "exploration.tasks is 3 and allocation.prompts 1"),
        ({"schedule.high": 2}, "choose schedule=Lagged"),
        ({"training.generations": 0}, "training.generations is 0"),
        ({"training.reference_rows": 0}, "training.reference_rows is 0"),
        ({"recipe.allocation": SGPO()}, "needs allocation=Uniform, not SGPO"),
        ({"recipe.guidance": EscalatingTrace()}, "choose ExpertTrace, or exploration=Episodes"),
        ({"training": TrainingConfig()}, "choose training=BudgetedTraining"),
        ({"evaluation": EpisodeEvaluation(), "evaluation.also": (-1.0,)}, "a temperature is 0 or more"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(changes, complaint):
    with pytest.raises(ReproError, match=complaint):
        override(CONFIG, changes)


def test_worlds_of_single_turns_have_no_trees():
    from repro.environments.arithmetic import ArithmeticConfig

    with pytest.raises(ReproError, match="ThreeSPO needs a world of several turns; ArithmeticConfig has single ones"):
        replace(CONFIG, world=ArithmeticConfig())
    with pytest.raises(ReproError, match="GiGPO needs a world of several turns"):
        RunConfig("s", "a", "smoke", 0, ALGORITHMS["gigpo"])


def test_the_stand_in_is_a_world_to_go_back_in():
    walk = Walk(WalkConfig(), Module.train_list(WalkConfig(), 0)[0])
    walk.reset()
    saved = walk.snapshot()
    assert walk.step("apple") == ("cedar =", 0.0, False) and walk.step("apple") == ("acorn =", 1.0, True)
    walk.restore(saved)
    assert walk.step("pearl") == ("? =", 0.0, False) and walk.faults.nowhere == 1
