"""Advantages and losses against verl's own functions (optional; not part of the pinned environment)."""

import pytest
import torch

verl = pytest.importorskip("verl", reason="verl is not installed: it needs an environment of its own")

from verl.trainer.ppo import core_algos, rollout_corr_helper  # noqa: E402
from verl.workers.config import ActorConfig  # noqa: E402

from repro.algorithms.asympo import Naive  # noqa: E402
from repro.algorithms.batch import aggregate  # noqa: E402
from repro.algorithms.credit import GroupCredit  # noqa: E402
from repro.algorithms.grpo import GRPO  # noqa: E402
from repro.algorithms.offpolicy import CISPO, GSPO, MIS, TIS  # noqa: E402
from repro.algorithms.reinforce import GPG  # noqa: E402
from tests.algorithms.batches import random_batch  # noqa: E402

pytestmark = pytest.mark.oracle

AGGREGATIONS = {"token": "token-mean", "response": "seq-mean-token-mean"}


def filled(seed):
    """A random batch without an empty response: verl's response mean leaves it out, ours counts it."""
    batch = random_batch(seed, drift=0.8)
    mask_BT = batch.mask_BT.clone()
    mask_BT[~mask_BT.any(1), 0] = True
    return type(batch)(**{**vars(batch), "mask_BT": mask_BT})


def config(**settings):
    return ActorConfig(strategy="fsdp", rollout_n=1, use_dynamic_bsz=True, **settings)


def token_advantage(batch):
    return batch.advantage_B[:, None] * batch.mask_BT


def assert_same(ours_BT, batch, aggregation, theirs):
    ours = aggregate(ours_BT, batch.mask_BT, aggregation)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5, abs=1e-7)
    slopes = [torch.autograd.grad(loss, batch.logp_BT)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-7)
    assert slopes[0].abs().max() > 1e-3


def rewards(batch):
    """verl takes token-level rewards: the response's reward on its first generated token."""
    first_BT = batch.mask_BT & (batch.mask_BT.cumsum(1) == 1)
    return batch.reward_B[:, None] * first_BT


def compared(batch):
    """Responses with a peer: to a group of one verl leaves the raw reward, which is relative to nothing."""
    return torch.tensor([(batch.group_B == g).sum() > 1 for g in batch.group_B])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", ["none", "std"])
def test_grpo_advantages(seed, scale):
    batch = filled(seed)
    theirs, _ = core_algos.compute_grpo_outcome_advantage(
        rewards(batch), batch.mask_BT.double(), batch.group_B.numpy(), norm_adv_by_std_in_grpo=scale == "std"
    )
    ours = GroupCredit(scale=scale).advantage_B(batch.reward_B, batch.group_B)
    keep = compared(batch)
    torch.testing.assert_close((ours[:, None] * batch.mask_BT)[keep], theirs[keep], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_gpg(seed, aggregation):
    batch = filled(seed)
    theirs, _ = core_algos.compute_gpg_outcome_advantage(rewards(batch), batch.mask_BT.double(), batch.group_B.numpy())
    ours = GPG().alpha(batch) * batch.advantage_B
    keep = compared(batch)
    torch.testing.assert_close((ours[:, None] * batch.mask_BT)[keep], theirs[keep], rtol=1e-5, atol=1e-6)
    theirs, _ = core_algos.compute_policy_loss_gpg(
        None, batch.logp_BT, ours[:, None] * batch.mask_BT, batch.mask_BT, AGGREGATIONS[aggregation], config()
    )
    assert_same(GPG().loss_BT(batch), batch, aggregation, theirs)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize(
    "grpo", [GRPO(), GRPO(eps_low=0.1, eps_high=0.28, dual_clip=1.5)], ids=["default", "asymmetric"]
)
def test_grpo_loss(seed, aggregation, grpo):
    batch = filled(seed)
    theirs, metrics = core_algos.compute_policy_loss_vanilla(
        batch.behaviour_logp_BT,
        batch.logp_BT,
        token_advantage(batch),
        batch.mask_BT,
        AGGREGATIONS[aggregation],
        config(clip_ratio_low=grpo.eps_low, clip_ratio_high=grpo.eps_high, clip_ratio_c=grpo.dual_clip),
    )
    assert_same(grpo.loss_BT(batch), batch, aggregation, theirs)
    clipped = metrics["actor/pg_clipfrac"] + metrics["actor/pg_clipfrac_lower"]
    assert clipped > 0
    assert grpo.clip_fraction(batch).item() == pytest.approx(clipped, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_gspo_and_cispo(seed, aggregation):
    batch = filled(seed)
    arguments = batch.behaviour_logp_BT, batch.logp_BT, token_advantage(batch), batch.mask_BT
    band = config(clip_ratio_low=0.1, clip_ratio_high=0.2)
    theirs, _ = core_algos.compute_policy_loss_gspo(*arguments, AGGREGATIONS[aggregation], band)
    assert_same(GSPO(eps_low=0.1, eps_high=0.2).loss_BT(batch), batch, aggregation, theirs)
    theirs, _ = core_algos.compute_policy_loss_cispo(*arguments, AGGREGATIONS[aggregation], band)
    assert_same(CISPO(weight_low=0.9, weight_high=1.2).loss_BT(batch), batch, aggregation, theirs)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("kind", ["tis", "mis"])
def test_rollout_correction(seed, level, kind):
    """verl weighs the surrogate around pi_prox by a bounded pi_prox / pi_b: truncated, or "lower_upper"."""
    batch = filled(seed)
    weight_BT, _ = rollout_corr_helper.compute_rollout_correction_weights(
        batch.proximal_logp_BT - batch.behaviour_logp_BT,
        batch.mask_BT.double(),
        rollout_is=level,
        rollout_is_threshold=1.5 if kind == "tis" else "0.7_1.5",
    )
    theirs, _ = core_algos.compute_policy_loss_vanilla(
        batch.proximal_logp_BT,
        batch.logp_BT,
        token_advantage(batch),
        batch.mask_BT,
        "token-mean",
        config(),
        rollout_is_weights=weight_BT,
    )
    ours = TIS(level=level, cap=1.5) if kind == "tis" else MIS(level=level, low=0.7, high=1.5)
    assert_same(ours.loss_BT(batch), batch, "token", theirs)


@pytest.mark.parametrize("seed", range(3))
def test_naive_is_their_reinforce(seed):
    batch = filled(seed)
    theirs, _ = core_algos.compute_policy_loss_reinforce(
        batch.behaviour_logp_BT, batch.logp_BT, token_advantage(batch), batch.mask_BT, "token-mean", config()
    )
    assert_same(Naive().loss_BT(batch), batch, "token", theirs)
