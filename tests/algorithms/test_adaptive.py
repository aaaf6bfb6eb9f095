"""Adaptive allocations: rules by hand, against slow references, and in whole trainings of a made-up policy."""

import itertools
import math
import random
from collections import Counter

import pytest

from repro.algorithms.adaptive import (
    GRESO,
    DynamicSampling,
    Knapsack,
    ReinforceAda,
    first_informative,
    informative,
    knapsack,
    knapsack_value,
    rest_of_passes,
)
from repro.algorithms.allocation import Drawn, History, Visit, order

RIGHT, WRONG, MIXED = (1.0,) * 4, (0.0,) * 4, (1.0, 0.0, 0.0, 0.0)
ALL = [
    DynamicSampling(prompts=3, group_size=4),
    DynamicSampling(prompts=3, group_size=4, refill=False),
    GRESO(prompts=3, group_size=4),
    Knapsack(prompts=3, group_size=4),
    ReinforceAda(prompts=3),
    ReinforceAda(prompts=3, target="positive"),
]


def history(*visits, queries=10, seed=0):
    return History(queries, seed, [], [Visit(*visit) for visit in visits])


def groups(*rewards, queries=range(100)):
    return [Drawn(query, tuple(group)) for query, group in zip(queries, rewards, strict=False)]


def train(allocation, rates, seed=0, limit=1000):
    """The loop's bookkeeping around a policy that solves query q with probability rates[q].

    Returns the history and, per update, the groups drawn and the rollouts kept. Every question is asked twice.
    """
    history, log, luck = History(len(rates), seed), [], random.Random(f"luck:{seed}")
    for update in range(limit):
        looked = {}
        while True:
            drawn = [Drawn(query, tuple(group)) for query, group in looked.items()]
            before = list(history.visits), list(drawn)  # of frozen things
            allotted = allocation.allot(update, history, drawn)
            assert allocation.allot(update, history, drawn) == allotted and (history.visits, drawn) == before
            if not allotted:
                break
            for query, size in allotted:
                looked.setdefault(query, []).extend(float(luck.random() < rates[query]) for _ in range(size))
        if not drawn:
            return history, log
        assert any(group.rewards for group in drawn)
        kept = allocation.keep(update, history, drawn)
        assert allocation.keep(update, history, drawn) == kept and len(kept) == len(drawn)
        assert all(set(part) <= set(range(len(group.rewards))) for part, group in zip(kept, drawn, strict=True))
        log.append((drawn, kept))
        history.visits += [Visit(update, g.query, len(g.rewards), int(sum(g.rewards))) for g in drawn]
    raise AssertionError(f"no end after {limit} updates")


SPREAD = [(q % 9) / 8 for q in range(40)]  # 0, 1/8, ..., 1, evenly


# The list -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 3, 6, 7, 11, 13, 14, 20])
def test_rest_of_passes_is_the_tail_of_all_passes(place):
    passes = order(7, 5, 0) + order(7, 5, 1)
    assert list(rest_of_passes(History(7, 5), 2, place)) == passes[place:]


@pytest.mark.parametrize("allocation", ALL, ids=lambda a: f"{type(a).__name__}{getattr(a, 'refill', '')}")
@pytest.mark.parametrize("rates", [SPREAD, [0.0] * 7, [1.0] * 10, [0.5] * 2], ids=["spread", "never", "always", "two"])
def test_training_ends_after_two_passes(allocation, rates):
    history, log = train(allocation, rates)
    looked = Counter(visit.query for visit in history.visits)
    if isinstance(allocation, DynamicSampling):  # every query twice, whatever came of it
        assert looked == {query: 2 for query in range(len(rates))}
    elif isinstance(allocation, GRESO):  # what is passed over at the very end is not on record
        assert max(looked.values()) == 2 and min(looked.values()) >= 1
        assert [visit.query for visit in history.visits] == (order(len(rates), 0, 0) + order(len(rates), 0, 1))[
            : len(history.visits)
        ]
        assert 0 <= 2 * len(rates) - len(history.visits) < len(rates)
    else:
        assert len(log) == allocation.updates(History(len(rates), 0)) == math.ceil(2 * len(rates) / 3)
        assert set(looked) == set(range(len(rates)))


@pytest.mark.parametrize("allocation", ALL, ids=lambda a: f"{type(a).__name__}{getattr(a, 'refill', '')}")
def test_same_seed_same_training_other_seed_another(allocation):
    assert train(allocation, SPREAD, seed=1) == train(allocation, SPREAD, seed=1)
    assert train(allocation, SPREAD, seed=1)[0].visits != train(allocation, SPREAD, seed=2)[0].visits


