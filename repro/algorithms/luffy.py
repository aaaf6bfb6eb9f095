"""Expert traces as targets: supervised learning, supervised learning then RL, and LUFFY (arXiv 2504.14945).

The opposite of guidance: the question stands alone, and the expert's response is learned instead of read.

| symbol | here | meaning |
|---|---|---|
| tau | a row with `expert_B` | the expert's response to the plain question; the verifier rewards it as any other |
| w | pi_theta(token) | the ratio to the expert, whose probability of its own tokens is taken as 1 |
| f(w) | w / (w + gamma) | policy shaping: rare tokens of the expert keep a gradient |

    group of G = G - mixed sampled responses and `mixed` expert ones; advantages over the union
    loss = clipped surrogate on sampled tokens;  -A f(w) on the expert's, without a clip

Sources: the abstract and the released code of LUFFY; SMEPO's release carries the same shaping with gamma 0.1, switched
off. Supervised learning is -log pi of the expert's tokens. What LUFFY's own scripts add (an entropy term, no division
by the group's deviation) is left out, so that arms differ in the expert's rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repro.algorithms.batch import BehaviourBatch
from repro.algorithms.grpo import GRPO


@dataclass(frozen=True)
class ExpertRows:
    """Whole episodes, then one update; `mixed` responses of each group are the expert's.

    In the first `supervised` updates (None: in all) a group is one expert row and nothing is sampled.
    """

    mixed: int = 1
    supervised: int | None = 0

    def __post_init__(self) -> None:
        if self.mixed < 0 or (self.supervised or 0) < 0:
            raise ValueError(f"ExpertRows: mixed {self.mixed} and supervised {self.supervised} must be 0 or more")

    def sizes(self, update: int, wanted: int) -> tuple[int, int]:
        """(sampled, expert) rows of a group of `wanted` in this update (the first is 0)."""
        if self.supervised is None or update < self.supervised:
            return 0, 1
        if self.mixed >= wanted:
            raise ValueError(f"ExpertRows: groups of {wanted} cannot hold {self.mixed} expert rows and a sampled one")
        return wanted - self.mixed, self.mixed

    def explore(self, play: Callable[[list[tuple[int, int]]], Any], allotment: list[tuple[int, int]]) -> Iterator[Any]:
        """As `Episodes`: `play` knows which rows are the expert's."""
        yield play(allotment)


@dataclass(frozen=True)
class ExpertObjective(GRPO):
    """GRPO on sampled rows. On expert rows, LUFFY's shaped surrogate, or with `gamma=None` their log-likelihood.

    The defaults of the clip are GRPO's. The log-likelihood takes no advantage: it is supervised learning.
    """

    gamma: float | None = 0.1  # LUFFY's released code; SMEPO's dp_actor.py has the same

    def loss_BT(self, batch: BehaviourBatch) -> Tensor:
        if batch.expert_B is None:
            return super().loss_BT(batch)
        if self.gamma is None:
            expert_BT = -batch.logp_BT
        else:
            probability_BT = batch.logp_BT.exp()
            expert_BT = -batch.advantage_B[:, None] * probability_BT / (probability_BT + self.gamma)
        return torch.where(batch.expert_B[:, None], expert_BT, super().loss_BT(batch))
