"""Snapshots, keys and what environments of one engine share."""

import dataclasses
import random

import pytest

from repro.environments.alfworld import engine as engine_module
from repro.environments.alfworld.engine import Engine, Environment
from repro.environments.alfworld.problem import Game, Goal, parse_pddl, write_pddl
from repro.errors import ReproError
from tests.environments.alfworld.kitchen import OBJECTS, PROBLEM, RECEPTACLES, environment, play, with_things
from tests.environments.alfworld.random_problems import random_game


def test_every_state_of_a_walk_is_restored():
    game = random_game("walk", "pick_two_obj_and_place")
    world, rng, seen = Environment(Engine(game)), random.Random("walk"), []
    world.reset()
    for _ in range(60):
        seen.append((world.snapshot(), world.admissible(), world.won, world.state_key(), world.step("look")[0]))
        world.step(rng.choice(world.admissible()))
    other = Environment(game)  # an engine of its own, which remembers nothing
    for snapshot, admissible, won, key, look in rng.sample(seen, len(seen)):
        other.restore(snapshot)
        assert (other.snapshot(), other.admissible(), other.won, other.state_key()) == (snapshot, admissible, won, key)
        assert other.step("look")[0] == look
    assert len({snapshot for snapshot, *_ in seen}) == len({key for *_, key, _ in seen}) > 5


def test_what_an_engine_remembers_changes_nothing(monkeypatch):
    game = random_game("memory", "pick_clean_then_place_in_recep")

    def transcript():
        world, rng, lines = Environment(game), random.Random("memory"), []
        for _ in range(80):
            command = rng.choice(world.admissible())
            lines.append((command, world.step(command), world.admissible()))
        return lines

    remembered = transcript()
    monkeypatch.setattr(engine_module, "_VIEWS", 1)
    assert transcript() == remembered


def test_environments_of_an_engine_do_not_disturb_each_other():
    engine = Engine(Game(PROBLEM, "put some mug on cabinet"))
    first, second = Environment(engine), Environment(engine)
    play(first, "go to countertop 1", "take mug 1 from countertop 1")
    assert second.inventory is None
    second.admissible().clear()
    assert second.admissible()
    assert play(second, "go to countertop 1").endswith("a apple 1, a knife 1, and a mug 1.")


@pytest.mark.parametrize("snapshot", [None, (), ("another", 0), "text"])
def test_a_foreign_snapshot_is_refused(snapshot):
    with pytest.raises(ReproError, match="another|not one of the game 'kitchen'"):
        environment().restore(snapshot)


def test_a_snapshot_belongs_to_its_game_not_to_its_object():
    snapshot = environment().snapshot()
    environment().restore(snapshot)
    others = (
        environment(goal=Goal("pick_and_place_simple", "Mug", receptacle="Fridge")),
        environment(objects=with_things(Mug={"receptacles": ("Fridge_bar_a",), "locations": ("loc_4",)})),
        environment(task="put a mug in cabinet"),
    )
    for other in others:
        with pytest.raises(ReproError, match="kitchen"):
            other.restore(snapshot)


def test_keys_are_equal_where_states_are():
    world = environment()
    world.reset()
    start = world.state_key()
    play(world, "look", "inventory", "nonsense")
    assert world.state_key() == start
    play(world, "go to cabinet 1", "open cabinet 1")
    opened = world.state_key()
    assert play(world, "close cabinet 1") and world.state_key() != opened
    play(world, "open cabinet 1", "go to countertop 1", "take mug 1 from countertop 1", "go to cabinet 1")
    assert world.state_key() != opened
    play(world, "go to countertop 1", "move mug 1 to countertop 1", "go to cabinet 1")
    assert world.state_key() == opened


def test_keys_tell_households_and_with_the_goal_tasks_apart():
    here, elsewhere = environment(), environment(objects=OBJECTS[:-1])
    fridge = environment(goal=Goal("pick_and_place_simple", "Mug", receptacle="Fridge"))
    assert here.state_key() == fridge.state_key() != elsewhere.state_key()
    assert here.state_key(with_goal=True) != fridge.state_key(with_goal=True)
    assert here.state_key(with_goal=True).startswith(here.state_key())
    assert here.state_key() == environment(start="loc_0", task="other words").state_key()


def test_keys_and_snapshots_do_not_depend_on_the_order_of_a_file():
    reordered = environment(receptacles=RECEPTACLES[::-1], objects=OBJECTS[::-1], locations=PROBLEM.locations[::-1])
    assert reordered.snapshot() == environment().snapshot()
    assert reordered.state_key(with_goal=True) == environment().state_key(with_goal=True)


def test_a_written_problem_plays_the_same():
    game = random_game("written", "pick_heat_then_place_in_recep")
    again = Environment(dataclasses.replace(game, problem=parse_pddl(write_pddl(game.problem))))
    assert again.snapshot() == Environment(game).snapshot() and again.reset() == Environment(game).reset()
