"""A world to go back in, for the tests of 3SPO in the loop: a corridor of five places, won at one of its ends.

    basil ? :     the question: which end wins (apple: the left one, basil: the right one)
    mango =       what comes back: the place, 'acorn cedar mango pearl tulip' from left to right

`apple` goes left, `basil` right; anything else stays, and is answered "? =".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from repro import environments
from repro.environments.query import Query
from repro.policy.model import Policy, PolicyConfig, build
from tests.policy.tiny import SHAPE, stir

PLACES = ["acorn", "cedar", "mango", "pearl", "tulip"]
WORDS = [*PLACES, "apple", "basil", "?", ":", "="]
STEPS = {"apple": -1, "basil": 1}


class Faults(NamedTuple):
    nowhere: int = 0


class State(NamedTuple):
    place: int = 2
    turn: int = 0
    faults: Faults = Faults()


@dataclass(frozen=True)
class WalkConfig:
    max_turns: int = 4
    history: int | None = None
    queries: int = 4


class Walk:
    def __init__(self, config: WalkConfig, query: Query):
        self.config, self.query = config, query
        self.state = State()

    @property
    def won(self) -> bool:
        return self.state.place == (0 if self.query.answer == "apple" else 4)

    @property
    def faults(self) -> Faults:
        return self.state.faults

    def reset(self) -> str:
        self.state = State()
        return self.query.text

    def step(self, action: str) -> tuple[str, float, bool]:
        place, turn, faults = self.state
        step = STEPS.get((*action.split(), "")[0], 0)
        place = min(max(place + step, 0), 4)
        self.state = State(place, turn + 1, Faults(faults.nowhere + (not step)))
        observation = f"{PLACES[place]} =" if step else "? ="
        return observation, float(self.won), self.won or turn + 1 == self.config.max_turns

    def admissible(self) -> list[str]:
        return [] if self.won else sorted(STEPS)

    def snapshot(self) -> State:
        return self.state

    def restore(self, snapshot: State) -> None:
        self.state = snapshot

    def state_key(self, with_goal: bool = False) -> str:
        return PLACES[self.state.place] + with_goal * f" to {self.query.answer}"

    def abstract_key(self) -> str:
        return f"{'won' if self.won else 'open'}, {abs(self.state.place - 2)} from the start"


class Module:
    """What stands for the world's module."""

    @staticmethod
    def train_list(config: WalkConfig, seed: int) -> list[Query]:
        ends = ["apple", "basil"] * config.queries
        return [Query(f"w{i}", f"{ends[i]} {'? ' * (i // 2 + 1)}:", ends[i], "walk") for i in range(config.queries)]

    @staticmethod
    def heldout(config: WalkConfig) -> dict[str, list[Query]]:
        return {"walk": Module.train_list(config, 0)}


def walk_policy(scale: float = 0.1) -> Policy:
    return stir(build(PolicyConfig(**vars(SHAPE)), WORDS, 0), scale)


environments._MODULES[WalkConfig] = Module  # from here on: a config of a run with trees asks at once what its world is
environments.EPISODES[WalkConfig] = Walk
