"""Worlds: training lists, held-out lists and rewards. A config's class says which world it describes."""

from __future__ import annotations

from repro.environments import arithmetic, maths_world
from repro.environments.arithmetic import ArithmeticConfig
from repro.environments.maths_world import MathsConfig
from repro.environments.query import Query

World = ArithmeticConfig | MathsConfig


def train_list(world: World, seed: int) -> list[Query]:
    """The finite training list of a seed."""
    return (maths_world if isinstance(world, MathsConfig) else arithmetic).train_list(world, seed)


def heldout(world: World) -> dict[str, list[Query]]:
    """The held-out lists by level, the same for every seed."""
    return (maths_world if isinstance(world, MathsConfig) else arithmetic).heldout(world)


def reward(world: World, query: Query, response: str) -> float:
    """What a response earns: 1.0 or 0.0."""
    if isinstance(world, MathsConfig):
        return maths_world.reward(world, query, response)
    return arithmetic.reward(query, response)
