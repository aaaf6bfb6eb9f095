"""How per-token losses become one number."""

import math

import pytest
import torch

from repro.algorithms.batch import aggregate, masked, response_mean, token_weights
from tests.algorithms.batches import random_batch


def test_aggregation_by_hand():
    # Losses of response 0: 1, 3; response 1: 5; response 2: none.
    # response: (mean(1, 3) + 5 + 0) / 3 = (2 + 5) / 3.  token: (1 + 3 + 5) / 3 tokens = 3.
    loss_BT = torch.tensor([[1.0, 3.0], [5.0, math.nan], [math.inf, math.nan]])
    mask_BT = torch.tensor([[True, True], [True, False], [False, False]])
    assert aggregate(loss_BT, mask_BT, "response").item() == pytest.approx(7 / 3)
    assert aggregate(loss_BT, mask_BT, "token").item() == pytest.approx(3.0)
    assert response_mean(loss_BT, mask_BT).tolist() == [2.0, 5.0, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_against_a_loop(seed):
    batch = random_batch(seed)
    rows = [
        [x for x, m in zip(row, mask, strict=True) if m]
        for row, mask in zip(batch.logp_BT.tolist(), batch.mask_BT.tolist(), strict=True)
    ]
    by_response = sum(sum(row) / len(row) for row in rows if row) / len(rows)
    by_token = sum(map(sum, rows)) / sum(map(len, rows))
    assert aggregate(batch.logp_BT, batch.mask_BT, "response").item() == pytest.approx(by_response, rel=1e-6)
    assert aggregate(batch.logp_BT, batch.mask_BT, "token").item() == pytest.approx(by_token, rel=1e-6)


def test_nothing_generated_costs_nothing():
    mask_BT = torch.zeros(2, 3, dtype=torch.bool)
    for aggregation in ("response", "token"):
        assert aggregate(torch.full((2, 3), math.nan), mask_BT, aggregation).item() == 0.0
        assert token_weights(torch.zeros(0, 3, dtype=torch.bool), aggregation).shape == (0, 3)


def test_padding_reaches_no_gradient():
    value_BT = torch.tensor([[2.0, math.nan]], requires_grad=True)
    mask_BT = torch.tensor([[True, False]])
    masked(value_BT, mask_BT).exp().sum().backward()
    assert value_BT.grad.tolist() == [[pytest.approx(math.exp(2.0)), 0.0]]


def test_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="aggregation is 'sum'; choose 'response' or 'token'"):
        aggregate(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), "sum")
