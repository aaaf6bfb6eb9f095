"""Questions, splits, traces and their entity spans, planted traces, exact match."""

import itertools
import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from repro.algorithms.masks import Entities, hide
from repro.environments.query import Query
from repro.environments.search import (
    Fact,
    SearchConfig,
    base_of,
    demonstration,
    entity_spans,
    exact_match,
    generate,
    heldout,
    knowledge_base,
    normalise,
    outcome,
    plant,
    slipped,
    stream,
    trace_of,
    train_list,
    vocabulary,
)
from repro.environments.search.expert import Slips
from repro.environments.search.knowledge import askable
from repro.environments.search.questions import STREAM_BLOCK, question
from repro.errors import ReproError

WORLD = SearchConfig(knowledge_bases=4, train_queries=48, heldout_queries=16)
CHAIN = (Fact("tavin", "director", "bagim"), Fact("bagim", "birthplace", "kulus"), Fact("kulus", "river", "pomar"))
QUERY = Query("hand/0", "what is the river of the film tavin ?", "pomar", "3 hops", trace_of(CHAIN), CHAIN)


def solve(config, query):
    """The answer by trying every chain of relations, shortest first, on the facts; knows no routes."""
    asked, subject = re.fullmatch(r"what is the (\w+) of the (?:.* )?(\w+) \?", query.text).groups()
    base = base_of(config, query)
    chains = [(subject, ())]
    while True:
        longer = [
            (end, (*way, relation))
            for here, way in chains
            for (start, relation), end in base.objects.items()
            if start == here
        ]
        answers = [end for end, way in longer if way[-1] == asked]
        if answers:
            assert len(answers) == 1
            return answers[0]
        chains = longer


def test_questions_and_traces_by_hand():
    assert question(WORLD, "film", CHAIN) == "what is the river of the film tavin ?"
    explicit = question(replace(WORLD, wording="explicit"), "film", CHAIN)
    assert explicit == "what is the river of the birthplace of the director of the film tavin ?"
    assert QUERY.trace == (
        "search tavin director found bagim\n"
        "search bagim birthplace found kulus\n"
        "search kulus river found pomar\n"
        "answer pomar"
    )


def test_entity_spans_by_hand():
    spans = entity_spans(QUERY)
    assert [QUERY.trace[s.start : s.end] for s in spans] == "tavin bagim bagim kulus kulus pomar pomar".split()
    assert [s.kind for s in spans] == "given found found found found answer answer".split()


def test_an_entity_masker_needs_nothing_but_the_query():
    assert hide(QUERY.trace, Entities().spans(QUERY)) == (
        "search [ENTITY] director found [ENTITY]\n"
        "search [ENTITY] birthplace found [ENTITY]\n"
        "search [ENTITY] river found [ENTITY]\n"
        "answer [ENTITY]"
    )
    for query in train_list(WORLD, 0):
        assert [s[:2] for s in Entities().spans(query)] == [s[:2] for s in entity_spans(query)]


@pytest.mark.parametrize("config", [
    WORLD,
    replace(WORLD, wording="explicit"),
    replace(WORLD, entities=4, min_hops=2, max_hops=4, levels=(("deep", 4, 4),)),
])  # fmt: skip
def test_the_facts_alone_give_the_answer(config):
    for query in train_list(config, 0) + sum(heldout(config).values(), []):
        assert solve(config, query) == query.answer == query.graph[-1].object
        assert all(base_of(config, query).objects[f.subject, f.relation] == f.object for f in query.graph)
        assert query.trace == trace_of(query.graph)
        names = [query.graph[0].subject, *(fact.object for fact in query.graph)]
        assert len(set(names)) == len(names) and query.answer not in query.text.split()


def test_every_word_is_in_the_vocabulary():
    for config in (WORLD, replace(WORLD, wording="explicit")):
        known = set(vocabulary(config))
        assert len(known) == len(vocabulary(config)) <= 150
        for query in train_list(config, 1):
            text = " ".join([query.text, query.trace, *itertools.chain(*demonstration(config, query))])
            assert set(text.split()) <= known
    assert {"<hint>", "</hint>", "[ENTITY]"} <= known


def test_an_episode_fits_a_small_context():
    rng = random.Random("lengths")
    for query in itertools.islice(stream(WORLD, 0), 64):
        turns = demonstration(WORLD, slipped(WORLD, query, rng, Slips(0.5, 0.2)))
        assert 2 <= len(turns) <= WORLD.max_turns
        assert sum(len(text.split()) for turn in turns for text in turn) <= 150 - 19  # a hint has 17 words and 2 marks
        assert all(len(action.split()) <= 3 for _, action in turns)
        assert len(query.trace.split()) <= 17


def test_levels_and_hops():
    queries = train_list(WORLD, 0)
    counts = Counter(len(query.graph) for query in queries)
    assert set(counts) == {1, 2, 3} and min(counts.values()) >= 8  # drawn evenly: 16 of 48 each
    assert all(query.level == f"{len(query.graph)} hop{'s' * (len(query.graph) > 1)}" for query in queries)
    assert {level: {len(q.graph) for q in qs} for level, qs in heldout(WORLD).items()} == {
        "1 hop": {1}, "2 hops": {2}, "3 hops": {3}
    }  # fmt: skip
    only = replace(WORLD, levels=(("1 hop", 1, 1),))
    assert {q.level for q in train_list(only, 0)} == {"1 hop", "beyond"}


