"""Measurements of the claimed mechanism, for every arm alike: read by nobody but the log."""

from __future__ import annotations

import math

from repro.algorithms import Recipe
from repro.algorithms.asympo import Naive, boundary_fractions, signed_surprisal
from repro.algorithms.batch import BehaviourBatch, response_mean
from repro.algorithms.groups import mixed_share
from repro.algorithms.grpo import GRPO

P_LOW, P_HIGH = 0.02, 0.98  # where tokens are counted, inside the ranges of ASymPO's Appendix C
SMALL_NLL = 1e-8


def measure(batch: BehaviourBatch, recipe: Recipe) -> dict[str, float | None]:
    """Surprisals by sign, their imbalance and drift, KL estimates to the behaviour policy, coefficients, boundaries.

    `nll_pos`, `nll_neg`: S-bar_P, S-bar_N (ASymPO Theorem 3), `nll_ratio` their ratio (R_naive, Theorem 4), `imbalance`
    sum_g A_g S_g per response (Eq. 3, divided by the number of responses). `drift_*`: |A|-weighted d_g = S_theta - S_b.
    `kl_k1`, `kl_k3`: token means of estimators of KL(behaviour || current). None where a sign is absent.
    """
    mask_BT, advantage_B = batch.mask_BT, batch.advantage_B
    surprisal_B = response_mean(-batch.logp_BT, mask_BT)
    drift_B = surprisal_B - response_mean(-batch.behaviour_logp_BT, mask_BT)
    nll_pos, nll_neg = (x.item() for x in signed_surprisal(advantage_B, surprisal_B))
    drift_pos, drift_neg = (x.item() for x in signed_surprisal(advantage_B, drift_B))
    log_ratio_M = (batch.logp_BT - batch.behaviour_logp_BT)[mask_BT]
    below, above = (x.item() for x in boundary_fractions(batch, P_LOW, P_HIGH))
    metrics = {
        "reward": batch.reward_B.mean().item(),
        "mixed": mixed_share(batch.reward_B, batch.group_B),
        "response_length": mask_BT.sum(1).float().mean().item(),
        "nll_pos": nll_pos,
        "nll_neg": nll_neg,
        "nll_ratio": nll_neg / nll_pos if nll_pos > SMALL_NLL else math.nan,
        "imbalance": (advantage_B * surprisal_B).mean().item(),
        "drift_pos": drift_pos,
        "drift_neg": drift_neg,
        "kl_k1": -log_ratio_M.mean().item(),
        "kl_k3": (log_ratio_M.clamp(max=20).expm1() - log_ratio_M).mean().item(),
        "frac_below_low": below,
        "frac_above_high": above,
    }
    objective = recipe.objective
    if isinstance(objective, Naive):
        coefficient_B = objective.coefficients(batch)[advantage_B != 0]
        if len(coefficient_B):
            metrics |= {"coef_mean": coefficient_B.mean().item(), "coef_max": coefficient_B.max().item()}
    if isinstance(objective, GRPO):
        metrics["clip_fraction"] = objective.clip_fraction(batch).item()
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}
