"""The engine's rules, one by one, in a household small enough to follow by hand."""

import pytest

from repro.environments.alfworld import text
from repro.environments.alfworld.problem import Goal, Object, Receptacle
from repro.errors import ReproError
from tests.environments.alfworld.kitchen import OBJECTS, RECEPTACLES, environment, play, with_things


def test_the_opening_lists_receptacles_numbered_from_the_end():
    assert environment().reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see "
        "a cabinet 2, a cabinet 1, a countertop 1, a fridge 1, a microwave 1, and a sinkbasin 1.\n\n"
        "Your task is to: put some mug on cabinet."
    )


def test_what_no_fact_mentions_does_not_exist():
    declared = {"objects": (*OBJECTS, Object("Apple_bar_0")), "receptacles": (*RECEPTACLES, Receptacle("Fridge_bar_0"))}
    assert environment(**declared).reset() == environment().reset()
    assert play(environment(**declared), "go to cabinet 2", "open cabinet 2").endswith("you see a apple 2.")


def test_look_in_the_middle_sees_nothing_and_the_first_commands_are_the_places():
    world = environment()
    world.reset()
    assert play(world, "look").endswith("Looking quickly around you, you see nothing.")
    places = ["cabinet 1", "cabinet 2", "countertop 1", "fridge 1", "microwave 1", "sinkbasin 1"]
    assert world.admissible() == [*(f"go to {place}" for place in places), "help", "inventory", "look"]


def test_a_start_before_a_receptacle_faces_it():
    assert "You are facing the fridge 1. Next to it, you see nothing." in environment(start="loc_4").reset()


def test_arriving_opening_closing_and_examining_a_receptacle():
    world = environment()
    assert play(world, "go to cabinet 2") == "You arrive at cabinet 2. The cabinet 2 is closed."
    assert play(world, "examine cabinet 2") == "The cabinet 2 is closed."
    # The smallest identifier gets the highest number, for apples too.
    assert play(world, "open cabinet 2") == "You open the cabinet 2. The cabinet 2 is open. In it, you see a apple 2."
    assert play(world, "open cabinet 2") == "Nothing happens."
    assert play(world, "close cabinet 2") == "You close the cabinet 2."
    assert play(world, "look") == "You are facing the cabinet 2. Next to it, you see nothing."
    assert play(world, "go to countertop 1") == (
        "You arrive at countertop 1. On the countertop 1, you see a apple 1, a knife 1, and a mug 1."
    )
    assert play(world, "go to sinkbasin 1") == "Nothing happens."  # it stands where the countertop stands


def test_one_thing_at_a_time_and_only_the_thing_in_hand_is_examined():
    world = environment()
    play(world, "go to countertop 1")
    assert "examine mug 1" not in world.admissible() and "take mug 1 from countertop 1" in world.admissible()
    assert play(world, "take mug 1 from countertop 1") == "You pick up the mug 1 from the countertop 1."
    assert world.inventory == "mug 1" and play(world, "inventory") == "You are carrying: a mug 1."
    assert not any(command.startswith("take") for command in world.admissible())
    assert play(world, "examine mug 1") == "This is a normal mug 1. In it, you see nothing."
    assert play(world, "move mug 1 to countertop 1") == "You move the mug 1 to the countertop 1."
    assert world.inventory is None and play(world, "inventory") == "You are not carrying anything."


def test_a_shared_location_shows_what_was_carried_across_once_for_each_place_it_left():
    world = environment()
    play(world, "go to countertop 1", "take apple 1 from countertop 1")
    assert play(world, "look") == "You are facing the countertop 1, and sinkbasin 1. Next to it, you see nothing."
    play(world, "move apple 1 to sinkbasin 1")
    assert play(world, "look").endswith("Next to it, you see a apple 1.")
    assert play(world, "examine sinkbasin 1") == "On the sinkbasin 1, you see a apple 1."
    play(world, "take apple 1 from sinkbasin 1", "move apple 1 to countertop 1")
    assert play(world, "look").endswith("Next to it, you see a apple 1.")


def test_things_of_unlisted_pairs_and_closed_receptacles_take_nothing():
    world = environment()
    play(world, "go to countertop 1", "take knife 1 from countertop 1")
    assert "move knife 1 to sinkbasin 1" not in world.admissible()
    play(world, "go to cabinet 1")
    assert "move knife 1 to cabinet 1" not in world.admissible()
    play(world, "open cabinet 1")
    assert "move knife 1 to cabinet 1" in world.admissible()