def test_splits_are_disjoint_fixed_and_of_their_size():
    train, fixed = train_list(WORLD, 0), heldout(WORLD)
    held = [query for queries in fixed.values() for query in queries]
    assert len(train) == 48 and {level: len(qs) for level, qs in fixed.items()} == dict.fromkeys(fixed, 16)
    assert train == train_list(WORLD, 0) and fixed == heldout(WORLD) and train != train_list(WORLD, 1)
    everything = train + held
    assert len({q.id for q in everything}) == len({q.text for q in everything}) == 48 + 3 * 16
    assert not {base_of(WORLD, q).name for q in train} & {base_of(WORLD, q).name for q in held}
    assert len({base_of(WORLD, q).name for q in train}) == 4
    fresh = list(itertools.islice(stream(WORLD, 0), 3 * STREAM_BLOCK))
    assert not {q.text for q in fresh} & {q.text for q in held}
    assert fresh[:5] == list(itertools.islice(stream(WORLD, 0), 5))
    assert 3 <= len({base_of(WORLD, q).name for q in fresh}) <= 4


def test_held_out_names_start_held_out_questions_only():
    config = replace(WORLD, heldout_names=12)
    held = {q.graph[0].subject for queries in heldout(config).values() for q in queries}
    trained = {q.graph[0].subject for q in train_list(config, 0) + list(itertools.islice(stream(config, 0), 200))}
    assert len(held) <= 12 and len(trained) > 60 and not held & trained
    found = {fact.object for q in train_list(config, 0) for fact in q.graph}
    assert found & held  # they are still met on the way, so that every word is trained


def test_warm_hops_are_the_streams():
    queries = itertools.islice(stream(replace(WORLD, warm_hops=(1, 1)), 0), 50)
    assert {len(query.graph) for query in queries} == {1}


def test_too_many_questions_are_refused():
    one_hop = dict(min_hops=1, max_hops=1, warm_hops=(1, 1), levels=(("1 hop", 1, 1),), knowledge_bases=1)
    film = (("film", "director", "person"),)  # three films: three questions about one knowledge base
    small = SearchConfig(film, entities=3, heldout_queries=2, train_queries=10, **one_hop)
    with pytest.raises(ReproError, match="train:0 wants 10 distinct questions"):
        train_list(small, 0)
    alone = SearchConfig((("man", "boss", "man"),), entities=1, **one_hop)  # his own boss
    with pytest.raises(ReproError, match="no question of 1..1 hops"):
        generate(alone, knowledge_base(alone, "b"), random.Random(0), "b/0", (1, 1))


def test_a_question_of_no_knowledge_base_is_refused():
    with pytest.raises(ReproError, match="names no knowledge base"):
        base_of(WORLD, replace(QUERY, id="hand"))


def test_planted_traces_are_wrong_throughout_and_consistent():
    rng = random.Random("plant")
    for query in train_list(WORLD, 0):
        planted = plant(WORLD, query, rng)
        base = base_of(WORLD, query)
        assert (planted.text, planted.answer, planted.id) == (query.text, query.answer, query.id)
        assert planted.trace == trace_of(planted.graph)
        assert planted.graph[0].subject == query.graph[0].subject
        assert [fact.relation for fact in planted.graph] == [fact.relation for fact in query.graph]
        for wrong, right in zip(planted.graph, query.graph, strict=True):
            assert base.objects[wrong.subject, wrong.relation] != wrong.object
            assert base.type_of[wrong.object] == base.type_of[right.object]
        assert all(a.object == b.subject for a, b in itertools.pairwise(planted.graph))
        assert not {f.object for f in planted.graph} & {f.object for f in query.graph}
        # What the two traces share is the route, so a mask of entities makes them one
        assert hide(planted.trace, Entities().spans(planted)) == hide(query.trace, Entities().spans(query))


def test_planting_needs_another_entity():
    config = replace(WORLD, entities=2, min_hops=1, max_hops=1, levels=(("1 hop", 1, 1),))
    base = knowledge_base(config, "b")
    company = base.members["company"][0]
    query = Query("b/0", "", "", "", graph=base.follow(company, ("rival",)))  # the only other company
    with pytest.raises(ReproError, match="no other company to plant"):
        plant(config, query, random.Random(0))


def test_outcomes():
    planted = replace(QUERY, graph=(*CHAIN[:2], Fact("kulus", "river", "nisol")))
    assert outcome(planted, "Nisol.") == "copied"
    assert outcome(planted, "pomar") == "solved"
    assert outcome(planted, "bagim") == outcome(planted, "") == "neither"


@pytest.mark.parametrize("given, same", [
    ("pomar", True), (" Pomar. ", True), ("the pomar", True), ("THE  POMAR !", True), ("po-mar", True),
    ("pomars", False), ("pomar kulus", False), ("", False), (".", False), ("the", False),
])  # fmt: skip
def test_exact_match(given, same):
    assert exact_match(given, "pomar") is same


def test_normalise():
    assert normalise("The  Lord of an\tIsle, a Theatre") == "lord of isle theatre"
    assert not exact_match("the", "a")  # nothing is left of either


def test_every_kind_of_question_is_asked_of_the_types_it_is_askable_for():
    asked = {(base_of(WORLD, q).type_of[q.graph[0].subject], tuple(f.relation for f in q.graph))
             for seed in range(6) for q in train_list(WORLD, seed)}  # fmt: skip
    known = {(kind, chain) for (kind, _), chain in askable(WORLD.schema).items() if len(chain) <= 3}
    assert asked <= known and len(asked) > 0.75 * len(known)
