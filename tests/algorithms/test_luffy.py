"""Expert rows: the shaped surrogate and the log-likelihood by hand, and GRPO where there are none."""

import math
from dataclasses import replace

import pytest
import torch

from repro.algorithms import ALGORITHMS, Recipe
from repro.algorithms.batch import aggregate
from repro.algorithms.credit import GroupCredit
from repro.algorithms.grpo import GRPO
from repro.algorithms.luffy import ExpertObjective, ExpertRows
from repro.config import from_dict, to_dict
from tests.algorithms.batches import make_batch, random_batch

CLIP = dict(eps_low=0.0, eps_high=5.0)


def batch():
    """A sampled row, on-policy, of advantage -1, and an expert row of advantage 2 and probabilities 1/2, 1/10."""
    expert = [math.log(0.5), math.log(0.1)]
    made = make_batch([[-1.0], expert], [[-1.0], expert], [-1.0, 2.0], [0.0, 1.0], [0, 0])
    return replace(made, expert_B=torch.tensor([False, True]))


def test_luffy_by_hand():
    made = batch()
    loss_BT = ExpertObjective(**CLIP).loss_BT(made)
    assert loss_BT[0, 0].item() == pytest.approx(1.0)
    assert loss_BT[1].tolist() == pytest.approx([-2 * 0.5 / 0.6, -2 * 0.1 / 0.2])
    aggregate(loss_BT, made.mask_BT, "response").backward()
    # d f/d log pi = gamma pi / (pi + gamma)^2, times -A, over 2 tokens and 2 rows
    slopes = [-2 * 0.1 * p / (p + 0.1) ** 2 / 4 for p in (0.5, 0.1)]
    assert made.logp_BT.grad[1].tolist() == pytest.approx(slopes)
    assert abs(slopes[1]) > abs(slopes[0])  # the rare token learns more


def test_supervised_learning_by_hand():
    made = batch()
    loss_BT = ExpertObjective(**CLIP, gamma=None).loss_BT(made)
    assert loss_BT[1].tolist() == pytest.approx([-math.log(0.5), -math.log(0.1)])  # whatever the advantage is
    assert loss_BT[0, 0].item() == pytest.approx(1.0)


@pytest.mark.parametrize("gamma", [0.1, None])
def test_without_expert_rows_it_is_grpo(gamma):
    made = random_batch(3)
    mine, plain = ExpertObjective(gamma=gamma), GRPO()
    assert torch.equal(mine.loss_BT(made), plain.loss_BT(made))
    none = replace(made, expert_B=torch.zeros(len(made.reward_B), dtype=torch.bool))
    assert torch.equal(mine.loss_BT(none), plain.loss_BT(made))


def test_sizes_of_groups():
    assert [ExpertRows().sizes(update, 8) for update in (0, 100)] == [(7, 1), (7, 1)]
    first = ExpertRows(mixed=0, supervised=2)
    assert [first.sizes(update, 8) for update in range(4)] == [(0, 1), (0, 1), (8, 0), (8, 0)]
    assert ExpertRows(mixed=0, supervised=None).sizes(10**6, 8) == (0, 1)
    with pytest.raises(ValueError, match="groups of 2 cannot hold 2 expert rows"):
        ExpertRows(mixed=2).sizes(0, 2)
    for wrong in ({"mixed": -1}, {"supervised": -1}):
        with pytest.raises(ValueError, match="must be 0 or more"):
            ExpertRows(**wrong)


@pytest.mark.parametrize("name", ["luffy", "sft", "sft_rl"])
def test_recipes_share_smepos_clip_and_are_read_back(name):
    recipe = ALGORITHMS[name]
    assert (recipe.objective.eps_low, recipe.objective.eps_high, recipe.objective.dual_clip) == (0.0, 5.0, 3.0)
    assert recipe.credit == GroupCredit("std") and from_dict(Recipe, to_dict(recipe)) == recipe
