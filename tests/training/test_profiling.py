"""Profiles are drawn once, go on after a kill, refuse what is not theirs; and whole runs that allocate by them."""

import json
from dataclasses import replace

import pytest
import torch

from repro.algorithms import ALGORITHMS
from repro.algorithms.adaptive import DynamicSampling, ReinforceAda
from repro.algorithms.allocation import Uniform, Visit
from repro.algorithms.sgpo import ONE_BUCKET, SGPO, OracleSGPO
from repro.config import from_dict, to_dict
from repro.environments import train_list
from repro.errors import ReproError
from repro.policy import sampler as policy_sampler
from repro.study.runs import read_metrics
from repro.training import loop, profiling, rollouts
from repro.training.config import Asynchronous, EvaluationConfig, Lagged, RunConfig, TrainingConfig
from repro.training.learner import Learner
from repro.training.loop import train
from repro.training.profiling import take_profile
from repro.training.rollouts import Unused
from repro.training.sampling import Sampler
from tests.policy.tiny import SHAPE, WORLD, tiny_policy
from tests.training.test_loop import CONFIG as LOOP_CONFIG
from tests.training.test_loop import interrupting, of_kind, timeless

QUERIES = 12
# A chance of a half for those that state a value at all, so that a stirred policy has a wide profile.
CONFIG = RunConfig(
    study="test", arm="sgpo", tier="smoke", seed=1,
    recipe=replace(ALGORITHMS["dapo_loss"], allocation=SGPO(prompts=2)),
    schedule=Lagged(0, 0),
    world=replace(WORLD, modulus=2, train_queries=QUERIES),
    policy=SHAPE,
    warmstart=replace(LOOP_CONFIG.warmstart, steps=41),
    training=TrainingConfig(updates=100, max_new_tokens=14, checkpoint_every=2, gradient_split_every=0),
    evaluation=EvaluationConfig(every=0, queries=4, samples=2, final_queries=4, final_samples=2),
)  # fmt: skip


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def judged(monkeypatch):
    """Rewards by the parity of a response's tokens: what a random policy says is never an answer."""
    by_parity = lambda world, query, policy, completion: float(sum(completion.tokens) % 3 == 0)  # noqa: E731
    monkeypatch.setattr(rollouts, "reward_of", by_parity)
    monkeypatch.setattr("repro.training.rollouts.reward_of", by_parity)


def drawn_rows(monkeypatch):
    """How many responses the profiler samples in each call, as they come."""
    rows, real = [], rollouts.sample

    def counting(dec, prompts, prompt_B, *rest):
        rows.append(len(prompt_B))
        return real(dec, prompts, prompt_B, *rest)

    monkeypatch.setattr(rollouts, "sample", counting)
    return rows


def profiled(policy, samples, config=CONFIG, update=0):
    return take_profile(policy, train_list(config.world, config.seed), config, samples, update)


def test_a_profile_counts_what_a_loop_counts(judged, data):
    policy = tiny_policy()
    profile, record = profiled(policy, 16)
    queries = train_list(CONFIG.world, CONFIG.seed)
    tokens, solved = 0, [0] * QUERIES
    for q, query in enumerate(queries):
        for i in range(16):
            (response,) = policy_sampler.sample(
                policy.decoder(), [policy.encode(query.text)], [0],
                [profiling.request_seed(1, profiling.SEED_SPACE, q, i)], 14, policy.end_token, 1.0,
            )  # fmt: skip
            tokens += len(response.tokens)
            solved[q] += sum(response.tokens) % 3 == 0
    assert profile.solved == tuple(solved) and len(set(solved)) > 3
    assert record["solved"] == solved and record["samples"] == 16 and record["generated_tokens"] == tokens
    assert record["prompt_tokens"] == sum(len(policy.encode(query.text)) for query in queries)
    parameters = sum(p.numel() for p in policy.parameters.values())
    repeated = 16 * record["prompt_tokens"] + tokens
    assert record["flops_2p6p"] == 2 * parameters * repeated and 0 < record["flops"] < record["flops_2p6p"]


def test_it_is_drawn_once_and_grows(judged, data, monkeypatch):
    policy, rows = tiny_policy(), drawn_rows(monkeypatch)
    first, record = profiled(policy, 8)
    assert sum(rows) == 8 * QUERIES
    assert profiled(policy, 8) == (first, record) and sum(rows) == 8 * QUERIES  # at no draw, and at the same bill
    half, _ = profiled(policy, 4)
    assert sum(rows) == 8 * QUERIES and all(a <= b for a, b in zip(half.solved, first.solved, strict=True))
    more, longer = profiled(policy, 20, update=3)
    assert sum(rows) == 24 * QUERIES and more.update == 3  # in blocks of 8
    assert longer["generated_tokens"] > record["generated_tokens"]
    assert longer["prompt_tokens"] == record["prompt_tokens"]
    assert profiled(policy, 8) == (first, record)
    (path,) = data.glob("cache/profile-*.jsonl")
    path.unlink()
    assert profiled(policy, 20)[0].solved == more.solved  # what was drawn first does not matter


