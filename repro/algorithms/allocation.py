"""Allocation: which queries come next, how many rollouts each gets, and which of them are trained on.

An allocation is a frozen config with pure functions of what has been seen: a `History` of all finished updates, and
what was drawn so far in this one. The loop keeps the history and saves it, so that a resumed run asks the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Profile:
    """Successes of every query in `samples` draws each, under the weights that had seen `update` updates."""

    update: int
    samples: int
    solved: tuple[int, ...]

    def rates(self) -> list[float]:
        """Empirical success rate of every query: no smoothing, no prior (sGPO Eq. 4)."""
        return [solved / self.samples for solved in self.solved]


@dataclass(frozen=True)
class Visit:
    """A group that was drawn; of size 0 if the query was looked at and passed over."""

    update: int
    query: int
    size: int
    solved: int


@dataclass(frozen=True)
class Drawn:
    """A group drawn in the present update, with its rewards."""

    query: int
    rewards: tuple[float, ...]


@dataclass
class History:
    """What an allocation may look at: the length of the finite list, the run's seed, profiles and visits in order."""

    queries: int
    seed: int
    profiles: list[Profile] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)


def order(queries: int, seed: int, epoch: int) -> list[int]:
    """The list shuffled for an epoch; the same for every allocation, so that arms see the same queries together."""
    shuffled = list(range(queries))
    random.Random(f"epoch:{seed}:{epoch}").shuffle(shuffled)
    return shuffled


class Allocation:
    """What the loop asks of an allocation, with the answers of one that needs no profile and trains on everything."""

    charge_profile: ClassVar[bool] = True  # whether a profile that it asks for is part of its bill

    def updates(self, history: History) -> int | None:
        """How many updates there will be, as far as that is known."""
        return None

    def profile_due(self, update: int, history: History) -> int:
        """Samples per query to draw under the present weights, before anything is drawn for `update`; 0: none."""
        return 0

    def allot(self, update: int, history: History, drawn: list[Drawn]) -> list[tuple[int, int]]:
        """The next groups (query index, size) to draw for an update; none: it has enough.

        None with nothing drawn yet: training is over. A query named again within an update joins its group; one of
        size 0 is passed over, which is recorded as a visit.
        """
        raise NotImplementedError

    def keep(self, update: int, history: History, drawn: list[Drawn]) -> list[list[int]]:
        """Which rollouts of each drawn group are trained on. Those left out still count in the group's baseline."""
        return [list(range(len(group.rewards))) for group in drawn]


class Planned(Allocation):
    """An allocation whose batches are all settled by the profiles taken so far."""

    def batches(self, history: History) -> list[list[tuple[int, int]]]:
        """The (query, group size) of each update, as far as they are settled."""
        raise NotImplementedError

    def updates(self, history: History) -> int | None:
        return len(self.batches(history)) if history.profiles else None

    def allot(self, update: int, history: History, drawn: list[Drawn]) -> list[tuple[int, int]]:
        if drawn:
            return []
        batches = self.batches(history)
        return batches[update] if update < len(batches) else []


@dataclass(frozen=True)
class Uniform(Allocation):
    """Every query equally often, shuffled anew each epoch, the same number of rollouts for each (GRPO)."""

    prompts: int = 8  # queries per update; ASymPO section 5: 32
    group_size: int = 8  # ASymPO section 5, G

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.group_size < 1:
            raise ValueError(f"Uniform: {self.prompts} prompts of {self.group_size} rollouts; give 1 or more of each")

    def allot(self, update: int, history: History, drawn: list[Drawn]) -> list[tuple[int, int]]:
        """An epoch's last batch is filled from the next epoch's order. Never over: the run's config ends it."""
        if drawn:
            return []
        places = [divmod(place, history.queries) for place in range(update * self.prompts, (update + 1) * self.prompts)]
        orders = {epoch: order(history.queries, history.seed, epoch) for epoch, _ in places}
        return [(orders[epoch][place], self.group_size) for epoch, place in places]
