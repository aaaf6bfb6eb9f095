"""Expert rows in the loop: what they are, what they cost, what the log says of them, and that they are learned."""

from dataclasses import replace

import pytest
import torch

from repro.algorithms import ALGORITHMS
from repro.algorithms.allocation import Uniform
from repro.environments import guided_arithmetic, search
from repro.environments.search import SearchConfig
from repro.errors import ReproError
from repro.policy.model import build
from repro.policy.warmstart import DemonstrationConfig
from repro.study.runs import read_metrics
from repro.training import loop
from repro.training.accounting import Cost
from repro.training.experts import demonstrated
from repro.training.learner import Learner
from repro.training.loop import train
from repro.training.rollouts import Rollouts
from repro.training.sampling import Sampler
from tests.policy.tiny import SHAPE, stir
from tests.training.test_guidance import CONFIG, policy  # noqa: F401

UNIT = Cost(per_token=10, per_pair=1, per_logits=5, parameters=100)


def on(algorithm, **changes):
    recipe = replace(ALGORITHMS[algorithm], allocation=Uniform(prompts=2, group_size=3))
    return replace(CONFIG, arm=algorithm, recipe=recipe, **changes)


def updates(config, policy, count):  # noqa: F811
    sampler = Sampler(config, policy)
    return [sampler(update, update) for update in range(count)]


def test_an_expert_joins_each_group(policy):  # noqa: F811
    (rollouts,) = updates(on("luffy"), policy, 1)
    traces = {query.id: query.trace for query in guided_arithmetic.train_list(CONFIG.world, CONFIG.seed)}
    assert sorted(zip(rollouts.group_B, rollouts.expert_B, strict=True)) == [
        (group, expert) for group in (0, 1) for expert in (False, False, True)
    ]
    for b, expert in enumerate(rollouts.expert_B):
        prompt, said = (policy.decode(ids) for ids in (rollouts.prompts[rollouts.prompt_B[b]], rollouts.responses[b]))
        assert "<hint>" not in prompt
        if expert:
            assert said == " ".join(traces[rollouts.query_B[b]].split()) and rollouts.reward_B[b] == 1.0
            assert rollouts.responses[b][-1] == policy.end_token and rollouts.finished_B[b]
    assert rollouts.generations == 4 and rollouts.mismatch_kl < 1e-9
    again = Rollouts.from_json(rollouts.to_json())
    assert again == rollouts


def test_nothing_is_sampled_while_learning_is_supervised(policy):  # noqa: F811
    config = on("sft_rl")
    config = replace(
        config, recipe=replace(config.recipe, exploration=replace(config.recipe.exploration, supervised=2))
    )
    first, second, third = updates(config, policy, 3)
    for rollouts in (first, second):
        assert rollouts.expert_B == [True, True] and rollouts.generations == 0 and rollouts.mismatch_kl == 0.0
    assert third.expert_B == [] or not any(third.expert_B)
    assert third.generations == 6 and not third.requests


def test_the_log_line_counts_what_was_sampled(policy):  # noqa: F811
    (mixed,) = updates(on("luffy"), policy, 1)
    own = [reward for reward, expert in zip(mixed.reward_B, mixed.expert_B, strict=True) if not expert]
    line = loop.record(mixed, {"trained_B": [True] * 6, "reward": 9.0}, UNIT)
    lengths = [len(r) for r, expert in zip(mixed.responses, mixed.expert_B, strict=True) if not expert]
    assert (line["rollouts"], line["generated_tokens"]) == (4, sum(lengths))
    assert line["reward"] == sum(own) / 4 and line["mixed"] == 1.0  # an expert that is right beside failures
    assert line["prompt_tokens"] == sum(map(len, mixed.prompts))
    (alone,) = updates(on("sft"), policy, 1)
    line = loop.record(alone, {"trained_B": [True] * 2}, UNIT)
    assert (line["rollouts"], line["generated_tokens"], line["prompt_tokens"], line["reward"]) == (0, 0, 0, None)
    assert line["flops"] > 0


