"""Behaviour-free REINFORCE losses to set beside ASymPO and SPO: GPG, AsymRE, OPMD (simple).

Each is -(weight of the response) log pi_theta(token): they differ from `asympo.Naive` by baseline and scale.

| loss | weight of a response | source |
|---|---|---|
| `GPG` | alpha A | arXiv 2504.02546; verl `compute_gpg_outcome_advantage` |
| `AsymRE` | r - (group mean + delta_v) | arXiv 2506.20520 |
| `OPMDSimple` | A / (1 + tau) | arXiv 2509.24203; Trinity-RFT `opmd_policy_loss.py` |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from repro.algorithms.batch import CurrentPolicyBatch, masked
from repro.algorithms.groups import group_mean, in_mixed_group


def weighted_nll(weight_B: Tensor, batch: CurrentPolicyBatch) -> Tensor:
    """-weight log pi_theta of every generated token, (B, T); zero in padding."""
    return weight_B[:, None] * -masked(batch.logp_BT, batch.mask_BT)


@dataclass(frozen=True)
class GPG:
    """Group Policy Gradient: the naive loss, rescaled for responses that carry no signal.

    Where paper and verl disagree, the default is verl's factor, since ASymPO ran GPG in verl:
    "nonzero_reward": alpha = responses / responses with non-zero reward; "mixed_groups" (the paper):
    alpha = responses / responses in groups whose rewards differ.
    """

    reads_behaviour: ClassVar[bool] = False

    aggregation: str = "response"  # verl averages over tokens
    factor: str = "nonzero_reward"

    def __post_init__(self):
        if self.factor not in ("nonzero_reward", "mixed_groups"):
            raise ValueError(f"GPG.factor is {self.factor!r}; choose 'nonzero_reward' or 'mixed_groups'")

    def alpha(self, batch: CurrentPolicyBatch) -> Tensor:
        """The factor common to the whole update, scalar."""
        if self.factor == "nonzero_reward":
            counted = (batch.reward_B != 0).sum()
        else:
            counted = in_mixed_group(batch.reward_B, batch.group_B).sum()
        return len(batch.reward_B) / counted.clamp(min=1)

    def loss_BT(self, batch: CurrentPolicyBatch) -> Tensor:
        return weighted_nll(self.alpha(batch) * batch.advantage_B, batch)


@dataclass(frozen=True)
class AsymRE:
    """Asymmetric REINFORCE: a baseline `delta_v` away from the group mean.

    Below the mean (delta_v < 0) successes weigh more than failures and off-policy training is stable; the
    paper sees collapse from delta_v >= 0 on and advises a small negative value: -0.1 is our choice of it, for
    rewards in {0, 1}. Reads rewards, not `advantage_B`: all-equal groups do train (weight -delta_v).
    """

    reads_behaviour: ClassVar[bool] = False

    aggregation: str = "response"
    delta_v: float = -0.1

    def loss_BT(self, batch: CurrentPolicyBatch) -> Tensor:
        baseline_B = group_mean(batch.reward_B, batch.group_B) + self.delta_v
        return weighted_nll(batch.reward_B - baseline_B, batch)


@dataclass(frozen=True)
class OPMDSimple:
    """Online policy mirror descent without behaviour log-probs: the naive loss over 1 + tau."""

    reads_behaviour: ClassVar[bool] = False

    aggregation: str = "response"
    tau: float = 1.0  # Trinity-RFT

    def loss_BT(self, batch: CurrentPolicyBatch) -> Tensor:
        return weighted_nll(batch.advantage_B / (1 + self.tau), batch)
