"""The experts: plans counted by hand and against breadth-first search, and a searcher that knows only the texts."""

import random
from collections import deque
from dataclasses import replace

import pytest

from repro.environments.alfworld import games
from repro.environments.alfworld.engine import Environment
from repro.environments.alfworld.expert import Searcher, demonstrate, shortest_plan
from repro.environments.alfworld.problem import (
    APPLIANCES,
    REQUIRED,
    TASK_TYPES,
    Game,
    Goal,
    Object,
    Problem,
    Receptacle,
)

SMALL = games.HouseholdConfig(train_games=60, heldout_games=30)
ABLE = frozenset({"pickupable", "cleanable", "heatable", "coolable"})
KITCHEN = Problem(
    name="kitchen",
    receptacles=(
        Receptacle("Fridge_bar_1", "Fridge", "loc_f", openable=True),
        Receptacle("Sink_bar_1_bar_SinkBasin", "SinkBasin", "loc_s"),
        Receptacle("Microwave_bar_1", "Microwave", "loc_m", openable=True),
        Receptacle("Desk_bar_1", "Desk", "loc_d"),
        Receptacle("Drawer_bar_1", "Drawer", "loc_d", openable=True),  # within reach from the desk
    ),
    objects=(
        Object("Mug_bar_1", "Mug", ("loc_f",), ("Fridge_bar_1",), abilities=ABLE),
        Object("Mug_bar_2", "Mug", ("loc_d",), ("Drawer_bar_1",), abilities=ABLE),
        Object("DeskLamp_bar_1", "DeskLamp", ("loc_d",), ("Desk_bar_1",), abilities=frozenset({"toggleable"})),
    ),
    locations=("loc_0", "loc_f", "loc_s", "loc_m", "loc_d"),
    start="loc_0",
    can_contain=frozenset((place, "Mug") for place in ("Fridge", "SinkBasin", "Microwave", "Desk", "Drawer")),
    goal=Goal("pick_and_place_simple", "Mug", "Desk"),
)


@pytest.mark.parametrize("goal, plan", [
    # The second mug (called 1: the smallest identifier has the highest number) is next to the desk.
    (Goal("pick_and_place_simple", "Mug", "Desk"),
     ["go to drawer 1", "open drawer 1", "take mug 1 from drawer 1", "move mug 1 to desk 1"]),
    (Goal("pick_heat_then_place_in_recep", "Mug", "Desk"),
     ["go to fridge 1", "open fridge 1", "take mug 2 from fridge 1", "go to microwave 1",
      "heat mug 2 with microwave 1", "go to desk 1", "move mug 2 to desk 1"]),
    # The fridge cools its own mug, and takes it back: no second visit, the door is open.
    (Goal("pick_cool_then_place_in_recep", "Mug", "Fridge"),
     ["go to fridge 1", "open fridge 1", "take mug 2 from fridge 1", "cool mug 2 with fridge 1",
      "move mug 2 to fridge 1"]),
    (Goal("pick_clean_then_place_in_recep", "Mug", "SinkBasin"),
     ["go to fridge 1", "open fridge 1", "take mug 2 from fridge 1", "go to sinkbasin 1",
      "clean mug 2 with sinkbasin 1", "move mug 2 to sinkbasin 1"]),
    (Goal("look_at_obj_in_light", "Mug", toggle="DeskLamp"),
     ["go to drawer 1", "open drawer 1", "take mug 1 from drawer 1", "use desklamp 1"]),
    (Goal("pick_two_obj_and_place", "Mug", "Desk"),
     ["go to fridge 1", "open fridge 1", "take mug 2 from fridge 1", "go to desk 1", "move mug 2 to desk 1",
      "open drawer 1", "take mug 1 from drawer 1", "move mug 1 to desk 1"]),
])  # fmt: skip
def test_plans_counted_by_hand(goal, plan):
    problem = replace(KITCHEN, goal=goal)
    found = shortest_plan(problem)
    assert len(found) == len(plan)
    for commands in (found, plan):  # there may be several as short
        environment = Environment(Game(problem, "task"))
        for command in commands:
            assert not environment.won and command in environment.admissible()
            environment.step(command)
        assert environment.won


def test_a_game_may_be_won_already_or_never():
    there = replace(KITCHEN.objects[0], receptacles=("Desk_bar_1",), locations=("loc_d",))
    assert shortest_plan(replace(KITCHEN, objects=(there, *KITCHEN.objects[1:]))) == ()
    assert shortest_plan(replace(KITCHEN, can_contain=frozenset())) is None
    assert shortest_plan(replace(KITCHEN, goal=Goal("pick_and_place_simple", "Mug", "Sofa"))) is None
    assert shortest_plan(replace(KITCHEN, goal=Goal("look_at_obj_in_light", "Mug", toggle="FloorLamp"))) is None


