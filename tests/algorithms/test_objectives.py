"""Properties every objective must have, and each against a slow loop over plain floats."""

import math
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch

from repro.algorithms.asympo import SPO, ASymPO, BatchScaled, BehaviourASymPO, Naive, ShuffledASymPO
from repro.algorithms.batch import BehaviourBatch, CurrentPolicyBatch, aggregate
from repro.algorithms.credit import GroupCredit
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
)
from repro.algorithms.reinforce import GPG, AsymRE, OPMDSimple
from tests.algorithms.batches import behaviour_free, random_batch, select, view

OBJECTIVES = [
    Naive(),
    Naive(p_low=0.2),
    SPO(),
    SPO(alpha=0.0),
    ASymPO(),
    ASymPO(aggregation="token"),
    ASymPO(p_low=0.2, p_high=0.6, floor=1.0),
    ASymPO(only="negative"),
    ASymPO(only="positive"),
    BatchScaled(),
    ShuffledASymPO(),
    BehaviourASymPO(),
    GPG(),
    GPG(factor="mixed_groups"),
    AsymRE(),
    OPMDSimple(),
    GRPO(),
    GRPO(aggregation="token", eps_high=0.28, dual_clip=None),
    DecoupledPPO(),
    TIS(),
    TIS(level="sequence"),
    MIS(),
    CISPO(),
    GSPO(eps_low=0.1, eps_high=0.1),
    M2PO(),
    M2PO(reading="all"),
    TOPR(),
    TOPR(level="geometric"),
    OPMD(),
    SequenceMaskedGRPO(delta=0.1),
]
IDS = [repr(o) for o in OBJECTIVES]
BEHAVIOUR_FIELDS = {f.name for f in fields(BehaviourBatch)} - {f.name for f in fields(CurrentPolicyBatch)}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=IDS)


def value_and_gradient(objective, batch):
    total = aggregate(objective.loss_BT(view(objective, batch)), batch.mask_BT, objective.aggregation)
    return total.item(), torch.autograd.grad(total, batch.logp_BT)[0]


# the slow path


def clip(x, low, high):
    return min(max(x, low), high)


def ppo(ratio, a, o):
    loss = max(-ratio * a, -clip(ratio, 1 - o.eps_low, 1 + o.eps_high) * a)
    return min(loss, -o.dual_clip * a) if a < 0 and getattr(o, "dual_clip", None) is not None else loss


