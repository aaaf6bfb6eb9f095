"""Off-policy baselines by hand, on responses whose ratios are chosen."""

import math
from dataclasses import replace

import pytest
import torch

from repro.algorithms.batch import aggregate
from repro.algorithms.grpo import GRPO
from repro.algorithms.offpolicy import (
    CISPO,
    GSPO,
    M2PO,
    MIS,
    OPMD,
    TIS,
    TOPR,
    DecoupledPPO,
    SequenceMaskedGRPO,
    largest_within,
)
from repro.algorithms.reinforce import weighted_nll
from tests.algorithms.batches import make_batch, random_batch

LOG = math.log


def batch_of(ratio, advantage, proximal_ratio=None, nll=3.0):
    """Tokens with pi_b = e^-nll and the given pi_theta / pi_b; pi_prox / pi_b is the same unless given."""
    proximal_ratio = ratio if proximal_ratio is None else proximal_ratio

    def rows(ratios):
        return [[-nll + LOG(w) for w in row] for row in ratios]

    return make_batch(
        logp=rows(ratio),
        behaviour=[[-nll] * len(row) for row in ratio],
        proximal=rows(proximal_ratio),
        advantage=advantage,
        reward=advantage,
        group=[0] * len(ratio),
    )


def check(objective, batch, expected):
    width = batch.logp_BT.shape[1]
    rows = [row + [0.0] * (width - len(row)) for row in expected]
    loss_BT = objective.loss_BT(batch).masked_fill(~batch.mask_BT, 0.0)
    torch.testing.assert_close(loss_BT, torch.tensor(rows, dtype=torch.float64))


def slope(objective, batch):
    loss_BT = objective.loss_BT(batch).masked_fill(~batch.mask_BT, 0.0)
    return torch.autograd.grad(loss_BT.sum(), batch.logp_BT)[0]


def test_decoupled_ppo_by_hand():
    # v = pi_prox / pi_b = 2, 3; pi_theta / pi_prox = 2/2 = 1 and 4.5/3 = 1.5, which A = 1 clips to 1.2.
    # Losses: -2 * 1 and -3 * 1.2. Response 1, A = -1: v = 0.5, ratio 0.4/0.5 = 0.8: 0.5 * 0.8.
    batch = batch_of([[2.0, 4.5], [0.4]], [1.0, -1.0], proximal_ratio=[[2.0, 3.0], [0.5]])
    check(DecoupledPPO(), batch, [[-2.0, -3.6], [0.4]])
    # Slopes: -v ratio A where kept; zero where clipped; v is a constant.
    torch.testing.assert_close(slope(DecoupledPPO(), batch), torch.tensor([[-2.0, 0.0], [0.4, 0.0]]).double())


def test_tis_by_hand():
    # One step, pi_theta = pi_prox: the surrogate is -A. Weights 3, 0.5 | 1.5, truncated at 2.
    batch = batch_of([[3.0, 0.5], [1.5]], [1.0, -1.0])
    check(TIS(), batch, [[-2.0, -0.5], [1.5]])
    # Sequence weights: 3 * 0.5 = 1.5 for both tokens, 1.5; with cap 1.2: 1.2, 1.2.
    check(TIS(level="sequence"), batch, [[-1.5, -1.5], [1.5]])
    check(TIS(level="sequence", cap=1.2), batch, [[-1.2, -1.2], [1.2]])


def test_mis_by_hand():
    # Weights 6, 0.5 | 0.4, 5: outside [0.5, 5] they are dropped, the bounds themselves stay.
    batch = batch_of([[6.0, 0.5001], [0.4, 4.999]], [1.0, -1.0])
    check(MIS(), batch, [[0.0, -0.5001], [0.0, 4.999]])
    assert slope(MIS(), batch)[0, 0].item() == 0.0
    # Sequence weights 6 * 0.5001 = 3.0006 and 0.4 * 4.999 = 1.9996; [2, 5] keeps the first alone.
    check(MIS(level="sequence", low=2.0), batch, [[-3.0006, -3.0006], [0.0, 0.0]])


