"""Generated games in ALFWorld's own engine: they load, say their task, and are won by their walkthroughs."""

import os
import random

import pytest

from repro.environments.alfworld import data, games, layouts, reference
from repro.environments.alfworld.expert import Searcher, demonstrate
from repro.environments.alfworld.problem import TASK_TYPES
from repro.environments.alfworld.reference import Reference

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not reference.available(), reason="the alfworld and textworld packages are not installed"),
]


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    if not reference.available():
        return
    os.environ.setdefault("ALFWORLD_DATA", str(tmp_path_factory.mktemp("alfworld")))
    reference.quicken()


def play(games_, root):
    for game, path in zip(games_, data.write(games_, root), strict=True):
        played = Reference(path)
        assert played.reset().endswith(f"Your task is to: {game.task}.")
        for command in game.walkthrough:
            assert not played.won and command in played.admissible(), game.id
            played.step(command)
        assert played.won, game.id


def test_small_games_are_won(tmp_path):
    config = games.HouseholdConfig(train_games=6, heldout_games=6)
    play(games.train_list(config, 0).games, tmp_path)
    play(games.heldout(config)["valid_unseen"].games, tmp_path)


def test_full_size_games_are_won(tmp_path):
    config = layouts.LayoutConfig(train_games=6, heldout_games=6)
    play(layouts.train_list(config, 0).games[:3], tmp_path)
    play(layouts.heldout(config)["valid_unseen"].games[3:], tmp_path)


def test_the_searcher_wins_through_the_reference_s_texts(tmp_path):
    games_ = games.train_list(games.HouseholdConfig(train_games=6), 1).games
    for game, path in zip(games_, data.write(games_, tmp_path), strict=True):
        searcher = Searcher(game.problem.goal, games.RULES.whereabouts)
        assert demonstrate(Reference(path), searcher, random.Random(game.id), max_turns=60, noise=0.2).won


def test_alfworld_s_own_loader_finds_the_games(tmp_path, capsys):
    from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv

    written = games.train_list(games.HouseholdConfig(train_games=12), 2).games
    paths = data.write(written, tmp_path)
    settings = {
        "env": {"goal_desc_human_anns_prob": 0, "task_types": [1, 2, 3, 4, 5, 6]},
        "dataset": {"data_path": str(tmp_path / "json_2.1.1" / "train"), "num_train_games": -1},
    }
    assert sorted(AlfredTWEnv(settings, train_eval="train").game_files) == sorted(map(str, paths))
    some = settings | {"env": {"goal_desc_human_anns_prob": 0, "task_types": [2, 6]}}
    found, _ = data.game_files("train", tmp_path, (TASK_TYPES[1], TASK_TYPES[5]))
    assert sorted(AlfredTWEnv(some, train_eval="train").game_files) == list(map(str, found))
    assert len(found) == 4