class Loop:
    """The batch as lists of plain floats, a response at a time; methods are named after the objectives."""

    def __init__(self, batch):
        def rows(x_BT):
            return [
                [x for x, m in zip(row, mask, strict=True) if m]
                for row, mask in zip(x_BT.tolist(), batch.mask_BT.tolist(), strict=True)
            ]

        self.logp, self.behaviour = rows(batch.logp_BT), rows(batch.behaviour_logp_BT)
        self.proximal = rows(batch.proximal_logp_BT)
        self.a, self.r, self.group = (
            batch.advantage_B.tolist(),
            batch.reward_B.tolist(),
            batch.group_B.tolist(),
        )
        self.n = len(self.a)

    def losses(self, objective):
        return getattr(self, type(objective).__name__)(objective)

    def peers(self, g):
        return [h for h in range(self.n) if self.group[h] == self.group[g]]

    # current policy only
    def clipped_nll(self, g, o, logp=None):
        out = []
        for x in (logp or self.logp)[g]:
            if self.a[g] >= 0 and o.p_high is not None:
                x = min(x, math.log(o.p_high))
            if self.a[g] < 0 and o.p_low is not None:
                x = max(x, math.log(o.p_low))
            out.append(-x)
        return out

    def inverse(self, nll, o):
        return 1 / max(sum(nll) / len(nll), o.floor) if nll else 0.0

    def chosen(self, g, o):
        return o.only == "both" or (o.only == "negative") == (self.a[g] < 0)

    def family(self, o, coefficient):
        return [[self.a[g] * coefficient(g) * x for x in self.clipped_nll(g, o)] for g in range(self.n)]

    def Naive(self, o):
        return self.family(o, lambda g: 1.0)

    def SPO(self, o):
        return self.family(o, lambda g: 1.0 if self.a[g] >= 0 else o.alpha)

    def ASymPO(self, o):
        return self.family(o, lambda g: self.inverse(self.clipped_nll(g, o), o) if self.chosen(g, o) else 1.0)

    def BatchScaled(self, o):
        means = [sum(nll) / len(nll) for g in range(self.n) if (nll := self.clipped_nll(g, o))]
        return self.family(o, lambda g: len(means) / sum(means))

    def ShuffledASymPO(self, o):
        def following(g):
            peers = self.peers(g)
            return peers[(peers.index(g) + 1) % len(peers)]

        return self.family(o, lambda g: self.inverse(self.clipped_nll(following(g), o), o))

    def BehaviourASymPO(self, o):
        return self.family(o, lambda g: self.inverse(self.clipped_nll(g, o, self.behaviour), o))

    def weighted(self, weight):
        return [[-weight(g) * x for x in self.logp[g]] for g in range(self.n)]

    def GPG(self, o):
        if o.factor == "nonzero_reward":
            counted = sum(r != 0 for r in self.r)
        else:
            counted = sum(len({self.r[h] for h in self.peers(g)}) > 1 for g in range(self.n))
        return self.weighted(lambda g: self.n / counted * self.a[g])

    def AsymRE(self, o):
        def mean(g):
            return sum(self.r[h] for h in self.peers(g)) / len(self.peers(g))

        return self.weighted(lambda g: self.r[g] - mean(g) - o.delta_v)

    def OPMDSimple(self, o):
        return self.weighted(lambda g: self.a[g] / (1 + o.tau))

    # behaviour-corrected
    def log_ratio(self, g, above, below):
        return [x - y for x, y in zip(above[g], below[g], strict=True)]

    def log_w(self, g):
        return self.log_ratio(g, self.logp, self.behaviour)

    def GRPO(self, o):
        return [[ppo(math.exp(x), self.a[g], o) for x in self.log_w(g)] for g in range(self.n)]

    def decoupled(self, o, weight):
        out = []
        for g in range(self.n):
            v = self.log_ratio(g, self.proximal, self.behaviour)
            v = [sum(v)] * len(v) if getattr(o, "level", "token") == "sequence" else v
            ratio = self.log_ratio(g, self.logp, self.proximal)
            out.append([weight(math.exp(y)) * ppo(math.exp(x), self.a[g], o) for x, y in zip(ratio, v, strict=True)])
        return out

    def DecoupledPPO(self, o):
        return self.decoupled(o, lambda v: v)

    def TIS(self, o):
        return self.decoupled(o, lambda v: min(v, o.cap))

    def MIS(self, o):
        return self.decoupled(o, lambda v: v if o.low <= v <= o.high else 0.0)

    def CISPO(self, o):
        return [
            [
                -clip(math.exp(x), o.weight_low, o.weight_high) * self.a[g] * y
                for x, y in zip(self.log_w(g), self.logp[g], strict=True)
            ]
            for g in range(self.n)
        ]

    def GSPO(self, o):
        return [
            [ppo(math.exp(sum(x) / len(x)), self.a[g], o)] * len(x) if (x := self.log_w(g)) else []
            for g in range(self.n)
        ]

    def M2PO(self, o):
        if o.reading == "all":
            moments = [[x * x for x in self.log_ratio(g, self.proximal, self.behaviour)] for g in range(self.n)]
            tested = [(g, i) for g in range(self.n) for i in range(len(moments[g]))]
        else:
            moments = [[x * x for x in self.log_w(g)] for g in range(self.n)]
            tested = [(g, i) for g in range(self.n) for i, x in enumerate(self.log_w(g)) if self.a[g] * x > 0]
        kept = sorted(tested, key=lambda gi: moments[gi[0]][gi[1]])
        while kept and sum(moments[g][i] for g, i in kept) / len(kept) > o.tau:
            kept.pop()  # the largest
        dropped = set(tested) - set(kept)
        assert dropped and kept
        return [
            [0.0 if (g, i) in dropped else -self.a[g] * math.exp(x) for i, x in enumerate(self.log_w(g))]
            for g in range(self.n)
        ]

    def TOPR(self, o):
        def taper(g):
            x = sum(self.log_w(g)) / (max(len(self.log_w(g)), 1) if o.level == "geometric" else 1)
            return 1.0 if self.a[g] >= 0 else min(math.exp(x), 1.0)

        return self.weighted(lambda g: taper(g) * self.a[g])

    def OPMD(self, o):
        return [
            [-self.a[g] * y + o.tau / 2 * sum(self.log_w(g)) ** 2 / len(self.logp[g]) for y in self.logp[g]]
            for g in range(self.n)
        ]

    def SequenceMaskedGRPO(self, o):
        out = self.GRPO(o)
        for g in range(self.n):
            if self.a[g] < 0 and out[g] and -sum(self.log_w(g)) / len(out[g]) > o.delta:
                out[g] = [0.0] * len(out[g])
        return out


