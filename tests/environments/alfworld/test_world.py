"""The household world: prompts, turn limits, faults, snapshots, keys, lists, and what an expert shows."""

import random
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from repro import environments
from repro.config import from_dict, to_dict
from repro.environments.alfworld import data, games, package, text, world
from repro.environments.alfworld.data import DatasetConfig
from repro.environments.alfworld.households import signature
from repro.environments.alfworld.layouts import LayoutConfig
from repro.environments.alfworld.problem import TASK_TYPES, Game, Goal, Object, Problem, Receptacle
from repro.environments.alfworld.prompts import compact, projected
from repro.environments.alfworld.world import (
    AlfworldConfig,
    Faults,
    Household,
    HouseholdEpisode,
    demonstration,
    heldout,
    stream,
    train_list,
    vocabulary,
)
from repro.environments.query import Query
from repro.errors import ReproError

CONFIG = AlfworldConfig(games.HouseholdConfig(train_games=60, heldout_games=30))
VERBOSE = replace(CONFIG, form="verbose")


def thing(kind, place, *abilities, number=1):
    return Object(f"{kind}_bar_{number}", kind, (f"loc_{place}",), (place,), abilities=frozenset(abilities))


def query_of(goal, task="put a hot apple in shelf", things=(), holding=None):
    """A room with a fridge, a microwave, a shelf and a desk with a lamp; an apple in the fridge, a mug on the desk."""
    places = [("Fridge", True), ("Microwave", True), ("Shelf", False), ("Desk", False)]
    able = ("pickupable", "heatable", "coolable", "cleanable")
    problem = Problem(
        name="hand made",
        receptacles=tuple(Receptacle(f"{k}_bar_1", k, f"loc_{k}_bar_1", openable=door) for k, door in places),
        objects=(
            thing("Apple", "Fridge_bar_1", *able),
            thing("Mug", "Desk_bar_1", *able),
            thing("DeskLamp", "Desk_bar_1", "toggleable"),
            *things,
        ),
        locations=("loc_start", *(f"loc_{k}_bar_1" for k, _ in places)),
        start="loc_start",
        can_contain=frozenset((k, o) for k, _ in places for o in ("Apple", "Mug")),
        goal=goal,
        holding=holding,
    )
    return Query("hand made", task, "", goal.task_type, graph=(Household(Game(problem, task)),))


HOT = query_of(Goal("pick_heat_then_place_in_recep", "Apple", "Shelf"))
WAY = [
    "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "go to microwave 1",
    "heat apple 1 with microwave 1", "go to shelf 1", "move apple 1 to shelf 1",
]  # fmt: skip


def begun(query=HOT, config=CONFIG, commands=()):
    episode = HouseholdEpisode(config, query)
    episode.reset()
    for command in commands:
        episode.step(command)
    return episode


# Prompts


def test_compact_prompts_by_hand():
    episode = begun()
    listed = "room see desk 1 fridge 1 microwave 1 shelf 1"
    assert episode.prompt() == f"put hot apple shelf . at room . hand nothing . {listed} >"
    assert episode.step("go to fridge 1")[0] == "You arrive at fridge 1. The fridge 1 is closed."  # as ALFWorld says it
    assert episode.prompt() == (
        f"put hot apple shelf . at fridge 1 . hand nothing . {listed} > go to fridge 1 . fridge 1 closed >"
    )
    episode.step("open fridge 1")
    episode.step("take apple 1 from fridge 1")
    assert episode.prompt() == (
        "put hot apple shelf . at fridge 1 . hand apple 1 . fridge 1 closed > open fridge 1 . "
        "fridge 1 open see apple 1 > take apple 1 from fridge 1 . pick apple 1 from fridge 1 >"
    )
    assert begun(config=replace(CONFIG, history=0), commands=WAY[:3]).prompt() == (
        "put hot apple shelf . at fridge 1 . hand apple 1 . pick apple 1 from fridge 1 >"
    )
    whole = begun(config=replace(CONFIG, history=None), commands=WAY[:4]).prompt()
    assert whole.count(" > ") == 4 and listed in whole


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("You open the fridge 1. The fridge 1 is open. In it, you see a egg 2, and a mug 1.",
         "fridge 1 open see egg 2 mug 1"),
        ("On the sinkbasin 1, you see nothing.", "sinkbasin 1 see nothing"),
        ("You are facing the desk 1. Next to it, you see nothing.", "facing desk 1 next see nothing"),
        ("You turn on the desklamp 1.", "turn desklamp 1"),
        ("This is a cool and clean mug 1.", "cool clean mug 1"),
        ("Nothing happens.", "nothing happens"),
        (text.HELP, "help"),
    ],
)  # fmt: skip
def test_texts_in_few_words(said, shown):
    assert compact(said) == shown


