"""GPG, AsymRE and simple OPMD by hand."""

import pytest
import torch

from repro.algorithms.asympo import Naive
from repro.algorithms.batch import aggregate
from repro.algorithms.reinforce import GPG, AsymRE, OPMDSimple
from tests.algorithms.batches import behaviour_free, make_batch, random_batch


def by_hand():
    """Group 0: rewards 1, 0 (A = 0.5, -0.5), NLL 2 and 1, 3. Group 1: rewards 1, 1 (A = 0), NLL 4 and 6."""
    logp = [[-2], [-1, -3], [-4], [-6]]
    return behaviour_free(make_batch(logp, logp, [0.5, -0.5, 0.0, 0.0], [1, 0, 1, 1], [0, 0, 1, 1]))


BY_HAND = {
    # alpha = 4 responses / 3 with reward: 4/3 (0.5 * 2 | -0.5 * 1, -0.5 * 3)
    "gpg": (GPG(), [[4 / 3], [-2 / 3, -2], [0], [0]]),
    # alpha = 4 responses / 2 in mixed groups
    "gpg paper": (GPG(factor="mixed_groups"), [[2], [-1, -3], [0], [0]]),
    # baselines 0.5 - 0.1 and 1 - 0.1: weights 0.6, -0.4, 0.1, 0.1
    "asymre": (AsymRE(), [[1.2], [-0.4, -1.2], [0.4], [0.6]]),
    "asymre 0": (AsymRE(delta_v=0.0), [[1], [-0.5, -1.5], [0], [0]]),
    # A / (1 + 1)
    "opmd": (OPMDSimple(), [[0.5], [-0.25, -0.75], [0], [0]]),
    "opmd tau 3": (OPMDSimple(tau=3.0), [[0.25], [-0.125, -0.375], [0], [0]]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    objective, expected = BY_HAND[name]
    batch = by_hand()
    rows = torch.tensor([row + [0.0] * (2 - len(row)) for row in expected], dtype=torch.float64)
    torch.testing.assert_close(objective.loss_BT(batch), rows, rtol=1e-6, atol=1e-12)


def test_gpg_without_any_reward_is_finite():
    batch = behaviour_free(make_batch([[-1.0], [-2.0]], [[-1.0], [-2.0]], [0.0, 0.0], [0, 0], [0, 0]))
    for factor in ("nonzero_reward", "mixed_groups"):
        assert GPG(factor=factor).alpha(batch).item() == 2.0  # counts at least one
        assert GPG(factor=factor).loss_BT(batch).abs().sum().item() == 0.0


def test_unknown_factor_is_refused():
    with pytest.raises(ValueError, match="GPG.factor is 'half'"):
        GPG(factor="half")


@pytest.mark.parametrize("seed", range(3))
def test_all_are_the_naive_loss_up_to_scale_or_baseline(seed):
    batch = behaviour_free(random_batch(seed))
    naive = aggregate(Naive().loss_BT(batch), batch.mask_BT, "response").item()
    gpg = aggregate(GPG().loss_BT(batch), batch.mask_BT, "response").item()
    assert gpg == pytest.approx(GPG().alpha(batch).item() * naive)
    assert aggregate(AsymRE(delta_v=0.0).loss_BT(batch), batch.mask_BT, "response").item() == pytest.approx(naive)
    assert aggregate(OPMDSimple().loss_BT(batch), batch.mask_BT, "response").item() == pytest.approx(naive / 2)