def test_treating_works_at_closed_doors_again_and_again():
    world = environment()
    play(world, "go to countertop 1", "take apple 1 from countertop 1")
    assert play(world, "examine apple 1") == "There's nothing special about apple 1."
    assert play(world, "clean apple 1 with sinkbasin 1") == "You clean the apple 1 using the sinkbasin 1."
    assert play(world, "examine apple 1") == "This is a clean apple 1."
    play(world, "go to microwave 1")
    assert play(world, "heat apple 1 with microwave 1") == "You heat the apple 1 using the microwave 1."
    assert "heat apple 1 with microwave 1" in world.admissible()
    assert play(world, "examine apple 1") == "This is a hot and clean apple 1."
    assert play(world, "go to fridge 1", "cool apple 1 with fridge 1") == "You cool the apple 1 using the fridge 1."
    assert play(world, "examine apple 1") == "This is a cool and clean apple 1."


def test_a_lamp_is_used_in_a_closed_cabinet_and_never_goes_out():
    world = environment()
    play(world, "go to cabinet 1")
    assert [play(world, "use desklamp 1") for _ in range(2)] == ["You turn on the desklamp 1."] * 2
    assert not any("desklamp" in command for command in set(world.admissible()) - {"use desklamp 1"})


def test_slicing_needs_a_knife_in_hand_and_reaches_into_closed_receptacles():
    world = environment()
    play(world, "go to countertop 1")
    assert not any(command.startswith("slice") for command in world.admissible())
    play(world, "take knife 1 from countertop 1")
    assert play(world, "slice apple 1 with knife 1") == "You sliced the apple 1 with the knife 1."
    assert play(world, "go to cabinet 2", "slice apple 2 with knife 1") == "You sliced the apple 2 with the knife 1."
    play(world, "open cabinet 2", "move knife 1 to cabinet 2", "take apple 2 from cabinet 2")
    assert play(world, "examine apple 2") == "This is a sliced apple 2."


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("", "There's nothing special about cup 1."),
        ("clean", "This is a clean cup 1."),
        ("hot", "This is a hot cup 1."),
        ("cool", "This is a cold cup 1."),
        ("sliced", "There's nothing special about cup 1."),
        ("sliceable sliced", "This is a sliced cup 1."),
        ("on", "This cup 1 is on."),
        ("on sliceable sliced", "This cup 1 is on."),
        ("on hot", "This is a hot cup 1."),
        ("clean hot", "This is a hot and clean cup 1."),
        ("clean cool", "This is a cool and clean cup 1."),
        ("clean hot cool", "This is a hot and clean cup 1."),
        ("hot cool", "This is a hot cup 1."),
        ("clean sliced", "This is a clean sliced cup 1."),
        ("hot sliced", "This is a hot sliced cup 1."),
        ("cool sliced", "This is a cool sliced cup 1."),
        ("hot cool sliced", "This is a hot sliced cup 1."),
        ("clean hot sliced", "This is a hot and clean sliced cup 1."),
        ("clean cool sliced", "This is a cool and clean sliced cup 1."),
    ],
)
def test_every_sentence_about_a_thing(states, expected):
    names = ("clean", "hot", "cool", "on", "sliceable", "sliced")
    assert text.thing("cup 1", **{name: name in states.split() for name in names}) == expected


def test_lists_have_a_comma_before_the_last_of_two():
    assert [text.listing(items) for items in ([], ["x"], ["x", "y"], ["x", "y", "z"])] == [
        "nothing", "x", "x, and y", "x, y, and z"
    ]  # fmt: skip


def test_help_lists_the_verbs():
    reply = play(environment(), "help")
    assert reply.startswith("Available commands:\n  look:     ") and reply.endswith("using a sharp object\n")
    assert len(reply.splitlines()) == 14


@pytest.mark.parametrize(
    "command", ["", " ", "Look", "look look", "go to Fridge 1", "go to  fridge 1", "go to", "put mug 1 in cabinet 1",
                "take mug 1 from countertop 1", "look " * 10000, "看", "look\x00", "{r.name}"],
)  # fmt: skip
def test_anything_else_does_nothing(command):
    world = environment()
    world.reset()
    before = world.snapshot()
    assert world.step(command) == ("Nothing happens.", 0.0, False)
    assert world.snapshot() == before


