"""Demonstrations and slipped traces."""

import itertools
import random
from dataclasses import replace

import pytest

from repro.environments.search import (
    SearchConfig,
    SearchEpisode,
    Slips,
    base_of,
    demonstration,
    first_error,
    plant,
    slipped,
    trace_of,
    train_list,
)
from repro.environments.search.knowledge import routes
from repro.errors import ReproError

WORLD = SearchConfig(knowledge_bases=4, train_queries=64, heldout_queries=4)
QUERIES = train_list(WORLD, 0)


def play(query, actions):
    """The turns and the episode that the actions lead to."""
    episode = SearchEpisode(WORLD, query)
    observation, turns = episode.reset(), []
    for action in actions:
        turns.append((observation, action))
        observation, _, _ = episode.step(action)
    return turns, episode


def test_the_expert_wins_in_one_turn_a_hop_and_one_for_the_answer():
    for query in QUERIES:
        turns = demonstration(WORLD, query)
        again, episode = play(query, [action for _, action in turns])
        assert turns == again and turns[0][0] == query.text
        assert episode.won and len(turns) == len(query.graph) + 1 and episode.faults == (0, 0, 0, 0, 0)
        for fact, (_, action), (observation, _) in zip(query.graph, turns, turns[1:], strict=False):
            assert action == f"search {fact.subject} {fact.relation}"
            assert observation.splitlines()[0] == fact.sentence
        assert turns[-1][1] == f"answer {query.answer}"


def test_no_slips_no_change():
    for query in QUERIES:
        assert slipped(WORLD, query, random.Random(0), Slips(0.0, 0.0)) == query


def test_slipped_traces_are_consistent():
    """Every search starts from what was read last, and what was read stands on the page."""
    rng = random.Random("slips")
    for query in QUERIES * 3:
        noisy = slipped(WORLD, query, rng, Slips(0.4, 0.2))
        assert (noisy.text, noisy.answer, noisy.id) == (query.text, query.answer, query.id)
        assert noisy.trace == trace_of(noisy.graph) and noisy.graph[0].subject == query.graph[0].subject
        turns = demonstration(WORLD, noisy)
        assert 2 <= len(turns) <= WORLD.max_turns
        assert turns == play(query, [action for _, action in turns])[0]
        for fact, (observation, _) in zip(noisy.graph, turns[1:], strict=True):
            assert fact.object in observation.split()
        for before, after in itertools.pairwise(noisy.graph):
            assert after.subject == before.object


def test_a_wrong_relation_is_planned_around():
    """With route slips alone all facts are real, and a search ends with the asked relation, at a dead end or late."""
    rng = random.Random("routes")
    real = planned = 0
    for query in QUERIES * 3:
        noisy, base = slipped(WORLD, query, rng, Slips(0.5, 0.0)), base_of(WORLD, query)
        assert all(base.objects[f.subject, f.relation] == f.object for f in noisy.graph)
        asked = noisy.graph[-1].relation == query.graph[-1].relation
        here, target = base.type_of[noisy.graph[-1].object], query.graph[-1].relation
        stuck = (here, target) not in routes(WORLD.schema)
        assert asked or stuck or len(noisy.graph) == WORLD.max_turns - 1
        real += noisy == query
        planned += noisy != query and asked
    assert real > 20 and planned > 20


def test_misreadings_keep_the_route():
    rng = random.Random("reading")
    changed = 0
    for query in QUERIES:
        noisy = slipped(WORLD, query, rng, Slips(0.0, 1.0))
        assert [f.relation for f in noisy.graph] == [f.relation for f in query.graph]
        assert all(a.object != a.subject for a in noisy.graph)
        changed += noisy.graph[0].object != query.graph[0].object
    assert changed == len(QUERIES)  # a page of three documents always has another name on it


def test_slips_cost_success_in_proportion():
    """One hop, reading slips at 0.3: the expert is right about 0.7 of the time (192 tries, standard error 0.033)."""
    rng = random.Random("cost")
    one_hop = [query for query in QUERIES if len(query.graph) == 1]
    tries = [slipped(WORLD, query, rng, Slips(0.0, 0.3)) for query in itertools.islice(itertools.cycle(one_hop), 192)]
    assert 0.6 < sum(noisy.graph[-1].object == noisy.answer for noisy in tries) / 192 < 0.8


def test_following_a_planted_trace_is_answering_it():
    query = QUERIES[0]
    planted = plant(WORLD, query, random.Random(1))
    _, episode = play(query, [action for _, action in demonstration(WORLD, planted)])
    assert not episode.won and episode.answer == planted.graph[-1].object


def test_where_a_player_first_leaves_the_expert():
    query = next(query for query in QUERIES if len(query.graph) == 2)
    (one, two), right = query.graph, [action for _, action in demonstration(WORLD, query)]
    search = [f"search {one.subject} {one.relation}", f"search {two.subject} {two.relation}"]
    assert first_error(query, right) == "none" and first_error(query, []) == first_error(query, right[:2]) == "form"
    assert first_error(query, [f"search {one.subject} {two.relation}", *right[1:]]) == "route"
    assert first_error(query, [search[0], f"answer {two.subject}"]) == "route"  # too soon
    assert first_error(query, [*search, search[1], right[2]]) == "route"  # too late
    assert first_error(query, [search[0], f"search {one.subject} {two.relation}"]) == "reading"
    assert first_error(query, [*search, f"answer {one.subject}"]) == "reading"
    assert first_error(query, [search[0], "search", right[2]]) == first_error(query, ["", *right]) == "form"


def test_slips_are_chances():
    with pytest.raises(ReproError, match="between 0 and 1"):
        Slips(route=1.5)
    with pytest.raises(ReproError, match="between 0 and 1"):
        replace(Slips(), reading=-0.1)
