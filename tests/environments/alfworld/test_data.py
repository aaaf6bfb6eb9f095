"""Games in the public folder layout: written, found, filtered as ALFWorld filters, and read back."""

import json
from itertools import islice

import pytest

from repro.environments.alfworld import data, games, package
from repro.environments.alfworld.engine import Environment
from repro.environments.alfworld.problem import TASK_TYPES, parse_pddl
from repro.errors import ReproError

SMALL = games.HouseholdConfig(train_games=12, heldout_games=6)


@pytest.fixture
def root(tmp_path):
    data.write(games.train_list(SMALL, 0).games, tmp_path)
    return tmp_path


def folders(root, split="train"):
    return sorted(path.parent for path in (root / "json_2.1.1" / split).rglob("game.tw-pddl"))


def test_games_come_back_as_they_were_written(root):
    written = games.train_list(SMALL, 0)
    loaded = data.load("train", root)
    assert sorted(loaded.games, key=lambda game: game.id) == sorted(written.games, key=lambda game: game.id)
    assert loaded.skipped == {}
    assert loaded == data.load("train", root)  # in the order of their paths, whatever the file system says
    assert [game.id for game in loaded.games] == sorted(game.id for game in written.games)


def test_the_files_follow_the_public_layout(root):
    game = next(game for game in games.train_list(SMALL, 0).games if game.problem.goal.toggle)
    folder = root / "json_2.1.1" / game.id
    thing = game.problem.goal.object
    assert folder.parent.name == f"look_at_obj_in_light-{thing}-None-DeskLamp-{game.room}"
    assert folder.name.startswith("trial_T") and folder.parent.parent.name == "train"
    content = json.loads((folder / "game.tw-pddl").read_text())
    assert set(content) == {"pddl_domain", "grammar", "pddl_problem", "solvable", "walkthrough"}
    assert content["solvable"] is True and content["walkthrough"] == list(game.walkthrough)
    assert f"Your task is to: {game.task}." in content["grammar"] and "UNKNOWN GOAL" not in content["grammar"]
    assert content["pddl_problem"] == (folder / "initial_state.pddl").read_text()
    assert parse_pddl(content["pddl_problem"]) == game.problem
    described = json.loads((folder / "traj_data.json").read_text())
    assert described["task_type"] == "look_at_obj_in_light" and described["task_id"] == folder.name
    assert described["pddl_params"] == {
        "object_target": thing, "parent_target": "", "toggle_target": "DeskLamp", "mrecep_target": "",
        "object_sliced": False,
    }  # fmt: skip


def test_without_the_package_files_say_what_they_lack(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "folder", lambda: None)
    (path, *_) = data.write(games.train_list(SMALL, 0).games[:1], tmp_path)
    content = json.loads(path.read_text())
    assert "alfworld" in content["pddl_domain"] and "(:action" not in content["pddl_domain"]
    assert not (tmp_path / "logic").exists()
    game = data.load("train", tmp_path).games[0]
    environment = Environment(game)
    assert game.task in environment.reset()
    for command in game.walkthrough:
        environment.step(command)
    assert environment.won
    with pytest.raises(ReproError, match=r"needs the alfworld package \(data/alfred.pddl of it\): pip install"):
        package.path("data/alfred.pddl")


def test_a_package_without_the_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "folder", lambda: tmp_path)
    with pytest.raises(ReproError, match="has no gen/constants.py; this project knows version 0.4.2"):
        package.path("gen/constants.py")


def test_tasks_and_numbers_are_chosen(root):
    one = data.load("train", root, task_types=TASK_TYPES[:1])
    assert {game.problem.goal.task_type for game in one.games} == {TASK_TYPES[0]}
    assert (len(one.games), one.skipped) == (2, {"another task type": 10})
    assert data.load("train", root, limit=3).games == data.load("train", root).games[:3]


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_games_that_cannot_be_played_are_counted(root):
    trials = folders(root)
    (trials[0] / "game.tw-pddl").unlink()
    edit(trials[1] / "game.tw-pddl", solvable=False)
    edit(trials[2] / "game.tw-pddl", solvable=None)
    edit(trials[3] / "traj_data.json", task_type="pick_and_place_with_movable_recep")
    sliced = trials[4].parent.with_name("pick_two_obj_and_place-AppleSliced-None-Fridge-small1")
    trials[4].parent.rename(sliced)
    text = json.loads((trials[5] / "game.tw-pddl").read_text())["pddl_problem"]
    edit(trials[5] / "game.tw-pddl", pddl_problem=text.replace("(pickupable", "(moveable"))
    loaded = data.load("train", root)
    assert len(loaded.games) == 6
    assert loaded.skipped == {
        "no game.tw-pddl": 1,
        "not marked as solvable": 2,
        "another task type": 1,
        "movable receptacle or sliced object": 1,
        "the expert finds no plan": 1,
    }


def test_a_malformed_game_is_refused_by_name(root):
    trial = folders(root)[2]
    text = json.loads((trial / "game.tw-pddl").read_text())["pddl_problem"]
    edit(trial / "game.tw-pddl", pddl_problem=text.replace("(objectType", "(objectKind", 1))
    with pytest.raises(ReproError, match=r"trial_T\w+/game.tw-pddl \(pddl_problem\), line \d+: unknown fact") as caught:
        data.load("train", root)
    assert str(trial) in str(caught.value)
    kind = next(line.split()[-1].rstrip(")") for line in text.splitlines() if "(objectType" in line)
    edit(trial / "game.tw-pddl", pddl_problem=text.replace(f"        {kind} - otype\n", ""))
    with pytest.raises(ReproError, match=f"unknown object type '{kind}'"):
        data.load("train", root)
    (trial / "traj_data.json").write_text("{")
    with pytest.raises(ReproError, match=r"traj_data.json: not readable as JSON"):
        data.load("train", root)
    (trial / "traj_data.json").write_text("[]")
    with pytest.raises(ReproError, match=r"traj_data.json: a JSON object is expected, this is a list"):
        data.load("train", root)


def test_absent_data_names_the_command_and_the_layout(tmp_path, monkeypatch, root):
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    with pytest.raises(ReproError, match=r"ALFWORLD_DATA is not set. Run `alfworld-download` .*json_2.1.1/<split>/"):
        data.load("train")
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ReproError, match=r"no folder .*nowhere/json_2.1.1. Run `alfworld-download`"):
        data.load("train")
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    assert len(data.load("train").games) == 12
    with pytest.raises(ReproError, match="unknown split 'test'; known are"):
        data.load("test")
    with pytest.raises(ReproError, match=r"no games in .*valid_seen \(passed over: {}\). Expected"):
        data.load("valid_seen")


def test_a_split_keeps_its_name(tmp_path):
    data.write(games.heldout(SMALL)["valid_unseen"].games, tmp_path)
    loaded = data.load("valid_unseen", tmp_path).games
    assert {game.split for game in loaded} == {"valid_unseen"} and len(loaded) == 6
    assert {game.room for game in loaded} <= {room.id for room in games.world(SMALL).rooms["valid_unseen"]}
    assert len(list(islice(games.stream(SMALL, 0), 3))) == 3
