"""What verl finds under our names equals our own functions, and verl's where both have the same."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: it needs an environment of its own (the extra verl)")

from verl.trainer.ppo import core_algos  # noqa: E402
from verl.workers.config import ActorConfig  # noqa: E402

from repro.algorithms.batch import BehaviourBatch, aggregate  # noqa: E402
from repro.algorithms.grpo import GRPO  # noqa: E402
from repro.errors import ReproError  # noqa: E402
from repro.verl.registered import ADVANTAGES, LOSSES  # noqa: E402
from tests.algorithms.batches import random_batch  # noqa: E402

pytestmark = pytest.mark.oracle
AGGREGATIONS = {"token": "token-mean", "response": "seq-mean-token-mean"}
WHOLE = SimpleNamespace(global_batch_info={})  # a batch that is not split


def filled(seed, padding=0.0):
    """A random batch without an empty response: verl's response mean leaves it out, ours counts it."""
    batch = random_batch(seed, padding=padding, drift=0.8)
    mask_BT = batch.mask_BT.clone()
    mask_BT[~mask_BT.any(1), 0] = True
    if padding:  # a token that now counts needs log-probabilities
        known = {name: getattr(batch, name).nan_to_num(-0.7) for name in ("behaviour_logp_BT", "proximal_logp_BT")}
        logp_BT = batch.logp_BT.detach()
        logp_BT = torch.where(mask_BT & logp_BT.isnan(), -0.7, logp_BT).requires_grad_()
        return BehaviourBatch(**{**vars(batch), **known, "logp_BT": logp_BT, "mask_BT": mask_BT})
    return BehaviourBatch(**{**vars(batch), "mask_BT": mask_BT})


def called(name, batch, mode, rows=slice(None), config=WHOLE, **others):
    advantage_BT = batch.advantage_B[:, None] * batch.mask_BT
    loss, metrics = core_algos.get_policy_loss_fn(name)(
        old_log_prob=batch.behaviour_logp_BT[rows],
        log_prob=batch.logp_BT[rows],
        advantages=advantage_BT[rows],
        response_mask=batch.mask_BT[rows],
        loss_agg_mode=mode,
        config=config,
        **others,
    )
    return loss, metrics


def assert_same(one, other, logp_BT):
    assert one.item() == pytest.approx(other.item(), rel=1e-5, abs=1e-7)
    slopes = [torch.autograd.grad(loss, logp_BT, retain_graph=True)[0] for loss in (one, other)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-7)
    assert slopes[0].abs().max() > 1e-4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("padding", [0.0, float("nan")])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_ours(name, aggregation, padding, seed):
    batch = filled(seed, padding)
    theirs, metrics = called(name, batch, AGGREGATIONS[aggregation])
    ours = aggregate(LOSSES[name].loss_BT(batch), batch.mask_BT, aggregation)
    assert_same(ours, theirs, batch.logp_BT)
    assert metrics["actor/surprisal"] > 0


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_micro_batches_of_two_workers_sum_to_the_whole(name, aggregation):
    """verl averages gradients over workers, hence dp_size 2 and the half."""
    batch = filled(1)
    tokens, responses = int(batch.mask_BT.sum()), len(batch.mask_BT)
    config = SimpleNamespace(
        global_batch_info={"dp_size": 2, "batch_num_tokens": tokens, "global_batch_size": responses}
    )
    cuts = [slice(0, 4), slice(4, 9), slice(9, 10), slice(10, None)]
    parts = sum(called(name, batch, AGGREGATIONS[aggregation], rows, config)[0] for rows in cuts) / 2
    assert_same(aggregate(LOSSES[name].loss_BT(batch), batch.mask_BT, aggregation), parts, batch.logp_BT)


def test_rows_of_nothing_but_padding_weigh_nothing():
    """verl fills a step up with rows without tokens; a micro-batch may hold no others."""
    batch = random_batch(0)
    empty = (~batch.mask_BT.any(1)).nonzero()[:, 0]
    assert len(empty) > 0
    loss, metrics = called("repro_asympo", batch, "token-mean", empty, SimpleNamespace(
        global_batch_info={"dp_size": 1, "batch_num_tokens": 10, "global_batch_size": 4}))  # fmt: skip
    assert loss.item() == 0 and metrics == {}
    assert not torch.autograd.grad(loss, batch.logp_BT)[0].any()