@pytest.mark.parametrize("allocation", ALL, ids=lambda a: f"{type(a).__name__}{getattr(a, 'refill', '')}")
def test_first_update_takes_the_head_of_the_shuffled_list(allocation):
    asked = allocation.allot(0, History(40, 3), [])
    assert [query for query, _ in asked] == order(40, 3, 0)[: len(asked)]


def test_epochs_are_counted_not_assumed():
    for epochs in (1, 3):
        assert len(train(Knapsack(prompts=3, group_size=4, epochs=epochs), SPREAD)[1]) == math.ceil(epochs * 40 / 3)


# Dynamic sampling ---------------------------------------------------------------------------------------------


def test_informative():
    assert informative(MIXED)
    assert not any(map(informative, [RIGHT, WRONG, (1.0,), (0.0,), ()]))


def test_first_informative_cuts_off_what_is_over():
    drawn = groups(RIGHT, MIXED, WRONG, MIXED, MIXED, ())
    assert first_informative(drawn, 2) == [[], [0, 1, 2, 3], [], [0, 1, 2, 3], [], []]
    assert first_informative(drawn, 8) == [[], [0, 1, 2, 3], [], [0, 1, 2, 3], [0, 1, 2, 3], []]
    assert first_informative(groups((1.0,), (0.0,)), 8) == [[], []]


def test_refill_draws_batches_until_enough_groups_are_informative():
    dapo, empty = DynamicSampling(prompts=2, group_size=4, max_rounds=3), History(10, 0)
    listed = order(10, 0, 0)
    assert dapo.allot(0, empty, []) == [(q, 4) for q in listed[:2]]
    for seen, expected in (
        ([MIXED, MIXED], []),
        ([MIXED, WRONG], listed[2:4]),
        ([MIXED, WRONG, RIGHT, RIGHT], listed[4:6]),
        ([MIXED, WRONG, RIGHT, MIXED], []),
        ([WRONG] * 6, []),  # three rounds
    ):
        assert dapo.allot(0, empty, groups(*seen, queries=listed)) == [(q, 4) for q in expected]
    once = DynamicSampling(prompts=2, group_size=4, refill=False)
    assert once.allot(0, empty, groups(WRONG, WRONG, queries=listed)) == []


def test_discarded_groups_use_up_the_pass():
    # Two passes of ten: eighteen groups drawn before, so two places are left, whatever came of them.
    before, last = history(*[(0, q, 4, 0) for q in range(10)], *[(1, q, 4, 2) for q in range(8)]), order(10, 0, 1)[8:]
    dapo = DynamicSampling(prompts=4, group_size=4)
    assert dapo.allot(2, before, []) == [(q, 4) for q in last]
    assert dapo.allot(2, before, groups(WRONG, WRONG, queries=last)) == []
    assert dapo.keep(2, before, groups(WRONG, WRONG)) == [[], []]  # an update may be left with nothing
    before.visits += [Visit(2, 8, 4, 0), Visit(2, 9, 4, 0)]
    assert dapo.allot(3, before, []) == []


def test_refill_fills_batches_that_without_it_are_short():
    kept = {}
    for refill in (True, False):
        _, log = train(DynamicSampling(prompts=4, group_size=4, refill=refill), SPREAD)
        kept[refill] = [sum(map(bool, part)) for _, part in log]
    assert set(kept[True][:-1]) == {4} and min(kept[False]) < 4
    assert len(kept[False]) == 20 > len(kept[True])


# GRESO --------------------------------------------------------------------------------------------------------


def test_runs_count_sampled_groups_of_the_same_kind():
    seen = history((0, 1, 4, 4), (1, 1, 4, 4), (2, 1, 0, 0), (3, 1, 4, 4), (0, 2, 4, 4), (1, 2, 4, 0), (0, 3, 4, 2))
    assert GRESO(group_size=4).runs(seen) == {1: ("easy", 3), 2: ("hard", 1), 3: ("mixed", 1)}


