"""Demonstrations: the worlds' own episodes and slips, learned where the expert acts, with hints as asked for."""

import collections
import itertools
import random
import typing
from dataclasses import replace

import pytest
import torch

from repro.algorithms.smepo import HINTS
from repro.config import config_hash, from_dict, to_dict
from repro.environments import program, search
from repro.environments.program import ProgramConfig
from repro.environments.search import SearchConfig, SearchEpisode, Slips
from repro.errors import ReproError
from repro.policy.demonstrations import FORMATS, examples
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.model import build
from repro.policy.transcript import Transcript
from repro.policy.warmstart import DemonstrationConfig, WarmStartConfig, WarmStartKey, lessons, vocabulary, warm_start
from repro.training.config import RunConfig
from tests.policy.tiny import SHAPE, WORLD, stir

SEARCH = SearchConfig(heldout_queries=2, train_queries=4)
PROGRAM = ProgramConfig(heldout_queries=2, train_queries=4, warm_statements=(1, 3))
SHORT = dict(steps=3, flat_steps=1, noisy_steps=2, warmup_steps=1, batch=2)

needs_search = pytest.mark.skipif(not search.index.importlib.util.find_spec("bm25s"), reason="bm25s is not installed")
WORLDS = [pytest.param(SEARCH, marks=needs_search, id="search"), pytest.param(PROGRAM, id="program")]


def key(world=SEARCH, seed=0, **settings):
    return WarmStartKey(world, replace(SHAPE, context=256), DemonstrationConfig(**{**SHORT, **settings}), seed)


def taught(key, phase, count):
    problems, *phases = lessons(key)
    return [(query, phases[phase](query)) for query in itertools.islice(problems, count)]


def test_transcripts_by_hand():
    start = Transcript.start([1, 2])
    assert start.prompt() == start.prompt(0) == [1, 2]
    later = start.then([3], [4, 5]).then([6], [7]).then([8], [])
    assert start.actions == ()  # a value: it can be continued again
    assert later.prompt() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert later.prompt(0) == [1, 2]  # the task and the present observation, which is empty
    assert later.prompt(1) == [1, 2, 7, 8]
    assert later.prompt(2) == [1, 2, 4, 5, 6, 7, 8]
    assert later.prompt(3) == later.prompt(9) == later.prompt()
    assert start.then([3], [4, 5]).then([6], [7]).prompt(1) == [1, 2, 4, 5, 6, 7]


@needs_search
def test_a_perfect_episode_is_the_worlds_own_and_wins():
    for query, lesson in taught(key(), 0, 8):
        episode = SearchEpisode(SEARCH, query)
        observation = episode.reset()
        for shown, action in zip(lesson[0::2], lesson[1::2], strict=True):
            assert shown == observation
            observation, reward, _ = episode.step(action)
        assert reward == 1.0 and episode.won


def test_a_perfect_program_passes():
    for query, lesson in taught(key(PROGRAM), 0, 5):
        assert lesson == (query.text, query.trace) and program.reward(query, lesson[1]) == 1.0


@needs_search
def test_slips_are_those_of_the_search_world():
    settings = key(seed=3, route_slip=0.4, slip=0.2)
    rng, differ = random.Random("slips:3"), 0
    for query, lesson in taught(settings, 1, 20):
        solved = search.slipped(SEARCH, query, rng, Slips(0.4, 0.2, 0.5))
        assert lesson == tuple(text for turn in search.demonstration(SEARCH, solved) for text in turn)
        differ += solved.graph != query.graph
    assert differ > 5
    assert all(lesson[-1] == f"answer {query.answer}" for query, lesson in taught(key(route_slip=0, slip=0), 1, 5))


def test_slips_are_those_of_the_program_world():
    rng = random.Random("slips:3")
    for query, lesson in taught(key(PROGRAM, seed=3, route_slip=0.4, slip=0.2), 1, 20):
        assert lesson == (query.text, program.slipped(query, rng, 0.4, 0.2).trace)


def hint_in(prompt):
    return prompt.split("<hint>\n")[1].split("\n</hint>")[0]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("hint", "wrong"), [("full", True), ("full_cut", True), ("prefix_75", False)])
def test_what_a_full_trace_misread_is_followed(world, hint, wrong):
    """A single slip here is a misreading: the route is right, and so is a search's or a program's, but for that."""
    right, reads = key(world, bare=0.0, hints=(hint,), route_slip=0.0, misled=1.0), 0
    for query, lesson in taught(right, 0, 15):
        expert = taught_of(world, query)
        reads += lesson[1::2] != expert
    assert (reads > 5) == wrong


def taught_of(world, query):
    if world is SEARCH:
        return tuple(action for _, action in search.demonstration(SEARCH, query))
    return (query.trace,)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("phase", "trust"), [(0, 0.5), (1, 1.0), (1, 0.0)])
