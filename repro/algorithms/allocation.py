"""Allocation: which queries come next, and how many rollouts each gets."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Uniform:
    """Every query equally often, shuffled anew each epoch, the same number of rollouts for each (GRPO)."""

    prompts: int = 8  # queries per update; ASymPO section 5: 32
    group_size: int = 8  # ASymPO section 5, G

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.group_size < 1:
            raise ValueError(f"Uniform: {self.prompts} prompts of {self.group_size} rollouts; give 1 or more of each")

    def allot(self, update: int, queries: int, seed: int) -> list[tuple[int, int]]:
        """(query index, group size) of each group of an update: a pure function, so that a resumed run asks the same.

        An epoch's last batch is filled from the next epoch's order; `queries` must be at least 1.
        """
        first = update * self.prompts
        orders: dict[int, list[int]] = {}
        chosen = []
        for position in range(first, first + self.prompts):
            epoch, place = divmod(position, queries)
            if epoch not in orders:
                orders[epoch] = list(range(queries))
                random.Random(f"epoch:{seed}:{epoch}").shuffle(orders[epoch])
            chosen.append((orders[epoch][place], self.group_size))
        return chosen
