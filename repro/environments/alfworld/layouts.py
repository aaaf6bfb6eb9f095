"""Full-size households: ALFRED's 120 floor plans with its containment rules and goal templates.

Everything is read from the installed `alfworld` package (an optional extra). A floor plan gives the receptacles with
the points from which they are reached, several of which may be one and the same, and the kinds of thing found there;
which thing lies where is drawn anew for every game, with the numbers of copies that ALFRED's generator uses.

What the package does not say is settled here. A receptacle that a plan lists without a position (stove burners, coffee
machines, toasters, most bins, holders in bathrooms) stands at a point of the plan that is drawn once and for all; a
kitchen has four burners; only desk lamps are lit, since floor lamps stand in no receptacle, as the goal demands.
`valid_unseen` takes the 24 floor plans that ALFRED keeps for tests, the other two splits its 96 for training.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from repro.environments.alfworld import households, package
from repro.environments.alfworld.households import GameSet, Room, Rules, World
from repro.environments.alfworld.names import mangle
from repro.environments.alfworld.problem import TASK_TYPES, Game, Goal, Receptacle
from repro.errors import ReproError

_BURNERS = 4
_LAMP_STANDS = ("Desk", "SideTable", "Dresser", "Shelf", "CoffeeTable", "DiningTable")
_STEP = 0.25  # metres; ALFRED's grid, which location names count in


@dataclass(frozen=True)
class LayoutConfig:
    """Which full-size games are drawn. ALFWorld has 140 held-out games of known rooms and 134 of unseen ones."""

    task_types: tuple[str, ...] = TASK_TYPES
    train_games: int = 512
    heldout_games: int = 134  # per held-out split

    def __post_init__(self) -> None:
        unknown = set(self.task_types) - set(TASK_TYPES)
        if unknown or not self.task_types:
            raise ReproError(f"full-size households: unknown task types {sorted(unknown)}; known are {TASK_TYPES}")


@cache
def rules() -> Rules:
    """ALFRED's rules: what a receptacle may contain is also where things are found."""
    constants, library = package.constants(), package.goal_library()
    movable = constants.MOVABLE_RECEPTACLES_SET
    contains = {
        place: frozenset(kinds) for place, kinds in constants.VAL_RECEPTACLE_OBJECTS.items() if place not in movable
    }
    kinds = frozenset().union(*contains.values())
    actions = constants.VAL_ACTION_OBJECTS
    return Rules(
        contains=contains,
        usual={kind: tuple(sorted(place for place in contains if kind in contains[place])) for kind in kinds},
        abilities={
            kind: frozenset({"pickupable"} | {ability.lower() for ability in actions if kind in actions[ability]})
            for kind in kinds
        }
        | {"DeskLamp": frozenset({"toggleable"})},
        containers=frozenset(movable),
        openable=frozenset(constants.OPENABLE_CLASS_SET),
        lamps={"DeskLamp": _LAMP_STANDS},
        sentences={task: tuple(library.gdict[task]["templates"]) for task in TASK_TYPES},
    )


