"""ASymPO and SPO: policy losses from the current policy's probabilities alone (arXiv 2606.03070 v1).

| symbol | tensor | meaning |
|---|---|---|
| A_g | advantage_B | reward minus group mean (Eq. 1): zero-sum in each group |
| log p_{g,i} | logp_BT | log-probability of a sampled token under the weights being trained |
| S_g | surprisal_B | mean negative log-likelihood of a response's tokens (Eq. 2, 14) |
| C_g | coefficient_B | constant weight of a response: all that tells these losses apart |

All are one loss, minimised (Eq. 15):

    L_C = -(1/G) sum_g (1/m_g) sum_i A_g C_g log p_{g,i} = (1/G) sum_g A_g C_g S_g

| loss | equations | C_g |
|---|---|---|
| `Naive` | 9-10 | 1 |
| `SPO` | 16-17 | 1 if A_g >= 0, else alpha |
| `ASymPO` | 18-19 | 1 / sg(S_g) |
| stabilised: any of them with `p_low`, `p_high`; `ASymPO.floor` | 44-46 | the same, S_g after the clip |
| `ASymPO(only=...)`, `BatchScaled`, `ShuffledASymPO`, `BehaviourASymPO` | - | controls of the mechanism |

Where the paper leaves a choice open (it names no code), the default is its equations:
- whether the clip of Eq. 44 was on in the reported runs is not said: default off. "Typical" values are
  p_low 0.01-0.05 and p_high 0.95-0.99;
- the equations average over a response, then over responses; VeRL's default averages over all tokens
  (`aggregation="token"`): then long responses count m_g times more. S_g is the response's mean either way;
- S_g = 0 exactly (a certain response) is not discussed. Its logits have no gradient either, so its
  coefficient is 0 and it trains nothing; a positive `floor` makes the coefficient 1 / floor.

The forward value of ASymPO is 0 for every zero-sum group (Theorem 2): the loss curve carries no information.
Its gradient is that of (1/G) sum_g A_g log S_g.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from repro.algorithms.batch import BehaviourBatch, CurrentPolicyBatch, masked, response_mean
from repro.algorithms.groups import next_in_group


def clip_logp(logp_BT: Tensor, advantage_B: Tensor, p_low: float | None, p_high: float | None) -> Tensor:
    """Eq. 44: cap log p at log p_high where A >= 0, raise it to log p_low where A < 0; None: no bound.

    A clipped token keeps its (clipped) value in the mean and has exactly zero gradient.
    """
    capped_BT = logp_BT if p_high is None else logp_BT.clamp(max=math.log(p_high))
    raised_BT = logp_BT if p_low is None else logp_BT.clamp(min=math.log(p_low))
    return torch.where(advantage_B[:, None] >= 0, capped_BT, raised_BT)


def inverse_surprisal(nll_BT: Tensor, mask_BT: Tensor, floor: float) -> Tensor:
    """1 / sg(max(S, floor)), (B,) (Eq. 18, 46); zero if the maximum is, or for no tokens."""
    surprisal_B = response_mean(nll_BT, mask_BT).detach().clamp(min=floor)
    return torch.where(mask_BT.any(1) & (surprisal_B > 0), 1 / surprisal_B, 0.0)


@dataclass(frozen=True)
class Naive:
    """A_g S_g: the current-policy loss that is said to collapse on stale data (Eq. 9-10).

    The code path of the whole family (Eq. 15): the losses below override `coefficients`, nothing else.
    With `p_low` alone it is the control "clip without balance".
    """

    reads_behaviour: ClassVar[bool] = False

    aggregation: str = "response"  # Eq. 9
    p_low: float | None = None  # Eq. 44, for A < 0
    p_high: float | None = None  # Eq. 44, for A >= 0

    def __post_init__(self):
        for name, p in (("p_low", self.p_low), ("p_high", self.p_high)):
            if p is not None and not 0 < p < 1:
                raise ValueError(f"{type(self).__name__}.{name} is {p}; choose one in (0, 1), or None")

    def nll_BT(self, batch: CurrentPolicyBatch) -> Tensor:
        """-log p of every generated token, clipped where configured; zero in padding."""
        logp_BT = masked(batch.logp_BT, batch.mask_BT)
        return masked(-clip_logp(logp_BT, batch.advantage_B, self.p_low, self.p_high), batch.mask_BT)

    def coefficients(self, batch: CurrentPolicyBatch) -> Tensor:
        """C_g of every response, (B,), constant."""
        return torch.ones_like(batch.advantage_B)

    def loss_BT(self, batch: CurrentPolicyBatch) -> Tensor:
        """A_g C_g (-log p_{g,i}), (B, T)."""
        return (batch.advantage_B * self.coefficients(batch))[:, None] * self.nll_BT(batch)


@dataclass(frozen=True)
class SPO(Naive):
    """Negatives damped by a constant (Eq. 16-17): alpha = 1 is `Naive`, alpha = 0 trains positives only."""

    alpha: float = 0.2  # section 5, every experiment

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"SPO.alpha is {self.alpha}; choose a value in [0, 1]")

    def coefficients(self, batch: CurrentPolicyBatch) -> Tensor:
        return torch.where(batch.advantage_B >= 0, 1.0, self.alpha).to(batch.advantage_B)


@dataclass(frozen=True)
class ASymPO(Naive):
    """Every response divided by its own surprisal (Eq. 18-19; stabilised Eq. 44-46).

    `only` is a control: "negative" or "positive" applies 1/S to one sign of the advantage and 1 to the other.
    """

    floor: float = 0.0  # eps of Eq. 46; the paper gives no value
    only: str = "both"

    def __post_init__(self):
        super().__post_init__()
        if self.floor < 0:
            raise ValueError(f"{type(self).__name__}.floor is {self.floor}; choose 0 (none) or more")
        if self.only not in ("both", "negative", "positive"):
            choices = "'both', 'negative' or 'positive'"
            raise ValueError(f"{type(self).__name__}.only is {self.only!r}; choose {choices}")

    def coefficients(self, batch: CurrentPolicyBatch) -> Tensor:
        return self._on_chosen_sign(inverse_surprisal(self.nll_BT(batch), batch.mask_BT, self.floor), batch)

    def _on_chosen_sign(self, coefficient_B: Tensor, batch: CurrentPolicyBatch) -> Tensor:
        if self.only == "both":
            return coefficient_B
        chosen_B = batch.advantage_B < 0 if self.only == "negative" else batch.advantage_B >= 0
        return torch.where(chosen_B, coefficient_B, 1.0)


@dataclass(frozen=True)
class BatchScaled(Naive):
    """Control: the naive loss over the batch's mean surprisal: ASymPO's change of scale, not its balance."""

    def coefficients(self, batch: CurrentPolicyBatch) -> Tensor:
        present_B = batch.mask_BT.any(1)
        surprisal_B = response_mean(self.nll_BT(batch), batch.mask_BT).detach()
        mean = surprisal_B[present_B].mean()  # NaN for a batch without tokens: not greater than zero
        return torch.where(present_B & (mean > 0), 1 / mean, 0.0)


@dataclass(frozen=True)
class ShuffledASymPO(ASymPO):
    """Control: each response takes the coefficient of the next one of its group, cyclically in batch order.

    The same coefficients, paired with the wrong responses; a group of one keeps its own.
    """

    def coefficients(self, batch: CurrentPolicyBatch) -> Tensor:
        own_B = inverse_surprisal(self.nll_BT(batch), batch.mask_BT, self.floor)
        return self._on_chosen_sign(own_B[next_in_group(batch.group_B)], batch)


@dataclass(frozen=True)
class BehaviourASymPO(ASymPO):
    """Control: 1/S_b of the policy that generated the response: frozen scales, blind to the drift since.

    The one loss of this file that reads behaviour log-probs.
    """

    reads_behaviour: ClassVar[bool] = True

    def coefficients(self, batch: BehaviourBatch) -> Tensor:
        behaviour_BT = masked(batch.behaviour_logp_BT, batch.mask_BT)
        nll_BT = -clip_logp(behaviour_BT, batch.advantage_B, self.p_low, self.p_high)
        return self._on_chosen_sign(inverse_surprisal(nll_BT, batch.mask_BT, self.floor), batch)


def signed_surprisal(advantage_B: Tensor, surprisal_B: Tensor) -> tuple[Tensor, Tensor]:
    """(S-bar_P, S-bar_N) of Theorem 3: surprisal weighted by |A| over A > 0, over A < 0; NaN if none.

    Their ratio S-bar_N / S-bar_P is R_naive of Theorem 4, the imbalance ASymPO is said to remove.
    """
    weights = advantage_B.clamp(min=0), (-advantage_B).clamp(min=0)
    positive, negative = ((weight_B * surprisal_B).sum() / weight_B.sum() for weight_B in weights)
    return positive, negative


def boundary_fractions(batch: CurrentPolicyBatch, p_low: float, p_high: float) -> tuple[Tensor, Tensor]:
    """Shares of the tokens with A < 0 below p_low, and with A > 0 above p_high; NaN if there are none."""
    negative_BT = batch.mask_BT & (batch.advantage_B < 0)[:, None]
    positive_BT = batch.mask_BT & (batch.advantage_B > 0)[:, None]
    below = (batch.logp_BT[negative_BT] < math.log(p_low)).float().mean()
    above = (batch.logp_BT[positive_BT] > math.log(p_high)).float().mean()
    return below, above
