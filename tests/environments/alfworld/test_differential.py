"""The engine beside ALFWorld's own, where that is installed: fresh games, random and hostile commands."""

import dataclasses
import importlib.util
import json
import random
import subprocess
import sys

import pytest

from repro.environments.alfworld import games, text
from repro.environments.alfworld.differential import compare, hostile, run
from repro.environments.alfworld.engine import Engine, Environment
from repro.environments.alfworld.problem import TASK_TYPES, Object
from repro.environments.alfworld.reference import Reference, quicken, write_game
from repro.errors import ReproError
from tests.environments.alfworld.random_problems import random_game

installed = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("alfworld", "textworld"))), reason="needs the extra `alfworld`"
)


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))  # importing alfworld creates it


@installed
@pytest.mark.oracle
@pytest.mark.parametrize("task_type", TASK_TYPES)
@pytest.mark.parametrize("odd", [False, True])
def test_random_households(task_type, odd, tmp_path):
    quicken()
    path = write_game(random_game("differential", task_type, odd), tmp_path / "game.tw-pddl")
    agreed, differences = compare(path, f"{task_type} {odd}", 40)
    assert not differences and agreed.total() == 45


@installed
@pytest.mark.oracle
def test_small_households_with_their_walkthroughs(tmp_path):
    quicken()
    for game in games.train_list(games.HouseholdConfig(train_games=6), seed=1).games:
        agreed, differences = compare(write_game(game, tmp_path / "game.tw-pddl"), game.id, 20)
        assert not differences and agreed.total() == 25 + len(game.walkthrough)


@installed
@pytest.mark.oracle
def test_published_games_spell_out_their_help(tmp_path):
    """Published files were made by an older release and amended: `help` has its text where newer ones refer to it."""
    quicken()
    path = write_game(random_game("published", "look_at_obj_in_light", odd=False), tmp_path / "game.tw-pddl")
    content = json.loads(path.read_text())
    before, _, _ = content["grammar"].partition("action help {")
    spelled = f'action help {{\n    template :: "help";\n    feedback :: "\n{text.HELP}";\n}}\n'
    path.write_text(json.dumps(content | {"grammar": before + spelled}))
    agreed, differences = compare(path, "published", 25)
    assert not differences and agreed["help"]


@installed
@pytest.mark.oracle
def test_the_quick_reference_says_what_the_installed_one_says(tmp_path):
    """`quicken` changes the process for good, so the installed one speaks first in a process of its own."""
    path = write_game(random_game("quick", "pick_cool_then_place_in_recep"), tmp_path / "game.tw-pddl")
    script = (
        "import json, random, sys\n"
        "from repro.environments.alfworld.reference import Reference, quicken\n"
        "if sys.argv[2] == 'quick': quicken()\n"
        "game, rng = Reference(sys.argv[1]), random.Random('quick')\n"
        "lines = [game.reset()]\n"
        "for _ in range(15):\n"
        "    lines.append([game.step(rng.choice(game.admissible())), game.admissible()])\n"
        "print(json.dumps(lines))\n"
    )
    said = [
        json.loads(subprocess.run([sys.executable, "-c", script, path, mode], capture_output=True, check=True).stdout)
        for mode in ("installed", "quick")
    ]
    assert said[0] == said[1]


@installed
@pytest.mark.oracle
def test_the_record_counts_and_shows_what_differs(monkeypatch):
    found = [random_game("record", task_type, odd=False) for task_type in TASK_TYPES[:2]]
    agreeing = run({"random": found}, 4)
    assert (agreeing["games"], agreeing["commands"], agreeing["differences"]) == (2, 18, [])
    assert sum(agreeing["commands_by_verb"].values()) == 18
    assert agreeing["sources"]["random"]["task_types"] == {task_type: 1 for task_type in TASK_TYPES[:2]}
    monkeypatch.setattr(text, "intro", lambda view, task: "Welcome!")
    (difference,) = run({"random": found[:1]}, 4)["differences"]
    assert difference["ours"]["observation"] == "Welcome!" and difference["command"] is None
    assert difference["reference"]["observation"].startswith("-= Welcome to TextWorld")


@installed
@pytest.mark.oracle
def test_what_no_fact_mentions_does_not_count(tmp_path):
    quicken()
    game = random_game("unmentioned", "pick_and_place_simple", odd=False)
    declared = (*game.problem.objects, *(Object(f"{kind}_bar_0") for kind in ("Mug", "Apple", "Plate")))
    game = dataclasses.replace(game, problem=dataclasses.replace(game.problem, objects=declared))
    assert not compare(write_game(game, tmp_path / "game.tw-pddl"), "unmentioned", 15)[1]


@installed
@pytest.mark.oracle
@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_both_refuse_a_goal_out_of_reach(task_type, tmp_path):
    game = random_game("unreachable", task_type, odd=False)
    goal = game.problem.goal
    objects = tuple(o for o in game.problem.objects if o.type != goal.object)
    game = dataclasses.replace(game, problem=dataclasses.replace(game.problem, objects=objects))
    with pytest.raises(ReproError):
        Engine(game)
    with pytest.raises(KeyError):
        Reference(write_game(game, tmp_path / "game.tw-pddl"))


@installed
@pytest.mark.oracle
def test_both_accept_that_one_of_two_things_is_missing(tmp_path):
    quicken()
    game = random_game("one of two", "pick_two_obj_and_place", odd=False)
    wanted = [o for o in game.problem.objects if o.type == game.problem.goal.object]
    objects = tuple(o for o in game.problem.objects if o not in wanted[1:])
    game = dataclasses.replace(game, problem=dataclasses.replace(game.problem, objects=objects))
    assert not compare(write_game(game, tmp_path / "game.tw-pddl"), "one of two", 10)[1]


@pytest.mark.skipif(importlib.util.find_spec("textworld") is not None, reason="the reference is installed")
def test_without_the_reference_the_message_names_the_extra(tmp_path):
    with pytest.raises(ReproError, match=r"repro\[alfworld\]"):
        Reference(tmp_path / "game.tw-pddl")


def test_hostile_commands_are_mostly_refused_and_never_fatal():
    world, rng = Environment(random_game("hostile", "look_at_obj_in_light")), random.Random("hostile")
    names = [*world.engine.receptacle_name, *world.engine.object_name]
    said = [world.step(hostile(rng, world.admissible(), names))[0] for _ in range(300)]
    assert 200 < said.count("Nothing happens.") < 300  # spaces around a command are allowed
