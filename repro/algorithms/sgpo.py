"""sGPO: measure every query once, drop the trivial, size groups by 1/p, go from easy to hard (arXiv 2606.08854).

| symbol | here | meaning |
|---|---|---|
| p_hat | `Profile.rates()` | fraction correct of N = `samples` draws under the initial policy (Eq. 4) |
| t | `trivial` | queries with p_hat > t are dropped (Eq. 8) |
| alpha | `unsolved` | share of the queries with p_hat = 0 that is mixed into every phase (Eq. 9) |
| b(q) | `buckets` | group size by p_hat, near 1/p_hat (Eqs. 7, 10) |
| C_g | `phases` | queries of group size g (Eq. 11), with the unsolved mix (Eq. 12) |

A sweep is one pass over each phase, smallest groups (easiest queries) first; there are two sweeps with the same, stale
assignments. It is an allocation and nothing else: rewards, advantages and loss are those of its baseline, DAPO.

Where the paper is silent or contradicts itself: trivial means p_hat > t, as its counts say (Appendix C writes >=); the
unsolved mix is drawn once, as in Algorithm 1 (Eq. 9 has it per phase), and takes the phase's group size; profiling
samples as training does; order within a phase is shuffled; a phase is cut into batches whose sizes differ by one at
most, near `prompts`, so that no stray query gets a step of its own. There is no re-profiling; `reprofile=True` is the
variant that the paper tried and rejected.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import ClassVar, Literal

from repro.algorithms.allocation import History, Planned, Profile, order

PAPER_BUCKETS = ((0.125, 8), (0.25, 4), (1.0, 2))  # Eq. 10
ONE_BUCKET = {size: ((1.0, size),) for size in (2, 4, 8)}  # "minus adaptive G": the same for every query


@dataclass(frozen=True)
class SGPO(Planned):
    """The paper's allocation; its controls are other values of the same fields."""

    prompts: int = 8  # B; not given (64 fits the paper's token counts)
    samples: int = 8  # N (section 4)
    trivial: float = 0.75  # t (Eq. 8); 1.0 drops nothing
    unsolved: float = 0.10  # alpha (Eq. 9)
    unsolved_size: int = (
        0  # group size of the other unsolved queries, as a cluster of their own; 0: dropped (the paper)
    )
    buckets: tuple[tuple[float, int], ...] = PAPER_BUCKETS  # (p_hat up to, group size), ascending
    order: Literal["easy_to_hard", "hard_to_easy", "batches", "shuffled"] = "easy_to_hard"
    sweeps: int = 2  # E (Appendix D)
    reprofile: bool = False  # before every later sweep (Figure 7: worse)

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.samples < 1 or self.sweeps < 1:
            raise ValueError(f"{type(self).__name__}: prompts, samples and sweeps must be 1 or more")
        if not 0 < self.trivial <= 1 or not 0 <= self.unsolved <= 1:
            raise ValueError(f"SGPO: trivial={self.trivial} must be in (0, 1], unsolved={self.unsolved} in [0, 1]")
        bounds, sizes = [bound for bound, _ in self.buckets], [size for _, size in self.buckets]
        if not bounds or bounds != sorted(set(bounds)) or bounds[0] <= 0 or bounds[-1] != 1.0:
            raise ValueError(f"SGPO.buckets: bounds {bounds} must rise from above 0 to 1.0")
        if min(sizes) < 2 or self.unsolved_size < 0 or self.unsolved_size == 1:
            raise ValueError(f"SGPO: group sizes {sizes} and {self.unsolved_size} must be 2 or more: one has no peer")

    def group_size(self, rate: float) -> int:
        """b(q) of Eq. 10; 0 for a query that no cluster holds (trivial, or unsolved)."""
        if rate == 0:
            return self.unsolved_size
        if rate > self.trivial:
            return 0
        return next(size for bound, size in self.buckets if rate <= bound)

    def phases(self, profile: Profile, seed: int) -> dict[int, list[int]]:
        """Cbar_g: the queries (indices, ascending) of every phase, in the order in which phases are trained.

        An empty cluster has no phase, whatever the unsolved mix. ValueError, with the histogram, if all are empty.
        """
        rates = profile.rates()
        never = [query for query, rate in enumerate(rates) if rate == 0]
        mix = random.Random(f"unsolved:{seed}").sample(never, round(self.unsolved * len(never)))
        sizes = {query: self.group_size(rate) for query, rate in enumerate(rates)}
        clusters: dict[int, set[int]] = {}
        for query, size in sizes.items():
            if size:
                clusters.setdefault(size, set()).add(query)
        if not clusters:
            counts = [profile.solved.count(k) for k in range(profile.samples + 1)]
            raise ValueError(
                f"SGPO: no query is learnable; of {len(rates)} queries {counts} were solved 0..{profile.samples} times "
                f"of {profile.samples}. Change the queries, the warm start, or recipe.allocation.trivial"
            )
        names = sorted(clusters, reverse=self.order == "hard_to_easy")
        return {size: sorted(clusters[size] | set(mix)) for size in names}

    def sweep(self, profile: Profile, seed: int, epoch: int) -> list[list[tuple[int, int]]]:
        """The batches of (query, group size) of one sweep.

        Within an epoch every allocation goes by the same shuffled order. "batches" shuffles the batches of all phases:
        no order, and still one group size a batch. "shuffled" mixes the phases' groups within batches; a query that
        several phases hold takes its second and third place from further shuffles.
        """
        place = {query: rank for rank, query in enumerate(order(len(profile.solved), seed, epoch))}
        phases = self.phases(profile, seed)
        if self.order != "shuffled":
            batches = []
            for size, queries in phases.items():
                queries = sorted(queries, key=place.__getitem__)
                batches += [[(query, size) for query in part] for part in _even_batches(queries, self.prompts)]
            if self.order == "batches":
                random.Random(f"batches:{seed}:{epoch}").shuffle(batches)
            return batches
        groups, seen = [], {}
        for size, queries in phases.items():
            for query in queries:
                turn = seen[query] = seen.get(query, -1) + 1
                later = random.Random(f"{seed}:{epoch}:{query}:{turn}").uniform(0, len(place))
                groups.append((later if turn else place[query], turn, query, size))
        return _even_batches([(query, size) for _, _, query, size in sorted(groups)], self.prompts)

    def batches(self, history: History) -> list[list[tuple[int, int]]]:
        """All batches that the profiles taken so far determine: one sweep with `reprofile`, else all sweeps."""
        profiles = history.profiles
        sweeps = len(profiles) if self.reprofile else self.sweeps
        used = [profiles[epoch if self.reprofile else 0] for epoch in range(sweeps)]
        return [batch for epoch, profile in enumerate(used) for batch in self.sweep(profile, history.seed, epoch)]

    def updates(self, history: History) -> int | None:
        unsettled = self.reprofile and len(history.profiles) < self.sweeps
        return None if unsettled else super().updates(history)

    def profile_due(self, update: int, history: History) -> int:
        if not history.profiles:
            return self.samples
        another = self.reprofile and len(history.profiles) < self.sweeps
        return self.samples if another and update == len(self.batches(history)) else 0