def test_a_verbose_prompt_has_all_parts():
    episode = begun(config=VERBOSE, commands=["<think>x</think><action>go to fridge 1</action>"])
    first, later = begun(config=VERBOSE).prompt(), episode.prompt()
    assert "Your task is to: put a hot apple in shelf." in first and "steps so far" not in first  # in the opening text
    for part in (
        "Your task is to: put a hot apple in shelf.",
        "You have taken 1 steps so far.",
        "The last 1 of them",
        "Action 1: 'go to fridge 1'",
        "what you see now is: You arrive at fridge 1. The fridge 1 is closed.",
        "'open fridge 1'",
        "<think>",
        "<action>",
    ):
        assert part in later
    assert "'help'" not in later and "'help'" not in first and "'go to fridge 1'" in first
    for _ in range(3):
        episode.step("<think></think><action>look</action>")
    assert "You have taken 4 steps" in episode.prompt() and "The last 2 of them" in episode.prompt()
    assert "Observation 3" in episode.prompt() and "Observation 2" not in episode.prompt()


@pytest.mark.parametrize(
    ("response", "command", "formed"),
    [
        ("<think>hm</think><action>Go To Fridge 1</action>", "go to fridge 1", True),
        ("<think>hm</think><action> look </action><action>help</action>", "look", True),
        ("<action>look</action>", "look", False),  # no thought
        ("<think>hm</think>I would now like to open the fridge 1", "would now like to open the fridge 1"[-30:], False),
        ("<think>\u597d</think><action>look</action>", "look", False),
        ("", "", False),
    ],
)
def test_the_action_projection(response, command, formed):
    assert projected(response) == (command, formed)


def test_every_word_of_play_is_in_the_vocabulary():
    words, rng = set(vocabulary(CONFIG)), random.Random("words")
    assert len(words) == len(vocabulary(CONFIG)) < 100
    queries = [*islice(stream(CONFIG, 5), 60), *heldout(CONFIG)["valid_unseen"]]
    longest = 0
    for number, query in enumerate(queries):
        for prompt, command in demonstration(CONFIG, query, rng, noise=(0.0, 0.3, 1.0)[number % 3], slip=0.2):
            assert {*prompt.split(), *command.split()} <= words
            longest = max(longest, len(prompt.split()))
    assert 50 < longest < 80
    with pytest.raises(ReproError, match=r"policy\.checkpoint"):
        vocabulary(VERBOSE)


# Play


def test_a_game_is_won_and_over():
    episode = begun(commands=WAY[:-1])
    assert not episode.won and episode.admissible()
    assert episode.step(WAY[-1]) == ("You move the apple 1 to the shelf 1.", 1.0, True)
    assert episode.won and episode.done and episode.admissible() == [] and episode.faults == Faults()
    with pytest.raises(ReproError, match="over"):
        episode.step("look")


def test_the_turn_limit():
    episode = begun(config=replace(CONFIG, max_turns=3))
    assert [episode.step("look")[1:] for _ in range(3)] == [(0.0, False), (0.0, False), (0.0, True)]
    assert episode.faults == Faults(out_of_turns=1)
    last = begun(config=replace(CONFIG, max_turns=len(WAY)), commands=WAY)
    assert last.won and last.faults == Faults()  # the last turn counts


def test_what_goes_wrong_is_counted():
    episode = begun()
    for action in ("go to mars 1", "", "Go to fridge 1", "open fridge 1", " look "):
        observation, reward, done = episode.step(action)
        assert (observation == "Nothing happens.") == (action != " look ") and reward == 0 and not done
    assert episode.faults == Faults(nothing_happens=4, unparsed=1)
    with pytest.raises(ReproError, match="is text"):
        episode.step(None)
    with pytest.raises(ReproError, match="reset"):
        HouseholdEpisode(CONFIG, HOT).step("look")


def test_invalid_actions_cost_what_the_config_says():
    penalty = begun(config=replace(CONFIG, invalid="penalty", penalty=0.25))
    assert [penalty.step(action)[1:] for action in ("look", "fly")] == [(0.0, False), (-0.25, False)]
    assert begun(config=replace(CONFIG, invalid="end")).step("fly") == ("Nothing happens.", 0.0, True)
    # With tags to be had, an action is invalid if they are missing, not if the command does nothing (released code).
    config = replace(VERBOSE, invalid="penalty")
    assert begun(config=config).step("<think></think><action>fly</action>")[1] == 0.0
    observation, reward, _ = begun(config=config).step("<action>go to fridge 1</action>")
    assert observation.startswith("You arrive") and reward == -0.1