def test_plans_start_from_any_state_of_a_game():
    mug, other, lamp = KITCHEN.objects
    held = replace(mug, receptacles=(), locations=())
    at_desk = replace(KITCHEN, objects=(held, other, lamp), holding=mug.id, start="loc_d")
    assert shortest_plan(at_desk) == ("move mug 2 to desk 1",)
    lit = replace(lamp, conditions=frozenset({"isToggled"}))
    light = replace(at_desk, objects=(held, other, lit), goal=Goal("look_at_obj_in_light", "Mug", toggle="DeskLamp"))
    assert shortest_plan(light) == ()
    # Something else in hand has to be put down first; the sink, not the desk, takes a fork.
    fork = Object("Fork_bar_1", "Fork", abilities=ABLE)
    fits = KITCHEN.can_contain | {("SinkBasin", "Fork")}
    busy = replace(KITCHEN, objects=(*KITCHEN.objects, fork), holding=fork.id, can_contain=fits)
    assert shortest_plan(busy)[:2] == ("go to sinkbasin 1", "move fork 1 to sinkbasin 1")
    assert len(shortest_plan(busy)) == 6


def breadth_first(problem):
    """The number of commands that win, by search through every state; it knows nothing of the expert."""
    places, things, goal = problem.receptacles, problem.objects, problem.goal
    condition, ability = REQUIRED.get(goal.task_type, (None, None))

    def won(state):
        here, held, _, where, facts = state
        if goal.toggle:
            lit = any(
                thing.type == goal.toggle and (i, "isToggled") in facts and places[p].location == here
                for i, thing in enumerate(things) for p in where[i]
            )  # fmt: skip
            return lit and held is not None and things[held].type == goal.object
        done = [
            p
            for i, thing in enumerate(things)
            for p in where[i]
            if thing.type == goal.object and places[p].type == goal.receptacle
            and (condition is None or (ability in thing.abilities and (i, condition) in facts))
        ]  # fmt: skip
        return len(done) > len(set(done)) if goal.task_type == "pick_two_obj_and_place" else bool(done)

    def successors(state):
        here, held, opened, where, facts = state
        for place in {place.location for place in places} - {here}:
            yield place, held, opened, where, facts
        for p, place in enumerate(places):
            if place.location != here:
                continue
            if place.openable:
                yield here, held, opened ^ {p}, where, facts
            visible = not place.openable or p in opened
            for i, thing in enumerate(things):
                if p in where[i] and "toggleable" in thing.abilities:
                    yield here, held, opened, where, facts | {(i, "isToggled")}
                if visible and held is None and p in where[i] and "pickupable" in thing.abilities:
                    yield here, i, opened, (*where[:i], where[i] - {p}, *where[i + 1 :]), facts
            if held is None:
                continue
            if visible and (place.type, things[held].type) in problem.can_contain:
                yield here, None, opened, (*where[:held], where[held] | {p}, *where[held + 1 :]), facts
            for able, effect in (("cleanable", "isClean"), ("heatable", "isHot"), ("coolable", "isCool")):
                if place.type == APPLIANCES[effect] and able in things[held].abilities:
                    lost = {"isHot": {(held, "isCool")}, "isCool": {(held, "isHot")}}.get(effect, set())
                    yield here, held, opened, where, facts - lost | {(held, effect)}

    ids = [place.id for place in places]
    start = (
        problem.start,
        next((i for i, thing in enumerate(things) if thing.id == problem.holding), None),
        frozenset(p for p, place in enumerate(places) if place.opened),
        tuple(frozenset(map(ids.index, thing.receptacles)) for thing in things),
        frozenset((i, name) for i, thing in enumerate(things) for name in thing.conditions),
    )
    steps, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        if won(state):
            return steps[state]
        for following in successors(state):
            if following not in steps:
                steps[following] = steps[state] + 1
                queue.append(following)
    return None