def test_hints_tell_what_follows_as_far_as_they_are_to_be_trusted(world, phase, trust):
    """In the perfect phase they always do, wrong turns included; in the noisy one with chance `trust`."""
    settings = key(world, bare=0.0, hints=("full",), route_slip=0.5, slip=0.3, trust=trust)
    differ = 0
    for query, lesson in taught(settings, phase, 15):
        hint = hint_in(lesson[0])
        if world is SEARCH:  # "search a b found c", then "answer c"
            told = [" ".join(line.split()[:3]) for line in hint.splitlines()[:-1]] + hint.splitlines()[-1:]
            followed = told == list(lesson[1::2])
        else:
            followed = hint == lesson[1]
        assert lesson[0].startswith(query.text)
        assert followed if phase == 0 or trust else hint == query.trace
        differ += hint != query.trace if phase == 0 or trust else not followed
    assert differ


@pytest.mark.parametrize("world", WORLDS)
def test_every_format_is_in_the_worlds_words(world):
    policy = build(SHAPE, vocabulary(key(world)), 0)
    settings = key(world, bare=0.25, hints=tuple(FORMATS[type(world)]))
    marked = collections.Counter()
    for _, lesson in taught(settings, 1, 60):
        marked["<hint>" in lesson[0]] += 1
        for text in lesson:
            assert policy.decode(policy.encode(text)) == " ".join(text.split())
    assert 30 <= marked[True] < 60
    for query, _ in taught(settings, 0, 5):
        for guidance in FORMATS[type(world)].values():
            policy.encode(guidance.prompt(query))  # raises for a word that it does not know


@needs_search
def test_only_actions_are_learned_and_both_layouts_say_the_same():
    """The episode as one response against turn by turn: equal log-probabilities of the same tokens."""
    policy = stir(build(replace(SHAPE, context=256), vocabulary(key()), 0))
    _, lesson = taught(key(), 0, 3)[2]
    ((prompt, response, learned),) = examples(policy, lesson, None)
    shown = [policy.encode(text) for text in lesson[0::2]]
    done = [policy.encode(text) + [policy.end_token] for text in lesson[1::2]]
    assert prompt == shown[0]
    assert [t for t, own in zip(response, learned, strict=True) if own] == [t for action in done for t in action]
    assert [t for t, own in zip(response, learned, strict=True) if not own] == [t for seen in shown[1:] for t in seen]
    rows = examples(policy, lesson, 99)
    assert [row[1] for row in rows] == done and all(all(row[2]) for row in rows)
    assert rows[-1][0] == (prompt + response)[: -len(done[-1])]
    whole = response_logprobs(policy.decoder(), layout([prompt], [response], [0]))[0][0][torch.tensor(learned)]
    lay = layout([row[0] for row in rows], done, range(len(rows)))
    by_turn = response_logprobs(policy.decoder(), lay)[0]
    flat = torch.cat([by_turn[t, : len(action)] for t, action in enumerate(done)])
    torch.testing.assert_close(whole, flat, atol=1e-5, rtol=0)
    short = examples(policy, lesson, 0)
    assert [row[0] for row in short[1:]] == [shown[0] + seen for seen in shown[1:]]


@pytest.mark.parametrize("world", WORLDS)
def test_a_policy_is_warmed_up(world, tmp_path):
    losses = []
    first = warm_start(key(world), tmp_path, progress=lambda report: losses.append(report["loss"]))
    assert len(losses) == 5
    assert [p.name for p in tmp_path.iterdir()] == [f"warmstart-{config_hash(key(world))}"]
    again = warm_start(key(world), tmp_path)
    assert all(torch.equal(p, again.parameters[name]) for name, p in first.parameters.items())


def test_a_world_and_a_warm_start_must_fit():
    for world, settings in ((SEARCH, WarmStartConfig()), (WORLD, DemonstrationConfig())):
        with pytest.raises(ReproError, match="search and the program world with DemonstrationConfig"):
            vocabulary(WarmStartKey(world, SHAPE, settings, 0))
    with pytest.raises(ReproError, match="this world's are full, .*code"):
        vocabulary(key(PROGRAM, hints=("entities",)))
    with pytest.raises(ReproError, match="chances between 0 and 1"):
        DemonstrationConfig(trust=1.5)
    assert set(HINTS) & set(FORMATS[SearchConfig]) == {
        "full",
        "full_cut",
        "prefix_25",
        "prefix_50",
        "prefix_75",
        "random",
    }


def test_a_config_with_demonstrations_can_be_read_back():
    annotations = typing.get_type_hints(RunConfig)
    for name, value in (("world", SEARCH), ("world", PROGRAM), ("warmstart", DemonstrationConfig(hints=("full",)))):
        assert from_dict(annotations[name], to_dict(value)) == value