def test_killed_it_goes_on_without_drawing_twice(judged, data, monkeypatch):
    policy = tiny_policy()
    whole, _ = profiled(policy, 16)
    (path,) = data.glob("cache/profile-*.jsonl")
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    rows = drawn_rows(monkeypatch)
    for kept, torn in ((1, b""), (1, b'{"query":0,"rew'), (7, lines[7][:-3]), (2 * QUERIES, b"{")):
        path.write_bytes(b"".join(lines[:kept]) + torn)
        rows.clear()
        assert profiled(policy, 16)[0] == whole
        assert sum(rows) == 8 * (2 * QUERIES - (kept - 1))
        seconds = lambda line: {k: v for k, v in json.loads(line).items() if k != "seconds"}  # noqa: E731
        assert sorted(map(str, map(seconds, path.read_bytes().splitlines()))) == sorted(map(str, map(seconds, lines)))
    path.write_bytes(b"torn in the first lin")
    assert profiled(policy, 16)[0] == whole


def test_other_weights_prompts_or_sampling_have_another_profile(judged, data):
    profiled(tiny_policy(), 8)
    profiled(tiny_policy(seed=1), 8)
    profiled(tiny_policy(), 8, replace(CONFIG, seed=2))
    profiled(tiny_policy(), 8, replace(CONFIG, training=replace(CONFIG.training, temperature=0.5)))
    profiled(tiny_policy(), 8, replace(CONFIG, world=replace(CONFIG.world, train_queries=QUERIES + 1)))
    assert len(list(data.glob("cache/profile-*.jsonl"))) == 5


def test_the_profile_of_a_policy_that_changed_is_refused(judged, data):
    old, new = tiny_policy(), tiny_policy(seed=1)
    profiled(old, 8)
    (path,) = data.glob("cache/*.jsonl")
    profiled(new, 8)
    (other,) = set(data.glob("cache/*.jsonl")) - {path}
    other.write_bytes(path.read_bytes())
    with pytest.raises(ReproError, match=r"is the profile of another run \(weights differ\): delete it"):
        profiled(new, 8)


def line_of(query=0, rewards=(0,) * 8, lengths=(1,) * 8):
    return json.dumps({"query": query, "rewards": rewards, "lengths": lengths, "seconds": 0.0})


@pytest.mark.parametrize("line", ["text", "{}", line_of(99), line_of(rewards=[2] * 8), line_of(0, [0], [1])])
def test_a_damaged_profile_is_named(judged, data, line):
    profiled(tiny_policy(), 8)
    (path,) = data.glob("cache/*.jsonl")
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ReproError, match=f"{path.name} is damaged: delete it"):
        profiled(tiny_policy(), 8)


def test_partial_rewards_have_no_success_rate(data, monkeypatch):
    monkeypatch.setattr(rollouts, "reward_of", lambda *_: 0.4)
    with pytest.raises(ReproError, match="a reward of 0.4 has no success rate"):
        profiled(tiny_policy(), 8)


# Whole runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "allocation",
    [
        SGPO(prompts=2),
        SGPO(prompts=2, reprofile=True, order="shuffled"),
        OracleSGPO(prompts=3, samples=16),
        DynamicSampling(prompts=2, group_size=4),
        ReinforceAda(prompts=2),
    ],
    ids=lambda allocation: type(allocation).__name__,
)
def test_a_run_resumes_the_same_whatever_its_allocation(judged, tmp_path, allocation):
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, allocation=allocation))
    assert from_dict(RunConfig, to_dict(config)) == config
    reports = []
    result = train(config, tmp_path / "whole", reports.append)
    records = read_metrics(tmp_path / "whole")
    assert result["updates"] == len(of_kind(records, "update")) < 100  # the allocation ended it
    assert len(of_kind(records, "profile")) == {SGPO: 1 + getattr(allocation, "reprofile", 0), OracleSGPO: 1}.get(
        type(allocation), 0
    )
    if type(allocation) is SGPO and not allocation.reprofile:
        assert {r["updates"] for r in reports if "update" in r} == {result["updates"]}  # known beforehand
    for first in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / f"parts{first}", interrupting(first))
        train(config, tmp_path / f"parts{first}")
        assert timeless(tmp_path / f"parts{first}") == timeless(tmp_path / "whole")


