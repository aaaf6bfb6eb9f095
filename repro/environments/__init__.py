"""Worlds: training lists, held-out lists, and rewards or episodes. A config's class says which world it describes.

In a world of single turns a response earns its reward at once; in a world of several turns it is an action, and an
`Episode` says what comes next. Libraries that only one world needs are imported by that world when it is used.

A new world is a frozen config and a module with `train_list(config, seed)`, `heldout(config)` and either
`reward(query, response)` or an `Episode`, entered below; with `stream(config, seed)` and `vocabulary(config)` it can be
learned from scratch, once `repro.policy.warmstart.TAUGHT` says what is taught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from repro.environments import arithmetic, guided_arithmetic, maths_world, program, search
from repro.environments.alfworld import world as alfworld
from repro.environments.alfworld.world import AlfworldConfig, HouseholdEpisode
from repro.environments.arithmetic import ArithmeticConfig
from repro.environments.guided_arithmetic import GuidedArithmeticConfig
from repro.environments.maths_world import BenchmarkedMathsConfig, MathsConfig
from repro.environments.program import ProgramConfig
from repro.environments.query import Query
from repro.environments.search import SearchConfig, SearchEpisode
from repro.environments.webshop import world as webshop
from repro.environments.webshop.world import ShopEpisode, WebShopConfig

World = (
    ArithmeticConfig | MathsConfig | GuidedArithmeticConfig | ProgramConfig | SearchConfig | AlfworldConfig
    | WebShopConfig | BenchmarkedMathsConfig
)  # fmt: skip

_MODULES: dict[type, ModuleType] = {
    ArithmeticConfig: arithmetic,
    MathsConfig: maths_world,
    BenchmarkedMathsConfig: maths_world,
    GuidedArithmeticConfig: guided_arithmetic,
    ProgramConfig: program,
    SearchConfig: search,
    AlfworldConfig: alfworld,
    WebShopConfig: webshop,
}


class Episode(Protocol):
    """A query being played: for one use, deterministic, and over after finitely many steps.

    This is what the loop asks for; search over states wants `admissible`, `snapshot`, `restore` and `abstract_key` too.
    A world that shows its players something else than what was said and done so far (say, what they may do now, but
    not what they might have done before) has a method `prompt() -> str`: all that is seen at this turn.
    """

    @property
    def won(self) -> bool: ...

    @property
    def faults(self) -> NamedTuple:
        """How many of the actions so far went wrong, by kind; the kinds are the world's own."""
        ...

    def reset(self) -> str:
        """The first observation."""
        ...

    def step(self, action: str) -> tuple[str, float, bool]:
        """(observation, reward, done). Any text is an action; one without words does nothing but take its turn."""
        ...

    def state_key(self, with_goal: bool = False) -> str:
        """The world's state, not the text, without turns taken; states of different goals may be one unless asked."""
        ...


# Config class -> Episode of (config, query).
EPISODES: dict[type, Any] = {SearchConfig: SearchEpisode, AlfworldConfig: HouseholdEpisode, WebShopConfig: ShopEpisode}


def train_list(world: World, seed: int) -> list[Query]:
    """The finite training list of a seed."""
    return _MODULES[type(world)].train_list(world, seed)


def heldout(world: World) -> dict[str, list[Query]]:
    """The held-out lists by level, the same for every seed."""
    return _MODULES[type(world)].heldout(world)


def stream(world: World, seed: int) -> Iterator[Query]:
    """Endless fresh queries for the warm start; published sets have none."""
    return _MODULES[type(world)].stream(world, seed)


def vocabulary(world: World) -> list[str]:
    """The words that a policy from scratch needs; published sets have no such list."""
    return _MODULES[type(world)].vocabulary(world)


def reward(world: World, query: Query, response: str) -> float:
    """What a response earns in a world of single turns: 1.0 or 0.0."""
    if isinstance(world, MathsConfig):
        return maths_world.reward(world, query, response)
    return _MODULES[type(world)].reward(query, response)


def multi_turn(world: World) -> bool:
    """Whether queries are played as episodes."""
    return type(world) in EPISODES


def response_reward(world: World) -> Callable[[Query, str], float] | None:
    """`reward` of a world of single turns; None where no single response earns one."""
    return None if multi_turn(world) else partial(reward, world)


def episode(world: World, query: Query) -> Episode:
    """A fresh episode of a world of several turns."""
    return EPISODES[type(world)](world, query)


def asked(world: World, query: Query) -> Query:
    """The query with the text that the policy sees first: the episode's own prompt or its first observation."""
    if not multi_turn(world):
        return query
    begun = episode(world, query)
    observation = begun.reset()
    return replace(query, text=begun.prompt() if hasattr(begun, "prompt") else observation)


def history(world: World) -> int | None:
    """How many past turns a prompt shows, by the config's field `history`; None, or no such field: all."""
    return getattr(world, "history", None)