def test_spaces_around_a_command_do_not_matter():
    assert play(environment(), " \tgo to fridge 1\n") == "You arrive at fridge 1. The fridge 1 is closed."


# Winning


def test_winning_and_unwinning():
    world = environment()
    play(world, "go to countertop 1", "take mug 1 from countertop 1", "go to cabinet 1", "open cabinet 1")
    assert world.step("move mug 1 to cabinet 1") == ("You move the mug 1 to the cabinet 1.", 1.0, True)
    assert world.won and world.score == 1
    assert world.step("look")[1:] == (1.0, True)
    assert world.step("take mug 1 from cabinet 1")[1:] == (0.0, False)


@pytest.mark.parametrize(
    ("task_type", "treat"),
    [
        ("pick_clean_then_place_in_recep", ("go to sinkbasin 1", "clean mug 1 with sinkbasin 1")),
        ("pick_heat_then_place_in_recep", ("go to microwave 1", "heat mug 1 with microwave 1")),
        ("pick_cool_then_place_in_recep", ("go to fridge 1", "cool mug 1 with fridge 1")),
    ],
)
def test_a_treated_thing_must_be_treated_first(task_type, treat):
    world = environment(goal=Goal(task_type, "Mug", receptacle="Cabinet"))
    fetch = ("go to countertop 1", "take mug 1 from countertop 1")
    place = ("go to cabinet 1", "open cabinet 1", "move mug 1 to cabinet 1")
    play(world, *fetch, *place)
    assert not world.won
    world.reset()
    play(world, *fetch, *treat, *place)
    assert world.won


def test_two_things_count_in_the_same_receptacle_only():
    world = environment(goal=Goal("pick_two_obj_and_place", "Apple", receptacle="Cabinet"))
    fetch = ("go to countertop 1", "take apple 1 from countertop 1")
    play(world, *fetch, "go to cabinet 1", "open cabinet 1", "move apple 1 to cabinet 1")
    assert not world.won  # apple 2 is in the other cabinet
    play(world, "take apple 1 from cabinet 1", "go to cabinet 2", "open cabinet 2", "move apple 1 to cabinet 2")
    assert world.won


def test_looking_in_light_takes_any_order_and_holds_where_the_lamp_is():
    world = environment(goal=Goal("look_at_obj_in_light", "Mug", toggle="DeskLamp"))
    fetch = ("go to countertop 1", "take mug 1 from countertop 1")
    play(world, "go to cabinet 1", "use desklamp 1", *fetch)
    assert not world.won
    play(world, "go to cabinet 1")
    assert world.won
    play(world, "go to cabinet 2")
    assert not world.won
    world.reset()
    play(world, *fetch, "go to cabinet 1")
    assert not world.won
    play(world, "use desklamp 1")
    assert world.won


def test_a_goal_may_be_true_at_the_start():
    objects = with_things(Mug={"receptacles": ("Cabinet_bar_a",), "locations": ("loc_1",)})
    world = environment(objects=objects)
    world.reset()
    assert world.won


@pytest.mark.parametrize(
    "changes",
    [
        {"goal": Goal("pick_and_place_simple", "Bowl", receptacle="Cabinet")},
        {"goal": Goal("pick_and_place_simple", "Mug", receptacle="Bed")},
        {"goal": Goal("pick_two_obj_and_place", "Knife", receptacle="Fridge")},
        {"goal": Goal("pick_heat_then_place_in_recep", "Knife", receptacle="CounterTop")},
        {"goal": Goal("look_at_obj_in_light", "Mug", toggle="FloorLamp")},
        {"can_contain": frozenset()},
        {"objects": with_things(Mug={"abilities": frozenset()})},
    ],
)
def test_an_unreachable_goal_is_refused(changes):
    with pytest.raises(ReproError, match="kitchen: "):
        environment(**changes)


# Faults


@pytest.mark.parametrize("command", [None, 3, b"look", ["look"]])
def test_a_command_must_be_text(command):
    with pytest.raises(ReproError, match="a command is text, not"):
        environment().step(command)


@pytest.mark.parametrize("task", ["put a mug; then rest", 'say "mug"', "a|b", "#task#", "{r.name}"])
def test_signs_of_the_grammar_in_a_task_are_refused(task):
    with pytest.raises(ReproError, match="sign of the game's grammar"):
        environment(task=task)