@every_objective
@pytest.mark.parametrize("seed", range(3))
def test_slow_loop(objective, seed):
    batch = random_batch(seed)
    slow = Loop(batch).losses(objective)
    fast = objective.loss_BT(view(objective, batch))
    for g, row in enumerate(slow):
        torch.testing.assert_close(
            fast[g][batch.mask_BT[g]].tolist(),
            row,
            rtol=1e-6,
            atol=1e-9,
            msg=lambda m, g=g: f"response {g}: {m}",
        )


# properties


@every_objective
def test_nothing_leaks_from_padding(objective):
    clean = value_and_gradient(objective, random_batch(4))
    for poison in (math.nan, math.inf, -math.inf, 1e30):
        value, slope_BT = value_and_gradient(objective, random_batch(4, padding=poison))
        assert value == clean[0]
        assert torch.equal(slope_BT, clean[1])
    mask_BT = random_batch(4).mask_BT
    assert (clean[1][~mask_BT] == 0).all()
    assert clean[1][mask_BT].abs().sum() > 0


@every_objective
def test_order_of_the_batch_changes_nothing(objective):
    batch = random_batch(5)
    value, slope_BT = value_and_gradient(objective, batch)
    if isinstance(objective, ShuffledASymPO):  # pairs each response with its next: only a rotation keeps the pairs
        order_B = torch.roll(torch.arange(len(batch.group_B)), 4)
    else:
        order_B = torch.randperm(len(batch.group_B), generator=torch.Generator().manual_seed(0))
    moved = select(batch, order_B)
    moved.logp_BT.requires_grad_()
    moved_value, moved_slope_BT = value_and_gradient(objective, moved)
    assert moved_value == pytest.approx(value, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(moved_slope_BT, slope_BT[order_B], rtol=1e-9, atol=1e-12)


@every_objective
def test_more_padding_changes_nothing(objective):
    batch = random_batch(6)
    value, slope_BT = value_and_gradient(objective, batch)
    wider = {
        name: torch.nn.functional.pad(getattr(batch, name).detach(), (2, 3), value=fill)
        for name, fill in [("logp_BT", math.nan), ("behaviour_logp_BT", 7.0), ("proximal_logp_BT", math.nan)]
    }
    wider = replace(batch, **wider, mask_BT=torch.nn.functional.pad(batch.mask_BT, (2, 3), value=False))
    wider.logp_BT.requires_grad_()
    wide_value, wide_slope_BT = value_and_gradient(objective, wider)
    assert wide_value == pytest.approx(value, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(wide_slope_BT[:, 2:-3], slope_BT, rtol=1e-9, atol=1e-12)


@every_objective
def test_group_labels_are_only_labels(objective):
    batch = random_batch(7)
    relabelled = replace(batch, group_B=-batch.group_B * 1000 + 3)
    value, slope_BT = value_and_gradient(objective, batch)
    new_value, new_slope_BT = value_and_gradient(objective, relabelled)
    assert new_value == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(new_slope_BT, slope_BT, rtol=1e-12, atol=1e-15)


@every_objective
def test_behaviour_is_read_exactly_where_declared(objective):
    """A behaviour-free objective runs without the fields; one that reads them fails when they are missing."""
    batch = random_batch(8)
    bare = behaviour_free(batch)
    assert not any(hasattr(bare, name) for name in BEHAVIOUR_FIELDS)
    if objective.reads_behaviour:
        with pytest.raises(AttributeError, match="|".join(BEHAVIOUR_FIELDS)):
            objective.loss_BT(bare)
    else:
        assert torch.equal(objective.loss_BT(bare), objective.loss_BT(batch))


@every_objective
def test_an_objective_is_plain_frozen_data(objective):
    described = {f.name: getattr(objective, f.name) for f in fields(objective)}
    assert "reads_behaviour" not in described and described["aggregation"] in ("response", "token")
    assert all(value is None or isinstance(value, (str, int, float)) for value in described.values())
    assert type(objective)(**described) == objective
    with pytest.raises(FrozenInstanceError):
        objective.aggregation = "token"


@every_objective
def test_no_signal_no_gradient(objective):
    """All-equal groups train nothing, except through a baseline or a penalty of the method itself."""
    batch = random_batch(9)
    equal = replace(batch, reward_B=torch.ones_like(batch.reward_B))
    equal = replace(equal, advantage_B=GroupCredit().advantage_B(equal.reward_B, equal.group_B))
    _, slope_BT = value_and_gradient(objective, equal)
    assert (slope_BT.abs().sum() > 0) == isinstance(objective, (AsymRE, OPMD))
