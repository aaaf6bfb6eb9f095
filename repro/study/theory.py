"""The per-state bandit of 3SPO's theory (arXiv 2606.09961 v1), simulated and, where that can be done, computed exactly.

| symbol | here | meaning |
|---|---|---|
| K | `Bandit.arms` | actions of one state, each leading to its own successor |
| p*(a) | `success_rates` | fixed probability that a trajectory through arm a succeeds |
| a_w | arm 0 | the arm of the lowest p*, the "most unresolved" one |
| Delta | `Bandit.gaps` | p* of every other arm minus that of a_w |
| i, t | `rounds` | rollouts given so far, plus 1 |
| N_i(a), p_hat | - | rollouts of an arm, and the share of them that succeeded |
| S(a) | - | exp(-alpha log t p_hat(a)) = t^(-alpha p_hat(a)), Eq. 1 without its indicator |

The paper says where rollouts go: to a_w, the share of any other arm falling like t^(-alpha Delta / 2), with an
allocation regret (rollouts not given to a_w) of O(log I). Three rules of allocation stand side by side:

- "plain": each rollout to an arm drawn in proportion to S, as the theory has it (Boltzmann exploration with weight
  alpha log t);
- "identified": the same, but an arm with fewer than 8 log(2 K i^2) / Delta^2 rollouts comes first. That many are what
  the identification statement presumes; nothing in the algorithm provides them;
- Eq. 3 as the algorithm has it (`simulate_eq3`): every round each arm gets ceil(G S(a)) rollouts, with and without the
  indicator.

Constants of the statements are reconstructed from the rates that are reported (the paper's appendix could not be read).
Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RULES = ("plain", "identified")
EPS = 1e-6  # of Eq. 1


@dataclass(frozen=True)
class Bandit:
    """What is simulated. Every alpha with every gap; `batches` of `replications` each are the units of intervals."""

    arms: int = 4
    worst: float = 0.1  # p* of a_w
    gaps: tuple[float, ...] = (0.2, 0.4, 0.8)
    alphas: tuple[float, ...] = (1.0, 5.0, 10.0, 50.0)  # 50 is published
    rounds: int = 100_000
    batches: int = 10
    replications: int = 20
    eq3_rounds: int = 1000
    g_max: int = 8
    xi: int = 10
    zeta: float = 0.1
    seed: int = 0

    def settings(self) -> list[tuple[float, float]]:
        return [(alpha, gap) for alpha in self.alphas for gap in self.gaps]


TIERS = {"smoke": Bandit(rounds=2000, batches=3, replications=5, eq3_rounds=100), "small": Bandit()}


def checkpoints(rounds: int, decade: int = 10) -> np.ndarray:
    """Rounds at which is looked: `decade` of them each decade from 10 on, in equal ratios, the last included."""
    steps = np.arange(decade, int(decade * np.log10(rounds)) + 1)
    return np.unique(np.append(np.round(10 ** (steps / decade)).astype(int), rounds))


def identification_threshold(i: float, arms: int, gap: np.ndarray | float) -> np.ndarray | float:
    """8 log(2 K i^2) / Delta^2: rollouts of an arm from which on its estimate errs by Delta / 4 at most, with
    probability 1 - i^-2 for all arms together (Hoeffding)."""
    return 8 * np.log(2 * arms * i**2) / np.square(gap)


def simulate(bandit: Bandit) -> Iterator[dict[str, np.ndarray]]:
    """Play the rules "plain" and "identified" in all settings at once; a record of columns at each checkpoint.

    Columns, a row a rule, alpha, gap and batch, means over the batch's replications: `share` the probability of
    drawing another arm than a_w, `regret` the rollouts that others got, `mistaken` whether a_w has not the single
    lowest estimate, `lost` whether a_w is drawn with probability below 1/2, `enough` whether every arm has its
    threshold of rollouts but one, `error` whether `enough` holds and an estimate errs by more than Delta / 4,
    `unseparated` whether `enough` holds and some S(a) > t^(-alpha Delta / 2) S(a_w), `outside` the number of rounds so
    far at which some |p_hat - p*| exceeded sqrt(log(2 K i^2) / (2 N)), and `outside_now` whether this round is one.
    """
    rng = np.random.default_rng([bandit.seed, 1])
    rule_S = [(rule, *setting) for rule in RULES for setting in bandit.settings()]
    each, K = bandit.batches * bandit.replications, bandit.arms
    alpha_M, gap_M = (np.repeat([row[k] for row in rule_S], each) for k in (1, 2))
    M, free = len(alpha_M), len(alpha_M) // 2  # the rows of "plain" come first
    looks = set(checkpoints(bandit.rounds).tolist())
    # Arms lead, so that numpy works along rows; what one rollout changes is found by its place in the flat array.
    true_KM = np.full((K, M), bandit.worst)
    true_KM[1:] += gap_M
    n_KM, wins_KM, p_KM, off_KM = (np.zeros((K, M)) for _ in range(4))  # off: N (p_hat - p*)^2
    rows, outside_M = np.arange(M), np.zeros(M)
    for i in range(1, bandit.rounds + 1):
        u_M, v_M = rng.random((2, M))
        total_KM = np.exp(p_KM * (-np.log(i) * alpha_M))
        for k in range(1, K):
            total_KM[k] += total_KM[k - 1]
        arm_M = (total_KM[:-1] < u_M * total_KM[-1]).sum(0)
        short_F = n_KM[:, free:].min(0) < identification_threshold(i, K, gap_M[free:])
        arm_M[free:] = np.where(short_F, n_KM[:, free:].argmin(0), arm_M[free:])
        at_M = arm_M * M + rows
        true_M = true_KM.take(at_M)
        n_M, wins_M = n_KM.take(at_M) + 1, wins_KM.take(at_M) + (v_M < true_M)
        p_M = wins_M / (n_M + EPS)
        for array, value_M in ((n_KM, n_M), (wins_KM, wins_M), (p_KM, p_M), (off_KM, n_M * (p_M - true_M) ** 2)):
            array.put(at_M, value_M)
        outside_now_M = off_KM.max(0) > np.log(2 * K * i**2) / 2
        outside_M += outside_now_M
        if i in looks:
            values = _look(bandit, i, alpha_M, gap_M, true_KM, n_KM, p_KM)
            values |= {"outside": outside_M, "outside_now": outside_now_M}
            yield _batch_means(bandit, ("rule", "alpha", "gap"), rule_S, {"t": i}, values)


def _batch_means(
    bandit: Bandit, names: tuple[str, ...], settings: list[tuple], clock: dict[str, int], values: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Columns with a row a setting and batch: the setting's parts, the batch, the clock, and means of values."""
    keys = {name: np.repeat([row[k] for row in settings], bandit.batches) for k, name in enumerate(names)}
    keys["batch"] = np.tile(np.arange(bandit.batches), len(settings))
    keys |= {name: np.full(len(keys["batch"]), now) for name, now in clock.items()}
    return keys | {name: value_M.reshape(-1, bandit.replications).mean(1) for name, value_M in values.items()}


