"""Problems as typed data: what is read is what was written, and bad text is refused by file and line."""

import json
import random
import re
from dataclasses import replace

import pytest

from repro.environments.alfworld.names import mangle, names
from repro.environments.alfworld.problem import (
    TASK_TYPES,
    Goal,
    Object,
    Problem,
    Receptacle,
    parse_pddl,
    read_game,
    task_sentence,
    write_pddl,
)
from repro.errors import ReproError

# In the manner of public files: bare kinds as objects, distances, history, comments, names spelled in several ways.
TEXT = """
(define (problem plan_trial_T1)   ; a comment (with a parenthesis
    (:domain alfred)
    (:objects
        agent1 - agent
        Mug Apple - object
        MugType AppleType KnifeType ButterKnifeType - otype
        FridgeType SinkBasinType MicrowaveType - rtype
        Mug_bar__minus_01_dot_50 - object
        Apple_bar__plus_00_dot_25 - object
        Fridge_bar_1 - receptacle
        Sink_bar_1_bar_SinkBasin - receptacle
        loc_bar_0 - location
        loc_bar_1 - location
    )
    (:init
        (= (total-cost) 0)
        (= (distance loc_bar_0 loc_bar_1) 4)
        (atLocation agent1 loc_bar_0)
        (receptacleType fridge_bar_1 FridgeType)
        (receptacleType Sink_bar_1_bar_SinkBasin SinkBasinType)
        (receptacleAtLocation Fridge_bar_1 loc_bar_1)
        (receptacleAtLocation Sink_bar_1_bar_SinkBasin loc_bar_1)
        (openable Fridge_bar_1) (OPENED Fridge_bar_1)
        (objectType Mug_bar__minus_01_dot_50 mugtype)
        (objectType Apple_bar__plus_00_dot_25 AppleType)
        (isReceptacleObject Mug_bar__minus_01_dot_50)
        (pickupable Mug_bar__minus_01_dot_50) (pickupable Apple_bar__plus_00_dot_25)
        (cleanable Apple_bar__plus_00_dot_25) (isCool Apple_bar__plus_00_dot_25)
        (inReceptacle Mug_bar__minus_01_dot_50 Fridge_bar_1)
        (wasInReceptacle Mug_bar__minus_01_dot_50 Fridge_bar_1)
        (inReceptacleObject Apple_bar__plus_00_dot_25 Mug_bar__minus_01_dot_50)
        (objectAtLocation Mug_bar__minus_01_dot_50 loc_bar_1)
        (objectAtLocation Apple_bar__plus_00_dot_25 loc_bar_1)
        (canContain FridgeType AppleType)
    )
    (:goal (and (exists (?there - receptacle ?thing - object) (and
        (isClean ?thing) (receptacleType ?there FridgeType) (objectType ?thing APPLETYPE) (inReceptacle ?thing ?there)
    ))))
    (:metric minimize (total-cost))
)
"""
MUG, APPLE = "Mug_bar__minus_01_dot_50", "Apple_bar__plus_00_dot_25"
PROBLEM = Problem(
    name="plan_trial_T1",
    receptacles=(
        Receptacle("Fridge_bar_1", "Fridge", "loc_bar_1", openable=True, opened=True),
        Receptacle("Sink_bar_1_bar_SinkBasin", "SinkBasin", "loc_bar_1"),
    ),
    objects=(
        Object("Mug"),
        Object("Apple"),
        Object(MUG, "Mug", ("loc_bar_1",), ("Fridge_bar_1",), is_receptacle=True, abilities=frozenset({"pickupable"})),
        Object(APPLE, "Apple", ("loc_bar_1",), containers=(MUG,), abilities=frozenset({"pickupable", "cleanable"}),
               conditions=frozenset({"isCool"})),
    ),
    locations=("loc_bar_0", "loc_bar_1"),
    start="loc_bar_0",
    can_contain=frozenset({("Fridge", "Apple")}),
    goal=Goal("pick_clean_then_place_in_recep", "Apple", "Fridge"),
)  # fmt: skip


def goal_of(task_type):
    light = task_type == "look_at_obj_in_light"
    return Goal(task_type, "Apple", None if light else "Fridge", "Mug" if light else None)


def test_a_public_problem_read_by_hand():
    assert parse_pddl(TEXT) == PROBLEM


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_what_is_written_is_read_back(task_type):
    problem = replace(PROBLEM, goal=goal_of(task_type), holding=APPLE)
    assert parse_pddl(write_pddl(problem)) == problem


