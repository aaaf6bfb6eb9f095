"""GRPO's clipped surrogate by hand: value, gradient and clip fraction in every region."""

import math

import pytest
import torch

from repro.algorithms.batch import aggregate
from repro.algorithms.grpo import GRPO, importance_ratio
from tests.algorithms.batches import make_batch, random_batch


def regions():
    """One token per response and region: log-ratios and advantages; pi_b = e^-3 throughout."""
    ratio = [1.0, 1.5, 0.5, 1.5, 0.5, 4.0, 4.0]
    advantage = [1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0]
    return make_batch(
        logp=[[-3 + math.log(w)] for w in ratio],
        behaviour=[[-3.0]] * 7,
        advantage=advantage,
        reward=advantage,
        group=[0] * 7,
    )


def test_regions_by_hand():
    # A = 1: w = 1 -> -1; w = 1.5 -> -1.2 (clipped); w = 0.5 -> -0.5 (pessimistic: kept).
    # A = -1: w = 1.5 -> 1.5 (kept); w = 0.5 -> 0.8 (clipped); w = 4 -> 3 (dual clip). A = 1, w = 4 -> -1.2.
    batch = regions()
    loss_BT = GRPO().loss_BT(batch)
    expected = [-1.0, -1.2, -0.5, 1.5, 0.8, 3.0, -1.2]
    torch.testing.assert_close(loss_BT[:, 0], torch.tensor(expected, dtype=torch.float64))
    # d/dlogp of -w A is -w A where kept, exactly zero where clipped.
    slope_B = torch.autograd.grad(loss_BT.sum(), batch.logp_BT)[0][:, 0]
    torch.testing.assert_close(slope_B, torch.tensor([-1.0, 0, -0.5, 1.5, 0, 0, 0], dtype=torch.float64))
    assert slope_B[[1, 4, 5, 6]].tolist() == [0.0] * 4
    assert GRPO().clip_fraction(batch).item() == pytest.approx(4 / 7)


def test_without_dual_clip_and_with_a_wider_band():
    batch = regions()
    assert GRPO(dual_clip=None).loss_BT(batch)[5, 0].item() == pytest.approx(4.0)
    assert GRPO(dual_clip=None).clip_fraction(batch).item() == pytest.approx(3 / 7)
    wide = GRPO(eps_low=0.6, eps_high=0.6).loss_BT(batch)[:, 0]
    assert wide[[1, 4, 6]].tolist() == [pytest.approx(-1.5), pytest.approx(0.5), pytest.approx(-1.6)]


def test_aggregations_by_hand():
    # Response 0 (A = 1): w = 1, 1.5 -> -1, -1.2. Response 1 (A = -1): w = 1 -> 1.
    # response: (-1.1 + 1) / 2; token: (-1 - 1.2 + 1) / 3.
    batch = make_batch([[-1, -1 + math.log(1.5)], [-2]], [[-1, -1], [-2]], [1.0, -1.0], [1, 0], [0, 0])
    loss_BT = GRPO().loss_BT(batch)
    assert aggregate(loss_BT, batch.mask_BT, "response").item() == pytest.approx(-0.05)
    assert aggregate(loss_BT, batch.mask_BT, "token").item() == pytest.approx(-0.4)
    assert GRPO().clip_fraction(batch).item() == pytest.approx(1 / 3)


def test_extreme_ratios_stay_finite():
    batch = make_batch([[0.0], [-500.0]], [[-500.0], [0.0]], [-1.0, 1.0], [0, 1], [0, 0])
    loss_BT = GRPO(dual_clip=None).loss_BT(batch)
    assert loss_BT[0, 0].item() == pytest.approx(math.exp(20.0))
    assert loss_BT[1, 0].item() == pytest.approx(-math.exp(-20.0))


@pytest.mark.parametrize("seed", range(3))
def test_clip_fraction_is_the_share_without_gradient(seed):
    batch = random_batch(seed, drift=1.5)
    slope_BT = torch.autograd.grad(GRPO().loss_BT(batch).sum(), batch.logp_BT)[0]
    signal_BT = batch.mask_BT & (batch.advantage_B != 0)[:, None]
    flat = ((slope_BT == 0) & signal_BT).sum() / batch.mask_BT.sum()
    assert 0 < flat < 1
    assert GRPO().clip_fraction(batch).item() == pytest.approx(flat.item())


def test_importance_ratio_levels_by_hand():
    # Log-ratios 0.2, 0.4 and a masked third: product e^0.6, length-normalised e^0.3.
    log_ratio_BT = torch.tensor([[0.2, 0.4, 0.0]])
    mask_BT = torch.tensor([[True, True, False]])
    for level, expected in (("token", [0.2, 0.4]), ("sequence", [0.6, 0.6]), ("geometric", [0.3, 0.3])):
        ratio_BT = importance_ratio(log_ratio_BT, mask_BT, level)
        torch.testing.assert_close(ratio_BT[0, :2], torch.tensor(expected).exp())
    with pytest.raises(ValueError, match="level is 'word'"):
        importance_ratio(log_ratio_BT, mask_BT, "word")
