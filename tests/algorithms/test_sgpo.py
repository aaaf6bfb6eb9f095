"""sGPO: the map and table of the paper, sweeps by hand, the baseline as a special case, controls, and the bill."""

import random
from dataclasses import replace

import pytest

from repro.algorithms.allocation import Drawn, History, Profile, Uniform, order
from repro.algorithms.sgpo import ONE_BUCKET, SGPO, MatchedBudget, OracleSGPO, bill

# 20 queries, 8 draws each: 8 never, 3 once, 2 twice, 5 of three to six times, 2 of seven or eight.
SOLVED = (0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 2, 0, 1, 0, 3)
PROFILE = Profile(0, 8, SOLVED)


def history(solved=SOLVED, seed=0, samples=8):
    return History(len(solved), seed, [Profile(0, samples, tuple(solved))])


def played(allocation, of):
    """All batches that an allocation asks for, as the loop would ask."""
    batches = []
    while groups := allocation.allot(len(batches), of, []):
        assert allocation.allot(len(batches), of, [Drawn(groups[0][0], (1.0,))]) == []  # one round an update
        batches.append(groups)
    return batches


def test_the_papers_map_from_successes_to_group_size():
    # n = 0..8 -> U, 8, 4, 2, 2, 2, 2, drop, drop (Eqs. 8 and 10)
    assert [SGPO().group_size(n / 8) for n in range(9)] == [0, 8, 4, 2, 2, 2, 2, 0, 0]
    # Bounds belong to the larger group; N = 16 has values between the paper's.
    assert [SGPO().group_size(n / 16) for n in (1, 2, 3, 4, 5, 12, 13)] == [8, 8, 4, 4, 2, 2, 0]
    # Trivial is p > t, as the paper's counts say: 6 of 8 is kept at t = 0.75.
    assert replace(SGPO(), trivial=0.5).group_size(5 / 8) == 0 and replace(SGPO(), trivial=1.0).group_size(1.0) == 2


def test_phases_by_hand():
    phases = SGPO(unsolved=0.0).phases(PROFILE, seed=0)
    assert phases == {2: [3, 4, 5, 6, 19], 4: [2, 15], 8: [1, 12, 17]}
    assert list(phases) == [2, 4, 8]  # easy to hard
    assert list(SGPO(order="hard_to_easy").phases(PROFILE, 0)) == [8, 4, 2]


def test_a_tenth_of_the_unsolved_joins_every_phase():
    never = [query for query, n in enumerate(SOLVED) if n == 0]
    phases, bare = SGPO(unsolved=0.25).phases(PROFILE, 3), SGPO(unsolved=0.0).phases(PROFILE, 3)
    mixes = [set(phases[size]) - set(bare[size]) for size in (2, 4, 8)]
    assert mixes[0] == mixes[1] == mixes[2] and len(mixes[0]) == 2 == round(0.25 * len(never))  # drawn once
    assert mixes[0] <= set(never)
    others = [set(SGPO(unsolved=0.25).phases(PROFILE, seed)[8]) for seed in range(20)]
    assert len(set(map(frozenset, others))) > 1  # another seed, another draw


def test_rollouts_of_an_epoch():
    # sum over g of g |C_g|, and 2 + 4 + 8 = 14 for each unsolved query of the mix: 10 + 8 + 24 + 14 * 2.
    batches = SGPO(unsolved=0.25, prompts=2).sweep(PROFILE, seed=0, epoch=0)
    assert sum(size for batch in batches for _, size in batch) == 10 + 8 + 24 + 28


def test_a_sweep_is_one_pass_over_each_phase_in_batches_of_about_b():
    allocation = SGPO(unsolved=0.25, prompts=4)
    batches = allocation.sweep(PROFILE, seed=5, epoch=1)
    phases, rank = allocation.phases(PROFILE, 5), order(20, 5, 1).index
    # 7 queries at G = 2, 4 at G = 4, 5 at G = 8: batches of 3 + 4, 4 and 2 + 3.
    assert [(len(batch), batch[0][1]) for batch in batches] == [(3, 2), (4, 2), (4, 4), (2, 8), (3, 8)]
    for size, queries in phases.items():
        asked = [query for batch in batches for query, g in batch if g == size]
        assert asked == sorted(queries, key=rank)  # the epoch's shuffled order
    assert all(len({g for _, g in batch}) == 1 for batch in batches)  # phases never mix


