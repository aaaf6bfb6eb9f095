"""BM25 by its formula, Lucene's words, and ties by identifier."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from repro.environments.webshop.search import K1, MAX_TERMS, STOP_WORDS, B, SearchIndex, terms

DOCUMENTS = ["red cotton shirt", "red red lamp of glass", "cotton rug", "the and of", ""]
IDS = ["d", "c", "b", "a", "e"]


def test_words_are_lower_case_stemmed_and_without_stop_words():
    assert terms("The Men's Running-Shoes, for 13.5 OZ and 1,000 cables") == ["men", "run", "shoe", "13.5", "oz",
                                                                              "1,000", "cabl"]  # fmt: skip
    assert terms("D.O.N. it’s crème_brûlée 3/4 O'Neil") == ["d.o.n", "crème", "brûlée", "3", "4", "o'neil"]
    assert terms(" ".join(STOP_WORDS)) == [] and len(STOP_WORDS) == 33
    assert terms("ponies caresses relational") == ["poni", "caress", "relat"]  # Porter's own examples


def slow_scores(documents, query):
    """BM25 as Lucene has it: sum of log(1 + (N - n + 0.5) / (n + 0.5)) tf / (tf + k1 (1 - b + b l / m)) over terms."""
    split = [terms(document) for document in documents]
    mean = sum(map(len, split)) / len(split)
    scores = []
    for words in split:
        counts, score = Counter(words), 0.0
        for term in terms(query):
            holding = sum(term in other for other in split)
            idf = math.log(1 + (len(split) - holding + 0.5) / (holding + 0.5))
            score += idf * counts[term] / (counts[term] + K1 * (1 - B + B * len(words) / mean)) if counts[term] else 0
        scores.append(score)
    return scores


def test_scores_follow_the_formula_by_hand():
    # Three of five documents hold words at all; the lengths are 3, 4, 2, 0, 0, so the mean is 9 / 5. "lamp" is in one:
    # log(1 + 4.5 / 1.5) = log 4; its document has 4 words: 1 / (1 + 0.9 (0.6 + 0.4 * 4 / 1.8)) = 1 / 2.34.
    assert slow_scores(DOCUMENTS, "lamp")[1] == pytest.approx(math.log(4) / 2.34)
    index = SearchIndex.build(DOCUMENTS, IDS)
    got = index.bm25.get_scores_from_ids(index.bm25.get_tokens_ids(terms("lamp")))
    assert got.tolist() == pytest.approx([0, math.log(4) / 2.34, 0, 0, 0])


def test_search_ranks_as_the_slow_formula_does():
    rng = random.Random("documents")
    vocabulary = [f"word{n}x" for n in range(40)]
    documents = [" ".join(rng.choices(vocabulary, k=rng.randint(1, 12))) for _ in range(120)]
    ids = [f"id{rng.random()}" for _ in documents]
    index = SearchIndex.build(documents, ids)
    for _ in range(20):
        query = " ".join(rng.choices(vocabulary, k=4))
        scores = slow_scores(documents, query)
        order = sorted((at for at in range(120) if scores[at] > 0), key=lambda at: (-round(scores[at], 5), ids[at]))
        assert index.search(query, 1000) == order
        assert index.search(query, 7) == order[:7]


def test_the_best_of_many_are_found_whichever_block_they_stand_in():
    rng = random.Random("many")
    documents = [
        " ".join(rng.choices(["lamp", "rug", "oak", "wool", "desk"], k=rng.randint(1, 6))) for _ in range(1000)
    ]
    index = SearchIndex.build(documents, [f"{n:04d}" for n in range(1000)])
    for query, count in [("lamp oak", 3), ("wool", 15), ("desk desk rug", 1), ("lamp", 2000)]:
        every = index.bm25.get_scores_from_ids(index.bm25.get_tokens_ids(terms(query)))
        order = sorted(np.flatnonzero(every).tolist(), key=lambda at: (-every[at], at))
        assert index.search(query, count) == order[:count]


def test_only_documents_with_a_term_are_found_and_ties_go_by_identifier():
    index = SearchIndex.build(["lamp", "lamp", "rug", "lamp"], ["c", "a", "b", "b2"])
    assert index.search("lamp", 10) == [1, 3, 0]
    assert index.search("lamp", 2) == [1, 3]
    assert index.search("sofa", 10) == [] and index.search("", 10) == [] and index.search("the of", 10) == []


def test_a_repeated_term_counts_each_time_and_an_endless_query_is_cut():
    index = SearchIndex.build(["lamp oak", "rug oak", "rug wool"], ["a", "b", "c"])
    assert index.search("lamp rug", 1) == [0]
    assert index.search("lamp rug rug rug", 1) == [1]
    assert index.search("sofa " * MAX_TERMS + "lamp", 5) == []
    assert index.search("sofa " * (MAX_TERMS - 1) + "lamp", 5) == [0]


def test_an_index_on_disk_searches_the_same(tmp_path):
    index = SearchIndex.build(DOCUMENTS, IDS)
    index.save(tmp_path)
    loaded = SearchIndex.load(tmp_path)
    for query in ("red lamp", "cotton", "nothing"):
        assert loaded.search(query, 3) == index.search(query, 3)
    assert loaded.nbytes == index.nbytes
    assert not list(tmp_path.glob("*.pkl"))


def test_shops_without_a_word_can_be_searched():
    assert SearchIndex.build(["", "the"], ["a", "b"]).search("lamp", 5) == []
