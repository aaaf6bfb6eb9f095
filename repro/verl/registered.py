"""Advantage estimators and policy losses in verl's registries: `repro_<name>`, the names of `ALGORITHMS`.

    algorithm.adv_estimator=repro_mean  actor_rollout_ref.actor.policy_loss.loss_mode=repro_asympo

verl gives a loss micro-batches, so only losses of which each response's part depends on that response alone are here;
the controls that look at the group or the batch (`ShuffledASymPO`, `BatchScaled`) are not. What has settings takes them
from `ALGORITHMS`: verl's own (`clip_ratio`, ...) are not read, but for `loss_agg_mode`. The papers' mean over
responses is "seq-mean-token-mean"; verl's default is "token-mean".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from verl.trainer.ppo.core_algos import agg_loss, register_adv_est, register_policy_loss

from repro.algorithms import ALGORITHMS, Objective
from repro.algorithms.batch import BehaviourBatch, CurrentPolicyBatch, masked, response_mean
from repro.algorithms.credit import GroupCredit
from repro.errors import ReproError

ADVANTAGES = {
    "repro_mean": GroupCredit(),  # ASymPO Eq. 1
    "repro_std": GroupCredit("std"),  # GRPO; SMEPO
    "repro_population": GroupCredit("population"),  # sGPO Eq. 5
}
LOSSES: dict[str, Objective] = {
    f"repro_{name}": ALGORITHMS[name].objective
    for name in (
        "naive", "spo", "positive_only", "asympo", "asympo_stable", "asympo_floor", "asympo_negative",
        "asympo_positive", "naive_p_low", "grpo", "dapo_loss", "smepo_loss",
    )
}  # fmt: skip


def advantages(credit: GroupCredit) -> Callable[..., tuple[Tensor, Tensor]]:
    """An estimator for verl: rewards (B, T) and the prompt of each response to advantages and returns, (B, T) both.

    Unlike verl's own, a response without a peer gets 0 and not its raw reward.
    """

    def estimate(
        token_level_rewards: Tensor, response_mask: Tensor, index: Sequence[Any], config: Any = None, **_: Any
    ) -> tuple[Tensor, Tensor]:
        group_B = torch.from_numpy(np.unique(index, return_inverse=True)[1]).to(token_level_rewards.device)
        advantage_B = credit.advantage_B(token_level_rewards.sum(1), group_B)
        advantage_BT = advantage_B[:, None] * response_mask
        return advantage_BT, advantage_BT

    return estimate


def given_advantages(
    token_level_rewards: Tensor, response_mask: Tensor, config: Any = None, **_: Any
) -> tuple[Tensor, Tensor]:
    """The reward as the advantage, (B, T) twice: where exploration has compared already (3SPO)."""
    advantage_BT = token_level_rewards.sum(1, keepdim=True) * response_mask
    return advantage_BT, advantage_BT


def response_advantage(advantage_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The one advantage of each response, (B,); 0 without tokens. ReproError if its tokens have several."""
    advantage_B = masked(advantage_BT, mask_BT).gather(1, mask_BT.int().argmax(1, keepdim=True))[:, 0]
    if not torch.equal(masked(advantage_BT, mask_BT), masked(advantage_B[:, None].expand_as(advantage_BT), mask_BT)):
        raise ReproError(
            "these losses take one advantage for each response, and the estimator gave its tokens several: choose "
            f"algorithm.adv_estimator from {', '.join(ADVANTAGES)}, or one of verl's for groups of responses"
        )
    return advantage_B


def policy_loss(objective: Objective) -> Callable[..., tuple[Tensor, dict[str, Any]]]:
    """A loss for verl: log-probs, advantages and mask, all (B, T), to a scalar with gradient, and metrics."""

    def loss(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        mask_BT = response_mask.bool()
        advantage_B = response_advantage(advantages, mask_BT)
        unseen_B = torch.full_like(advantage_B, torch.nan)  # no loss here reads rewards or groups: NaN would show it
        batch = CurrentPolicyBatch(log_prob, mask_BT, advantage_B, reward_B=unseen_B, group_B=unseen_B)
        if objective.reads_behaviour:
            batch = BehaviourBatch(**vars(batch), behaviour_logp_BT=old_log_prob, proximal_logp_BT=old_log_prob)
        elif rollout_is_weights is not None:
            raise ReproError(
                f"{type(objective).__name__} takes no importance weights: set algorithm.rollout_correction.rollout_is "
                "to null"
            )
        loss_BT = masked(objective.loss_BT(batch), mask_BT)
        if rollout_is_weights is not None:
            loss_BT = loss_BT * rollout_is_weights
        total = agg_loss(loss_BT, response_mask, loss_agg_mode, **config.global_batch_info)
        return total, metrics(objective, batch)

    return loss


@torch.no_grad()
def metrics(objective: Objective, batch: CurrentPolicyBatch) -> dict[str, float]:
    """Mean surprisal of the responses that have tokens and, where the objective clips a ratio, the share clipped."""
    present_B = batch.mask_BT.any(1)
    if not present_B.any():  # a micro-batch of nothing but verl's padding
        return {}
    surprisal = response_mean(-batch.logp_BT, batch.mask_BT)[present_B].mean()
    clipped = {"actor/pg_clipfrac": objective.clip_fraction(batch).item()} if objective.reads_behaviour else {}
    return {"actor/surprisal": surprisal.item()} | clipped


for _name, _credit in ADVANTAGES.items():
    register_adv_est(_name)(advantages(_credit))
register_adv_est("repro_given")(given_advantages)
for _name, _objective in LOSSES.items():
    register_policy_loss(_name)(policy_loss(_objective))
