"""FLOPs against hand counts, a token-by-token count, and torch's own counter."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from repro.policy.logprobs import layout, response_logprobs
from repro.policy.model import parameter_count
from repro.training.accounting import Cost, cost, forward_flops, update_flops
from repro.training.rollouts import Rollouts, Unused
from tests.policy.tiny import architecture, ragged

SHAPE = SimpleNamespace(
    hidden_size=8, num_attention_heads=2, num_key_value_heads=1, intermediate_size=10, num_hidden_layers=3, vocab_size=7
)
UNIT = Cost(per_token=100, per_pair=10, per_logits=1000, parameters=50)


def test_costs_of_a_model_by_hand():
    unit = cost(SHAPE, parameters=123)
    # A block: q and o 8 x 8, k and v 8 x 4, and three 8 x 10: 64 + 64 + 32 + 32 + 240 = 432 multiply-adds.
    assert unit.per_token == 2 * 3 * 432
    # A query and a key: 4 multiply-adds for the score, 4 for the weighted sum, in 2 heads and 3 layers.
    assert unit.per_pair == 2 * 3 * 2 * (4 + 4)
    assert unit.per_logits == 2 * 8 * 7
    assert unit.parameters == 123
    wide = cost(SimpleNamespace(**{**vars(SHAPE), "head_dim": 6}), 0)
    assert wide.per_token == 2 * 3 * (2 * 8 * 12 + 2 * 8 * 6 + 240)


def test_a_forward_pass_by_hand():
    # A prompt of 3; responses of 2 and 1. Tokens that pass: 3 + 1 + 0. Pairs: 1 + 2 + 3, then one query that sees the
    # prompt and itself: 4. Logits: 2 + 1.
    assert forward_flops(UNIT, [3], [0, 0], [2, 1]) == 100 * 4 + 10 * (6 + 4) + 1000 * 3
    assert forward_flops(UNIT, [3], [0], [0]) == 100 * 3 + 10 * 6  # nothing generated: the prompt alone


def test_a_forward_pass_token_by_token():
    prompts, responses, prompt_B = ragged(0)
    tokens = pairs = 0
    for prompt in prompts:
        for place in range(len(prompt)):
            tokens, pairs = tokens + 1, pairs + place + 1
    for p, response in zip(prompt_B, responses, strict=True):
        for place in range(len(response) - 1):
            tokens, pairs = tokens + 1, pairs + len(prompts[p]) + place + 1
    expected = 100 * tokens + 10 * pairs + 1000 * sum(map(len, responses))
    assert forward_flops(UNIT, [len(p) for p in prompts], prompt_B, [len(r) for r in responses]) == expected


def rollouts_of(prompts, prompt_B, responses, unused=()):
    """Rollouts of given lengths."""
    n = len(responses)
    return Rollouts(
        update=0, version=0, prompts=[[1] * m for m in prompts], prompt_B=prompt_B, group_B=prompt_B,
        query_B=["q"] * n, responses=[[1] * m for m in responses], behaviour_logp=[[0.0] * m for m in responses],
        reward_B=[0.0] * n, finished_B=[True] * n, mismatch_kl=0.0, seconds=0.0, unused=list(unused),
    )  # fmt: skip


def test_an_update_by_hand():
    # Prompts of 3 and 2; responses of 2, 1 (prompt 0) and 4 (prompt 1); only the last one trains.
    # Forward: tokens 5 + 1 + 0 + 3 = 9; pairs 6 + 3 + 4 + (3 + 4 + 5) = 25; logits 7.
    # Backward, twice the forward pass of prompt 1 and its response: tokens 2 + 3, pairs 3 + 12, logits 4.
    forward, trained = 900 + 250 + 7000, 500 + 150 + 4000
    rollouts = rollouts_of([3, 2], [0, 0, 1], [2, 1, 4])
    assert update_flops(UNIT, rollouts, [False, False, True]) == {
        "rollouts": 3,
        "prompt_tokens": 5,
        "generated_tokens": 7,
        "flops": 2 * forward + 2 * trained,  # sampling and scoring, then the backward pass
        "flops_needed": forward + 3 * trained,  # scoring too only where there is a gradient
        "flops_2p6p": 8 * 50 * (3 + 2 + 3 + 1 + 2 + 4),  # 2P and 6P for each response with its own prompt
    }
    untrained = update_flops(UNIT, rollouts, [False] * 3)
    assert (untrained["flops"], untrained["flops_needed"]) == (2 * forward, forward)


def test_what_is_drawn_and_not_trained_on_costs_its_sampling():
    # As above, but the last response, with its prompt, is thrown away: it is neither scored nor trained on.
    forward, kept = 900 + 250 + 7000, 100 * (3 + 1) + 10 * (6 + 4) + 1000 * 3
    rollouts = rollouts_of([3, 2], [0, 0], [2, 1], unused=[Unused(prompt=1, group=1, reward=0.0, length=4)])
    assert update_flops(UNIT, rollouts, [True, True]) == {
        "rollouts": 3,
        "prompt_tokens": 5,
        "generated_tokens": 7,
        "flops": forward + kept + 2 * kept,
        "flops_needed": forward + 3 * kept,
        "flops_2p6p": 8 * 50 * (3 + 2 + 3 + 1 + 2 + 4),
    }


def counted(run, *kinds):
    """FLOPs that torch counts in operations of these kinds (all if none is named)."""
    with FlopCounterMode(display=False) as counter:
        run()
    by_operation = counter.get_flop_counts()["Global"]
    return sum(n for operation, n in by_operation.items() if not kinds or str(operation).split(".")[1] in kinds)


@pytest.mark.parametrize("name", ["qwen2", "qwen2 grouped, free head", "qwen3"])
def test_torch_counts_the_same_in_transformers_forward(name):
    policy = architecture(name)
    policy.model.set_attn_implementation("eager")  # attention as matrix products, which the counter sees
    unit, n = cost(policy.model.config, parameter_count(policy)), 11
    total = counted(lambda: policy.model(torch.arange(n)[None]))
    # It attends to all pairs, masked ones too, and makes a logit everywhere.
    assert total == unit.per_token * n + unit.per_pair * n * n + unit.per_logits * n


@pytest.mark.parametrize("name", ["qwen2", "qwen2 grouped, free head", "qwen3"])
def test_torch_counts_the_same_matrices_in_the_fast_forward_and_backward(name):
    """Matrices and head only: fused attention pads, so its count depends on the batch."""
    policy = architecture(name)
    unit = cost(policy.model.config, parameter_count(policy))
    prompts, responses, prompt_B = ragged(1)
    lay = layout(prompts, responses, prompt_B)
    lengths = [len(p) for p in prompts], prompt_B, [len(r) for r in responses]
    without_pairs = forward_flops(Cost(unit.per_token, 0, unit.per_logits, 0), *lengths)
    kinds = "mm", "addmm"
    dec = policy.decoder()
    assert counted(lambda: response_logprobs(dec, lay), *kinds) == without_pairs
    logp, _ = response_logprobs(dec, lay)
    assert counted(lambda: logp.sum().backward(), *kinds) == 2 * without_pairs
