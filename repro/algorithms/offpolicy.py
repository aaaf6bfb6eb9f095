"""Asynchronous baselines that correct for the behaviour policy.

| symbol | tensor | meaning |
|---|---|---|
| pi_theta, pi_b | logp_BT, behaviour_logp_BT | current policy; policy that generated the token |
| pi_prox | proximal_logp_BT | weights just before this update, constant |
| w | - | pi_theta / pi_b of a token, constant where a stop-gradient (sg) stands |
| m | - | tokens of a response |

| loss | per token, minimised | source |
|---|---|---|
| `DecoupledPPO` | v clip-surrogate(pi_theta / pi_prox, A), v = pi_prox / pi_b | arXiv 2110.00641; AReaL |
| `TIS` | the same, v truncated at `cap` | verl `rollout_corr_helper.py` |
| `MIS` (IcePop) | the same, v zero outside [low, high] | arXiv 2510.18855; verl |
| `CISPO` | -sg(clip(w, low, high)) A log pi_theta | arXiv 2506.13585; TRL `loss_type="cispo"` |
| `GSPO` | clip-surrogate of s = w_seq^(1/m), gradient through the token | arXiv 2507.18071; verl |
| `M2PO` | -w A on the tokens kept | arXiv 2510.01161; Trinity-RFT, AReaL |
| `TOPR` | -sg(a) A log pi_theta; a = 1 if A >= 0, else clip(w_seq, 0, 1) | arXiv 2503.14286 |
| `OPMD` | -A log pi_theta + (tau/2) (log w_seq)^2 / m | Kimi k1.5, arXiv 2501.12599 |
| `SequenceMaskedGRPO` | GRPO without negatives that drifted far | DeepSeek-V3.2; TRL `get_off_policy_mask` |

Every log-ratio is bounded to +-20 before exp (verl). Where sources disagree on the average, the default is
the mean over responses of ASymPO's Eq. 5, so that arms differ in their rule alone; M2PO and OPMD are defined
over tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from repro.algorithms.batch import BehaviourBatch, response_mean
from repro.algorithms.grpo import GRPO, clipped_surrogate, importance_ratio, log_ratio
from repro.algorithms.reinforce import weighted_nll


def behaviour_log_ratio(batch: BehaviourBatch) -> Tensor:
    """log pi_theta / pi_b per token, (B, T), with gradient."""
    return log_ratio(batch.logp_BT, batch.behaviour_logp_BT, batch.mask_BT)


@dataclass(frozen=True)
class DecoupledPPO:
    """Trust region around the weights before this update, behaviour corrected by a constant weight.

    With one gradient step per batch pi_theta = pi_prox at that step: nothing is clipped and the
    gradient is that of -v A log pi_theta. `dual_clip` is off as in AReaL.
    """

    reads_behaviour: ClassVar[bool] = True

    aggregation: str = "response"
    eps_low: float = 0.2
    eps_high: float = 0.2
    dual_clip: float | None = None

    def weight_BT(self, batch: BehaviourBatch) -> Tensor:
        """v, constant, (B, T)."""
        return self.behaviour_ratio(batch, "token")

    def behaviour_ratio(self, batch: BehaviourBatch, level: str) -> Tensor:
        log_v_BT = log_ratio(batch.proximal_logp_BT, batch.behaviour_logp_BT, batch.mask_BT)
        return importance_ratio(log_v_BT, batch.mask_BT, level).detach()

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        log_ratio_BT = log_ratio(batch.logp_BT, batch.proximal_logp_BT, batch.mask_BT)
        ratio_BT = importance_ratio(log_ratio_BT, batch.mask_BT)
        bounds = self.eps_low, self.eps_high, self.dual_clip
        return self.weight_BT(batch) * clipped_surrogate(ratio_BT, batch.advantage_B, *bounds)


@dataclass(frozen=True)
class TIS(DecoupledPPO):
    """Truncated importance sampling: no weight above `cap`."""

    dual_clip: float | None = 3.0  # verl
    level: str = "token"  # or "sequence" (verl)
    cap: float = 2.0  # verl rollout_is_threshold

    def weight_BT(self, batch: BehaviourBatch) -> Tensor:
        return self.behaviour_ratio(batch, self.level).clamp(max=self.cap)


@dataclass(frozen=True)
class MIS(DecoupledPPO):
    """Masked importance sampling (IcePop): weights outside [low, high] are dropped, not truncated."""

    dual_clip: float | None = 3.0  # verl
    level: str = "token"
    low: float = 0.5  # verl decoupled_token_icepop
    high: float = 5.0

    def weight_BT(self, batch: BehaviourBatch) -> Tensor:
        weight_BT = self.behaviour_ratio(batch, self.level)
        return torch.where((weight_BT >= self.low) & (weight_BT <= self.high), weight_BT, 0.0)


@dataclass(frozen=True)
class CISPO:
    """REINFORCE with a clipped, constant weight: every token keeps its gradient."""

    reads_behaviour: ClassVar[bool] = True

    aggregation: str = "response"  # the paper averages over tokens
    weight_low: float = 0.0  # the paper clips from above only
    weight_high: float = 5.0  # TRL's recipe (ScaleRL); verl clips to [0.8, 1.2]

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        weight_BT = importance_ratio(behaviour_log_ratio(batch).detach(), batch.mask_BT)
        return weight_BT.clamp(self.weight_low, self.weight_high) * weighted_nll(batch.advantage_B, batch)


@dataclass(frozen=True)
class GSPO:
    """One length-normalised ratio per response, clipped within a narrow band."""

    reads_behaviour: ClassVar[bool] = True

    aggregation: str = "response"  # the paper
    eps_low: float = 3e-4
    eps_high: float = 4e-4

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        log_w_BT = behaviour_log_ratio(batch)
        sequence_BT = importance_ratio(log_w_BT.detach(), batch.mask_BT, "geometric")
        ratio_BT = sequence_BT * (log_w_BT - log_w_BT.detach()).exp()  # value s, gradient through the token
        return clipped_surrogate(ratio_BT, batch.advantage_B, self.eps_low, self.eps_high, dual_clip=None)


def largest_within(second_moment: Tensor, threshold: float) -> Tensor:
    """Keep as many values as possible, smallest first, with a mean <= threshold: bool, same shape (N,)."""
    ascending, order = second_moment.sort(stable=True)
    mean = ascending.cumsum(0) / torch.arange(1, len(ascending) + 1, device=ascending.device)
    keep = torch.zeros_like(second_moment, dtype=torch.bool)
    keep[order[: int((mean <= threshold).sum())]] = True  # prefix means of ascending values never fall
    return keep


@dataclass(frozen=True)
class M2PO:
    """Drop the tokens with the largest (log-ratio)^2 until the mean of the rest is <= tau.

    Where implementations disagree, the default is the paper's Algorithm 1 as Trinity-RFT reads it:
    `reading="clip_region"` tests and drops only tokens on which PPO's clip could act (A > 0 and w > 1, or
    A < 0 and w < 1), by (log w)^2; `reading="all"` (AReaL) tests every token, by (log pi_prox / pi_b)^2.
    """

    reads_behaviour: ClassVar[bool] = True

    aggregation: str = "token"  # over all valid tokens, dropped ones included (the paper's footnote 2)
    tau: float = 0.04
    reading: str = "clip_region"

    def __post_init__(self):
        if self.reading not in ("clip_region", "all"):
            raise ValueError(f"M2PO.reading is {self.reading!r}; choose 'clip_region' or 'all'")

    def keep_BT(self, batch: BehaviourBatch) -> Tensor:
        """Tokens that train, (B, T) bool."""
        if self.reading == "all":
            log_w_BT = log_ratio(batch.proximal_logp_BT, batch.behaviour_logp_BT, batch.mask_BT)
            tested_BT = batch.mask_BT
        else:
            log_w_BT = behaviour_log_ratio(batch).detach()
            tested_BT = batch.mask_BT & (batch.advantage_B[:, None] * log_w_BT > 0)
        keep_BT = batch.mask_BT.clone()
        keep_BT[tested_BT] = largest_within(log_w_BT[tested_BT] ** 2, self.tau)
        return keep_BT

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        ratio_BT = importance_ratio(behaviour_log_ratio(batch), batch.mask_BT)
        return torch.where(self.keep_BT(batch), -batch.advantage_B[:, None] * ratio_BT, 0.0)


@dataclass(frozen=True)
class TOPR:
    """Tapered off-policy REINFORCE: positives as they are, negatives faded out as they become unlikely.

    Where paper and code disagree, the default is the paper's ratio of whole responses; a verl port normalises
    it by length ("geometric"), Trinity-RFT takes it per token ("token"). The group-relative advantage stands
    for the reward (the paper's baseline).
    """

    reads_behaviour: ClassVar[bool] = True

    aggregation: str = "response"
    level: str = "sequence"

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        ratio_BT = importance_ratio(behaviour_log_ratio(batch).detach(), batch.mask_BT, self.level)
        taper_BT = torch.where(batch.advantage_B[:, None] >= 0, 1.0, ratio_BT.clamp(max=1.0))
        return taper_BT * weighted_nll(batch.advantage_B, batch)


@dataclass(frozen=True)
class OPMD:
    """Online policy mirror descent: REINFORCE with a squared pull of each response towards pi_b.

    The penalty is spread over the tokens, whose sum is Kimi's -A log pi(y) + (tau/2) log(pi/pi_b)(y)^2.
    "token" aggregation keeps that proportion between responses; "response" divides both terms by the length.
    """

    reads_behaviour: ClassVar[bool] = True

    aggregation: str = "token"
    tau: float = 1.0  # Trinity-RFT; the report gives none

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        log_w_B = behaviour_log_ratio(batch).sum(1)  # not bounded: the pull must not vanish far away
        penalty_B = self.tau / 2 * log_w_B**2 / batch.mask_BT.sum(1).clamp(min=1)
        return weighted_nll(batch.advantage_B, batch) + penalty_B[:, None]


@dataclass(frozen=True)
class SequenceMaskedGRPO(GRPO):
    """GRPO that drops a response if A < 0 and its mean log pi_b / pi_theta exceeds `delta`."""

    delta: float = 0.5  # TRL's recipe for DeepSeek-V3.2

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        drift_B = -response_mean(behaviour_log_ratio(batch).detach(), batch.mask_BT)
        keep_B = (batch.advantage_B >= 0) | (drift_B <= self.delta)
        return torch.where(keep_B[:, None], super().loss_BT(batch), 0.0)