def test_snapshots_bring_everything_back():
    rng = random.Random("snapshots")
    for query in train_list(CONFIG, 0)[:6]:
        episode, other = begun(query), HouseholdEpisode(CONFIG, query)
        kept = []
        while not episode.done:
            kept.append((episode.snapshot(), episode.prompt(), episode.faults, episode.state_key(True),
                         episode.abstract_key(), episode.admissible()))  # fmt: skip
            episode.step(rng.choice([*episode.admissible(), "fly"]))
        rng.shuffle(kept)
        for snapshot, *rest in kept:
            other.restore(snapshot)
            assert hash(snapshot) == hash(other.snapshot()) and snapshot == other.snapshot()
            assert rest == [
                other.prompt(),
                other.faults,
                other.state_key(True),
                other.abstract_key(),
                other.admissible(),
            ]
    late = begun(config=replace(CONFIG, max_turns=2), commands=["look"])
    snapshot = late.snapshot()
    assert late.step("look")[2]
    late.restore(snapshot)
    assert late.step("look")[2]  # turns taken are part of it


def test_a_snapshot_of_another_game_is_refused():
    one, other = (begun(query) for query in train_list(CONFIG, 0)[:2])
    with pytest.raises(ReproError, match="not one of the game"):
        one.restore(other.snapshot())
    with pytest.raises(ReproError, match="no snapshot"):
        one.restore(("a", "b"))
    with pytest.raises(ReproError, match="no household"):
        HouseholdEpisode(CONFIG, Query("q", "what ?", "", ""))


# Keys


def test_abstract_keys_by_hand():
    episode, seen = begun(), []
    for command in ["", *WAY]:
        if command:
            episode.step(command)
        seen.append(episode.abstract_key().removeprefix("pick_heat_then_place_in_recep, "))
    assert seen == [
        "nowhere, elsewhere, shut, 0 here, 0 in place, no lamp, empty",
        "fridge, elsewhere, shut, 0 here, 0 in place, no lamp, empty",  # the apple is behind the door
        "fridge, elsewhere, open, 1 here, 0 in place, no lamp, empty",
        "fridge, elsewhere, open, 0 here, 0 in place, no lamp, target",
        "microwave, elsewhere, shut, 0 here, 0 in place, no lamp, target",
        "microwave, elsewhere, shut, 0 here, 0 in place, no lamp, treated target",
        "shelf, home, open, 0 here, 0 in place, no lamp, treated target",
        "shelf, home, open, 0 here, 1 in place, no lamp, empty",
    ]
    # Put down in its place while cold, the apple is still to be had.
    cold = begun(commands=[*WAY[:3], "go to shelf 1", "move apple 1 to shelf 1"])
    assert cold.abstract_key().endswith("shelf, home, open, 1 here, 0 in place, no lamp, empty")
    mug = begun(commands=["go to desk 1", "take mug 1 from desk 1"])
    assert mug.abstract_key().endswith("desk, elsewhere, open, 0 here, 0 in place, no lamp, other")


def test_abstract_keys_of_lamps_and_pairs():
    light = begun(query_of(Goal("look_at_obj_in_light", "Apple", toggle="DeskLamp")), commands=["go to desk 1"])
    assert light.abstract_key().endswith("desk, elsewhere, open, 0 here, 0 in place, unlit, empty")
    light.step("use desklamp 1")
    assert light.abstract_key().endswith("lit, empty")
    able = ("pickupable",)
    two = query_of(Goal("pick_two_obj_and_place", "Mug", "Desk"), things=[thing("Mug", "Shelf_bar_1", *able, number=2)])
    assert (
        begun(two, commands=["go to desk 1"])
        .abstract_key()
        .endswith("desk, home, open, 0 here, 1 in place, no lamp, empty")
    )
    assert (
        begun(two, commands=["go to shelf 1"])
        .abstract_key()
        .endswith("elsewhere, open, 1 here, 1 in place, no lamp, empty")
    )


def test_keys_forget_turns_and_names():
    short, long = begun(commands=WAY[:1]), begun(commands=["look", "fly", *WAY[:1]])
    assert short.state_key() == long.state_key() and short.abstract_key() == long.abstract_key()
    assert short.state_key() != short.state_key(with_goal=True)
    keys = Counter(begun(query).abstract_key() for query in train_list(CONFIG, 0))
    assert sorted(keys.values()) == [10] * 6  # at the start all games of a task type are one state


# Lists, and the expert


def test_lists_are_disjoint_and_say_what_they_hold():
    held = heldout(CONFIG)
    assert list(held) == ["valid_seen", "valid_unseen"]
    train, other, fresh = train_list(CONFIG, 0), train_list(CONFIG, 1), list(islice(stream(CONFIG, 0), 60))
    assert train == train_list(CONFIG, 0) != other
    for queries in (train, other, fresh, *held.values()):
        assert {query.level for query in queries} == set(TASK_TYPES)
    signed = [{signature(q.graph[0].game) for q in queries} for queries in (*held.values(), train, other, fresh)]
    assert not (signed[0] | signed[1]) & (signed[2] | signed[3] | signed[4]) and not signed[0] & signed[1]
    rooms = [{q.graph[0].game.room for q in queries} for queries in (held["valid_unseen"], train)]
    assert not rooms[0] & rooms[1]
    for query in train[:12]:
        episode = begun(query, commands=query.trace.split("\n"))
        assert episode.won and query.text in episode.reset()


