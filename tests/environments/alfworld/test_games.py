"""Small households: the same for the same seed, fair to every task, disjoint, winnable, and small."""

import random
import re
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from repro.environments.alfworld import games, households
from repro.environments.alfworld.engine import Environment
from repro.environments.alfworld.games import RULES, HouseholdConfig, heldout, nouns, stream, train_list, world
from repro.environments.alfworld.households import signature
from repro.environments.alfworld.problem import TASK_TYPES, Receptacle
from repro.errors import ReproError

SMALL = HouseholdConfig(train_games=90, heldout_games=60)


def every_game(config=SMALL):
    held = heldout(config)
    return [*train_list(config, 0).games, *held["valid_seen"].games, *held["valid_unseen"].games]


def test_games_depend_on_the_seed_alone():
    assert train_list(SMALL, 3) == train_list(SMALL, 3)
    assert train_list(SMALL, 3).games != train_list(SMALL, 4).games
    assert list(islice(stream(SMALL, 3), 20)) == list(islice(stream(SMALL, 3), 20))
    first = train_list(SMALL, 0).games[0]
    assert (first.id, first.task) == (
        "train/pick_and_place_simple-Apple-None-SinkBasin-small11/trial_T99432077_593558_456238",
        "put a apple in sinkbasin",
    )  # the ledger of a study rests on games that never change


def test_every_task_has_its_share_in_every_split():
    for games_ in (train_list(SMALL, 0).games, *(split.games for split in heldout(SMALL).values())):
        assert set(Counter(game.problem.goal.task_type for game in games_).values()) == {len(games_) // 6}
    two = replace(SMALL, task_types=TASK_TYPES[:2], train_games=10)
    assert {game.problem.goal.task_type for game in train_list(two, 0).games} == set(TASK_TYPES[:2])


def test_no_game_is_in_two_lists_and_unseen_rooms_are_new():
    held = {split: found.games for split, found in heldout(SMALL).items()}
    seen_elsewhere = {signature(game) for games_ in held.values() for game in games_}
    assert len(seen_elsewhere) == 120
    for games_ in (train_list(SMALL, 0).games, tuple(islice(stream(SMALL, 0), 90))):
        assert not seen_elsewhere & {signature(game) for game in games_}
        assert len({signature(game) for game in games_}) == len({game.id for game in games_}) == 90
    shapes = {
        split: {tuple(sorted(place.type for place in room.receptacles)) for room in rooms}
        for split, rooms in world(SMALL).rooms.items()
    }
    assert len(shapes["train"]) == 20 and len(shapes["valid_unseen"]) == 6
    assert shapes["train"] == shapes["valid_seen"] and not shapes["train"] & shapes["valid_unseen"]
    rooms = {game.room for game in held["valid_unseen"]}
    assert len(rooms) == 6 and not rooms & {game.room for game in (*held["valid_seen"], *train_list(SMALL, 0).games)}


def test_every_walkthrough_wins_and_no_game_is_won_at_its_start():
    for game in every_game():
        environment = Environment(game)
        environment.reset()
        for command in game.walkthrough:
            assert not environment.won and command in environment.admissible()
            environment.step(command)
        assert environment.won and len(game.walkthrough) <= 11, game.id


def test_households_are_small_and_ordinary():
    for game in every_game():
        places, things, goal = game.problem.receptacles, game.problem.objects, game.problem.goal
        assert 8 <= len(places) <= 10 and len({place.location for place in places}) == len(places)
        assert game.problem.start not in {place.location for place in places}
        assert 5 <= len(things) <= 7 and sum(thing.type == "DeskLamp" for thing in things) == 1
        assert not any(place.opened for place in places)
        kinds = {place.id: place.type for place in places}
        for thing in things:
            (place,) = thing.receptacles
            wanted = goal.receptacle if thing.type == goal.object else None
            usual = set(RULES.whereabouts[thing.type]) & set(kinds.values()) - {wanted}
            assert kinds[place] != wanted and (kinds[place] in usual or not usual)


def test_the_texts_have_a_small_vocabulary():
    words = set()
    for game in every_game():
        environment = Environment(game)
        texts = [environment.reset(), *game.walkthrough, *(environment.step(c)[0] for c in game.walkthrough)]
        words.update(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text))
    assert len(words) < 100
    assert set(nouns(SMALL)) <= {word.lower() for word in words} and len(nouns(SMALL)) == 25


@pytest.mark.parametrize("changes, message", [
    ({"task_types": ("tidy_up",)}, r"unknown task types \['tidy_up'\]; known are"),
    ({"task_types": ()}, "unknown task types"),
    ({"min_things": 1}, "1 to 6 things; a game needs at least 2"),
    ({"min_things": 7}, "7 to 6 things"),
    ({"unseen_rooms": 0}, "at least one of each is needed"),
    ({"train_rooms": 161}, "161 training and 6 unseen rooms were asked for; .* there are 166 different rooms"),
])  # fmt: skip
def test_impossible_configs_are_refused(changes, message):
    with pytest.raises(ReproError, match=message):
        replace(SMALL, **changes)


def test_candidates_that_are_passed_over_are_counted(monkeypatch):
    # One room and nothing in it but the mug that is wanted: a few dozen different games.
    room = replace(world(SMALL).rooms["train"][0], kinds=("Mug",))
    narrow = replace(world(SMALL), rooms={"train": (room,)}, stock=lambda room, goal, rng: [goal.object])
    drawn = households.train(narrow, TASK_TYPES[:1], 0, 20, without=())
    assert len(drawn.games) == 20 and 0 < drawn.skipped["drawn before"] < 100
    with pytest.raises(ReproError, match=r"found \d+ of 60 games, passed over {'drawn before': 6101}: ask for fewer"):
        households.train(narrow, TASK_TYPES[:1], 0, 60, without=())
    monkeypatch.setattr(households, "shortest_plan", lambda problem: None if "Mug" in str(problem.goal) else ("look",))
    assert train_list(SMALL, 0).skipped["the expert finds no plan"] > 0


def test_a_task_that_no_room_allows_is_refused():
    living_room = replace(world(SMALL).rooms["train"][0], receptacles=(Receptacle("Desk_bar_1", "Desk", "loc_1"),))
    without_fridge = replace(world(SMALL), rooms={"train": (living_room,)})
    with pytest.raises(ReproError, match=r"no room of train allows the tasks \['pick_cool_then_place_in_recep'\]"):
        households.train(without_fridge, ("pick_cool_then_place_in_recep",), 0, 1, without=())


def test_a_thing_without_a_place_is_refused():
    room = replace(world(SMALL).rooms["train"][0], receptacles=(Receptacle("Desk_bar_1", "Desk", "loc_1"),))
    goal = train_list(SMALL, 0).games[0].problem.goal
    with pytest.raises(ReproError, match="small[0-9]+: there is no place for a Fork in .*Desk"):
        households.furnish(room, RULES, goal, ["Fork"], random.Random(0))


def test_rules_know_every_kind_of_thing():
    assert set(games._USUAL) == set(RULES.abilities) - {"DeskLamp"} == set(RULES.usual)
    for kind, places in RULES.usual.items():
        assert all(kind in RULES.contains[place] for place in places)
