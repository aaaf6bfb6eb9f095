"""Schemas, routes and knowledge bases."""

from dataclasses import replace

import pytest

from repro.config import from_dict, to_dict
from repro.environments.search.knowledge import (
    NAMES,
    SCHEMA,
    Fact,
    KnowledgeBase,
    SearchConfig,
    askable,
    knowledge_base,
    names,
    routes,
    types,
)
from repro.errors import ReproError

WORLD = SearchConfig()
# A cat has two ways to a street: its owner's house, and its vet's. A street has no relations.
SMALL = (
    ("cat", "owner", "man"),
    ("cat", "vet", "woman"),
    ("man", "house", "street"),
    ("woman", "house", "street"),
    ("woman", "son", "man"),
    ("man", "boss", "man"),
    ("man", "mother", "woman"),
)


def slow_routes(schema, longest):
    """Every chain of relations up to a length; per (type, last relation) those of the least length."""
    found = {}

    def walk(start, here, chain):
        for t, relation, end in schema:
            if t == here and len(chain) < longest:
                found.setdefault((start, relation), set()).add((*chain, relation))
                walk(start, end, (*chain, relation))

    for start in {t for t, _, _ in schema}:
        walk(start, start, ())
    return {k: {c for c in chains if len(c) == min(map(len, chains))} for k, chains in found.items()}


def test_routes_by_hand():
    assert routes(SMALL)["cat", "house"] == [("owner", "house"), ("vet", "house")]
    assert routes(SMALL)["cat", "boss"] == [("owner", "boss")]
    assert routes(SMALL)["cat", "son"] == [("vet", "son")]  # owner, mother, son is longer
    assert routes(SMALL)["man", "boss"] == [("boss",)]
    assert ("cat", "house") not in askable(SMALL) and askable(SMALL)["cat", "mother"] == ("owner", "mother")
    assert not [pair for pair in routes(SMALL) if pair[0] == "street"]


@pytest.mark.parametrize("schema", [SMALL, SCHEMA])
def test_routes_are_all_the_shortest_chains(schema):
    fast, slow = routes(schema), slow_routes(schema, 6)
    assert {pair: set(chains) for pair, chains in fast.items()} == slow
    assert all(len(chains) == len(set(chains)) for chains in fast.values())
    assert askable(schema) == {pair: chains[0] for pair, chains in fast.items() if len(chains) == 1}


def test_a_wrong_relation_usually_leads_on_so_the_route_must_be_known():
    """Of the askable questions of two and three hops, every first step has an alternative of the same type."""
    leaving = {t: [r for start, r, _ in SCHEMA if start == t] for t in types(WORLD)}
    for (kind, _), chain in askable(SCHEMA).items():
        assert len(leaving[kind]) >= 2 and chain[0] in leaving[kind]


def test_a_knowledge_base_gives_every_name_one_type_and_every_relation_one_object():
    base = knowledge_base(WORLD, "b")
    assert sorted(base.type_of) == sorted(names(WORLD)) and len(names(WORLD)) == 100
    assert {len(members) for members in base.members.values()} == {10}
    assert len(base.facts) == len(SCHEMA) * 10 == len({(fact.subject, fact.relation) for fact in base.facts})
    for start, relation, end in SCHEMA:
        for entity in base.members[start]:
            assert base.objects[entity, relation] in base.members[end]
            assert base.objects[entity, relation] != entity


def test_knowledge_bases_depend_on_their_name_alone_and_share_nothing():
    one, again, other = KnowledgeBase(WORLD, "one"), KnowledgeBase(WORLD, "one"), KnowledgeBase(WORLD, "other")
    assert one.facts == again.facts and one.facts != other.facts
    assert knowledge_base(WORLD, "one") is knowledge_base(WORLD, "one")
    same_type = sum(one.type_of[name] == other.type_of[name] for name in names(WORLD))
    assert same_type < 30  # 10 of 100 by chance
    assert len(set(one.facts) & set(other.facts)) < 10  # 210 facts; by chance about 210 / 10 / 100


def test_facts_as_documents_and_as_steps_of_a_graph():
    fact = Fact("tavin", "river", "pomar")
    assert fact.sentence == "the river of tavin is pomar ."
    assert fact.terms == ["tavin", "river", "tavin", "pomar"]
    assert (fact.source, fact.name) == ("tavin", "pomar")


def test_follow():
    base = knowledge_base(WORLD, "b")
    film = base.members["film"][0]
    first, second = base.follow(film, ("director", "birthplace"))
    assert first.subject == film and second.subject == first.object
    assert base.type_of[first.object] == "person" and base.type_of[second.object] == "town"
    with pytest.raises(KeyError):
        base.follow(film, ("river",))


def test_the_query_of_an_entity_and_its_relation_finds_its_fact_first():
    for name in "xyz":
        base = knowledge_base(WORLD, name)
        for fact in base.facts:
            page = base.search([fact.subject, fact.relation])
            assert base.facts[page.documents[0]] == fact
            assert page.text.splitlines()[0] == fact.sentence and len(page.documents) == 3


def test_pages_are_found_once_and_hold_at_most_the_results_asked_for():
    base = KnowledgeBase(replace(WORLD, results=2), "b")
    fact = base.facts[0]
    assert len(base.search([fact.subject, fact.relation]).documents) == 2
    assert base.search([fact.subject, fact.relation]) is base.search([fact.relation, fact.subject])
    assert base.search(["nothing"]) == ("no results .", ())
    hat = KnowledgeBase(replace(WORLD, results=500), "b").search(["river"])
    assert len(hat.documents) == WORLD.entities  # one document per town, none without the word


@pytest.mark.parametrize("change, message", [
    (dict(schema=()), "empty"),
    (dict(schema=(*SCHEMA, ("film", "director", "town"))), "twice"),
    (dict(schema=(("film", "the", "person"),)), "'the'"),
    (dict(schema=(("film", "shot in", "town"),)), "'shot in'"),
    (dict(schema=((NAMES[0], "maker", "person"),)), NAMES[0]),
    (dict(entities=0), "1 or more"),
    (dict(results=0), "1 or more"),
    (dict(knowledge_bases=0), "1 or more"),
    (dict(entities=13), "130 names"),
    (dict(heldout_names=100), "heldout_names"),
    (dict(heldout_names=-1), "heldout_names"),
    (dict(min_hops=3, max_hops=2), "no question"),
    (dict(min_hops=0), "no question"),
    (dict(min_hops=7, max_hops=7), "7..7"),
    (dict(levels=(("far", 9, 9),)), "'far'"),
    (dict(max_hops=5), "5 hops need 6 turns"),
    (dict(max_turns=4, levels=(("deep", 4, 4),)), "4 hops need 5 turns"),
    (dict(warm_hops=(1, 5)), "5 hops need 6 turns"),
    (dict(max_query_words=1), "max_query_words"),
])  # fmt: skip
def test_a_config_that_describes_no_world_is_refused(change, message):
    with pytest.raises(ReproError, match=message):
        replace(WORLD, **change)


def test_the_config_survives_json():
    config = replace(WORLD, max_turns=6, heldout_names=5)
    assert from_dict(SearchConfig, to_dict(config)) == config
