"""A household small enough to follow by hand: two cabinets, a countertop that shares its place with the sink, ..."""

import dataclasses

from repro.environments.alfworld.engine import Environment
from repro.environments.alfworld.problem import Game, Goal, Object, Problem, Receptacle

ABLE = frozenset({"pickupable", "cleanable", "heatable", "coolable"})
RECEPTACLES = (
    Receptacle("Cabinet_bar_a", "Cabinet", "loc_1", openable=True),
    Receptacle("Cabinet_bar_b", "Cabinet", "loc_2", openable=True),
    Receptacle("CounterTop_bar_a", "CounterTop", "loc_3"),
    Receptacle("Sink_bar_a_bar_SinkBasin", "SinkBasin", "loc_3"),  # shares its place with the countertop
    Receptacle("Fridge_bar_a", "Fridge", "loc_4", openable=True),
    Receptacle("Microwave_bar_a", "Microwave", "loc_5", openable=True),
)
OBJECTS = (
    Object("Apple_bar_a", "Apple", ("loc_1",), ("Cabinet_bar_a",), abilities=ABLE | {"sliceable"}),
    Object("Apple_bar_b", "Apple", ("loc_3",), ("CounterTop_bar_a",), abilities=ABLE | {"sliceable"}),
    Object("Mug_bar_a", "Mug", ("loc_3",), ("CounterTop_bar_a",), abilities=ABLE, is_receptacle=True),
    Object("Knife_bar_a", "Knife", ("loc_3",), ("CounterTop_bar_a",), abilities=frozenset({"pickupable"})),
    Object("DeskLamp_bar_a", "DeskLamp", ("loc_2",), ("Cabinet_bar_b",), abilities=frozenset({"toggleable"})),
)
PLACES = tuple(sorted({r.type for r in RECEPTACLES}))
PROBLEM = Problem(
    name="kitchen",
    receptacles=RECEPTACLES,
    objects=OBJECTS,
    locations=("loc_0", "loc_1", "loc_2", "loc_3", "loc_4", "loc_5"),
    start="loc_0",
    can_contain=frozenset((place, thing) for place in PLACES for thing in ("Apple", "Mug"))
    | {("CounterTop", "Knife"), ("Cabinet", "Knife")},
    goal=Goal("pick_and_place_simple", "Mug", receptacle="Cabinet"),
)


def environment(task="put some mug on cabinet", **changes):
    return Environment(Game(dataclasses.replace(PROBLEM, **changes), task))


def play(world, *commands):
    """The last observation."""
    return [world.step(command)[0] for command in commands][-1]


def with_things(**changes):
    """The objects, with fields of some changed by the first part of their identifiers."""
    return tuple(dataclasses.replace(o, **changes.get(o.id.split("_bar_")[0], {})) for o in OBJECTS)
