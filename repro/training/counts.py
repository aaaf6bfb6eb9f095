"""What sampling has come to since training began: generations, and the distinct states it has met."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from repro.environments import Episode
    from repro.training.rollouts import Rollouts

STATES = ("observation", "goal_observation", "state")  # raw text; goal and text; the world's own state with its goal


class Met:
    """Distinct states by each notion of `STATES`, as hashes of 8 bytes (chance that two of a million agree: 3e-8)."""

    def __init__(self, hashes: list[list[int]] | None = None):
        self.sets: list[set[int]] = [set(known) for known in hashes or [()] * len(STATES)]

    def note(self, episode: Episode, goal: str, observation: str) -> None:
        """An observation that an episode has just returned, first and final ones too."""
        for known, text in zip(
            self.sets, (observation, f"{goal}\n{observation}", episode.state_key(with_goal=True)), strict=True
        ):
            known.add(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big"))

    def add(self, hashes: list[list[int]]) -> None:
        for known, new in zip(self.sets, hashes, strict=True):
            known.update(new)

    def hashes(self) -> list[list[int]]:
        """Plain data, from which another can be made; empty if nothing was met."""
        return [sorted(known) for known in self.sets] if any(self.sets) else []

    def take(self) -> list[list[int]]:
        """The same, and forget them."""
        taken, self.sets = self.hashes(), [set() for _ in STATES]
        return taken


class Counts:
    """Totals over a run, cumulative and as they stood when an update had been sampled. Evaluation is not counted."""

    def __init__(self, state: dict[str, Any] | None = None):
        """`state` is what `state()` gave."""
        state = state or {"generations": 0, "met": []}
        self.generations: int = state["generations"]
        self.met = Met([np.frombuffer(bytes.fromhex(packed), np.uint64).tolist() for packed in state["met"]])

    def add(self, rollouts: Rollouts) -> None:
        """What was sampled for an update, and since the one before."""
        self.generations += rollouts.generations
        if rollouts.met:
            self.met.add(rollouts.met)

    def metrics(self) -> dict[str, int]:
        """For the log: `generations`, and how many states were met by each notion."""
        states = zip(STATES, map(len, self.met.sets), strict=True)
        return {"generations": self.generations, **{f"states_{name}": number for name, number in states}}

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        packed = [np.array(known, np.uint64).tobytes().hex() for known in self.met.hashes()]
        return {"generations": self.generations, "met": packed}


def due(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]; 0: never."""
    return bool(every) and after // every > before // every