def test_the_expert_wins_and_recovers():
    rates = {}
    for noise in (0.0, 0.25):
        rng, won = random.Random(f"expert:{noise}"), 0
        queries = list(islice(stream(CONFIG, 9), 120))
        for query in queries:
            shown = demonstration(CONFIG, query, rng, noise)
            episode = begun(query)
            for prompt, command in shown:
                assert prompt == episode.prompt()
                episode.step(command)
            won += episode.won
        rates[noise] = won / len(queries)
    assert rates[0.0] == 1.0 and 0.85 < rates[0.25] < 1.0


def test_slips_are_shown_but_not_done(monkeypatch):
    played = []

    class Noted(HouseholdEpisode):
        def step(self, action):
            before = self.prompt()
            answer = super().step(action)
            played.append((before, action, answer[0]))
            return answer

    monkeypatch.setattr(world, "HouseholdEpisode", Noted)
    rng, slips, repeated = random.Random("slips"), 0, 0
    for query in islice(stream(CONFIG, 9), 40):
        played.clear()
        shown = demonstration(CONFIG, query, rng, noise=0.0, slip=0.3)
        done = set(shown)
        for (_, command, answer), following in zip(played, [*played[1:], ("", "", "")], strict=True):
            if answer == "Nothing happens.":
                slips += 1
                repeated += following[1] == command
        assert not any((prompt, command) in done for prompt, command, answer in played if answer == "Nothing happens.")
        assert done <= {(prompt, command) for prompt, command, _ in played}
    assert slips > 60 and 3 < repeated < 0.5 * slips
    assert len(demonstration(CONFIG, query, rng, noise=0.0, slip=1.0)) == 1  # something is always done


def test_games_on_disk_are_played_too(tmp_path, monkeypatch):
    for split, found in (("train", games.train_list(CONFIG.source, 0)), *games.heldout(CONFIG.source).items()):
        data.write([replace(game, id=f"{split}/{game.id.split('/', 1)[1]}") for game in found.games[:6]], tmp_path)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    config = AlfworldConfig(DatasetConfig(train_games=4), "verbose", max_turns=50, invalid="penalty")
    assert len(train_list(config, 0)) == 4 and {k: len(v) for k, v in heldout(config).items()} == {
        "valid_seen": 6, "valid_unseen": 6,
    }  # fmt: skip
    assert train_list(config, 0) == train_list(config, 0)
    for query in train_list(config, 0):
        episode = HouseholdEpisode(config, query)
        episode.reset()
        for command in query.trace.split("\n"):
            episode.step(f"<think>next</think><action>{command}</action>")
        assert episode.won and episode.faults == Faults()
    with pytest.raises(ReproError, match="no endless stream"):
        stream(config, 0)
    with pytest.raises(ReproError, match="7 games were asked for, and there are 6"):
        train_list(replace(config, source=DatasetConfig(train_games=7)), 0)


def test_the_world_is_known_and_its_config_read_back():
    assert environments.multi_turn(CONFIG) and environments.history(CONFIG) == 2
    query = environments.train_list(CONFIG, 0)[0]
    assert environments.asked(CONFIG, query).text == begun(query).prompt()
    for config in (AlfworldConfig(), AlfworldConfig(LayoutConfig(), "verbose", history=None)):
        assert from_dict(AlfworldConfig, to_dict(config)) == config
    for bad in ({"max_turns": 0}, {"history": -1}, {"penalty": -0.1}):
        with pytest.raises(ReproError, match="alfworld"):
            AlfworldConfig(**bad)


@pytest.mark.skipif(package.folder() is None, reason="alfworld is not installed")
def test_full_size_households_are_played_in_sentences():
    config = AlfworldConfig(LayoutConfig(train_games=6, heldout_games=6), "verbose", max_turns=50)
    query = train_list(config, 0)[3]
    episode = HouseholdEpisode(config, query)
    episode.reset()
    assert len(episode.prompt()) > 500 and all(
        f"'{command}'" in episode.prompt() for command in episode.admissible()[:5]
    )
    for command in query.trace.split("\n"):
        episode.step(f"<think>next</think><action>{command}</action>")
    assert episode.won and " at " not in episode.abstract_key() and episode.abstract_key().startswith(query.level)
    assert {split: len(queries) for split, queries in heldout(config).items()} == {"valid_seen": 6, "valid_unseen": 6}
