"""ASymPO and SPO: the paper's equations by hand, its theorems, and the identities that follow from them."""

import math
from dataclasses import replace

import pytest
import torch

from repro.algorithms.asympo import (
    SPO,
    ASymPO,
    BatchScaled,
    BehaviourASymPO,
    Naive,
    ShuffledASymPO,
    boundary_fractions,
    signed_surprisal,
)
from repro.algorithms.batch import aggregate, response_mean
from tests.algorithms.batches import behaviour_free, make_batch, random_batch


def total(objective, batch):
    return aggregate(objective.loss_BT(batch), batch.mask_BT, objective.aggregation)


def gradient(objective, batch):
    return torch.autograd.grad(total(objective, batch), batch.logp_BT)[0]


def by_hand():
    """One group. Response 0: A = 2/3, NLL 1, 3 (S = 2). Response 1: A = -1/3, NLL 4 (S = 4).
    Response 2: A = -1/3, NLL 1, 2, 3 (S = 2). Behaviour NLL: S_b = 1, 0.5, 4."""
    return make_batch(
        logp=[[-1, -3], [-4], [-1, -2, -3]],
        behaviour=[[-0.5, -1.5], [-0.5], [-4, -4, -4]],
        advantage=[2 / 3, -1 / 3, -1 / 3],
        reward=[1, 0, 0],
        group=[6, 6, 6],
    )


