"""Where an update's rollouts come from: the same loop trains synchronously, with a fixed lag, or asynchronously.

A source is a context manager with

- `next(update)`: the rollouts that update consumes (numbered from 0), and measurements of the waiting; None: no more;
- `updated(update)`: told after each update, so that it can take the new weights;
- `state()`: JSON-able data from which a resumed source goes on; None: not now, ask again after the next update;
- `records()`: log lines of what happened since this was last asked;
- `rest(update)`: what was sampled and will not be trained on, as rollouts without rows, once the run is over; None:
  nothing. `exhausted`: whether it is over for lack of anything to sample.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Self

from repro.training.config import Lagged
from repro.training.rollouts import Rollouts


def version_for(schedule: Lagged, seed: int, update: int) -> int:
    """The weights (in learner updates) that sample for `update`: max(update - K, 0), K drawn from the run's seed."""
    lag = random.Random(f"lag:{seed}:{update}").randint(schedule.low, schedule.high)
    return max(update - lag, 0)


class Source:
    """A source without an inner life: nothing to report, and nothing to open or close."""

    exhausted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def records(self) -> list[dict[str, Any]]:
        return []

    def rest(self, update: int) -> Rollouts | None:
        return None


class LaggedSource(Source):
    """Rollouts with a lag of exactly K updates, in one process and bit for bit repeatable.

    Keeping rollouts is cheaper than keeping weights: as soon as version v exists, everything is sampled that later
    updates will consume from v. That is what a ring of weight snapshots would sample later, token for token, for no
    snapshot at all, and each batch is checked against the trainer while its weights are at hand.
    """

    def __init__(
        self,
        schedule: Lagged,
        seed: int,
        updates: int,
        sample: Callable[[int, int], Rollouts | None],
        state: dict[str, Any] | None = None,
    ):
        """`sample(update, version)` draws the rollouts of an update under the weights as they are now.

        None says that there are no more; `updates` is how many there can be at most.
        """
        self.schedule, self.seed, self.updates, self.sample = schedule, seed, updates, sample
        self.waiting = {entry["update"]: Rollouts.from_json(entry) for entry in (state or {"waiting": []})["waiting"]}
        if state is None:
            self._draw(0)
        else:
            self.updates = state["updates"]

    def next(self, update: int) -> tuple[Rollouts, dict[str, float]] | None:
        """The rollouts of an update and how many batches wait behind it; None after the last one."""
        return None if update >= self.updates else (self.waiting.pop(update), {"queue_depth": len(self.waiting)})

    def updated(self, update: int) -> None:
        self._draw(update + 1)

    def state(self) -> dict[str, Any]:
        return {"waiting": [rollouts.to_json() for rollouts in self.waiting.values()], "updates": self.updates}

    def _draw(self, version: int) -> None:
        for update in range(version, min(version + self.schedule.high + 1, self.updates)):
            if update not in self.waiting and version_for(self.schedule, self.seed, update) == version:
                rollouts = self.sample(update, version)
                if rollouts is None:
                    self.updates = min(self.updates, update)
                    return
                self.waiting[update] = rollouts