def test_the_gradient_is_that_of_the_likelihood(policy):  # noqa: F811
    """A slow reference: mean over rows of the mean NLL of the trace's tokens, by the model's own forward."""
    config = on("sft")
    (rollouts,) = updates(config, policy, 1)
    learner = Learner(policy, config.recipe, config.training)
    total = 0.0
    for b, response in enumerate(rollouts.responses):
        prompt = rollouts.prompts[rollouts.prompt_B[b]]
        logits = policy.model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        total = total - torch.log_softmax(logits, -1)[range(len(response)), response].mean() / len(rollouts.responses)
    metrics, batch = learner.update(rollouts)
    assert metrics["loss"] == pytest.approx(total.item(), rel=1e-4)
    assert torch.equal(batch.behaviour_logp_BT[batch.mask_BT], batch.logp_BT[batch.mask_BT])  # nobody knows better


def test_supervised_learning_learns_the_traces(policy):  # noqa: F811
    config = on("sft", training=replace(CONFIG.training, learning_rate=3e-3))
    sampler, learner = Sampler(config, policy), Learner(policy, config.recipe, config.training)
    losses = [learner.update(sampler(update, update))[0]["loss"] for update in range(40)]
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])


def test_experts_of_worlds_of_several_turns():
    pytest.importorskip("bm25s")
    world = SearchConfig(entities=3, knowledge_bases=2, train_queries=6, heldout_queries=2)
    words = search.vocabulary(world)
    asked = stir(build(replace(SHAPE, context=256), words, 0))
    config = on("luffy", world=world, warmstart=DemonstrationConfig(), policy=replace(SHAPE, context=256))
    query = search.train_list(world, config.seed)[0]
    played = demonstrated(asked, query, asked.encode(query.text), config)
    turns = search.demonstration(world, query)
    assert played.won and played.reward == 1.0 and played.expert
    assert [asked.decode(turn.completion.tokens) for turn in played.turns] == [action for _, action in turns]
    seen = [asked.decode(turn.prompt) for turn in played.turns]
    for prompt, (observation, _) in zip(seen, turns, strict=True):
        assert prompt.endswith(" ".join(observation.split()))
    (rollouts,) = updates(config, asked, 1)
    assert len(rollouts.episodes) == 6 and rollouts.generations == len(rollouts.expert_B) - sum(rollouts.expert_B)
    line = loop.record(rollouts, {"trained_B": [True] * len(rollouts.expert_B)}, UNIT)
    assert line["rollouts"] == 4 and line["reward"] == line["won"] == 0.0 and line["mixed"] == 1.0


@pytest.mark.parametrize("algorithm", ["luffy", "sft", "sft_rl"])
def test_whole_runs_and_interrupted_ones(tmp_path, monkeypatch, algorithm):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    config = on(algorithm, training=replace(CONFIG.training, checkpoint_every=2))
    if algorithm == "sft_rl":
        config = replace(
            config, recipe=replace(config.recipe, exploration=replace(config.recipe.exploration, supervised=3))
        )

    def stop(state):
        if state.get("update") == 3:
            raise KeyboardInterrupt

    assert train(config, tmp_path / "whole")["status"] == "finished"
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", stop)
    train(config, tmp_path / "parts")
    lines = [[{k: v for k, v in record.items() if "seconds" not in k} for record in read_metrics(tmp_path / name)]
             for name in ("whole", "parts")]  # fmt: skip
    assert lines[0] == lines[1]


def test_no_trace_nothing_to_learn_from(policy):  # noqa: F811
    query = replace(guided_arithmetic.train_list(CONFIG.world, 0)[0], trace="")
    with pytest.raises(ReproError, match="no expert trace to learn from"):
        demonstrated(policy, query, [1], on("luffy"))
