"""What ALFWorld's commands do: each changes an environment's state and returns the observation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from repro.environments.alfworld import text

if TYPE_CHECKING:
    from repro.environments.alfworld.engine import Environment


def bits(mask: int) -> Iterator[int]:
    """The positions of the ones, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _contents(env: Environment, receptacle: int) -> str:
    return env.engine.in_receptacle(receptacle, env.opened & 1 << receptacle, env.contents[receptacle])


def look(env: Environment, _: None) -> str:
    engine, here = env.engine, env.engine.here[env.place]
    if not here:
        return text.middle([])
    standing = env.standing[env.place] if engine.loose[env.place] else 0
    floor = [engine.object_name[i] for i in bits(standing) for r in here if env.removed[r] >> i & 1]
    return text.facing([engine.receptacle_name[r] for r in here], floor)


def inventory(env: Environment, _: None) -> str:
    return text.inventory(env.inventory)


def help_(env: Environment, _: None) -> str:
    return text.HELP


def go(env: Environment, receptacle: int) -> str:
    engine = env.engine
    place = engine.location[receptacle]
    if place == env.place:
        return text.NOTHING_HAPPENS
    env.place = place
    env.enter()
    if engine.light:
        env.won = engine.won(env)
    return f"You arrive at {engine.receptacle_name[receptacle]}. {_contents(env, receptacle)}"


def open_(env: Environment, receptacle: int) -> str:
    env.opened |= 1 << receptacle
    env.enter()
    return f"You open the {env.engine.receptacle_name[receptacle]}. {_contents(env, receptacle)}"


def close(env: Environment, receptacle: int) -> str:
    env.opened &= ~(1 << receptacle)
    env.enter()
    return f"You close the {env.engine.receptacle_name[receptacle]}."


def take(env: Environment, what: tuple[int, int]) -> str:
    (thing, receptacle), engine = what, env.engine
    bit, place = 1 << thing, env.place
    env.hand = thing
    env.contents = _with(env.contents, receptacle, env.contents[receptacle] & ~bit)
    if env.standing[place] & bit:
        env.standing = _with(env.standing, place, env.standing[place] & ~bit)
    if engine.loose[place]:
        env.removed = _with(env.removed, receptacle, env.removed[receptacle] | bit)
    env.enter()
    env.won = engine.won(env)
    return f"You pick up the {engine.object_name[thing]} from the {engine.receptacle_name[receptacle]}."


def move(env: Environment, what: tuple[int, int]) -> str:
    (thing, receptacle), engine = what, env.engine
    bit, place = 1 << thing, env.place
    env.hand = -1
    env.contents = _with(env.contents, receptacle, env.contents[receptacle] | bit)
    if engine.tracked[place] & bit:
        env.standing = _with(env.standing, place, env.standing[place] | bit)
    if env.removed[receptacle] & bit:
        env.removed = _with(env.removed, receptacle, env.removed[receptacle] & ~bit)
    env.enter()
    env.won = engine.won(env)
    return f"You move the {engine.object_name[thing]} to the {engine.receptacle_name[receptacle]}."


def _with(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


def clean(env: Environment, what: tuple[int, int]) -> str:
    env.clean |= 1 << what[0]
    return _treated(env, "clean", what)


def heat(env: Environment, what: tuple[int, int]) -> str:
    env.hot |= 1 << what[0]
    env.cool &= ~(1 << what[0])
    return _treated(env, "heat", what)


def cool(env: Environment, what: tuple[int, int]) -> str:
    env.cool |= 1 << what[0]
    env.hot &= ~(1 << what[0])
    return _treated(env, "cool", what)


def _treated(env: Environment, verb: str, what: tuple[int, int]) -> str:
    engine = env.engine
    env.won = engine.won(env)  # a file may say that the thing in hand lies somewhere too
    return f"You {verb} the {engine.object_name[what[0]]} using the {engine.receptacle_name[what[1]]}."


def use(env: Environment, thing: int) -> str:
    env.toggled |= 1 << thing
    env.won = env.engine.won(env)
    return f"You turn on the {env.engine.object_name[thing]}."


def slice_(env: Environment, what: tuple[int, int]) -> str:
    env.sliced |= 1 << what[0]
    return f"You sliced the {env.engine.object_name[what[0]]} with the {env.engine.object_name[what[1]]}."


def examine_receptacle(env: Environment, receptacle: int) -> str:
    return _contents(env, receptacle)


def examine_object(env: Environment, thing: int) -> str:
    engine, name = env.engine, env.engine.object_name[thing]
    if thing in engine.containers:
        return text.container(name, engine.containers[thing])
    masks = {"clean": env.clean, "hot": env.hot, "cool": env.cool, "on": env.toggled & engine.toggleable,
             "sliceable": engine.sliceable, "sliced": env.sliced}  # fmt: skip
    return text.thing(name, **{word: bool(mask >> thing & 1) for word, mask in masks.items()})


# Condition: what brings it about, the word for that, and the ability it needs.
TREATMENTS = {
    "isClean": (clean, "clean", "cleanable"),
    "isHot": (heat, "heat", "heatable"),
    "isCool": (cool, "cool", "coolable"),
}