def test_chances_stand_still_in_the_first_pass_and_then_follow_the_shares():
    greso = GRESO(prompts=2, group_size=4)
    first = [(u, q, 4, 0) for u in range(5) for q in (2 * u, 2 * u + 1)]
    assert greso.chances(history(*first)) == {"easy": 0.5, "hard": 0.5}
    # Update 5, in the second pass: one of three groups all wrong (1/3 >= 1/6: down), none all right (0 < 1/12: up).
    second = [(5, 0, 0, 0), (5, 1, 4, 0), (5, 2, 4, 1), (5, 3, 4, 2)]
    assert greso.chances(history(*first, *second)) == pytest.approx({"easy": 0.51, "hard": 0.49})
    third = [(6, 4, 4, 4)]
    assert greso.chances(history(*first, *second, *third)) == pytest.approx({"easy": 0.50, "hard": 0.50})


@pytest.mark.parametrize(
    "groups_drawn, easy, hard, expected",
    [
        (6, 0, 1, {"easy": 0.51, "hard": 0.49}),  # exactly the target of 1/6: down
        (8, 0, 1, {"easy": 0.51, "hard": 0.51}),  # between the two targets
        (8, 1, 0, {"easy": 0.49, "hard": 0.51}),
        (12, 1, 0, {"easy": 0.49, "hard": 0.51}),  # exactly 1/12
        (13, 1, 2, {"easy": 0.51, "hard": 0.51}),
    ],
)
def test_each_chance_has_its_own_target(groups_drawn, easy, hard, expected):
    solved = [4] * easy + [0] * hard + [2] * (groups_drawn - easy - hard)
    seen = history(*[(0, q, 4, 2) for q in range(20)], *[(1, q, 4, n) for q, n in enumerate(solved)], queries=20)
    assert GRESO(group_size=4).chances(seen) == pytest.approx(expected)


def test_chances_stay_within_their_bounds():
    seen = history(*[(u, 0, 4, 0) for u in range(200)], queries=1)
    assert GRESO(group_size=4).chances(seen) == {"easy": 0.95, "hard": 0.05}


def test_next_round_by_hand():
    greso = GRESO(prompts=8, group_size=4)  # first rounds of 12, at least 2
    assert greso.next_round([]) == 12
    assert greso.next_round([MIXED] * 8 + [WRONG] * 4) == 0
    # 6 of 12: 2 missing, 1.25 * 2 / 0.5 = 5, and then it is over although one is still missing.
    half = [MIXED] * 6 + [WRONG] * 6
    assert greso.next_round(half) == 5
    assert greso.next_round(half + [MIXED] + [WRONG] * 4) == 0
    # 1 of 12: 7 missing, 1.25 * 7 * 12 = 105 is more than a full round: 12, and not the last.
    poor = [MIXED] + [RIGHT] * 11
    assert greso.next_round(poor) == 12
    # 4 of the next 12: 3 missing, 1.25 * 3 / (1/3) = 11.25, so 11, the last.
    assert greso.next_round(poor + [MIXED] * 4 + [WRONG] * 8) == 11
    assert greso.next_round(poor + [MIXED] * 4 + [WRONG] * 19) == 0
    assert greso.next_round([MIXED] * 7 + [WRONG] * 5) == 2  # 1.25 / (7/12) = 2.1
    assert GRESO(prompts=16).next_round([MIXED] * 15 + [WRONG] * 9) == 4  # 2 would do: not below a quarter batch
    assert greso.next_round([WRONG] * 12) == 12  # nothing to divide by
    # 1 of 3: 1.25 * 1 * 3 = 3.75, so 3: no more than a full round, hence the last.
    assert GRESO(prompts=2).next_round([MIXED, WRONG, WRONG]) == 3
    assert GRESO(prompts=2).next_round([MIXED] + [WRONG] * 5) == 0


def test_how_often_a_query_is_passed_over():
    # All ten were all wrong z times; p stayed at 0.5 (one pass), and 0.01 is the least: 1 - 0.5^z of looks are passes.
    for z, expected in ((1, 0.5), (2, 0.75), (10, 0.99)):
        passed = 0
        for seed in range(300):
            seen = history(*[(0, q, 4, 0) for q in range(10)] * z, seed=seed)
            greso = GRESO(group_size=4, epochs=z + 1, lowest=0.5, highest=0.5)
            passed += sum(size == 0 for _, size in greso.looks(seen))
        assert passed / 3000 == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 3000))


def test_a_mixed_last_group_is_never_passed_over():
    seen = history(*[(0, q, 4, 0) for q in range(10)], *[(1, q, 4, 1) for q in range(10)])
    assert [size for _, size in GRESO(group_size=4, epochs=3).looks(seen)] == [4] * 10


