"""Steps per second of this engine beside the reference: the same games and commands, taking turns in one run.

Both run in this process on one core, and the clock is the process's own: on a busy machine a wall clock would favour
the side whose pieces are short enough to finish between two interruptions.
"""

from __future__ import annotations

import importlib.metadata
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from repro.environments.alfworld.engine import Engine, Environment
from repro.environments.alfworld.package import INSTALL
from repro.environments.alfworld.problem import Game, Goal, Object, Problem, Receptacle
from repro.environments.alfworld.reference import Reference, available, write_game

_RECEPTACLES = ("Fridge", "SinkBasin", "Microwave", "CounterTop", "Cabinet", "Drawer", "Shelf", "SideTable")
_OPENABLE = {"Fridge", "Microwave", "Cabinet", "Drawer"}
_OBJECTS = ("Mug", "Apple", "Plate", "Bread", "Knife", "Book", "Bowl", "Cup", "Pen", "DeskLamp")
_FOOD = {"Mug", "Apple", "Plate", "Bread", "Bowl", "Cup"}


def bench_engine(
    shapes: Sequence[tuple[int, int]] = ((8, 4), (24, 30)), games: int = 8, turns: int = 50, repeats: int = 5
) -> list[dict[str, Any]]:
    """Rows for each shape (receptacles, objects) of the household; a step is an observation and an admissible list.

    `alfworld_steps_...`: first episodes, each in an engine that has seen nothing yet; `alfworld_steps_known_...`: the
    same episodes in engines that remember their situations, as in training on a finite list of games. The reference
    plays the first game's commands as installed, a piece in each repeat; its loading is not timed. Building
    engines and restoring snapshots have no peer: the reference cannot restore. Each row has `name`, `ours`,
    `peer`, `peer_name`, `ratio`, `unit`, `settings` and ranges as in `repro.bench`; where the reference is not
    installed, `peer` and `ratio` are None.
    """
    rows = []
    for receptacles, objects in shapes:
        made = [bench_game(receptacles, objects, seed) for seed in range(games)]
        scripts = [_script(Engine(game), seed, turns) for seed, game in enumerate(made)]
        rows += _rows(made, scripts, repeats, receptacles, objects)
    return rows


def _rows(
    made: list[Game], scripts: list[list[str]], repeats: int, receptacles: int, objects: int
) -> list[dict[str, Any]]:
    known = [Environment(Engine(game)) for game in made]
    rates: dict[str, list[float]] = {name: [] for name in ("first", "known", "peer", "build", "restore")}

    def episodes(environments: list[Environment]) -> int:
        for environment, script in zip(environments, scripts, strict=True):
            play(environment, script)
        return sum(map(len, scripts))

    def build() -> int:
        return len([Engine(game) for game in made])

    def restore() -> int:
        for environment in known:
            for _ in range(100):
                environment.restore(environment.snapshot())
        return 100 * len(known)

    pieces = _reference(made[0], scripts[0], repeats)
    episodes(known)
    for repeat in range(repeats):
        fresh = [Environment(Engine(game)) for game in made]
        _time(rates["first"], lambda fresh=fresh: episodes(fresh))
        _time(rates["known"], lambda: episodes(known))
        _time(rates["build"], build)
        _time(rates["restore"], restore)
        if pieces:
            _time(rates["peer"], pieces[repeat])
    peer = f"TextWorld {importlib.metadata.version('textworld')}" if pieces else f"TextWorld (not installed: {INSTALL})"
    settings = f"{receptacles} receptacles, {objects} objects"
    return [
        _row(f"alfworld_{name}_{receptacles}x{objects}", unit, rates[side], compared, peer_name, settings)
        for name, unit, side, compared, peer_name in (
            ("steps", "steps/s", "first", rates["peer"], peer),
            ("steps_known", "steps/s", "known", rates["peer"], peer),
            ("build", "games/s", "build", [], None),
            ("restore", "states/s", "restore", [], None),
        )
    ]


