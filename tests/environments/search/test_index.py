"""The index: BM25 by hand and by a slow reference, an order that is fully determined."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from repro.environments.search import SearchConfig, knowledge_base
from repro.environments.search.index import Index, words
from repro.errors import ReproError


def slow_scores(documents, query, k1=1.5, b=0.75):
    """BM25 in Lucene's exact form, straight from the formula."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        count, score = Counter(document), 0.0
        for word in query:
            n = sum(word in other for other in documents)
            if n:
                idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
                score += idf * count[word] / (count[word] + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


def slow_search(documents, query, count):
    scores = [round(score, 9) for score in slow_scores(documents, query)]
    return tuple(sorted((d for d, s in enumerate(scores) if s > 0), key=lambda d: (-scores[d], d))[:count])


def test_scores_by_hand():
    index = Index([["red", "fish"], ["blue", "fish"], ["red", "red", "hat", "shop"]])
    # "red" stands in 2 of 3 documents: idf = ln(1 + 1.5 / 2.5) = ln 1.6. The mean length is 8 / 3.
    # First document: 1 / (1 + 1.5 (1/4 + 3/4 * 2 / (8/3))) = 1 / (1 + 1.5 * 13/16) = 32/71
    # Third: 2 / (2 + 1.5 (1/4 + 3/4 * 4 / (8/3))) = 2 / (2 + 1.5 * 11/8) = 32/65
    scores = index.scores(index.terms(["red"]))
    assert scores == pytest.approx([math.log(1.6) * 32 / 71, 0, math.log(1.6) * 32 / 65], abs=1e-9)
    assert index.search(index.terms(["red"]), 3) == (2, 0)
    assert index.search(index.terms(["red"]), 1) == (2,)


def test_the_library_and_the_formula_agree_on_random_documents():
    rng = random.Random("documents")
    alphabet = "abcdefghijklmnop"
    for case in range(15):
        documents = [rng.choices(alphabet, k=rng.randint(1, 6)) for _ in range(rng.randint(1, 25))]
        index = Index(documents)
        for _ in range(10):
            query = rng.choices(alphabet + "xyz", k=rng.randint(1, 4))
            terms = index.terms(query)
            np.testing.assert_allclose(index.scores(terms), slow_scores(documents, query), atol=2e-9, err_msg=str(case))
            assert index.search(terms, 4) == slow_search(documents, query, 4)


def test_the_library_and_the_formula_agree_on_a_knowledge_base():
    base = knowledge_base(SearchConfig(), "any")
    documents = [fact.terms for fact in base.facts]
    rng = random.Random("queries")
    for _ in range(10):
        query = rng.choices(sorted(base.index.vocabulary), k=rng.randint(1, 3))
        assert base.search(query).documents == slow_search(documents, query, 3)


def test_equal_scores_rank_by_number_and_the_order_of_words_does_not_matter():
    index = Index([["sun", "moon"], ["moon", "sun"], ["sun", "star"], ["moon", "star"]])
    assert index.search(index.terms(["sun", "moon"]), 4) == (0, 1, 2, 3)
    assert index.terms(["star", "sun"]) == index.terms(["sun", "star"])
    assert index.search(index.terms(["moon"]), 2) == (0, 1)


def test_a_word_twice_counts_twice_and_unknown_words_not_at_all():
    index = Index([["sun", "moon"], ["star", "comet"]])
    once, twice = index.scores(index.terms(["sun"])), index.scores(index.terms(["sun", "sun"]))
    assert twice[0] == pytest.approx(2 * once[0]) and once[0] > 0
    assert index.terms(["sun", "nebula"]) == index.terms(["sun"])
    assert index.search(index.terms(["nebula"]), 3) == () == index.search((), 3)


def test_words():
    assert words("The director of Tavin, is: BAGIM!") == ["director", "tavin", "bagim"]
    assert words(" of the . ") == [] == words("")
    assert words("Ärger_2 naïve") == ["ärger_2", "naïve"]


def test_an_index_of_nothing_is_refused():
    with pytest.raises(ReproError, match="at least one document"):
        Index([])
    with pytest.raises(ReproError, match="at least one document"):
        Index([[], []])


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ReproError, match="bm25s"):
        Index([["sun"]])