@dataclass(frozen=True)
class OracleSGPO(SGPO):
    """sGPO by success rates so exact that they may pass for the true ones, at no charge: the bound on what N buys."""

    charge_profile: ClassVar[bool] = False

    samples: int = 64


@dataclass(frozen=True)
class MatchedBudget(Planned):
    """Uniform groups at the cost that `SGPO()` would have: what do filter, sizes and order buy beyond spending less?

    "stop": every query, shuffled, until as much is spent as sGPO spends with its profile. "subset": a random subset of
    the queries, drawn once, with as many rollouts in a sweep as sGPO's, for as many sweeps. A profile is taken to know
    that cost; it is sGPO's, and not to be charged to this control.
    """

    charge_profile: ClassVar[bool] = False

    matched: Literal["stop", "subset"] = "stop"
    prompts: int = 8
    group_size: int = 8
    price: float = 6.0  # of a trained rollout, in profiled ones (Appendix G.4: 12P against 2P a token)

    def batches(self, history: History) -> list[list[tuple[int, int]]]:
        reference, profile, seed = SGPO(prompts=self.prompts), history.profiles[0], history.seed
        rollouts = sum(size * len(queries) for size, queries in reference.phases(profile, seed).items())
        members = list(range(history.queries))
        if self.matched == "stop":
            spent = rollouts * reference.sweeps + reference.samples * history.queries / self.price
            groups = round(spent / self.group_size)
        else:
            count = min(round(rollouts / self.group_size), history.queries)
            members = random.Random(f"subset:{seed}").sample(members, count)
            groups = count * reference.sweeps
        chosen = set(members)
        ranked = (
            query
            for epoch in range(math.ceil(groups / len(members)))
            for query in order(history.queries, seed, epoch)
            if query in chosen
        )
        return _even_batches([(query, self.group_size) for query in itertools.islice(ranked, groups)], self.prompts)

    def profile_due(self, update: int, history: History) -> int:
        return 0 if history.profiles else SGPO().samples


def bill(profile: Profile, allocation: SGPO, baseline_size: int = 8, price: float = 6.0, seed: int = 0) -> dict:
    """The predicted bill of an allocation, in rollouts, if all rollouts were equally long (spec: R(E)).

    `price`: what a trained rollout costs in profiled ones; 6 for the paper's 12P against 2P, 4 without a reference.
    Gives the rollouts of a sweep, of the profile, of the uniform baseline's epoch, and their ratio over all sweeps.
    """
    phases = allocation.phases(profile, seed)
    sweep = sum(size * len(queries) for size, queries in phases.items())
    queries = len(profile.solved)
    uniform = baseline_size * queries
    profiling = profile.samples * queries
    total = sweep * allocation.sweeps + profiling * (allocation.sweeps if allocation.reprofile else 1) / price
    return {
        "phases": {size: len(members) for size, members in phases.items()},
        "rollouts_sweep": sweep,
        "rollouts_profile": profiling,
        "rollouts_uniform_epoch": uniform,
        "ratio": uniform * allocation.sweeps / total,
    }


def _even_batches(items: list, size: int) -> list[list]:
    """Consecutive batches of about `size` items, as many as full ones would need, whose lengths differ by at most 1."""
    count = math.ceil(len(items) / size)
    bounds = [len(items) * i // count for i in range(count + 1)] if count else [0]
    return [items[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