def tiny(task_type, rng):
    """A household of three or four receptacles with shared locations, odd abilities and any state to start from.

    As in published files, a thing may lie in two receptacles at once.
    """
    appliance = APPLIANCES.get(REQUIRED.get(task_type, (None,))[0], "Desk")
    kinds = [appliance, "Shelf", rng.choice(("Shelf", "Desk", "Fridge"))] + ["Desk"] * rng.randint(0, 1)
    shut = rng.sample(range(len(kinds)), 2)  # two doors at most, or the search takes long
    places = tuple(
        Receptacle(f"{kind}_bar_{i}", kind, f"loc_{rng.randint(1, 4)}", i in shut, i in shut and rng.random() < 0.3)
        for i, kind in enumerate(kinds)
    )
    lamp = [Object("Lamp_bar_0", "Lamp", abilities=frozenset({"toggleable"}))] if "light" in task_type else []
    things = [Object(f"{kind}_bar_{i}", kind) for i, kind in enumerate(("Mug", rng.choice(("Mug", "Fork")), "Fork"))]
    objects = []
    for thing in [*things[: 3 - len(lamp)], *lamp]:
        lies = rng.sample(places, 1 if rng.random() < 0.8 else 2)
        conditions = frozenset(name for name in ("isClean", "isHot", "isCool", "isToggled") if rng.random() < 0.08)
        able = thing.abilities or frozenset(name for name in sorted(ABLE) if rng.random() < 0.9)
        found = tuple(place.id for place in lies)
        objects.append(replace(thing, locations=(lies[0].location,), receptacles=found, abilities=able,
                               conditions=conditions))  # fmt: skip
    holding = rng.choice([o.id for o in objects if o.type != "Lamp"]) if rng.random() < 0.3 else None
    return Problem(
        name="tiny",
        receptacles=places,
        objects=tuple(replace(o, receptacles=o.receptacles[1:]) if o.id == holding else o for o in objects),
        locations=("loc_0", "loc_1", "loc_2", "loc_3", "loc_4"),
        start=f"loc_{rng.choice((0, 0, 1, 2))}",
        can_contain=frozenset(
            (place, kind) for place in ("Desk", "Shelf", "Fridge", "Microwave", "SinkBasin") for kind in ("Mug", "Fork")
            if rng.random() < 0.85
        ),
        goal=Goal(task_type, "Mug", None if lamp else "Shelf", "Lamp" if lamp else None),
        holding=holding,
    )  # fmt: skip


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_no_plan_is_shorter(task_type):
    lengths = []
    for index in range(40):
        problem = tiny(task_type, random.Random(f"tiny:{task_type}:{index}"))
        plan = shortest_plan(problem)
        assert (None if plan is None else len(plan)) == breadth_first(problem), f"{problem}\n{plan}"
        lengths.append(None if plan is None else len(plan))
        if plan:
            environment = Environment(Game(problem, "task"))
            for command in plan:
                assert not environment.won and command in environment.admissible()
                environment.step(command)
            assert environment.won
    assert len(set(lengths)) >= 4, lengths  # easy and hard ones, and some that are won already or never


def test_the_searcher_wins_every_small_game():
    turns = []
    for game in games.train_list(SMALL, 0).games:
        played = demonstrate(
            Environment(game), Searcher(game.problem.goal, games.RULES.whereabouts), random.Random(0), max_turns=40
        )
        assert played.won and all(turn.by_expert for turn in played.turns), game.id
        assert len(played.turns) >= len(game.walkthrough)
        turns.append(len(played.turns))
    assert max(turns) > min(turns)


def test_the_searcher_looks_in_likely_places_first_and_never_twice():
    goal = Goal("pick_and_place_simple", "Mug", "Desk")
    searcher = Searcher(goal, {"Mug": ("SinkBasin", "Fridge")})
    environment = Environment(Game(replace(KITCHEN, goal=goal), "put a mug in desk"))
    assert [turn.command for turn in demonstrate(environment, searcher, random.Random(0), 20).turns] == [
        "go to sinkbasin 1",  # the likeliest place is empty
        "go to fridge 1", "open fridge 1", "take mug 2 from fridge 1",
        "go to desk 1", "move mug 2 to desk 1",
    ]  # fmt: skip


def test_the_searcher_recovers_from_random_commands():
    won = 0
    for game in games.train_list(SMALL, 0).games:
        environment = Environment(game)
        searcher = Searcher(game.problem.goal, games.RULES.whereabouts)
        played = demonstrate(environment, searcher, random.Random(game.id), max_turns=60, noise=0.3)
        assert any(not turn.by_expert for turn in played.turns) or len(played.turns) < 15
        won += played.won
        again = demonstrate(environment, Searcher(game.problem.goal, games.RULES.whereabouts), random.Random(game.id),
                            max_turns=60, noise=0.3)  # fmt: skip
        assert again == played
    assert won == 60


def test_a_demonstration_ends_at_its_turn_limit():
    game = games.train_list(SMALL, 0).games[5]
    played = demonstrate(Environment(game), Searcher(game.problem.goal), random.Random(0), max_turns=3)
    assert len(played.turns) == 3 and not played.won
    assert played.turns[0].observation.startswith("-= Welcome")