@cache
def room(number: int) -> Room:
    """One floor plan (1-30 kitchens, 201-230 living rooms, 301-330 bedrooms, 401-430 bathrooms)."""
    if number not in package.constants().SCENE_NUMBERS:
        raise ReproError(f"there is no floor plan {number}; known are {sorted(package.constants().SCENE_NUMBERS)}")

    def read(part: str) -> dict | list:
        return json.loads(package.path(f"gen/layouts/FloorPlan{number}-{part}.json").read_text(encoding="utf-8"))

    listed = set(read("objects"))
    fixed = set(package.constants().RECEPTACLES) - package.constants().MOVABLE_RECEPTACLES_SET
    rng = random.Random(f"FloorPlan{number}")
    points = np.load(package.path(f"gen/layouts/FloorPlan{number}-layout.npy"), allow_pickle=False)
    receptacles = [
        _receptacle(name, name.split("|")[-1] if name.endswith("Basin") else name.split("|")[0], pose)
        for name, pose in sorted(read("openable").items())
    ]
    receptacles = [receptacle for receptacle in receptacles if receptacle.type in fixed]
    for kind in sorted((listed & fixed) - {receptacle.type for receptacle in receptacles}):
        for _ in range(_BURNERS if kind == "StoveBurner" else 1):
            x, z = points[rng.randrange(len(points))].tolist()
            angle = rng.randrange(4)
            dx, dz = ((0, 0.5), (0.5, 0), (0, -0.5), (-0.5, 0))[angle]  # half a metre ahead of who stands there
            height, aside = rng.uniform(0.2, 1.2), rng.uniform(-0.2, 0.2)
            position = f"{x + dx + aside:+06.2f}|{height:+06.2f}|{z + dz + aside:+06.2f}"
            name = f"{kind.removesuffix('Basin')}|{position}|{kind}" if kind.endswith("Basin") else f"{kind}|{position}"
            receptacles.append(_receptacle(name, kind, (x, z, 90 * angle, 30)))
    types = {receptacle.type for receptacle in receptacles}
    kinds = tuple(sorted(kind for kind in listed & set(rules().usual) if types.intersection(rules().usual[kind])))
    start = _start(points, {receptacle.location for receptacle in receptacles}, rng)
    lamp = "DeskLamp" if "DeskLamp" in listed and types.intersection(_LAMP_STANDS) else None
    return Room(str(number), tuple(receptacles), start, kinds, lamp)


def _receptacle(name: str, kind: str, pose: tuple | list) -> Receptacle:
    return Receptacle(mangle(name), kind, _location(*pose), openable=kind in rules().openable)


def _location(x: float, z: float, degrees: int, horizon: int) -> str:
    """ALFRED's name for a pose: grid coordinates, quarter turns, tilt of the head in degrees."""
    return mangle(f"loc|{round(x / _STEP)}|{round(z / _STEP)}|{int(degrees) // 90}|{int(horizon)}")


def _start(points: np.ndarray, taken: set[str], rng: random.Random) -> str:
    """A pose from which no receptacle is handled, so that a game starts in the middle of a room."""
    while True:
        x, z = points[rng.randrange(len(points))].tolist()
        start = _location(x, z, 90 * rng.randrange(4), 30)
        if start not in taken:
            return start


@cache
def world() -> World:
    """The 120 floor plans by split; a room's things come in as many copies as in ALFRED's generator (up to three, of
    the thing that is wanted up to four)."""
    constants = package.constants()
    most, most_wanted = constants.MAX_NUM_OF_OBJ_INSTANCES, constants.PICKUP_REPEAT_MAX

    def stock(place: Room, goal: Goal, rng: random.Random) -> list[str]:
        copies = Counter({kind: rng.randint(1, most) if rng.random() < 0.4 else 1 for kind in place.kinds})
        copies[goal.object] = rng.randint(2 if goal.task_type == "pick_two_obj_and_place" else 1, most_wanted)
        return sorted(copies.elements())

    known = tuple(room(number) for number in sorted(constants.TRAIN_SCENE_NUMBERS))
    unseen = tuple(room(number) for number in sorted(constants.TEST_SCENE_NUMBERS))
    return World({"train": known, "valid_seen": known, "valid_unseen": unseen}, rules(), stock)


def train_list(config: LayoutConfig, seed: int) -> GameSet:
    """The finite training list of a seed; it shares no game with the held-out lists."""
    return households.train(world(), config.task_types, seed, config.train_games, _heldout_games(config))


def heldout(config: LayoutConfig) -> dict[str, GameSet]:
    """The fixed held-out lists: `valid_seen` on the training floor plans, `valid_unseen` on the others."""
    return households.heldout(world(), config.task_types, config.heldout_games)


def stream(config: LayoutConfig, seed: int) -> Iterator[Game]:
    """Endless fresh games of the training floor plans for the supervised warm start, none of them held out."""
    return households.stream(world(), config.task_types, seed, _heldout_games(config))


@cache
def _heldout_games(config: LayoutConfig) -> tuple[Game, ...]:
    return heldout(config)["valid_seen"].games