def test_two_sweeps_with_the_same_stale_assignments():
    allocation = SGPO(prompts=4)
    batches = played(allocation, history(seed=7))
    assert batches == [b for epoch in (0, 1) for b in allocation.sweep(PROFILE, 7, epoch)]
    assert batches[: len(batches) // 2] != batches[len(batches) // 2 :]  # shuffled anew
    assert allocation.updates(history(seed=7)) == len(batches)
    assert allocation.updates(History(20, 7)) is None  # nothing is known before the profile


def test_without_filter_order_and_sizes_it_is_the_baseline_seed_for_seed():
    rng = random.Random("solved")
    solved = [rng.randint(0, 8) for _ in range(48)]
    for seed in range(5):
        plain = SGPO(prompts=8, trivial=1.0, unsolved=0.0, unsolved_size=8, buckets=ONE_BUCKET[8], order="shuffled")
        of = history(solved, seed)
        uniform = Uniform(prompts=8, group_size=8)
        assert played(plain, of) == [uniform.allot(update, of, []) for update in range(2 * 48 // 8)]
        # The same if alpha = 0 and there is nothing unsolved, and if alpha = 1 takes all of it.
        whole = replace(plain, unsolved=1.0, unsolved_size=0)
        assert played(whole, of) == played(plain, of)
        some = history([max(1, n) for n in solved], seed)
        assert played(replace(plain, unsolved_size=0), some) == played(plain, of)


def test_no_order_mixes_the_same_groups():
    ordered, mixed = (SGPO(unsolved=0.5, prompts=4, order=o) for o in ("easy_to_hard", "shuffled"))
    for seed in range(5):
        pairs = [sorted(pair for batch in a.sweep(PROFILE, seed, 0) for pair in batch) for a in (ordered, mixed)]
        assert pairs[0] == pairs[1]
        assert any(len({size for _, size in batch}) > 1 for batch in mixed.sweep(PROFILE, seed, 0))


def test_no_order_can_keep_one_size_a_batch():
    ordered, mixed = (SGPO(unsolved=0.5, prompts=4, order=o) for o in ("easy_to_hard", "batches"))
    orders = set()
    for seed in range(5):
        batches = mixed.sweep(PROFILE, seed, 0)
        assert sorted(batches) == sorted(ordered.sweep(PROFILE, seed, 0))
        orders.add(tuple(batch[0][1] for batch in batches))
    assert len(orders) > 1 and all(list(sizes) != sorted(sizes) for sizes in orders)


def test_a_profile_is_asked_for_once_and_again_only_by_the_variant():
    allocation, of = SGPO(prompts=4), History(20, 0)
    assert allocation.profile_due(0, of) == 8
    of.profiles.append(PROFILE)
    assert [allocation.profile_due(update, of) for update in range(40)] == [0] * 40

    again = SGPO(prompts=4, reprofile=True)
    first = len(again.sweep(PROFILE, 0, 0))
    assert [update for update in range(40) if again.profile_due(update, of)] == [first]
    assert again.updates(of) is None
    later = Profile(first, 8, tuple(min(8, n + 2) for n in SOLVED))
    of.profiles.append(later)
    assert played(again, of) == again.sweep(PROFILE, 0, 0) + again.sweep(later, 0, 1)
    assert not any(again.profile_due(update, of) for update in range(80))


def test_an_empty_cluster_has_no_phase():
    phases = SGPO(unsolved=1.0).phases(Profile(0, 8, (0, 0, 1, 5)), 0)
    assert phases == {2: [0, 1, 3], 8: [0, 1, 2]}  # nothing was solved twice; the mix makes no phase of its own
    assert SGPO(unsolved_size=16).phases(Profile(0, 8, (0, 0, 8, 7)), 0) == {16: [0, 1]}


def test_nothing_learnable_is_an_error_with_the_histogram():
    with pytest.raises(ValueError, match=r"no query is learnable; of 4 queries \[2, 0, 0, 0, 0, 0, 0, 1, 1\] were"):
        SGPO().phases(Profile(0, 8, (0, 0, 7, 8)), 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": 0}, "must be 1 or more"),
        ({"sweeps": 0}, "must be 1 or more"),
        ({"trivial": 0.0}, "trivial=0.0"),
        ({"unsolved": 1.1}, "unsolved=1.1"),
        ({"buckets": ()}, "must rise from above 0 to 1.0"),
        ({"buckets": ((0.5, 4), (0.25, 8), (1.0, 2))}, "must rise"),
        ({"buckets": ((0.5, 4),)}, "must rise"),
        ({"buckets": ((1.0, 1),)}, "one has no peer"),
        ({"unsolved_size": 1}, "one has no peer"),
    ],
)
def test_settings_that_make_no_allocation(settings, message):
    with pytest.raises(ValueError, match=message):
        SGPO(**settings)


def test_controls_spend_what_sgpo_spends():
    rng = random.Random("controls")
    solved = [rng.choice((0, 0, 0, 1, 2, 3, 5, 8)) for _ in range(80)]
    of = history(solved, seed=2)
    sweep = sum(size for batch in SGPO().sweep(of.profiles[0], 2, 0) for _, size in batch)
    stop, subset = (MatchedBudget(matched) for matched in ("stop", "subset"))
    spent = {a: sum(size for batch in played(a, of) for _, size in batch) for a in (stop, subset)}
    assert abs(spent[stop] - (2 * sweep + 8 * 80 / 6)) <= 4  # to the nearest group of 8
    assert abs(spent[subset] - 2 * sweep) <= 8
    uniform = [Uniform().allot(update, of, []) for update in range(40)]
    flat = [pair for batch in played(stop, of) for pair in batch]
    assert flat == [pair for batch in uniform for pair in batch][: len(flat)]  # the baseline's own order
    queries = {query for batch in played(subset, of) for query, _ in batch}
    assert len(queries) == round(sweep / 8) and spent[subset] == 2 * 8 * len(queries)
    assert not stop.charge_profile and not OracleSGPO().charge_profile and SGPO().charge_profile
    assert OracleSGPO().profile_due(0, History(3, 0)) == 64
    assert stop.updates(of) == len(played(stop, of)) and stop.updates(History(3, 0)) is None


def test_the_papers_bill():
    """The 7B data that the paper's Figure 8 implies, and the ratios worked out from it (spec: R(E))."""
    counts = {8: 1285, 4: 3855, 2: 1589, 1: 2081, 0: 5306}
    profile = Profile(0, 8, tuple(n for n, queries in counts.items() for _ in range(queries)))
    predicted = bill(profile, SGPO())
    mix = round(0.1 * 5306)
    assert predicted["phases"] == {2: 3855 + mix, 4: 1589 + mix, 8: 2081 + mix}
    assert predicted["rollouts_sweep"] == 2 * 3855 + 4 * 1589 + 8 * 2081 + 14 * mix
    assert predicted["rollouts_uniform_epoch"] == 8 * 14116 == predicted["rollouts_profile"]
    ratios = [bill(profile, SGPO(sweeps=sweeps))["ratio"] for sweeps in (1, 2, 3, 5)]
    assert ratios == pytest.approx([1.98, 2.37, 2.54, 2.70], abs=0.01)
    without_reference = [bill(profile, SGPO(sweeps=sweeps), price=4)["ratio"] for sweeps in (1, 2, 3, 5)]
    assert without_reference == pytest.approx([1.70, 2.16, 2.37, 2.58], abs=0.01)