def _reference(game: Game, script: list[str], repeats: int) -> list[Callable[[], int]]:
    """One episode of the reference in `repeats` pieces (a reset costs it more than many steps); [] if not installed."""
    if not available():
        return []
    with tempfile.TemporaryDirectory() as folder:
        reference = Reference(write_game(game, Path(folder) / "game.tw-pddl"))
    reference.reset()

    def piece(part: list[str]) -> int:
        for command in part:
            reference.step(command)
            reference.admissible()
        return len(part)

    share = -(-len(script) // repeats)
    return [partial(piece, script[i * share : (i + 1) * share]) for i in range(repeats)]


def _time(rates: list[float], call: Callable[[], int]) -> None:
    started = time.process_time()
    work = call()
    rates.append(work / (time.process_time() - started))


def _row(
    name: str, unit: str, ours: list[float], peer: list[float], peer_name: str | None, settings: str
) -> dict[str, Any]:
    """Medians of the rates of each repeat and their ranges."""
    row = {"name": name, "ours": statistics.median(ours), "peer": None, "peer_name": peer_name, "ratio": None,
           "unit": unit, "low": min(ours), "high": max(ours), "repeats": len(ours), "settings": settings}  # fmt: skip
    if peer:
        pairs = [a / b for a, b in zip(ours, peer, strict=True)]
        row |= {"peer": statistics.median(peer), "ratio": row["ours"] / statistics.median(peer),
                "ratio_low": min(pairs), "ratio_high": max(pairs),
                "peer_low": min(peer), "peer_high": max(peer)}  # fmt: skip
    return row


def play(environment: Environment, script: Sequence[str]) -> None:
    """What is timed: an observation and an admissible list for every command."""
    environment.reset()
    for command in script:
        environment.step(command)
        environment.admissible()


def _script(engine: Engine, seed: int, turns: int) -> list[str]:
    """A random walk through admissible commands, with taking and moving things as likely as going about."""
    environment, rng, script = Environment(engine), random.Random(f"bench {seed}"), []
    environment.reset()
    for _ in range(turns):
        found = environment.admissible()
        handling = [c for c in found if c.split(" ")[0] not in ("go", "look", "inventory", "help", "examine")]
        script.append(rng.choice(handling if handling and rng.random() < 0.5 else found))
        environment.step(script[-1])
    return script


def bench_game(receptacles: int, objects: int, seed: int) -> Game:
    """A household of exactly this size, kinds in turn, every thing in a random place."""
    rng = random.Random(f"bench household {receptacles} {objects} {seed}")

    def mark(kind: str, index: int, suffix: str = "") -> str:
        return f"{kind}_bar__plus_00_dot_{index:02d}_bar_{rng.randrange(100):02d}{suffix}"

    places = []
    for i in range(receptacles):
        kind = _RECEPTACLES[i % len(_RECEPTACLES)]
        name = mark("Sink", i, "_bar_SinkBasin") if kind == "SinkBasin" else mark(kind, i)
        places.append(Receptacle(name, kind, f"loc_bar_{i}", openable=kind in _OPENABLE))
    things = []
    for i in range(objects):
        kind, home = _OBJECTS[i % len(_OBJECTS)], rng.choice(places)
        able = {"toggleable"} if kind == "DeskLamp" else {"pickupable", "moveable"}
        able |= {"cleanable", "heatable", "coolable"} if kind in _FOOD else set()
        able |= {"sliceable"} if kind in ("Apple", "Bread") else set()
        bowl = kind in ("Mug", "Plate", "Bowl", "Cup")
        things.append(
            Object(mark(kind, i), kind, (home.location,), (home.id,), is_receptacle=bowl, abilities=frozenset(able))
        )
    problem = Problem(
        name=f"bench_{receptacles}_{objects}_{seed}",
        receptacles=tuple(places),
        objects=tuple(things),
        locations=tuple(f"loc_bar_{i}" for i in range(receptacles + 1)),
        start=f"loc_bar_{receptacles}",
        can_contain=frozenset((place, thing) for place in _RECEPTACLES for thing in _OBJECTS),
        goal=Goal("pick_clean_then_place_in_recep", "Mug", receptacle="CounterTop"),
    )
    return Game(problem, "put a clean mug in countertop", id=problem.name)
