"""GRPO: the clipped ratio to the policy that generated the tokens.

| symbol | tensor | meaning |
|---|---|---|
| w | ratio_BT | pi_theta / pi_b of a token, pi_b the (possibly stale) behaviour policy |
| A | advantage_B | group-relative advantage; `GroupCredit(scale="std")` for GRPO as published |

    loss = max(-w A, -clip(w, 1 - eps_low, 1 + eps_high) A);   for A < 0 never above -dual_clip A

Sources: PPO (arXiv 1707.06347), dual clip (arXiv 1912.09729), GRPO (arXiv 2402.03300), ASymPO Eq. 4-5.
Where paper and code disagree, the default is: no KL term (verl and TRL; the GRPO paper has one), response
mean (GRPO paper, ASymPO Eq. 5; verl averages over tokens), clip and dual clip of verl's
`compute_policy_loss_vanilla`, behaviour denominator (verl's bypass mode).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from repro.algorithms.batch import BehaviourBatch, masked, response_mean

LOG_RATIO_BOUND = 20.0  # verl: exp(20) is finite in every float format used; beyond it the gradient is zero


def log_ratio(logp_BT: Tensor, other_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """log pi / pi_other per token, (B, T); zero in padding."""
    return masked(logp_BT - other_BT, mask_BT)


def importance_ratio(log_ratio_BT: Tensor, mask_BT: Tensor, level: str = "token") -> Tensor:
    """exp of a log-ratio bounded to +-20, (B, T).

    level "token": each token its own; "sequence": the product over the response, the same for all its tokens;
    "geometric": the length-normalised product, (w_seq)^(1/m).
    """
    if level == "token":
        chosen_BT = log_ratio_BT
    elif level == "sequence":
        chosen_BT = log_ratio_BT.sum(1, keepdim=True).expand_as(log_ratio_BT)
    elif level == "geometric":
        chosen_BT = response_mean(log_ratio_BT, mask_BT)[:, None].expand_as(log_ratio_BT)
    else:
        raise ValueError(f"level is {level!r}; choose 'token', 'sequence' or 'geometric'")
    return chosen_BT.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()


def clipped_surrogate(
    ratio_BT: Tensor, advantage_B: Tensor, eps_low: float, eps_high: float, dual_clip: float | None
) -> Tensor:
    """PPO's pessimistic surrogate as a loss, (B, T); `dual_clip=None` leaves negatives unbounded."""
    advantage_B1 = advantage_B[:, None]
    clipped_BT = ratio_BT.clamp(1 - eps_low, 1 + eps_high)
    loss_BT = torch.maximum(-advantage_B1 * ratio_BT, -advantage_B1 * clipped_BT)
    if dual_clip is None:
        return loss_BT
    return torch.where(advantage_B1 < 0, torch.minimum(loss_BT, -advantage_B1 * dual_clip), loss_BT)


def clipped_tokens(
    ratio_BT: Tensor, advantage_B: Tensor, eps_low: float, eps_high: float, dual_clip: float | None
) -> Tensor:
    """Where `clipped_surrogate` passes no gradient, (B, T) bool: the ratio is already too far on the side
    the advantage pushes to or, for A < 0, beyond the dual clip."""
    advantage_B1 = advantage_B[:, None]
    beyond_BT = (advantage_B1 > 0) & (ratio_BT > 1 + eps_high) | (advantage_B1 < 0) & (ratio_BT < 1 - eps_low)
    return beyond_BT if dual_clip is None else beyond_BT | (advantage_B1 < 0) & (ratio_BT > dual_clip)


@dataclass(frozen=True)
class GRPO:
    """PPO-clip on the ratio to the behaviour policy."""

    reads_behaviour: ClassVar[bool] = True

    aggregation: str = "response"
    eps_low: float = 0.2  # verl clip_ratio
    eps_high: float = 0.2
    dual_clip: float | None = 3.0  # verl clip_ratio_c

    def ratio_BT(self, batch: BehaviourBatch) -> Tensor:
        """w, (B, T), with gradient."""
        log_w_BT = log_ratio(batch.logp_BT, batch.behaviour_logp_BT, batch.mask_BT)
        return importance_ratio(log_w_BT, batch.mask_BT)

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        bounds = self.eps_low, self.eps_high, self.dual_clip
        return clipped_surrogate(self.ratio_BT(batch), batch.advantage_B, *bounds)

    def clip_fraction(self, batch: BehaviourBatch) -> Tensor:
        """Share of tokens that a clip leaves without gradient (verl: pg_clipfrac + pg_clipfrac_lower)."""
        bounds = self.eps_low, self.eps_high, self.dual_clip
        clipped_BT = clipped_tokens(self.ratio_BT(batch).detach(), batch.advantage_B, *bounds)
        return clipped_BT[batch.mask_BT].float().mean()
