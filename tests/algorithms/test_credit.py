"""Group statistics and group-relative credit, on numbers worked by hand and against slow loops."""

import math
import statistics

import pytest
import torch

from repro.algorithms.credit import GroupCredit
from repro.algorithms.groups import group_std, in_mixed_group, mixed_share, next_in_group
from tests.algorithms.batches import random_batch


def test_mean_only_by_hand():
    # Group 9: rewards 1, 0, 0, mean 1/3. Group 4: rewards 1, 0, mean 1/2. They are interleaved.
    reward_B, group_B = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0]), torch.tensor([9, 4, 9, 4, 9])
    advantage_B = GroupCredit().advantage_B(reward_B, group_B)
    torch.testing.assert_close(advantage_B, torch.tensor([2 / 3, 0.5, -1 / 3, -0.5, -1 / 3]))


def test_std_by_hand():
    # Group 0: 1, 0: mean 0.5, variance (0.25 + 0.25) / (2 - 1) = 0.5, so +-0.5 / sqrt(0.5) = +-0.7071.
    # Group 1: 4, 1, 1: mean 2, variance (4 + 1 + 1) / 2 = 3, so 2 / sqrt 3 and -1 / sqrt 3.
    reward_B, group_B = torch.tensor([1.0, 0.0, 4.0, 1.0, 1.0]), torch.tensor([0, 0, 1, 1, 1])
    advantage_B = GroupCredit(scale="std", eps=0.0).advantage_B(reward_B, group_B)
    expected = [
        0.5 / math.sqrt(0.5),
        -0.5 / math.sqrt(0.5),
        2 / math.sqrt(3),
        -1 / math.sqrt(3),
        -1 / math.sqrt(3),
    ]
    torch.testing.assert_close(advantage_B, torch.tensor(expected))
    # eps is added to the standard deviation, not to the variance: 0.5 / (0.7071 + 1)
    with_eps = GroupCredit(scale="std", eps=1.0).advantage_B(reward_B, group_B)[0].item()
    assert with_eps == pytest.approx(0.5 / (math.sqrt(0.5) + 1.0))


@pytest.mark.parametrize("scale", ["none", "std"])
def test_no_contrast_no_credit(scale):
    # 0.1 + 0.1 + 0.1 is not 3 * 0.1 in floating point: the zero must be exact all the same.
    for dtype in (torch.float32, torch.float64):
        reward_B = torch.tensor([0.1, 0.1, 0.1, 5.0], dtype=dtype)
        advantage_B = GroupCredit(scale=scale).advantage_B(reward_B, torch.tensor([2, 2, 2, 3]))
        assert advantage_B.tolist() == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("scale", ["none", "std"])
@pytest.mark.parametrize("seed", range(5))
def test_against_a_loop(scale, seed):
    batch = random_batch(seed)
    reward, group = batch.reward_B.tolist(), batch.group_B.tolist()
    expected = []
    for r, g in zip(reward, group, strict=True):
        peers = [r2 for r2, g2 in zip(reward, group, strict=True) if g2 == g]
        a = r - statistics.mean(peers)
        if scale == "std" and len(peers) > 1:
            a /= statistics.stdev(peers) + 1e-6
        expected.append(a if len(peers) > 1 else 0.0)
    advantage_B = GroupCredit(scale=scale).advantage_B(batch.reward_B, batch.group_B)
    torch.testing.assert_close(advantage_B, torch.tensor(expected, dtype=torch.float64))
    for g in set(group):  # zero-sum in every group
        assert abs(advantage_B[batch.group_B == g].sum().item()) < 1e-12


def test_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="GroupCredit.scale is 'batch'; choose 'none', 'std' or 'population'"):
        GroupCredit(scale="batch")


def test_mixed_groups_by_hand():
    # Group 1 is mixed (1, 0), group 2 is all 1, group 3 is alone: one group of three.
    reward_B, group_B = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]), torch.tensor([1, 2, 1, 2, 3])
    assert in_mixed_group(reward_B, group_B).tolist() == [True, False, True, False, False]
    assert mixed_share(reward_B, group_B) == pytest.approx(1 / 3)


def test_group_std_of_one_is_zero():
    assert group_std(torch.tensor([3.0]), torch.tensor([8])).item() == 0.0


def test_next_in_group_by_hand():
    # Group 5 sits at 0, 2, 3: 0 -> 2 -> 3 -> 0. Group 1 sits at 1, 5: 1 <-> 5. Group 8 is alone at 4.
    assert next_in_group(torch.tensor([5, 1, 5, 5, 8, 1])).tolist() == [2, 5, 3, 0, 4, 1]


@pytest.mark.parametrize("seed", range(5))
def test_next_in_group_against_a_loop(seed):
    group = random_batch(seed).group_B.tolist()
    expected = []
    for i, g in enumerate(group):
        members = [j for j, g2 in enumerate(group) if g2 == g]
        expected.append(members[(members.index(i) + 1) % len(members)])
    assert next_in_group(torch.tensor(group)).tolist() == expected
