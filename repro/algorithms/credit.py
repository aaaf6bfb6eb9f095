"""Credit: what each response of a group is worth, from rewards alone.

| symbol | shape | meaning |
|---|---|---|
| r | reward_B | scalar reward of a response |
| A | advantage_B | r minus the mean of its group, divided by the group's standard deviation or not |

Where papers and code disagree, the default is ASymPO's Eq. 1: the mean is subtracted, nothing is divided.
GRPO (arXiv 2402.03300; verl and TRL by default) divides by the standard deviation: `scale="std"`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from repro.algorithms.groups import group_mean, group_std, in_mixed_group


@dataclass(frozen=True)
class GroupCredit:
    """Group-relative advantage; sums to zero in every group."""

    scale: str = "none"  # "none": ASymPO Eq. 1, Dr. GRPO; "std": GRPO, n - 1 as in verl; "population": sGPO Eq. 5
    eps: float = 1e-6  # added to the standard deviation (verl; TRL adds 1e-4)

    def __post_init__(self):
        if self.scale not in ("none", "std", "population"):
            raise ValueError(f"GroupCredit.scale is {self.scale!r}; choose 'none', 'std' or 'population'")

    def advantage_B(self, reward_B: Tensor, group_B: Tensor) -> Tensor:
        """Advantages, (B,). Exactly zero in a group whose rewards are all equal, groups of one included.

        (verl leaves the raw reward to a group of one; here it has nothing to be compared with, so no credit.)
        """
        advantage_B = reward_B - group_mean(reward_B, group_B)
        if self.scale != "none":
            ddof = 0 if self.scale == "population" else 1
            advantage_B = advantage_B / (group_std(reward_B, group_B, ddof) + self.eps)
        # The mean of equal floats need not be that float (three times 0.1), hence the explicit zero.
        return torch.where(in_mixed_group(reward_B, group_B), advantage_B, 0.0)

    def spread(self, advantage_E: Tensor, episode_B: Tensor) -> Tensor:
        """Advantages of rows, (B,), from those of what was compared, (E,): a row is a turn of episode `episode_B`.

        Every turn gets its episode's advantage. A row that is a whole response is an episode of its own.
        """
        return advantage_E[episode_B]


@dataclass(frozen=True)
class EpisodeCredit(GroupCredit):
    """Group-relative advantage under which all episodes weigh the same, however many turns they take.

    An episode's advantage is divided by its number of turns T_e, times the mean of T over the update's episodes. With
    an objective that is linear in the advantage and aggregation "response", the loss is then the mean over episodes of
    the mean over turns of the mean over tokens. Without it (GroupCredit) long episodes, which mostly are the lost ones,
    are pushed down harder than short ones are pushed up.
    """

    def spread(self, advantage_E: Tensor, episode_B: Tensor) -> Tensor:
        turns_E = torch.bincount(episode_B, minlength=len(advantage_E))
        mean = len(episode_B) / (turns_E > 0).sum()  # of the episodes that are trained on
        return (advantage_E * mean / turns_E.clamp(min=1))[episode_B]
