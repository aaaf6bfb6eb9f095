"""Exploration: how rollouts are grown, and when an update is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Episodes:
    """Whole episodes of every group, then one update (GRPO)."""

    def explore(self, play: Callable[[list[tuple[int, int]]], Any], allotment: list[tuple[int, int]]) -> Iterator[Any]:
        """Yield rollouts whenever an update is due. `play(allotment)` samples, scores and returns whole groups."""
        yield play(allotment)