def test_sgpo_with_one_bucket_is_the_baseline_to_the_bit(judged, tmp_path):
    """alpha = 0, t = 1, one bucket, shuffled; the whole run, not only its queries."""
    plain = SGPO(prompts=2, trivial=1.0, unsolved_size=4, unsolved=0.0, buckets=ONE_BUCKET[4], order="shuffled")
    baseline = replace(
        CONFIG,
        arm="uniform",
        recipe=replace(CONFIG.recipe, allocation=Uniform(prompts=2, group_size=4)),
        training=replace(CONFIG.training, updates=2 * QUERIES // 2),
    )
    train(baseline, tmp_path / "uniform")
    train(replace(CONFIG, recipe=replace(CONFIG.recipe, allocation=plain)), tmp_path / "sgpo")
    ours = [record for record in timeless(tmp_path / "sgpo") if record["kind"] != "profile"]
    assert ours == timeless(tmp_path / "uniform")


def test_rollouts_in_rounds_by_hand(judged, monkeypatch):
    """Two rounds, a query that comes up again, one passed over, and a part of the responses kept."""

    class ByHand(SGPO):
        def profile_due(self, update, history):
            return 0

        def allot(self, update, history, drawn):
            return [[(5, 2), (3, 4), (7, 0)], [(3, 2), (9, 1)], []][min(len(calls), 2)]

        def keep(self, update, history, drawn):
            calls.append([(group.query, len(group.rewards)) for group in drawn])
            return [[0, 1], [1, 5], [], [0]]

    calls = []
    recipe = replace(CONFIG.recipe, allocation=ByHand())
    allot = ByHand.allot

    def rounds(self, update, history, drawn):
        answer = allot(self, update, history, drawn)
        seen.append(drawn)
        calls.append(None)
        return answer

    seen = []
    monkeypatch.setattr(ByHand, "allot", rounds)
    policy = tiny_policy()
    sampler = Sampler(replace(CONFIG, recipe=recipe), policy)
    rollouts = sampler(0, 0)
    assert [[(g.query, len(g.rewards)) for g in drawn] for drawn in seen] == [
        [], [(5, 2), (3, 4), (7, 0)], [(5, 2), (3, 6), (7, 0), (9, 1)]
    ]  # fmt: skip
    assert rollouts.prompt_B == rollouts.group_B == [0, 0, 1, 1, 2]
    assert [(u.prompt, u.group) for u in rollouts.unused] == [(1, 1)] * 4
    third = seen[2]
    assert rollouts.reward_B == [*third[0].rewards, third[1].rewards[1], third[1].rewards[5], *third[3].rewards]
    assert [u.reward for u in rollouts.unused] == [third[1].rewards[i] for i in (0, 2, 3, 4)]
    assert sampler.history.visits == [
        Visit(0, group.query, len(group.rewards), int(sum(group.rewards))) for group in third
    ]
    # A member's draw does not depend on the round it came in, nor on who is beside it.
    single = [[(5, 2), (3, 6), (9, 1)], []]
    monkeypatch.setattr(ByHand, "allot", lambda *_: single.pop(0))
    monkeypatch.setattr(ByHand, "keep", lambda *_: [[0, 1], [1, 5], [0]])
    again = Sampler(replace(CONFIG, recipe=recipe), policy)(0, 0)
    assert (again.responses, again.unused) == (rollouts.responses, rollouts.unused)


def test_unused_responses_count_in_the_baseline_and_carry_no_gradient(judged):
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, allocation=Uniform(prompts=3, group_size=4)))
    rollouts = Sampler(config, tiny_policy())(0, 0)
    rewards = rollouts.reward_B
    # Keep the first response of every group; the others become unused.
    first = [rollouts.group_B.index(g) for g in dict.fromkeys(rollouts.group_B)]
    rest = [b for b in range(len(rewards)) if b not in first]
    rows = ("prompt_B", "group_B", "query_B", "responses", "behaviour_logp", "reward_B", "finished_B")
    part = replace(
        rollouts,
        **{name: [getattr(rollouts, name)[b] for b in first] for name in rows},
        unused=[
            Unused(rollouts.prompt_B[b], rollouts.group_B[b], rewards[b], len(rollouts.responses[b])) for b in rest
        ],
    )
    learner = Learner(tiny_policy(), config.recipe, config.training)
    whole, _ = learner._score(rollouts)
    kept, _ = learner._score(part)
    torch.testing.assert_close(kept.advantage_B, whole.advantage_B[first])
    without, _ = learner._score(replace(part, unused=[]))
    assert not without.advantage_B.any()  # groups of one


def test_nothing_kept_is_an_update_without_gradient(judged):
    class Nothing(DynamicSampling):
        def keep(self, update, history, drawn):
            return [[] for _ in drawn]

    recipe = replace(CONFIG.recipe, allocation=Nothing(prompts=2, group_size=4, refill=False))
    rollouts = Sampler(replace(CONFIG, recipe=recipe), tiny_policy())(0, 0)
    assert len(rollouts.responses) == 8 and rollouts.unused == []


def test_nothing_learnable_names_the_arm(data, monkeypatch):
    monkeypatch.setattr(rollouts, "reward_of", lambda *_: 0.0)
    with pytest.raises(ReproError, match=r"sgpo: SGPO: no query is learnable; of 12 queries \[12, 0"):
        Sampler(CONFIG, tiny_policy())(0, 0)


def test_a_history_is_not_kept_by_the_generator_process():
    with pytest.raises(ReproError, match="SGPO decides by the history of a run"):
        with loop.rollout_source(replace(CONFIG, schedule=Asynchronous()), None, None, None):
            pass
