"""Gradients against finite differences, down to the logits of a toy softmax policy."""

from dataclasses import replace

import pytest
import torch

from repro.algorithms.asympo import SPO, ASymPO, BehaviourASymPO, Naive
from repro.algorithms.batch import aggregate
from repro.algorithms.credit import GroupCredit
from repro.algorithms.grpo import GRPO
from repro.algorithms.offpolicy import M2PO, MIS, OPMD, TIS, DecoupledPPO, SequenceMaskedGRPO
from repro.algorithms.reinforce import GPG, AsymRE, OPMDSimple
from tests.algorithms.batches import behaviour_free, random_batch, select, view

V = 5


def toy():
    """Logits (B, T, V) of a toy policy and a batch of tokens sampled from another one."""
    g = torch.Generator().manual_seed(0)
    batch = select(random_batch(10), torch.arange(6))
    batch = replace(batch, advantage_B=GroupCredit().advantage_B(batch.reward_B, batch.group_B))
    B, T = batch.mask_BT.shape
    token_BT = torch.randint(0, V, (B, T), generator=g)
    behaviour_BTV = torch.randn(B, T, V, generator=g, dtype=torch.float64)

    def logp(logits_BTV):
        return logits_BTV.log_softmax(-1).gather(-1, token_BT[..., None])[..., 0]

    logits_BTV = behaviour_BTV + 0.4 * torch.randn(B, T, V, generator=g, dtype=torch.float64)
    proximal_BTV = logits_BTV + 0.1 * torch.randn(B, T, V, generator=g, dtype=torch.float64)
    batch = replace(batch, behaviour_logp_BT=logp(behaviour_BTV), proximal_logp_BT=logp(proximal_BTV))
    return logits_BTV.requires_grad_(), logp, batch


WITHOUT_STOP_GRADIENT = [
    Naive(), Naive(p_low=0.2, p_high=0.6), SPO(), GPG(), AsymRE(), OPMDSimple(), BehaviourASymPO(),
    GRPO(), DecoupledPPO(), TIS(), MIS(), M2PO(tau=0.02), OPMD(), SequenceMaskedGRPO(delta=0.1),
]  # fmt: skip


@pytest.mark.parametrize("objective", WITHOUT_STOP_GRADIENT, ids=map(repr, WITHOUT_STOP_GRADIENT))
def test_finite_differences(objective):
    logits_BTV, logp, batch = toy()

    def loss(logits):
        moved = replace(batch, logp_BT=logp(logits))
        return aggregate(objective.loss_BT(view(objective, moved)), batch.mask_BT, objective.aggregation)

    assert torch.autograd.gradcheck(loss, logits_BTV, eps=1e-6, atol=1e-7, rtol=1e-4, fast_mode=False)


def test_finite_differences_of_asympo():
    """Its value is constant, so the difference quotient is taken of (1/G) sum A log S."""
    logits_BTV, logp, batch = toy()

    def log_surprisal(logits):
        nll = -logp(logits)
        return sum(
            batch.advantage_B[g] * nll[g][batch.mask_BT[g]].mean().log()
            for g in range(len(nll))
            if batch.mask_BT[g].any()
        ) / len(nll)

    moved = replace(batch, logp_BT=logp(logits_BTV))
    loss = aggregate(ASymPO().loss_BT(behaviour_free(moved)), batch.mask_BT, "response")
    ours = torch.autograd.grad(loss, logits_BTV)[0].flatten()
    with torch.no_grad():
        for k in torch.arange(0, ours.numel(), 7).tolist():
            step = torch.zeros_like(ours)
            step[k] = 1e-6
            step = step.view_as(logits_BTV)
            quotient = (log_surprisal(logits_BTV + step) - log_surprisal(logits_BTV - step)) / 2e-6
            assert ours[k].item() == pytest.approx(quotient.item(), rel=1e-4, abs=1e-8)
    assert ours.abs().max() > 1e-3
