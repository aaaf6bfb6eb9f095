"""What an objective may see, and how its per-token losses become one number.

| symbol | meaning |
|---|---|
| B | responses of one update, all groups together |
| T | tokens of the longest response; shorter ones are right-padded and masked |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CurrentPolicyBatch:
    """What a behaviour-free objective sees: tokens scored by the current policy, rewards, groups.

    There is no field for the policy that generated the tokens, nor for its version: an objective that
    takes this type cannot reach them (ASymPO, Table 1).
    """

    logp_BT: Tensor  # log pi_theta of each sampled token; carries the gradient
    mask_BT: Tensor  # bool; True where the policy itself generated the token
    advantage_B: Tensor
    reward_B: Tensor
    group_B: Tensor  # int64 group ids, ragged and in any order


@dataclass(frozen=True)
class BehaviourBatch(CurrentPolicyBatch):
    """What an objective with behaviour correction sees in addition."""

    behaviour_logp_BT: Tensor  # as recorded by the sampler, under the weights that generated the token
    proximal_logp_BT: Tensor  # under the weights just before this update; constant
    expert_B: Tensor | None = None  # bool; rows of an expert's, where there are any, among the policy's own


def masked(value_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Zero wherever the policy generated nothing, (B, T): NaN in padding reaches no value and no gradient."""
    return value_BT.masked_fill(~mask_BT, 0.0)


def token_weights(mask_BT: Tensor, aggregation: str) -> Tensor:
    """Weight of every token in the loss, (B, T); the weights of an update sum to one.

    "response": mean over a response's tokens, then over responses (ASymPO Eq. 5, 9). A response without
    tokens weighs nothing but is counted. "token": every token of the update weighs the same (verl's default,
    DAPO). The denominators are global to the update, so order, padding and micro-batches change nothing.
    """
    mask = mask_BT.to(torch.float32)
    if aggregation == "response":
        return mask / mask.sum(1, keepdim=True).clamp(min=1) / max(mask.shape[0], 1)
    if aggregation == "token":
        return mask / mask.sum().clamp(min=1)
    raise ValueError(f"aggregation is {aggregation!r}; choose 'response' or 'token'")


def aggregate(loss_BT: Tensor, mask_BT: Tensor, aggregation: str) -> Tensor:
    """Sum of weighted per-token losses; masked positions never enter, whatever they hold (NaN included)."""
    weight_BT = token_weights(mask_BT, aggregation)
    return (weight_BT * masked(loss_BT, mask_BT)).sum()


def response_mean(value_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over each response's own tokens, (B,); zero for a response without tokens."""
    return masked(value_BT, mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)