def test_a_second_round_continues_behind_the_first():
    seen = history(*[(0, q, 4, 0) for q in range(10)])
    greso = GRESO(prompts=2, group_size=4, epochs=3)
    looks = list(greso.looks(seen))
    first = greso.allot(1, seen, [])
    assert first == looks[: len(first)] and sum(size > 0 for _, size in first) == 3 and first[-1][1]
    assert len(first) > 3  # with this seed some are passed over
    second = greso.allot(1, seen, [Drawn(query, WRONG if size else ()) for query, size in first])
    assert second and second == looks[len(first) : len(first) + len(second)]


def test_an_update_ends_before_it_looks_at_a_query_twice():
    # A list of two and rounds of three: each update is one pass.
    assert DynamicSampling(prompts=3, group_size=4).allot(0, History(2, 0), []) == [(q, 4) for q in order(2, 0, 0)]
    greso = GRESO(prompts=2, group_size=4, epochs=3)
    assert greso.allot(0, History(2, 0), []) == [(q, 4) for q in order(2, 0, 0)]
    assert greso.allot(0, History(2, 0), [Drawn(q, WRONG) for q in order(2, 0, 0)]) == []
    # Over the seam of two passes: 5 places are left of the first, and the second begins with one of these or not.
    for seed in range(20):
        seen = history(*[(0, q, 4, 2) for q in order(10, seed, 0)[:5]], seed=seed)
        ahead = (order(10, seed, 0) + order(10, seed, 1))[5:]
        fresh = next(n for n in range(1, len(ahead)) if ahead[n] in ahead[:n])
        asked = DynamicSampling(prompts=9, group_size=4).allot(1, seen, [])
        assert [q for q, _ in asked] == ahead[: min(9, fresh)]
        asked = GRESO(prompts=6, group_size=4).allot(1, seen, [])  # rounds of 9; nothing is passed over
        assert [q for q, _ in asked] == ahead[: min(9, fresh)]


def test_an_update_that_passes_over_a_whole_list_goes_on_until_it_samples():
    greso, found = GRESO(prompts=1, group_size=4, epochs=400, floor=0.05, lowest=0.05), 0
    for seed in range(20):
        seen = history(*[(u, q, 4, 0) for u in range(30) for q in range(2)], queries=2, seed=seed)
        asked = greso.allot(30, seen, [])
        assert any(size for _, size in asked)
        found += not any(size for _, size in asked[:2])
    assert found  # some of them had to go round


def test_greso_samples_less_than_dynamic_sampling_for_as_many_informative_groups():
    rates = [0.0] * 30 + [0.5] * 15 + [1.0] * 5
    cost = {}
    for allocation in (DynamicSampling(epochs=6), GRESO(epochs=6)):
        history, log = train(allocation, rates)
        used = sum(bool(part) for _, kept in log for part in kept)
        cost[type(allocation).__name__] = sum(visit.size for visit in history.visits) / used
        assert all(sum(map(bool, kept)) <= 8 for _, kept in log)
    assert cost["GRESO"] < 0.8 * cost["DynamicSampling"]


# Knapsack -----------------------------------------------------------------------------------------------------


def test_value_by_hand():
    # p = 1/4, N = 2: (1 - 1/16 - 9/16) * 1/4 * 9/16 = 3/8 * 9/64.
    assert knapsack_value(0.25, 2) == pytest.approx(27 / 512)
    assert knapsack_value(0.5, 1) == knapsack_value(0.0, 8) == knapsack_value(1.0, 8) == 0


def test_value_is_concave_in_the_size():
    for rate in [k / 64 for k in range(1, 64)]:
        values = [knapsack_value(rate, size) for size in range(1, 130)]
        gains = [b - a for a, b in itertools.pairwise(values)]
        assert all(a >= b - 1e-15 for a, b in itertools.pairwise(gains))
        slope = rate * (1 - rate) ** 2 * (rate**5 * (1 - rate) + (1 - rate) ** 5 * rate)
        assert gains[4] == pytest.approx(slope)  # from 5 to 6, as the docstring has it


def best_by_programming(rates, budget, low, high):
    """Largest total value, by dynamic programming over queries and rollouts spent."""
    best = {0: 0.0}
    for rate in rates:
        step = {}
        for spent, value in best.items():
            for size in range(low, high + 1):
                if spent + size <= budget:
                    total = value + knapsack_value(rate, size)
                    step[spent + size] = max(step.get(spent + size, -1.0), total)
        best = step
    return max(best.values())


