"""Full-size households from the installed package's floor plans; skipped where it is not installed."""

import random
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from repro.environments.alfworld import package
from repro.environments.alfworld.engine import Environment
from repro.environments.alfworld.expert import Searcher, demonstrate
from repro.environments.alfworld.households import goals, signature
from repro.environments.alfworld.layouts import LayoutConfig, heldout, room, rules, stream, train_list, world
from repro.environments.alfworld.problem import TASK_TYPES, Goal, Receptacle, parse_pddl, write_pddl
from repro.errors import ReproError

pytestmark = pytest.mark.skipif(package.folder() is None, reason="the alfworld package is not installed")
LAMP_AND_BOWL = frozenset({("Fridge", "Bowl"), ("Desk", "DeskLamp"), ("Fridge", "Mug")})  # so that these are declared
CONFIG = LayoutConfig(train_games=90, heldout_games=48)


def test_floor_plan_201_as_the_package_has_it():
    plan = room(201)
    # Eleven receptacles with positions, and a bin without one.
    assert Counter(place.type for place in plan.receptacles) == {
        "ArmChair": 2, "CoffeeTable": 1, "DiningTable": 2, "Drawer": 2, "SideTable": 2, "Sofa": 1, "TVStand": 1,
        "GarbageCan": 1,
    }  # fmt: skip
    # Drawer|-00.30|+00.62|+03.37 is reached from (-1.0, 4.25), looking south (180 degrees), head down by 30 degrees.
    assert plan.receptacles[5] == Receptacle(
        "Drawer_bar__minus_00_dot_30_bar__plus_00_dot_62_bar__plus_03_dot_37", "Drawer",
        "loc_bar__minus_4_bar_17_bar_2_bar_30", openable=True,
    )  # fmt: skip
    assert "Laptop" in plan.kinds and "Sofa" not in plan.kinds and "LightSwitch" not in plan.kinds


def test_kitchens_have_what_their_tasks_need():
    kitchen = room(1)
    kinds = Counter(place.type for place in kitchen.receptacles)
    assert kinds["StoveBurner"] == 4 and kinds["SinkBasin"] == kinds["Fridge"] == kinds["Microwave"] == 1
    sink = next(place for place in kitchen.receptacles if place.type == "SinkBasin")
    assert sink.id.startswith("Sink_bar_") and sink.id.endswith("_bar_SinkBasin") and not sink.openable
    assert {place.type for place in kitchen.receptacles if place.openable} == {
        "Fridge",
        "Microwave",
        "Cabinet",
        "Drawer",
    }
    assert "Egg" in {goal.object for goal in goals(kitchen, rules(), "pick_heat_then_place_in_recep")}
    assert "Spoon" not in {goal.object for goal in goals(kitchen, rules(), "pick_heat_then_place_in_recep")}
    shared = Counter(place.location for plan in (room(n) for n in range(1, 31)) for place in plan.receptacles)
    assert max(shared.values()) > 1  # as in the real data, some places are reached from one point


def test_the_120_floor_plans_are_split_as_alfred_splits_them():
    rooms = world().rooms
    assert len(rooms["train"]) == 96 and rooms["train"] == rooms["valid_seen"] and len(rooms["valid_unseen"]) == 24
    assert {plan.id for plan in rooms["valid_unseen"]} == {
        str(base + n) for base in (0, 200, 300, 400) for n in range(1, 7)
    }
    for plan in (*rooms["train"], *rooms["valid_unseen"]):
        assert plan.start not in {place.location for place in plan.receptacles}
        assert len({place.id for place in plan.receptacles}) == len(plan.receptacles) >= 3
    for task in TASK_TYPES:
        assert any(goals(plan, rules(), task) for plan in rooms["valid_unseen"]), task
    with pytest.raises(ReproError, match="there is no floor plan 31"):
        room(31)


def test_rules_and_sentences_come_from_the_package():
    assert "Mug" in rules().contains["CoffeeMachine"] and "Towel" not in rules().contains["Fridge"]
    assert not set(rules().contains) & rules().containers and "Mug" in rules().containers
    assert rules().abilities["Apple"] == {"pickupable", "heatable", "coolable", "cleanable", "sliceable"}
    assert rules().abilities["Book"] == {"pickupable"} and rules().abilities["DeskLamp"] == {"toggleable"}
    assert all(len(rules().sentences[task]) == 2 for task in TASK_TYPES)


@pytest.mark.parametrize("task_type", sorted(package.goal_library().gdict) if package.folder() else [])
def test_the_package_s_goal_templates_are_read(task_type):
    """The texts that published problems end with; those for other than the six tasks are refused."""
    game = next(iter(stream(LayoutConfig(task_types=TASK_TYPES[:1], heldout_games=1), 0)))
    problem = replace(game.problem, goal=Goal(TASK_TYPES[0], "Mug", "Fridge"), can_contain=LAMP_AND_BOWL)
    template = package.goal_library().gdict[task_type]["pddl"].replace("#", "-")
    goal = template.format(obj="Mug", recep="Fridge", toggle="DeskLamp", mrecep="Bowl")
    text = write_pddl(problem).partition("(:goal")[0] + goal
    if task_type in TASK_TYPES:
        light = task_type == "look_at_obj_in_light"
        expected = Goal(task_type, "Mug", None if light else "Fridge", "DeskLamp" if light else None)
        assert parse_pddl(text) == replace(problem, goal=expected)
    else:
        with pytest.raises(ReproError, match="none of the six task types|is not bound"):
            parse_pddl(text)


def test_games_are_fixed_disjoint_and_won_by_their_walkthroughs():
    held = heldout(CONFIG)
    train = train_list(CONFIG, 0)
    assert train == train_list(CONFIG, 0) and train.games != train_list(CONFIG, 1).games
    assert train.skipped == {} and all(split.skipped == {} for split in held.values())
    known = {signature(game) for split in held.values() for game in split.games}
    assert not known & {signature(game) for game in (*train.games, *islice(stream(CONFIG, 0), 60))}
    assert set(Counter(game.problem.goal.task_type for game in train.games).values()) == {15}
    for game in (*train.games, *held["valid_seen"].games, *held["valid_unseen"].games):
        environment = Environment(game)
        environment.reset()
        for command in game.walkthrough:
            assert not environment.won and command in environment.admissible()
            environment.step(command)
        assert environment.won, game.id
    assert {game.room for game in held["valid_unseen"].games} <= {plan.id for plan in world().rooms["valid_unseen"]}
    things = [len(game.problem.objects) for game in train.games]
    assert min(things) >= 5 and max(things) >= 30 and max(len(g.problem.receptacles) for g in train.games) >= 24
    game = max(train.games, key=lambda game: len(game.problem.objects))
    assert parse_pddl(write_pddl(game.problem)) == game.problem


def test_the_searcher_finds_its_way_in_full_size_households():
    for game in train_list(CONFIG, 0).games[:36]:
        searcher = Searcher(game.problem.goal, rules().whereabouts)
        played = demonstrate(Environment(game), searcher, random.Random(0), max_turns=150)
        assert played.won, game.id


def test_unknown_task_types_are_refused():
    with pytest.raises(ReproError, match=r"full-size households: unknown task types \['tidy_up'\]"):
        LayoutConfig(task_types=("tidy_up",))