# C_g, then the loss (1/3) sum A C S, worked out.
BY_HAND = {
    # 1/3 (2/3 * 2 - 1/3 * 4 - 1/3 * 2) = 1/3 * (-2/3)
    "naive": (Naive(), [1, 1, 1], -2 / 9),
    # 1/3 (4/3 - 0.2 * (4/3 + 2/3)) = 1/3 (4/3 - 0.4)
    "spo": (SPO(), [1, 0.2, 0.2], (4 / 3 - 0.4) / 3),
    # 1/3 (2/3 - 1/3 - 1/3) = 0
    "asympo": (ASymPO(), [1 / 2, 1 / 4, 1 / 2], 0.0),
    # floor 2.5: C = 1/2.5, 1/4, 1/2.5; 1/3 (2/3 * 0.8 - 1/3 - 1/3 * 0.8) = 1/9 (1.6 - 1 - 0.8)
    "floor": (ASymPO(floor=2.5), [0.4, 0.25, 0.4], -0.2 / 9),
    # 1/3 (4/3 - 1/3 - 1/3)
    "negative only": (ASymPO(only="negative"), [1, 1 / 4, 1 / 2], 2 / 9),
    # 1/3 (2/3 - 4/3 - 2/3)
    "positive only": (ASymPO(only="positive"), [1 / 2, 1, 1], -4 / 9),
    # mean S = 8/3: the naive loss times 3/8
    "batch scaled": (BatchScaled(), [3 / 8] * 3, -1 / 12),
    # C moves one up: 1/4, 1/2, 1/2; 1/3 (2/3 * 2/4 - 1/3 * 4/2 - 1/3 * 2/2) = 1/3 (1/3 - 2/3 - 1/3)
    "shuffled": (ShuffledASymPO(), [1 / 4, 1 / 2, 1 / 2], -2 / 9),
    # C = 1, 2, 1/4; 1/3 (4/3 - 8/3 - 1/6)
    "behaviour": (BehaviourASymPO(), [1, 2, 1 / 4], -0.5),
    # NLL of negatives at most 2 (p_low = exp -2): S = 2, 2, (1 + 2 + 2)/3 = 5/3
    "naive + p_low": (Naive(p_low=math.exp(-2)), [1, 1, 1], (4 / 3 - 2 / 3 - 5 / 9) / 3),
    # NLL of positives at least 2 (p_high = exp -2): S_0 = (2 + 3)/2 = 5/2
    "stabilised": (ASymPO(p_low=math.exp(-2), p_high=math.exp(-2)), [2 / 5, 1 / 2, 3 / 5], 0.0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    objective, coefficient, loss = BY_HAND[name]
    batch = by_hand()
    expected = torch.tensor(coefficient, dtype=torch.float64)
    torch.testing.assert_close(objective.coefficients(batch), expected)
    assert total(objective, batch).item() == pytest.approx(loss, abs=1e-7)
    # The coefficient and A are constants: d/dlogp_{g,i} = -A C / (3 m_g) wherever no clip is active.
    if not (objective.p_low or objective.p_high):
        for g, m in enumerate([2, 1, 3]):
            slope = -batch.advantage_B[g].item() * coefficient[g] / (3 * m)
            expected_T = torch.tensor([slope if i < m else 0.0 for i in range(3)], dtype=torch.float64)
            torch.testing.assert_close(gradient(objective, batch)[g], expected_T, rtol=1e-6, atol=1e-9)


def test_token_aggregation_by_hand():
    # Six tokens, S still per response: 1/6 (2/3 * 4/2 - 1/3 * 4/4 - 1/3 * 6/2) = 1/6 (4/3 - 1/3 - 1)
    batch = by_hand()
    assert total(ASymPO(aggregation="token"), batch).item() == pytest.approx(0.0, abs=1e-7)
    # naive: 1/6 (2/3 * 4 - 1/3 * 4 - 1/3 * 6) = 1/6 (-2/3)
    assert total(Naive(aggregation="token"), batch).item() == pytest.approx(-1 / 9)


def test_spo_coefficient_of_no_advantage_is_one():
    # Eq. 17: alpha only for A < 0.
    batch = replace(by_hand(), advantage_B=torch.tensor([0.5, 0.0, -0.5]).double())
    assert SPO(alpha=0.25).coefficients(batch).tolist() == [1.0, 1.0, 0.25]


@pytest.mark.parametrize("seed", range(4))
def test_spo_ends_are_bit_for_bit(seed):
    batch = random_batch(seed)
    positives = replace(batch, advantage_B=batch.advantage_B.clamp(min=0))
    for one, other, other_batch in ((SPO(alpha=1.0), Naive(), batch), (SPO(alpha=0.0), Naive(), positives)):
        assert torch.equal(total(one, batch), total(other, other_batch))
        assert torch.equal(gradient(one, batch), gradient(other, other_batch))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("clip", [{}, {"p_low": 0.2, "p_high": 0.6}])
def test_theorem_2_no_forward_loss_in_any_group(seed, clip):
    batch = random_batch(seed)
    loss_B = response_mean(ASymPO(**clip).loss_BT(batch), batch.mask_BT)
    empty = batch.group_B[~batch.mask_BT.any(1)].tolist()  # an empty response has no surprisal to divide by
    groups = set(batch.group_B.tolist()) - set(empty)
    assert len(groups) >= 3
    for g in groups:
        assert abs(loss_B[batch.group_B == g].sum().item()) < 1e-12
    # ... while each response contributes its advantage (Theorem 6).
    present = batch.mask_BT.any(1)
    torch.testing.assert_close(loss_B[present], batch.advantage_B[present])


@pytest.mark.parametrize("seed", range(4))
def test_gradient_is_that_of_log_surprisal(seed):
    batch = random_batch(seed)
    surprisal_B = response_mean(-batch.logp_BT, batch.mask_BT)
    present = batch.mask_BT.any(1)
    log_loss = (batch.advantage_B[present] * surprisal_B[present].log()).sum() / len(surprisal_B)
    expected = torch.autograd.grad(log_loss, batch.logp_BT)[0]
    torch.testing.assert_close(gradient(ASymPO(), batch), expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_length_normalisation_cancels(seed):
    """b.4.2: with token sums inside S, sum / sg(sum) has the same gradient; the naive loss does not."""
    batch = random_batch(seed)
    sum_B = (-batch.logp_BT * batch.mask_BT).sum(1)
    present = batch.mask_BT.any(1)
    ratio = batch.advantage_B[present] * sum_B[present] / sum_B[present].detach()
    expected = torch.autograd.grad(ratio.sum() / len(sum_B), batch.logp_BT, retain_graph=True)[0]
    torch.testing.assert_close(gradient(ASymPO(), batch), expected, rtol=1e-6, atol=1e-10)
    naive_sum = torch.autograd.grad((batch.advantage_B * sum_B).sum() / len(sum_B), batch.logp_BT)[0]
    assert not torch.allclose(gradient(Naive(), batch), naive_sum, rtol=1e-3)


def test_theorems_3_and_4():
    # B = 2/3, S-bar_P = 2, S-bar_N = (4/3 + 2/3) / (2/3) = 3: L_naive - L_ASymPO = (2/3)/3 (2 - 3) = -2/9.
    batch = by_hand()
    surprisal_B = response_mean(-batch.logp_BT, batch.mask_BT)
    positive, negative = signed_surprisal(batch.advantage_B, surprisal_B)
    assert (positive.item(), negative.item()) == (pytest.approx(2.0), pytest.approx(3.0))
    difference = total(Naive(), batch) - total(ASymPO(), batch)
    assert difference.item() == pytest.approx((2 / 3) / 3 * (2 - 3))
    # Theorem 4: unsigned negative over positive contributions: 3/2 for the naive loss, 1 for ASymPO.
    for objective, ratio in ((Naive(), 1.5), (ASymPO(), 1.0)):
        parts_B = response_mean(objective.loss_BT(batch), batch.mask_BT).detach()
        assert (-parts_B[parts_B < 0].sum() / parts_B[parts_B > 0].sum()).item() == pytest.approx(ratio)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("objective", [Naive, ASymPO])
def test_clipped_tokens_count_but_carry_no_gradient(seed, objective):
    batch = random_batch(seed)
    clipped = objective(p_low=0.2, p_high=0.6)
    beyond_BT = torch.where(
        batch.advantage_B[:, None] >= 0, batch.logp_BT > math.log(0.6), batch.logp_BT < math.log(0.2)
    )
    signal_BT = batch.mask_BT & (batch.advantage_B != 0)[:, None]
    assert (beyond_BT & signal_BT).any() and (~beyond_BT & signal_BT).any()
    slope_BT = gradient(clipped, batch)
    assert (slope_BT[beyond_BT] == 0).all()
    assert (slope_BT[~beyond_BT & signal_BT] != 0).all()
    # Their clipped value stays in the mean: moving a clipped token further changes nothing, ...
    further = replace(batch, logp_BT=torch.where(beyond_BT & (batch.advantage_B < 0)[:, None], -40.0, batch.logp_BT))
    torch.testing.assert_close(clipped.loss_BT(further), clipped.loss_BT(batch))
    # ... and S is over all m tokens.
    if objective is ASymPO:
        for g in range(len(batch.group_B)):
            nll = [-x for x, m in zip(batch.logp_BT[g].tolist(), batch.mask_BT[g].tolist(), strict=True) if m]
            if batch.advantage_B[g] >= 0:
                nll = [max(x, -math.log(0.6)) for x in nll]
            else:
                nll = [min(x, -math.log(0.2)) for x in nll]
            expected = len(nll) / sum(nll) if nll else 0.0
            assert clipped.coefficients(batch)[g].item() == pytest.approx(expected)


def test_boundary_fractions_by_hand():
    # Positive tokens: p = e^-1, e^-3; above p_high = e^-2: 1 of 2.
    # Negative tokens: e^-4 | e^-1, e^-2, e^-3; below p_low = e^-2.5: 2 of 4.
    below, above = boundary_fractions(by_hand(), p_low=math.exp(-2.5), p_high=math.exp(-2))
    assert (below.item(), above.item()) == (0.5, 0.5)


def certain_or_empty(certain: float):
    """Response 0 has NLL `certain` on both tokens, response 1 has none, response 2 has S = 1."""
    return make_batch(
        logp=[[-certain, -certain], [], [-1.0]],
        behaviour=[[-certain, -certain], [], [-1.0]],
        advantage=[1.0, -0.5, -0.5],
        reward=[1, 0, 0],
        group=[1, 1, 1],
        padding=math.nan,
    )


@pytest.mark.parametrize("objective", [ASymPO, ShuffledASymPO, BatchScaled, BehaviourASymPO, Naive, SPO])
def test_certain_and_empty_responses_are_defined(objective):
    batch = certain_or_empty(0.0)
    coefficient_B, slope_BT = objective().coefficients(batch), gradient(objective(), batch)
    assert coefficient_B.isfinite().all() and slope_BT.isfinite().all()
    assert total(objective(), batch).isfinite()
    assert (slope_BT[1] == 0).all()


def test_certain_response_by_hand():
    batch = certain_or_empty(0.0)
    assert ASymPO().coefficients(batch).tolist() == [0.0, 0.0, 1.0]
    assert ASymPO(floor=0.25).coefficients(batch).tolist() == [4.0, 0.0, 1.0]
    assert BatchScaled().coefficients(batch).tolist() == [
        2.0,
        0.0,
        2.0,
    ]  # mean of 0 and 1; the empty one has no S
    assert ShuffledASymPO().coefficients(batch).tolist() == [0.0, 1.0, 0.0]
    # A positive response never reaches S = 0 under p_high: S = -log 0.5 (built-in floor).
    capped = ASymPO(p_high=0.5).coefficients(batch)[0].item()
    assert capped == pytest.approx(1 / math.log(2))
    # The smallest surprisal that is not zero is divided by as it is.
    assert ASymPO().coefficients(certain_or_empty(1e-30))[0].item() == pytest.approx(1e30)


def test_batch_of_empty_responses():
    batch = make_batch([[], []], [[], []], [0.5, -0.5], [1, 0], [0, 0])
    for objective in (Naive(), SPO(), ASymPO(), ASymPO(floor=0.1), BatchScaled(), ShuffledASymPO()):
        assert total(objective, batch).item() == 0.0
        assert objective.coefficients(batch).isfinite().all()


def test_coefficients_carry_no_gradient():
    batch = random_batch(0)
    for objective in (Naive(), SPO(), ASymPO(), BatchScaled(), ShuffledASymPO(), BehaviourASymPO()):
        assert not objective.coefficients(batch).requires_grad


def test_shuffle_keeps_the_coefficients_of_a_group():
    batch = random_batch(1)
    own, shuffled = ASymPO().coefficients(batch), ShuffledASymPO().coefficients(batch)
    assert not torch.equal(own, shuffled)
    for g in batch.group_B.unique():
        member_B = batch.group_B == g
        assert torch.equal(own[member_B].sort().values, shuffled[member_B].sort().values)
        if member_B.sum() == 1:
            assert torch.equal(own[member_B], shuffled[member_B])


def test_behaviour_coefficient_only_with_behaviour():
    batch = random_batch(2)
    assert BehaviourASymPO.reads_behaviour and not ASymPO.reads_behaviour
    with pytest.raises(AttributeError, match="behaviour_logp_BT"):
        BehaviourASymPO().loss_BT(behaviour_free(batch))
    # On-policy the two coincide.
    same = replace(batch, behaviour_logp_BT=batch.logp_BT.detach())
    torch.testing.assert_close(BehaviourASymPO().loss_BT(same), ASymPO().loss_BT(same))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SPO(alpha=1.5), "SPO.alpha is 1.5"),
        (lambda: SPO(p_low=0.0), "SPO.p_low is 0.0"),
        (lambda: ASymPO(p_high=1.0), "ASymPO.p_high is 1.0"),
        (lambda: ASymPO(floor=-1.0), "ASymPO.floor is -1.0"),
        (lambda: ShuffledASymPO(only="neither"), "ShuffledASymPO.only is 'neither'"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
