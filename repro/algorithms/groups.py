"""Statistics of ragged groups, keyed by an index: groups may differ in size and stand in any order."""

from __future__ import annotations

import torch
from torch import Tensor


def group_index(group_B: Tensor) -> tuple[Tensor, int]:
    """Relabel arbitrary group ids as 0..n-1: (index_B, n)."""
    unique, index_B = torch.unique(group_B, return_inverse=True)
    return index_B, len(unique)


def group_sum(value_B: Tensor, group_B: Tensor) -> Tensor:
    """Each element's group total, (B,)."""
    index_B, n = group_index(group_B)
    return value_B.new_zeros(n).index_add_(0, index_B, value_B)[index_B]


def group_size(group_B: Tensor) -> Tensor:
    """Each element's group size, (B,), float."""
    return group_sum(torch.ones_like(group_B, dtype=torch.float32), group_B)


def group_mean(value_B: Tensor, group_B: Tensor) -> Tensor:
    """Each element's group mean, (B,)."""
    return group_sum(value_B, group_B) / group_size(group_B)


def group_std(value_B: Tensor, group_B: Tensor, ddof: int = 1) -> Tensor:
    """Each element's group standard deviation, (B,), dividing by n - `ddof`; zero for a group of one."""
    centred_B = value_B - group_mean(value_B, group_B)
    return (group_sum(centred_B**2, group_B) / (group_size(group_B) - ddof).clamp(min=1)).sqrt()


def _mixed_groups(reward_B: Tensor, index_B: Tensor, n: int) -> Tensor:
    low = reward_B.new_full((n,), torch.inf).scatter_reduce_(0, index_B, reward_B, "amin")
    high = reward_B.new_full((n,), -torch.inf).scatter_reduce_(0, index_B, reward_B, "amax")
    return high > low


def in_mixed_group(reward_B: Tensor, group_B: Tensor) -> Tensor:
    """Whether the rewards of each element's group are not all equal, (B,) bool."""
    index_B, n = group_index(group_B)
    return _mixed_groups(reward_B, index_B, n)[index_B]


def mixed_share(reward_B: Tensor, group_B: Tensor) -> float:
    """Share of groups whose rewards are not all equal: the only ones that carry a gradient."""
    return _mixed_groups(reward_B, *group_index(group_B)).float().mean().item()


def next_in_group(group_B: Tensor) -> Tensor:
    """Index of the next element of the same group in batch order, (B,); the last one wraps to the first."""
    order_B = torch.argsort(group_B, stable=True)  # groups side by side, batch order within each
    sorted_B = group_B[order_B]
    position_B = torch.arange(len(group_B), device=group_B.device)
    last_B = torch.ones_like(sorted_B, dtype=torch.bool)
    last_B[:-1] = sorted_B[1:] != sorted_B[:-1]
    start_B = torch.searchsorted(sorted_B, sorted_B)  # first position of the group
    next_B = torch.empty_like(order_B)
    next_B[order_B] = order_B[torch.where(last_B, start_B, position_B + 1)]
    return next_B
