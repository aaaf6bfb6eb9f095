"""What a study is: arms, seeds, tiers, thresholds and budgets, fixed here before any run.

Importable without torch: the config of a run is built on demand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repro.errors import ReproError

TIERS = {
    "smoke": "tiny policy, seconds a run; proves that it runs, never evidence",
    "small": "0.5 M parameters from scratch, minutes a run on one core; evidence on direction and mechanism",
    "paper": "the paper's own models, data and settings, on GPUs",
    "paper-1gpu": "the same with a model of 0.5 to 1.7 billion parameters, for one 80 GB GPU",
}


@dataclass(frozen=True)
class Collapse:
    """A run has collapsed if the running mean of its training reward stays below `fraction` of its own running maximum
    for `stretch` consecutive updates, or if its loss stops being finite."""

    fraction: float = 0.5
    strict_fraction: float = 0.25  # reported beside it
    window: int = 10  # updates in the running mean
    stretch: int = 20


COLLAPSE = Collapse()


@dataclass(frozen=True)
class Arm:
    """One column of the grid: an algorithm under a condition."""

    name: str
    label: str
    algorithm: str  # a key of repro.algorithms.ALGORITHMS
    condition: str  # the schedule: lag0, lag16, ..., ref, queue
    seeds: int  # at the small tier
    core: bool = False  # what the claims need
    description: str = ""
    settings: tuple[tuple[str, Any], ...] = ()  # dotted overrides of the run's config


@dataclass(frozen=True)
class Study:
    """A comparison of arms over paired seeds."""

    name: str
    title: str
    paper: str
    notebook: str  # file name in notebooks/
    arms: dict[str, Arm]
    tiers: tuple[str, ...]
    build: Callable[[Arm, int, str], Any]  # (arm, seed, tier) -> RunConfig
    smoke_seeds: int = 2

    def config(self, arm: str, seed: int, tier: str) -> Any:
        """The RunConfig of a cell. ReproError for an unknown arm or tier or a negative seed, naming the known ones."""
        self.check_tier(tier)
        if arm not in self.arms:
            raise ReproError(f"study {self.name!r} has no arm {arm!r}; it has: {', '.join(self.arms)}")
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ReproError(f"seed {seed!r} is not a whole number of 0 or more")
        entry = self.paper_tier(tier)
        if entry is None:
            return self.build(self.arms[arm], seed, tier)
        if arm not in entry.arms:
            raise ReproError(f"study {self.name!r} has no arm {arm!r} at tier {tier}; it has: {', '.join(entry.arms)}")
        from repro.study.paper_tier import scaled

        return scaled(self.build(self.arms[arm], seed, "small"), tier, entry)

    def paper_tier(self, tier: str) -> Any:
        """The PaperTier of a tier that has the paper's own settings; None for the other tiers."""
        from repro.study.paper_settings import PAPER

        return PAPER.get(self.name, {}).get(tier)

    def check_tier(self, tier: str) -> None:
        if tier not in self.tiers:
            raise ReproError(f"study {self.name!r} has no tier {tier!r}; it has: {', '.join(self.tiers)}")

    def seeds(self, arm: str, tier: str) -> int:
        """How many paired seeds (0, 1, ...) an arm runs at a tier."""
        if entry := self.paper_tier(tier):
            return entry.seeds
        return self.arms[arm].seeds if tier == "small" else min(self.smoke_seeds, self.arms[arm].seeds)

    def cells(self, tier: str, arms: list[str] | None = None, seeds: int | None = None) -> list[Any]:
        """The RunConfigs of a grid, seed by seed and core arms first, so that an interrupted grid is still paired.

        Without `arms`: all of them at the small tier, the core ones at smoke, those of the paper at its own. `seeds`
        caps each arm's; at the paper's tiers, which have one, it says how many.
        """
        self.check_tier(tier)
        entry = self.paper_tier(tier)
        chosen = arms or [name for name, arm in self.arms.items() if arm.core or tier != "smoke"]
        if entry and not arms:
            chosen = list(entry.arms)
        if seeds is not None and seeds < 1:
            raise ReproError(f"seeds={seeds}: give a whole number of 1 or more")
        counts = {}
        for name in chosen:
            if name not in self.arms:
                raise ReproError(f"study {self.name!r} has no arm {name!r}; it has: {', '.join(self.arms)}")
            planned = self.seeds(name, tier)
            counts[name] = (seeds or planned) if entry else min(planned, seeds or planned)
        order = sorted(chosen, key=lambda name: not self.arms[name].core)
        return [
            self.config(name, seed, tier)
            for seed in range(max(counts.values()))
            for name in order
            if seed < counts[name]
        ]
