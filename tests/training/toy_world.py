"""A world of several turns for the tests of what plays episodes: name a name, or a value, in few turns.

daisy ? apple :    the question; any name wins where `answer` is "name", any "=2" where it is "value"
basil = :          what comes back: a name for the turn, and the word that was said
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from repro import environments
from repro.environments.arithmetic import NAMES
from repro.environments.query import Query
from repro.policy.model import Policy, PolicyConfig, build
from tests.policy.tiny import SHAPE, stir

WORDS = [*NAMES[:4], "=1", "=2", "?", ":", "="]  # few, so that a random policy ends its responses now and then


class Faults(NamedTuple):
    empty: int = 0
    out_of_turns: int = 0


@dataclass(frozen=True)
class ToyConfig:
    max_turns: int = 3
    history: int | None = None
    wage: float = 0.0  # for every action with a word in it
    queries: int = 6


class Toy:
    def __init__(self, config: ToyConfig, query: Query):
        self.config, self.query = config, query

    def state_key(self, with_goal: bool = False) -> str:
        return f"turn {self.turn}, {'won' if self.won else 'open'}" + with_goal * f", {self.query.text}"

    def reset(self) -> str:
        self.turn, self.won, self.faults = 0, False, Faults()
        return self.query.text

    def step(self, action: str) -> tuple[str, float, bool]:
        said = (*action.split(), "")[0]
        self.turn += 1
        self.won = said in NAMES if self.query.answer == "name" else said.startswith("=") and said != "="
        done = self.won or self.turn == self.config.max_turns
        self.faults = Faults(self.faults.empty + (not said), int(done and not self.won))
        return f"{NAMES[self.turn]} = {said or '?'}", self.config.wage * bool(said) + self.won, done


def queries(config: ToyConfig) -> list[Query]:
    return [
        Query(f"q{i}", f"{NAMES[i % 4]} ? {NAMES[i // 4]} :", ("name", "value")[i % 2], "toy")
        for i in range(config.queries)
    ]


class Module:
    """What stands for the world's module."""

    @staticmethod
    def train_list(config: ToyConfig, seed: int) -> list[Query]:
        return queries(config)

    @staticmethod
    def heldout(config: ToyConfig) -> dict[str, list[Query]]:
        return {"toy": queries(config)}


def toy_policy(scale: float = 0.1, **shape) -> Policy:
    return stir(build(PolicyConfig(**{**vars(SHAPE), **shape}), WORDS, 0), scale)


def install(patch) -> None:
    """Make the world known for as long as `patch` (a pytest MonkeyPatch) lasts."""
    patch.setitem(environments._MODULES, ToyConfig, Module)
    patch.setitem(environments.EPISODES, ToyConfig, Toy)