def test_the_three_agree_without_bounds_and_equal_grpo_on_policy():
    batch = random_batch(0)
    plain = DecoupledPPO(dual_clip=3.0).loss_BT(batch)
    assert torch.equal(plain, TIS(cap=math.inf).loss_BT(batch))
    assert torch.equal(plain, MIS(low=0.0, high=math.inf).loss_BT(batch))
    fresh = replace(batch, proximal_logp_BT=batch.behaviour_logp_BT)
    torch.testing.assert_close(TIS().loss_BT(fresh), GRPO().loss_BT(fresh))


def test_cispo_by_hand():
    # w = 6 is cut to 5: -5 * 1 * logp with logp = -3 + log 6; w = 0.5 stays.
    batch = batch_of([[6.0], [0.5]], [1.0, -1.0])
    check(CISPO(), batch, [[5 * (3 - LOG(6))], [-0.5 * (3 - LOG(0.5))]])
    # Every token keeps its gradient, -weight A; the weight is constant.
    torch.testing.assert_close(slope(CISPO(), batch), torch.tensor([[-5.0], [0.5]]).double())
    verl_bounds = CISPO(weight_low=0.8, weight_high=1.2)
    torch.testing.assert_close(slope(verl_bounds, batch), torch.tensor([[-1.2], [0.8]]).double())


def test_gspo_by_hand():
    # s = sqrt(w1 w2). Response 0: sqrt(1.21) = 1.1, A = 1, clipped to 1.05. Response 1: sqrt(4 * 0.25) = 1,
    # A = -1: kept although both tokens moved far.
    batch = batch_of([[1.21, 1.0], [4.0, 0.25]], [1.0, -1.0])
    wide = GSPO(eps_low=0.05, eps_high=0.05)
    check(wide, batch, [[-1.05, -1.05], [1.0, 1.0]])
    # ds/dlogp_i = s / m in the mean; per token the loss has slope -s A on its own log-prob.
    torch.testing.assert_close(slope(wide, batch), torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double())
    # With the paper's narrow band, 1 + 4e-4.
    check(GSPO(), batch, [[-1.0004, -1.0004], [1.0, 1.0]])


@pytest.mark.parametrize("seed", range(3))
def test_gspo_gradient_is_that_of_the_sequence_ratio(seed):
    """p / sg(p) under the response mean gives the gradient of the length-normalised ratio itself."""
    batch = random_batch(seed)
    wide = GSPO(eps_low=0.99, eps_high=99.0)
    ours = torch.autograd.grad(aggregate(wide.loss_BT(batch), batch.mask_BT, "response"), batch.logp_BT)[0]
    loss = 0.0
    for g in range(len(batch.group_B)):
        tokens = batch.mask_BT[g]
        if tokens.any():
            ratio = (batch.logp_BT[g][tokens] - batch.behaviour_logp_BT[g][tokens]).mean().exp()
            loss = loss - batch.advantage_B[g] * ratio / len(batch.group_B)
    theirs = torch.autograd.grad(loss, batch.logp_BT)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_largest_within_by_hand():
    # Ascending 1, 2, 9, 20: means 1, 1.5, 4, 8. At most 4: three of them, the bound included.
    moments = torch.tensor([20.0, 1.0, 9.0, 2.0])
    assert largest_within(moments, 4.0).tolist() == [False, True, True, True]
    assert largest_within(moments, 2.0).tolist() == [False, True, False, True]
    assert largest_within(moments, 0.5).tolist() == [False] * 4
    assert largest_within(moments, 8.0).tolist() == [True] * 4
    assert largest_within(moments[:0], 1.0).tolist() == []


def test_m2po_by_hand():
    # log w = 0.1, 0.3, -0.5 (A = 1) | -0.2, 0.6 (A = -1).
    # Tested (A log w > 0): 0.1, 0.3, -0.2 with squares 0.01, 0.09, 0.04, mean 0.14 / 3 = 0.0467 > 0.04;
    # without the largest 0.05 / 2 = 0.025: only the token at 0.3 is dropped.
    log_w = [[0.1, 0.3, -0.5], [-0.2, 0.6]]
    batch = batch_of([[math.exp(x) for x in row] for row in log_w], [1.0, -1.0])
    w = [[math.exp(x) for x in row] for row in log_w]
    check(M2PO(), batch, [[-w[0][0], 0.0, -w[0][2]], [w[1][0], w[1][1]]])
    assert slope(M2PO(), batch)[0, 1].item() == 0.0
    # Mean over all five tokens, the dropped one included.
    total = aggregate(M2PO().loss_BT(batch), batch.mask_BT, M2PO().aggregation)
    assert total.item() == pytest.approx((-w[0][0] - w[0][2] + w[1][0] + w[1][1]) / 5)
    # Reading "all": squares 0.01, 0.04, 0.09, 0.25, 0.36: means 0.01, 0.025, 0.0467: two tokens stay.
    check(M2PO(reading="all"), batch, [[-w[0][0], 0.0, 0.0], [w[1][0], 0.0]])
    # ... and it is the proximal policy that is tested, not theta: with pi_prox = pi_b everything stays.
    fresh = replace(batch, proximal_logp_BT=batch.behaviour_logp_BT)
    check(M2PO(reading="all"), fresh, [[-x for x in w[0]], w[1]])


