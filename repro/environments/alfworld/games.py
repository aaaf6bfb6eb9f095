"""Small households for runs on a CPU: 8 to 10 receptacles, a handful of things, all six task types.

They need no optional package, and a policy of half a million parameters can learn them: a vocabulary of under a hundred
words, short texts, games won in under ten commands. A game is an ordinary ALFWorld game in every other respect.

Rooms differ in which receptacles they have. The rooms of `valid_unseen` are combinations that no training room has.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

from repro.environments.alfworld import households
from repro.environments.alfworld.households import GameSet, Room, Rules, World
from repro.environments.alfworld.names import mangle
from repro.environments.alfworld.problem import TASK_TYPES, Game, Goal, Receptacle
from repro.errors import ReproError

# A simplified home: every kind of thing, where it usually is (most likely first) and where else it may be put.
_USUAL = {
    "Apple": ("Fridge", "CounterTop", "DiningTable"),
    "Tomato": ("Fridge", "CounterTop", "SinkBasin"),
    "Potato": ("CounterTop", "Fridge", "SinkBasin"),
    "Egg": ("Fridge", "CounterTop"),
    "Mug": ("Cabinet", "CounterTop", "SinkBasin"),
    "Cup": ("Cabinet", "DiningTable", "CounterTop"),
    "Plate": ("DiningTable", "Cabinet", "SinkBasin"),
    "Fork": ("Drawer", "DiningTable", "SinkBasin"),
    "Spoon": ("Drawer", "SinkBasin", "CounterTop"),
    "Book": ("Desk", "SideTable", "Shelf"),
    "Pencil": ("Desk", "Drawer", "Shelf"),
    "CellPhone": ("Desk", "SideTable", "DiningTable"),
    "KeyChain": ("SideTable", "Drawer", "Desk"),
}
_FOOD = ("Apple", "Tomato", "Potato", "Egg")
_CROCKERY = ("Mug", "Cup", "Plate")
_CUTLERY = ("Fork", "Spoon")
_BELONGINGS = ("Book", "Pencil", "CellPhone", "KeyChain")
_TABLES = ("CounterTop", "DiningTable", "SideTable")
_ELSEWHERE = {
    _FOOD: (*_TABLES, "Fridge", "Microwave", "SinkBasin", "GarbageCan"),
    _CROCKERY: (*_TABLES, "Fridge", "Microwave", "SinkBasin", "Cabinet", "Shelf", "Desk"),
    _CUTLERY: (*_TABLES, "Drawer", "SinkBasin"),
    _BELONGINGS: (*_TABLES, "Desk", "Drawer", "Shelf"),
}
_PLACES = {kind: {*_USUAL[kind], *places} for kinds, places in _ELSEWHERE.items() for kind in kinds}
_ABILITIES = {
    _FOOD: frozenset({"pickupable", "cleanable", "heatable", "coolable", "sliceable"}),
    _CROCKERY: frozenset({"pickupable", "cleanable", "heatable", "coolable"}),
    _CUTLERY: frozenset({"pickupable", "cleanable"}),
    _BELONGINGS: frozenset({"pickupable"}),
}
RULES = Rules(
    contains={
        place: frozenset(kind for kind, places in _PLACES.items() if place in places)
        for place in sorted(set().union(*_PLACES.values()))
    },
    usual=_USUAL,
    abilities={kind: able for kinds, able in _ABILITIES.items() for kind in kinds}
    | {"DeskLamp": frozenset({"toggleable"})},
    containers=frozenset(_CROCKERY),
    openable=frozenset({"Fridge", "Microwave", "Cabinet", "Drawer"}),
    lamps={"DeskLamp": ("Desk", "SideTable")},
    # One wording for each task, of those that ALFWorld knows.
    sentences={
        "pick_and_place_simple": ("put a {obj} in {recep}",),
        "look_at_obj_in_light": ("look at {obj} under the {toggle}",),
        "pick_clean_then_place_in_recep": ("put a clean {obj} in {recep}",),
        "pick_heat_then_place_in_recep": ("put a hot {obj} in {recep}",),
        "pick_cool_then_place_in_recep": ("put a cool {obj} in {recep}",),
        "pick_two_obj_and_place": ("put two {obj} in {recep}",),
    },
)
_CORE = ("Fridge", "SinkBasin", "Microwave", "CounterTop", "Cabinet", "Drawer")
_EXTRAS = ("Cabinet", "Drawer", "Shelf", "GarbageCan", "DiningTable", "SideTable")


@dataclass(frozen=True)
class HouseholdConfig:
    """Shape of the small world. The three splits are fixed for every seed, except that `train` has games of its own."""

    task_types: tuple[str, ...] = TASK_TYPES
    min_things: int = 4  # without the lamp
    max_things: int = 6
    train_rooms: int = 20
    unseen_rooms: int = 6
    train_games: int = 256  # finite, so that training makes epochs over it
    heldout_games: int = 200  # per held-out split

    def __post_init__(self) -> None:
        unknown = set(self.task_types) - set(TASK_TYPES)
        if unknown or not self.task_types:
            raise ReproError(f"small households: unknown task types {sorted(unknown)}; known are {TASK_TYPES}")
        if not 2 <= self.min_things <= self.max_things:
            raise ReproError(
                f"small households: {self.min_things} to {self.max_things} things; a game needs at least 2, "
                "because one task asks for two of a kind"
            )
        if min(self.train_rooms, self.unseen_rooms) < 1 or self.train_rooms + self.unseen_rooms > len(_layouts()):
            raise ReproError(
                f"small households: {self.train_rooms} training and {self.unseen_rooms} unseen rooms were asked for; "
                f"at least one of each is needed, and there are {len(_layouts())} different rooms"
            )


@cache
def world(config: HouseholdConfig) -> World:
    """The rooms of each split, what may lie where, and how many things a game has."""
    shuffled = list(enumerate(random.Random("small households").sample(_layouts(), len(_layouts()))))
    known = tuple(_room(f"small{index}", types) for index, types in shuffled[: config.train_rooms])
    unseen = tuple(_room(f"small{index}", types) for index, types in shuffled[-config.unseen_rooms :])

    def stock(room: Room, goal: Goal, rng: random.Random) -> list[str]:
        wanted = [goal.object] * (2 if goal.task_type == "pick_two_obj_and_place" else 1)
        return wanted + rng.choices(room.kinds, k=rng.randint(config.min_things, config.max_things) - len(wanted))

    return World({"train": known, "valid_seen": known, "valid_unseen": unseen}, RULES, stock)


@cache
def _layouts() -> tuple[tuple[str, ...], ...]:
    """Every combination of receptacles: the core, a stand for the lamp, and one to three extras."""
    extras = [extra for size in (1, 2, 3) for extra in combinations_with_replacement(_EXTRAS, size)]
    return tuple(
        sorted({tuple(sorted((*_CORE, stand, *extra))) for stand in ("Desk", "SideTable") for extra in extras})
    )


def _room(id: str, types: tuple[str, ...]) -> Room:
    rng = random.Random(f"small households: {id}")
    points = rng.sample([(x, z) for x in range(-9, 10) for z in range(-9, 10)], len(types) + 1)
    places = [mangle(f"loc|{x}|{z}|{rng.randrange(4)}|30") for x, z in points]
    receptacles = []
    for kind, location in zip(types, places[1:], strict=True):
        x, y, z = (f"{rng.uniform(-3, 3):+06.2f}" for _ in range(3))
        name = f"Sink|{x}|{y}|{z}|SinkBasin" if kind == "SinkBasin" else f"{kind}|{x}|{y}|{z}"
        receptacles.append(Receptacle(mangle(name), kind, location, openable=kind in RULES.openable))
    return Room(id, tuple(receptacles), places[0], tuple(_USUAL), lamp="DeskLamp")


def train_list(config: HouseholdConfig, seed: int) -> GameSet:
    """The finite training list of a seed; it shares no game with the held-out lists."""
    return households.train(world(config), config.task_types, seed, config.train_games, _heldout_games(config))


def heldout(config: HouseholdConfig) -> dict[str, GameSet]:
    """The fixed held-out lists: `valid_seen` in the training rooms, `valid_unseen` in others."""
    return households.heldout(world(config), config.task_types, config.heldout_games)


def stream(config: HouseholdConfig, seed: int) -> Iterator[Game]:
    """Endless fresh games of the training rooms for the supervised warm start, none of them held out."""
    return households.stream(world(config), config.task_types, seed, _heldout_games(config))


@cache
def _heldout_games(config: HouseholdConfig) -> tuple[Game, ...]:
    return heldout(config)["valid_seen"].games


def nouns(config: HouseholdConfig) -> list[str]:
    """Every name of a receptacle or a thing in the config's rooms, without its number: `cabinet`, `mug`, ..."""
    every = [room for rooms in world(config).rooms.values() for room in rooms]
    return sorted({kind.lower() for room in every for kind in (*room.types, *room.kinds, room.lamp)})
