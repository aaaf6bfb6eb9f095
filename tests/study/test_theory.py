"""3SPO's theory: the bandit against a loop and where it is certain, the exact probabilities against enumeration."""

import hashlib
import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from repro.errors import ReproError
from repro.study import theory, theory_results
from repro.study.theory import Bandit

TINY = Bandit(arms=3, gaps=(0.3, 0.6), alphas=(1.0, 20.0), rounds=120, batches=2, replications=2, eq3_rounds=20)
# Nothing is left to chance: a_w never succeeds, the others always do.
CERTAIN = replace(TINY, worst=0.0, gaps=(1.0,), alphas=(2.0,))


def last(records, **chosen):
    frame = pd.DataFrame(list(records)[-1])
    for name, value in chosen.items():
        frame = frame[frame[name] == value]
    return frame


def test_checkpoints_by_hand():
    # Ten a decade from 10 on: 10, 12.6, 15.8, 20.0, 25.1, 31.6, 39.8, 50.1, 63.1, 79.4, 100.
    assert theory.checkpoints(100).tolist() == [10, 13, 16, 20, 25, 32, 40, 50, 63, 79, 100]
    assert theory.checkpoints(120).tolist()[-2:] == [100, 120]


def test_threshold_by_hand():
    # K = 4, i = 10, Delta = 0.2: 8 log(800) / 0.04 = 1337.
    assert theory.identification_threshold(10, 4, 0.2) == pytest.approx(1336.9, abs=0.1)


def loop(bandit):
    """The same bandit, a row at a time, from the same random numbers."""
    rng, K = np.random.default_rng([bandit.seed, 1]), bandit.arms
    rows = [
        {"rule": rule, "alpha": alpha, "gap": gap, "n": [0] * K, "wins": [0] * K, "outside": 0}
        for rule in ("plain", "identified")
        for alpha, gap in bandit.settings()
        for _ in range(bandit.batches * bandit.replications)
    ]
    for i in range(1, bandit.rounds + 1):
        draws = rng.random((2, len(rows)))
        for row, u, v in zip(rows, *draws, strict=True):
            p_hat = [w / (n + 1e-6) for w, n in zip(row["wins"], row["n"], strict=True)]
            score = [i ** (-row["alpha"] * p) for p in p_hat]
            bounds = list(itertools.accumulate(score))
            arm = next(k for k, bound in enumerate(bounds) if bound >= u * bounds[-1] or k == K - 1)
            if row["rule"] == "identified" and min(row["n"]) < 8 * math.log(2 * K * i * i) / row["gap"] ** 2:
                arm = row["n"].index(min(row["n"]))
            true = [bandit.worst] + [bandit.worst + row["gap"]] * (K - 1)
            row["n"][arm] += 1
            row["wins"][arm] += bool(v < true[arm])
            row["p"] = [w / (n + 1e-6) for w, n in zip(row["wins"], row["n"], strict=True)]
            off = [n * (p - q) ** 2 for n, p, q in zip(row["n"], row["p"], true, strict=True)]
            row["outside"] += max(off) > math.log(2 * K * i * i) / 2
    for row in rows:
        score = [(bandit.rounds + 1) ** (-row["alpha"] * p) for p in row["p"]]
        true = [bandit.worst] + [bandit.worst + row["gap"]] * (K - 1)
        row["share"] = sum(score[1:]) / sum(score)
        row["regret"] = sum(row["n"][1:])
        row["mistaken"] = row["p"][0] >= min(row["p"][1:])
        row["lost"] = row["share"] > 0.5
        row["enough"] = min(row["n"]) + 1 >= 8 * math.log(2 * K * bandit.rounds**2) / row["gap"] ** 2
        row["error"] = row["enough"] and max(abs(p - q) for p, q in zip(row["p"], true, strict=True)) > row["gap"] / 4
        bound = (bandit.rounds + 1) ** (-row["alpha"] * row["gap"] / 2)
        row["unseparated"] = row["enough"] and max(score[1:]) / score[0] > bound
    return rows


def test_the_bandit_against_a_loop():
    for bandit in (TINY, replace(TINY, gaps=(1.4,), worst=-0.2, rounds=200)):  # the second soon has enough rollouts
        frame, rows = last(theory.simulate(bandit)), loop(bandit)
        assert frame["t"].eq(bandit.rounds).all() and len(frame) == 2 * len(bandit.settings()) * 2
        for name in ("share", "regret", "mistaken", "lost", "enough", "error", "unseparated", "outside"):
            expected = np.array([row[name] for row in rows], dtype=float).reshape(-1, 2).mean(1)
            np.testing.assert_allclose(frame[name].to_numpy(float), expected, atol=1e-12, err_msg=name)
        for name in ("rule", "alpha", "gap"):
            assert frame[name].tolist() == [row[name] for row in rows[::2]]
    assert frame["enough"].max() == 1


def test_where_nothing_is_left_to_chance():
    """After one rollout of each other arm S = t^-2 for them and 1 for a_w: regret is about K - 1 + 2 sum t^-2."""
    plain = last(theory.simulate(CERTAIN), rule="plain")
    np.testing.assert_allclose(plain["share"], 2 / (2 + 121**2), rtol=1e-4)  # eps in p_hat
    assert plain["regret"].between(2, 5).all() and plain["mistaken"].eq(0).all() and plain["lost"].eq(0).all()
    forced = last(theory.simulate(CERTAIN), rule="identified")
    # 8 log(6 * 120^2) = 90.9 rollouts of each of three arms do not fit into 120: all alike, 40 each.
    assert forced["regret"].eq(80).all() and forced["enough"].eq(0).all()