@pytest.mark.parametrize("case", range(12))
def test_knapsack_is_optimal(case):
    luck = random.Random(f"knapsack:{case}")
    rates = [luck.randint(0, 16) / 16 for _ in range(luck.randint(1, 6))]
    low = luck.randint(1, 3)
    high = low + luck.choice([0, 2, 9, 30])
    budget = low * len(rates) + luck.randint(0, 40)
    sizes = knapsack(rates, budget, low, high)
    assert all(low <= size <= high for size in sizes) and sum(sizes) <= budget
    total = sum(knapsack_value(rate, size) for rate, size in zip(rates, sizes, strict=True))
    assert total == pytest.approx(best_by_programming(rates, budget, low, high), abs=1e-12)
    if all(0 < rate < 1 for rate in rates) and budget <= high * len(rates):
        assert sum(sizes) == budget


def test_knapsack_by_exhaustion():
    rates = (0.125, 0.5, 0.75)
    every = [s for s in itertools.product(range(2, 9), repeat=3) if sum(s) <= 15]
    best = max(every, key=lambda s: sum(map(knapsack_value, rates, s)))
    assert tuple(knapsack(rates, 15, 2, 8)) == best


def test_knapsack_spends_nothing_without_gain_and_refuses_too_small_a_budget():
    assert knapsack([0.0, 1.0], 50, 2, 8) == [2, 2]
    assert knapsack([0.0, 0.5], 50, 2, 8) == [2, 8]
    assert knapsack([], 0, 2, 8) == []
    with pytest.raises(ValueError, match="5 rollouts for 3 queries of 2 to 8"):
        knapsack([0.5] * 3, 5, 2, 8)


def test_rate_takes_in_earlier_visits_until_its_memory_is_full():
    seen = history((0, 1, 8, 4), (0, 2, 8, 8), (1, 1, 12, 3), (2, 1, 2, 1), (3, 1, 0, 0))
    # 1 of 2, 3 of 12, and 2 of the 8 at a rate of 4/8: 5 of 16.
    assert Knapsack().rate(seen, 1) == pytest.approx(5 / 16)
    assert Knapsack(memory=1).rate(seen, 1) == 1 / 2
    assert Knapsack(memory=14).rate(seen, 1) == 4 / 14
    assert Knapsack().rate(seen, 2) == 1.0
    assert Knapsack(memory=4).rate(history((0, 1, 8, 1)), 1) == 1 / 8  # a last visit counts whole
    assert Knapsack().rate(seen, 3) is None and Knapsack(least=9).rate(seen, 2) is None


def test_sizes_of_a_batch_by_hand():
    pure, full = Knapsack(prompts=4, fallback=False), Knapsack(prompts=4)
    assert full.sizes([None] * 4) == pure.sizes([None] * 4) == [8] * 4  # the first pass
    assert full.sizes([1.0] * 4) == [8] * 4
    # 32 rollouts, 2 each for those at 0 and 1, one unseen with 8: the rest is for the only one between.
    assert pure.sizes([0.0, 0.5, 1.0, None]) == [2, 20, 2, 8]
    # At 0.5 all are equal with probability 0.1 after log(0.1) / log(0.5) = 3.3 rollouts: 2 + 3, the other 15 to the 0.
    assert full.sizes([0.0, 0.5, 1.0, None]) == [17, 5, 2, 8]
    # No one at 0: what is over (24 - 3 - 3 = 18) goes to the others, the first of them first.
    assert full.sizes([0.5, 1.0, 1.0, 0.5]) == [5, 11, 11, 5]
    assert full.sizes([0.5] * 4) == [8] * 4  # no one to give it to
    assert full.sizes([0.0, 0.0, 1.0, 0.0]) == [10, 10, 2, 10]
    assert full.sizes([0.0, 1.0, 1.0, None]) == [20, 2, 2, 8]
    # Nothing over: at 1/16 a query needs 35 rollouts, more than there are.
    assert full.sizes([0.0, 1 / 16, 1 / 16, 1.0]) == pure.sizes([0.0, 1 / 16, 1 / 16, 1.0]) == [2, 14, 14, 2]
    assert full.sizes([]) == []


def test_high_bounds_every_size():
    assert Knapsack(prompts=3, high=10).sizes([0.0, 0.5, 1.0]) == [10, 5, 2]
    assert Knapsack(prompts=3, high=10, fallback=False).sizes([0.0, 0.5, 1.0]) == [2, 10, 2]