def _look(
    bandit: Bandit, i: int, alpha_M: np.ndarray, gap_M: np.ndarray, true_KM: np.ndarray, n_KM: np.ndarray,
    p_KM: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    log_S_KM = -alpha_M * np.log(i + 1) * p_KM
    log_S_KM -= log_S_KM.max(0)
    others_M = np.exp(log_S_KM[1:]).sum(0)
    share_M = others_M / (others_M + np.exp(log_S_KM[0]))
    # One short is enough: when the threshold passes a whole number, all arms are, until each has had its turn.
    enough_M = n_KM.min(0) + 1 >= identification_threshold(i, bandit.arms, gap_M)
    error_M = np.abs(p_KM - true_KM).max(0) > gap_M / 4
    ratio_M = log_S_KM[1:].max(0) - log_S_KM[0]
    return {
        "share": share_M,
        "regret": i - n_KM[0],
        "mistaken": p_KM[0] >= p_KM[1:].min(0),
        "lost": share_M > 0.5,
        "enough": enough_M,
        "error": enough_M & error_M,
        "unseparated": enough_M & (ratio_M > -alpha_M * gap_M / 2 * np.log(i + 1)),
    }


def simulate_eq3(bandit: Bandit) -> Iterator[dict[str, np.ndarray]]:
    """Eq. 3 at every arm, each round: n(a) = ceil(G S(a)), t = trajectories so far + 1; a record at each checkpoint.

    Columns, a row a `pruning` (the indicator on or off), alpha, gap and batch, means over the batch's replications:
    `share` of this round's rollouts that go to other arms than a_w (1 if none go anywhere), `n_worst` and `n_other`
    rollouts of a_w and of another arm, `given_up` whether the indicator has taken a_w, `rollouts` so far.
    """
    rng = np.random.default_rng([bandit.seed, 2])
    setting_S = [(pruning, *setting) for pruning in (False, True) for setting in bandit.settings()]
    each, K = bandit.batches * bandit.replications, bandit.arms
    pruning_M, alpha_M, gap_M = (np.repeat([row[k] for row in setting_S], each) for k in range(3))
    M, looks = len(alpha_M), set(checkpoints(bandit.eq3_rounds).tolist())
    true_MK = np.full((M, K), bandit.worst)
    true_MK[:, 1:] += gap_M[:, None]
    n_MK, wins_MK = np.zeros((M, K), int), np.zeros((M, K), int)
    for i in range(1, bandit.eq3_rounds + 1):
        p_MK = wins_MK / (n_MK + EPS)
        t_M = n_MK.sum(1) + 1
        hopeless_MK = pruning_M[:, None] & (n_MK - wins_MK >= bandit.xi) & (p_MK <= bandit.zeta)
        given_MK = np.ceil(bandit.g_max * np.exp(-(alpha_M * np.log(t_M))[:, None] * p_MK)).astype(int)
        given_MK = np.where(hopeless_MK, 0, given_MK.clip(min=1))  # a positive score is one branch, however small
        n_MK += given_MK
        wins_MK += rng.binomial(given_MK, true_MK)
        if i in looks:
            total_M = given_MK.sum(1)
            values = {
                "share": np.where(total_M > 0, given_MK[:, 1:].sum(1) / total_M.clip(min=1), 1.0),
                "n_worst": given_MK[:, 0],
                "n_other": given_MK[:, 1:].mean(1),
                "given_up": hopeless_MK[:, 0],
                "rollouts": n_MK.sum(1),
            }
            yield _batch_means(bandit, ("pruning", "alpha", "gap"), setting_S, {"round": i}, values)


# Exact probabilities --------------------------------------------------------------------------------------------------


def binomial_pmfs(p: float, n: int) -> Iterator[np.ndarray]:
    """The distribution of the number of successes, (k + 1,), after k = 1, 2, ..., n trials."""
    pmf = np.ones(1)
    for _ in range(n):
        pmf = np.append(pmf * (1 - p), 0.0) + np.append(0.0, pmf * p)
        yield pmf


def pruned(successes: np.ndarray, n: int, xi: int = 10, zeta: float = 0.1) -> np.ndarray:
    """Whether the indicator of Eq. 1 is 0 after n visits, for each number of successes."""
    return (n - successes >= xi) & (successes / (n + EPS) <= zeta)


def pruned_at(p: float, n: int, xi: int = 10, zeta: float = 0.1) -> np.ndarray:
    """Probability that the indicator is 0 at count 1, ..., n, (n,), of a state that is visited whatever it says."""
    steps = enumerate(binomial_pmfs(p, n), start=1)
    return np.array([pmf[pruned(np.arange(k + 1), k, xi, zeta)].sum() for k, pmf in steps])


def pruned_within(p: float, n: int, xi: int = 10, zeta: float = 0.1) -> np.ndarray:
    """Probability that it has been 0 at some count up to 1, ..., n, (n,): then the state is not visited again."""
    alive, lost, out = np.ones(1), 0.0, []
    for k in range(1, n + 1):
        alive = np.append(alive * (1 - p), 0.0) + np.append(0.0, alive * p)
        gone = pruned(np.arange(k + 1), k, xi, zeta)
        lost += alive[gone].sum()
        alive[gone] = 0.0
        out.append(lost)
    return np.array(out)


def filtering_bound(p: float, n: np.ndarray | float, zeta: float = 0.1) -> np.ndarray | float:
    """exp(-2 N (p* - zeta)^2), Hoeffding's bound on P(p_hat <= zeta) at one count N of a state with p* > zeta."""
    return np.exp(-2 * np.asarray(n) * (p - zeta) ** 2)


def estimate_errors(p: float, n: int, radius: float) -> np.ndarray:
    """P(|p_hat - p| > radius) after 1, ..., n rollouts, (n,)."""
    steps = enumerate(binomial_pmfs(p, n), start=1)
    return np.array([pmf[np.abs(np.arange(k + 1) / k - p) > radius + 1e-12].sum() for k, pmf in steps])