def test_an_unknown_task_type_is_not_written():
    with pytest.raises(ReproError, match="unknown task type 'tidy_up'"):
        write_pddl(replace(PROBLEM, goal=Goal("tidy_up", "Apple", "Fridge")))


@pytest.mark.parametrize("old, new, message", [
    (" - rtype\n        Mug_bar", " - rtypes\n        Mug_bar", r"line 8: 'FridgeType' has the unknown kind 'rtypes'"),
    ("AppleType KnifeType", "Fruit KnifeType", r"line 7: the object type 'Fruit' does not end in `Type`"),
    ("loc_bar_1 - location", "loc_bar_1", r"line 14: 'loc_bar_1' has no kind"),
    ("loc_bar_1 - location", "loc_bar_0 - object", r"line 14: 'loc_bar_0' is declared twice, with different kinds"),
    ("?thing APPLETYPE", "?thing ?there", r"line 37: the goal names the unknown object type"),
    ("?there FridgeType)", "?there MugType)", r"line 37: the goal names the unknown receptacle type 'Mug'"),
    ("(objectType Mug_bar__minus_01_dot_50 mugtype)", "(objectType Mug_bar__minus_01_dot_50 SpoonType)",
     r"line 25: unknown object type 'SpoonType'"),
    ("(receptacleType fridge_bar_1 FridgeType)", "(receptacleType fridge_bar_1 MugType)",
     r"line 20: 'MugType' is declared as otype, where a rtype is needed"),
    ("(objectAtLocation Mug", "(objectAtLocation Cup", r"line 33: unknown object 'Cup_bar__minus_01_dot_50'"),
    ("(openable", "(lockable", r"line 24: unknown fact 'lockable'"),
    ("(canContain FridgeType AppleType)", "(canContain FridgeType)", r"line 35: \(cancontain ...\) takes 2 names"),
    ("(canContain FridgeType AppleType)", "(canContain (FridgeType) AppleType)", r"line 35: .* takes names, not lists"),
    ("(atLocation agent1 loc_bar_0)", "", r"line 16: one \(atLocation agent place\) is needed, found 0"),
    ("(atLocation agent1 loc_bar_0)", "(atLocation agent1 loc_bar_0) (holdsAny agent1)", r"line 16: .* come together"),
    ("SinkBasin loc_bar_1)", "SinkBasin loc_bar_1) (receptacleAtLocation Fridge_bar_1 loc_bar_0)",
     r"line 16: 'Fridge_bar_1' has two locations: 'loc_bar_1' and 'loc_bar_0'"),
    ("(:goal", "(:wish", r"line 2: the problem has no \(:goal"),
    ("(define", "define", r"line 2: expected an opening parenthesis, found 'define'"),
    ("(:domain alfred)", ":domain", r"line 3: expected a section in parentheses, found ':domain'"),
    ("(:metric minimize (total-cost))\n)", "(:metric minimize)", r"line 2: this parenthesis is never closed"),
    ("(:metric minimize (total-cost))\n)", ") extra", r"line 40: text after the problem's end: 'extra'"),
    ("(isClean ?thing)", "(isSliced ?thing)", r"line 37: the goal is none of the six task types .* \['issliced"),
    ("(isClean ?thing)", "(not (isClean ?thing))", r"line 38: in a goal, `not` only says that two objects differ"),
    ("(isClean ?thing)", "(forall (?x - object) (isClean ?x))", r"line 38: \(forall ...\) is in the goal of none"),
    ("(isClean ?thing)", "(isClean ?other)", r"line 38: the variable \?other is not bound"),
    ("(isClean ?thing)", "(isClean spoon)", r"line 38: the goal names the unknown object type 'spoon'"),
    ("(receptacleType ?there FridgeType)", "", r"line 37: the goal is none of the six task types"),
    ("(exists (?there - receptacle ?thing - object)", "(exists ?there", r"line 37: \(exists \(.* is expected"),
])  # fmt: skip
def test_bad_text_is_refused_with_its_line(old, new, message):
    assert TEXT.count(old) == 1 or old in ("(openable",)
    with pytest.raises(ReproError, match=message) as caught:
        parse_pddl(TEXT.replace(old, new, 1), source="kitchen.pddl")
    assert re.match(r"kitchen\.pddl, line \d+: ", str(caught.value))


def test_nothing_but_a_problem_is_read():
    for text in ("", "   \n", "()", "(kitchen)", "(define)", "(define (problem x))", ")"):
        with pytest.raises(ReproError, match="line 1: "):
            parse_pddl(text)