def test_m2po_unknown_reading_is_refused():
    with pytest.raises(ValueError, match="M2PO.reading is 'none'"):
        M2PO(reading="none")


def test_topr_by_hand():
    # Positives weigh 1 whatever w. Negatives: w_seq = 0.5 * 0.5 = 0.25; and 4 * 0.5 = 2, clipped to 1.
    batch = batch_of([[9.0], [0.5, 0.5], [4.0, 0.5]], [1.0, -0.5, -0.5])
    torch.testing.assert_close(slope(TOPR(), batch), torch.tensor([[-1.0, 0.0], [0.125, 0.125], [0.5, 0.5]]).double())
    nll = [[3 - LOG(9)], [3 - LOG(0.5)] * 2, [3 - LOG(4), 3 - LOG(0.5)]]
    expected = [[nll[0][0]], [-0.125 * x for x in nll[1]], [-0.5 * x for x in nll[2]]]
    check(TOPR(), batch, expected)
    # Length-normalised: sqrt(0.25) = 0.5, sqrt(2) -> 1. Per token: 0.5, 0.5 | 1, 0.5.
    geometric, token = slope(TOPR(level="geometric"), batch), slope(TOPR(level="token"), batch)
    torch.testing.assert_close(geometric[1:], torch.tensor([[0.25, 0.25], [0.5, 0.5]]).double())
    torch.testing.assert_close(token[1:], torch.tensor([[0.25, 0.25], [0.5, 0.25]]).double())


def test_opmd_by_hand():
    # Response 0: log w = 0.2, 0.4, sum 0.6; penalty (1/2) 0.36 = 0.18, 0.09 a token. Response 1: -0.3: 0.045.
    batch = batch_of([[math.exp(0.2), math.exp(0.4)], [math.exp(-0.3)]], [1.0, -1.0])
    check(OPMD(), batch, [[3 - 0.2 + 0.09, 3 - 0.4 + 0.09], [-(3 + 0.3) + 0.045]])
    # Slope of the sum over tokens, -A + tau log w_seq: -1 + 0.6 on both tokens; 1 - 0.3.
    torch.testing.assert_close(slope(OPMD(), batch), torch.tensor([[-0.4, -0.4], [0.7, 0.0]]).double())
    torch.testing.assert_close(slope(OPMD(tau=0.5), batch), torch.tensor([[-0.7, -0.7], [0.85, 0.0]]).double())
    no_penalty = OPMD(tau=0.0).loss_BT(batch)
    assert torch.equal(no_penalty, weighted_nll(batch.advantage_B, batch))


def test_sequence_mask_by_hand():
    # Mean log pi_b / pi_theta. Response 0 (A > 0): 0.9, kept. Response 1 (A < 0): (0.9 + 0.3)/2 = 0.6 > 0.5,
    # dropped. Response 2 (A < 0): 0.4, kept: w = e^-0.4 = 0.67 is below 0.8, loss 0.8 (clipped).
    ratio = [[math.exp(-0.9)], [math.exp(-0.9), math.exp(-0.3)], [math.exp(-0.4)]]
    batch = batch_of(ratio, [2.0, -1.0, -1.0])
    check(SequenceMaskedGRPO(), batch, [[-2 * math.exp(-0.9)], [0.0, 0.0], [0.8]])
    assert (slope(SequenceMaskedGRPO(), batch)[1] == 0).all()
    assert torch.equal(SequenceMaskedGRPO(delta=9.0).loss_BT(batch), GRPO().loss_BT(batch))