def test_first_pass_is_uniform_and_every_batch_keeps_its_budget():
    history, log = train(Knapsack(prompts=4, group_size=8, epochs=3), SPREAD)
    sizes = [[len(group.rewards) for group in drawn] for drawn, _ in log]
    assert all(batch == [8] * 4 for batch in sizes[:10])
    assert all(sum(batch) == 32 and min(batch) >= 2 for batch in sizes[10:])
    assert max(map(max, sizes)) > 8
    assert all(list(map(len, kept)) == batch for (_, kept), batch in zip(log, sizes, strict=True))  # all are kept


# Reinforce-Ada ------------------------------------------------------------------------------------------------


def test_rounds_end_for_each_query_by_itself():
    first = [(q, 8) for q in order(40, 0, 0)[:4]]
    balanced, positive = ReinforceAda(prompts=4), ReinforceAda(prompts=4, target="positive")
    assert balanced.allot(0, History(40, 0), []) == positive.allot(0, History(40, 0), []) == first
    drawn = groups([1, 1, 0, 0] + [0] * 4, [1] + [0] * 7, [1] * 7 + [0], [0] * 8)
    assert balanced.allot(0, History(40, 0), drawn) == [(1, 8), (2, 8), (3, 8)]
    assert positive.allot(0, History(40, 0), drawn) == [(3, 8)]
    # After four rounds it is over, whatever came.
    assert balanced.allot(0, History(40, 0), groups([0] * 32, [1] + [0] * 31, [0] * 24)) == [(2, 8)]


@pytest.mark.parametrize(
    "rewards, part",
    [
        ([0, 0, 1, 0, 1, 1, 0, 0], [0, 1, 2, 4]),  # the first two of each
        ([0] * 8 + [1] + [0] * 7, [0, 1, 2, 8]),  # one right: three wrong
        ([1] * 7 + [0], [0, 1, 2, 7]),
        ([1] * 8, [0, 1, 2, 3]),
        ([0] * 32, [0, 1, 2, 3]),
        ([1, 0], [0, 1]),
        ([], []),
    ],
)
def test_part_trained_on(rewards, part):
    for target in ("balanced", "positive"):
        assert ReinforceAda(target=target).part([float(r) for r in rewards]) == part


def test_an_odd_part_has_the_larger_half_wrong():
    ada = ReinforceAda(kept=5)
    assert ada.part([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) == [0, 1, 3, 4, 5]
    assert not ada.finished([1.0, 1.0, 0.0, 0.0]) and ada.finished([1.0, 1.0, 0.0, 0.0, 0.0])


def test_hard_queries_get_more_rollouts_and_all_are_trained_on_alike():
    _, log = train(ReinforceAda(prompts=4), SPREAD)
    drawn = {q: 0 for q in range(40)}
    for groups_drawn, kept in log:
        assert all(len(part) == 4 for part in kept)
        for group in groups_drawn:
            drawn[group.query] += len(group.rewards)
            assert len(group.rewards) in (8, 16, 24, 32)
    assert drawn[0] == drawn[8] == 64  # never solved and always solved: four rounds in both passes
    assert drawn[4] < 64


def test_a_query_twice_in_a_batch_is_drawn_once():
    ada = ReinforceAda(prompts=3)
    assert ada.allot(0, History(2, 0), []) == [(q, 8) for q in order(2, 0, 0)]


# Settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DynamicSampling(prompts=0), "DynamicSampling: prompts is 0; give 1 or more"),
        (lambda: DynamicSampling(group_size=1), "group_size is 1; give 2 or more"),
        (lambda: DynamicSampling(max_rounds=0), "max_rounds is 0"),
        (lambda: GRESO(epochs=0), "GRESO: epochs is 0"),
        (lambda: GRESO(oversampling=0.5), "oversampling is 0.5"),
        (lambda: GRESO(floor=0.0), "floor 0.0 must lie in"),
        (lambda: GRESO(chance=0.99), "lowest 0.05 <= chance 0.99"),
        (lambda: Knapsack(low=0), "low is 0; give 1 or more"),
        (lambda: Knapsack(group_size=1), "Knapsack: group_size is 1; give 2 or more"),
        (lambda: Knapsack(high=4), "high is 4; give 8 or more"),
        (lambda: Knapsack(confidence=1.0), "confidence is 1.0"),
        (lambda: ReinforceAda(target="negative"), "'negative'; choose 'balanced' or 'positive'"),
        (lambda: ReinforceAda(round_size=2), "round_size is 2; give 4 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