def test_damaged_text_gives_a_problem_or_a_readable_error():
    tokens = re.findall(r"[()]|[^\s()]+|\n", write_pddl(PROBLEM))
    errors = 0
    for index in range(300):
        rng = random.Random(f"damage:{index}")
        damaged = list(tokens)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(damaged))
            damaged[at : at + 1] = rng.choice(([], [rng.choice(tokens)], [damaged[at]] * 2, ["\0-?é"]))
        try:
            assert isinstance(parse_pddl(" ".join(damaged)), Problem)
        except ReproError as error:
            assert re.match(r"problem, line \d+: ", str(error))
            errors += 1
    assert 100 < errors < 300


def test_names_count_down_from_the_smallest_identifier():
    ids = ["Mug_bar__plus_00_dot_10", "mug_bar__minus_03_dot_00", "Mug_bar__plus_00_dot_20", "Sink_bar_1_bar_SinkBasin"]
    said = [Object(id, type="Mug") for id in ("Mug", *ids)]
    problem = replace(PROBLEM, receptacles=(), objects=(*said, Object("Mug_bar_declared_only")))
    # Sorted without regard to case: _minus_03, _plus_00_dot_10, _plus_00_dot_20.
    assert names(problem) == {
        "mug_bar__minus_03_dot_00": "mug 3",
        "Mug_bar__plus_00_dot_10": "mug 2",
        "Mug_bar__plus_00_dot_20": "mug 1",
        "Sink_bar_1_bar_SinkBasin": "sinkbasin 1",
        "Mug": "mug ",
    }


def test_mangled_names():
    assert mangle("Sink|-01.50|+00.25|00.00|SinkBasin") == (
        "Sink_bar__minus_01_dot_50_bar__plus_00_dot_25_bar_00_dot_00_bar_SinkBasin"
    )


GRAMMAR = '''grammar :: """{"task": [{"rhs": "Your task is to: put a \\"hot\\" mug in desk."}]}"""'''


def write_game(path, **changes):
    content = {"pddl_domain": "", "grammar": GRAMMAR, "pddl_problem": TEXT, "walkthrough": ["look"], "solvable": True}
    path.write_text(json.dumps({key: value for key, value in {**content, **changes}.items() if value != "drop"}))
    return path


def test_a_game_file_is_read(tmp_path):
    game = read_game(write_game(tmp_path / "game.tw-pddl"))
    assert (game.problem, game.task, game.walkthrough, game.solvable) == (
        PROBLEM, 'put a "hot" mug in desk', ("look",), True
    )  # fmt: skip
    assert read_game(write_game(tmp_path / "game.tw-pddl", walkthrough=None)).walkthrough == ()


@pytest.mark.parametrize("changes, message", [
    ({"pddl_problem": TEXT.replace("(openable", "(lockable", 1)}, r"line 24: unknown fact 'lockable'"),
    ({"pddl_problem": "drop"}, r"needs the text 'pddl_problem'; it has \['grammar', 'pddl_domain'"),
    ({"grammar": 7}, r"needs the text 'grammar'"),
    ({"grammar": "no sentence"}, r"the grammar states no task"),
    ({"walkthrough": "look"}, r"the walkthrough is not a list of commands"),
    ({"walkthrough": [1]}, r"the walkthrough is not a list of commands"),
])  # fmt: skip
def test_a_bad_game_file_is_refused_by_name(tmp_path, changes, message):
    path = write_game(tmp_path / "game.tw-pddl", **changes)
    with pytest.raises(ReproError, match=message) as caught:
        read_game(path)
    assert str(path) in str(caught.value)


def test_what_is_no_game_file_is_refused_by_name(tmp_path):
    path = tmp_path / "game.tw-pddl"
    with pytest.raises(ReproError, match="cannot read the game file .*game.tw-pddl"):
        read_game(path)
    for content, message in ((b"{\n oops", "line 2: not a game file"), (b"\xff\xfe", "cannot read"), (b"[]", "a list")):
        path.write_bytes(content)
        with pytest.raises(ReproError, match=message) as caught:
            read_game(path)
        assert str(path) in str(caught.value)


def test_the_task_is_the_sentence_without_its_stop():
    assert task_sentence('{"rhs": "Your task is to: put a mug in desk."}') == "put a mug in desk"
    assert task_sentence('{"rhs":  "Your task is to: Put it there.."}') == "Put it there."
