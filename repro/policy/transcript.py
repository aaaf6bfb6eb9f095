"""What was seen and done in an episode, as token ids that are only ever appended to.

What the policy sampled stays as it was sampled: text that is decoded and encoded again may come out as other tokens,
and the log-probabilities recorded for the old ones would be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Transcript:
    """Observations and the actions that answered them; there is one observation more than actions while play goes on.

    Immutable, so that several continuations can start from one.
    """

    observations: tuple[tuple[int, ...], ...]
    actions: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def start(cls, observation: Iterable[int]) -> Transcript:
        return cls((tuple(observation),))

    def then(self, action: Iterable[int], observation: Iterable[int]) -> Transcript:
        """The transcript after one more turn."""
        return Transcript((*self.observations, tuple(observation)), (*self.actions, tuple(action)))

    def prompt(self, history: int | None = None) -> list[int]:
        """What the policy sees now: the first observation, the last `history` turns (None: all), the present one.

        A turn is an observation and the action that answered it. The first observation, which states the task, always
        stands at the head. With all turns shown, a prompt is the one before it, the response to that, and what came
        back.
        """
        turns = len(self.actions)
        first = 0 if history is None else max(0, turns - history)
        ids = list(self.observations[0])
        for turn in range(first, turns):
            ids += (*(self.observations[turn] if turn else ()), *self.actions[turn])
        return ids + list(self.observations[turns] if turns else ())