@pytest.mark.parametrize("mode", AGGREGATIONS.values())
@pytest.mark.parametrize("name", ["repro_grpo", "repro_smepo_loss"])
def test_clipped_losses_are_verls(name, mode):
    batch, grpo = filled(2), LOSSES[name]
    assert isinstance(grpo, GRPO)
    clip = dict(clip_ratio_low=grpo.eps_low, clip_ratio_high=grpo.eps_high, clip_ratio_c=grpo.dual_clip)
    config = ActorConfig(strategy="fsdp", rollout_n=1, use_dynamic_bsz=True, **clip)
    theirs, metrics = called("vanilla", batch, mode, config=config)
    ours, mine = called(name, batch, mode)
    assert_same(ours, theirs, batch.logp_BT)
    clipped = metrics["actor/pg_clipfrac"] + metrics["actor/pg_clipfrac_lower"]
    if grpo.eps_low:  # with a band that ends at 1 verl counts what lies on its edge by another rule
        assert mine["actor/pg_clipfrac"] == pytest.approx(clipped, abs=1e-6)


def test_naive_is_verls_gpg():
    batch = filled(3)
    theirs, _ = called("gpg", batch, "token-mean")
    assert_same(called("repro_naive", batch, "token-mean")[0], theirs, batch.logp_BT)


def test_importance_weights():
    batch = filled(4)
    weight_BT = torch.rand(batch.mask_BT.shape, generator=torch.Generator().manual_seed(0)).double() + 0.5
    config = ActorConfig(strategy="fsdp", rollout_n=1, use_dynamic_bsz=True)
    theirs, _ = called("vanilla", batch, "token-mean", config=config, rollout_is_weights=weight_BT)
    ours, _ = called("repro_grpo", batch, "token-mean", rollout_is_weights=weight_BT)
    assert_same(ours, theirs, batch.logp_BT)
    with pytest.raises(ReproError, match="ASymPO takes no importance weights.*rollout_is"):
        called("repro_asympo", batch, "token-mean", rollout_is_weights=weight_BT)


def test_advantages_that_differ_within_a_response_are_refused():
    batch = filled(5)
    advantage_BT = torch.arange(batch.mask_BT.numel()).reshape(batch.mask_BT.shape).double()
    with pytest.raises(ReproError, match="one advantage for each response.*repro_mean"):
        core_algos.get_policy_loss_fn("repro_spo")(
            batch.behaviour_logp_BT, batch.logp_BT, advantage_BT, batch.mask_BT, "token-mean", WHOLE
        )


def rewards(batch):
    """verl puts a response's reward on one of its tokens."""
    last_BT = batch.mask_BT & (batch.mask_BT.flip(1).cumsum(1).flip(1) == 1)
    return batch.reward_B[:, None] * last_BT


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ADVANTAGES)
def test_advantages_are_ours(name, seed):
    batch = filled(seed)
    index = np.array([f"prompt-{g}" for g in batch.group_B.tolist()], dtype=object)
    mask_BT = batch.mask_BT.long()
    advantage_BT, returns_BT = core_algos.get_adv_estimator_fn(name)(
        token_level_rewards=rewards(batch), response_mask=mask_BT, config=None, index=index
    )
    ours_B = ADVANTAGES[name].advantage_B(batch.reward_B, batch.group_B)
    torch.testing.assert_close(advantage_BT, ours_B[:, None] * mask_BT, rtol=1e-6, atol=1e-8)
    assert torch.equal(advantage_BT, returns_BT)
    alone_B = batch.group_B == 5  # the group of one
    assert alone_B.sum() == 1 and not advantage_BT[alone_B].any()
    if name != "repro_population":  # verl divides by n - 1 or not at all
        theirs_BT, _ = core_algos.compute_grpo_outcome_advantage(
            rewards(batch), mask_BT, index, norm_adv_by_std_in_grpo=name == "repro_std"
        )
        torch.testing.assert_close(advantage_BT[~alone_B], theirs_BT[~alone_B], rtol=1e-5, atol=1e-6)


def test_given_advantages_pass_through():
    mask_BT = torch.tensor([[1, 1, 0], [1, 0, 0]])
    reward_BT = torch.tensor([[0.0, -0.25, 0.0], [0.5, 0.0, 0.0]])
    advantage_BT, _ = core_algos.get_adv_estimator_fn("repro_given")(reward_BT, mask_BT)
    assert advantage_BT.tolist() == [[-0.25, -0.25, 0.0], [0.5, 0.0, 0.0]]