def test_eq3_where_nothing_is_left_to_chance():
    """Others: eight at first, then t = 25 and S = 25^-2: one each. a_w: eight a round, or two rounds of eight until
    it has ten failures."""
    frame = pd.concat(pd.DataFrame(record) for record in theory.simulate_eq3(CERTAIN))
    free, pruned = frame[~frame["pruning"]], frame[frame["pruning"]]
    assert free["n_worst"].eq(8).all() and free["n_other"].eq(1).all() and free["given_up"].eq(0).all()
    np.testing.assert_allclose(free["share"], 2 / 10)
    assert free.loc[free["round"] == 20, "rollouts"].eq(24 + 19 * 10).all()
    assert pruned["n_worst"].eq(0).all() and pruned["share"].eq(1).all() and pruned["given_up"].eq(1).all()
    assert pruned.loc[pruned["round"] == 20, "rollouts"].eq(24 + 10 + 18 * 2).all()


def test_eq3_gives_a_positive_score_a_rollout():
    frame = last(theory.simulate_eq3(replace(TINY, alphas=(1000.0,))), pruning=False)
    assert frame["n_other"].eq(1).all()  # exp(-1000 log t p_hat) is 0 in floating point


def test_the_same_seed_gives_the_same_numbers():
    one, two, other = (last(theory.simulate(b)) for b in (TINY, TINY, replace(TINY, seed=1)))
    assert one.equals(two) and not one.equals(other)


# Exact probabilities --------------------------------------------------------------------------------------------------


def enumerated(p, n):
    """(probability of being pruned at count n, and by count n), over all 2^n histories."""
    at = within = 0.0
    for history in itertools.product((0, 1), repeat=n):
        probability = math.prod(p if win else 1 - p for win in history)
        zero = [
            k - sum(history[:k]) >= 10 and sum(history[:k]) / (k + 1e-6) <= 0.1
            for k in range(1, n + 1)
        ]  # fmt: skip
        at += probability * zero[-1]
        within += probability * any(zero)
    return at, within


@pytest.mark.parametrize("p", [0.05, 0.3])
def test_pruning_against_all_histories(p):
    at, within = enumerated(p, 13)
    assert theory.pruned_at(p, 13)[-1] == pytest.approx(at, abs=1e-12)
    assert theory.pruned_within(p, 13)[-1] == pytest.approx(within, abs=1e-12)
    assert theory.pruned_within(p, 13)[8] == 0  # ten failures take ten visits
    assert theory.pruned_at(p, 10)[-1] == pytest.approx((1 - p) ** 10)


def test_pruning_of_the_published_constants():
    # The share of states given up within 32 visits, by true success rate, in percent.
    expected = {0.05: 97, 0.10: 82, 0.15: 59, 0.20: 37, 0.30: 12, 0.50: 0.6}
    for p, percent in expected.items():
        assert 100 * theory.pruned_within(p, 32)[-1] == pytest.approx(percent, rel=0.02)


def test_estimate_errors_against_binomials():
    errors = theory.estimate_errors(0.3, 20, 0.1)
    for n in (1, 7, 20):
        off = [k for k in range(n + 1) if abs(k / n - 0.3) > 0.1 + 1e-12]
        assert errors[n - 1] == pytest.approx(sum(math.comb(n, k) * 0.3**k * 0.7 ** (n - k) for k in off))


def test_filtering_bound_by_hand():
    assert theory.filtering_bound(0.3, 32) == pytest.approx(math.exp(-2.56))


# On disk --------------------------------------------------------------------------------------------------------------


def test_tables_are_written_and_read(tmp_path):
    built = theory_results.build("smoke", tmp_path)
    loaded = theory_results.load("smoke", tmp_path)
    for name in theory_results.TABLES:
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(built, name))
        path = tmp_path / "results/threespo_theory/smoke" / f"{name}.parquet"
        line = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}.parquet"
        assert line in (path.parent / "SHA256SUMS").read_text().splitlines()
    needed = built.exact[built.exact["quantity"] == "needed"].iloc[0]
    errors = theory.estimate_errors(needed["p"], int(needed["n"]), needed["gap"] / 4)
    allowed = needed["i"] ** -2 / 4
    assert (errors[int(needed["value"]) - 1 :] <= allowed).all() and errors[int(needed["value"]) - 2] > allowed


def test_missing_damaged_and_unknown(tmp_path):
    with pytest.raises(ReproError, match=r"bandit.parquet is missing; simulate them again: make reproduce TIER=smoke"):
        theory_results.load("smoke", tmp_path)
    with pytest.raises(ReproError, match="threespo_theory has no tier 'paper'; it has: smoke, small"):
        theory_results.build("paper", tmp_path)
    theory_results.build("smoke", tmp_path)
    path = tmp_path / "results/threespo_theory/smoke/eq3.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ReproError, match="eq3.parquet is damaged"):
        theory_results.load("smoke", tmp_path)
