"""Ranked search over tokenised documents: BM25 by the bm25s library, with an order that is fully determined."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np

from repro.errors import ReproError

STOPWORDS = frozenset("a an and are by for from in is of on or that the to was what which who with".split())
_WORD = re.compile(r"\w+")
DECIMALS = 9  # scores that agree to so many digits differ by rounding alone, and count as equal


def words(text: str) -> list[str]:
    """The words of a text as documents and queries are indexed: lower case, no punctuation, no stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOPWORDS]


class Index:
    """BM25 in Lucene's exact form (Kamphuis et al., 2020) over documents given as lists of words.

    score(d) = sum over the query's words of idf * f / (f + k1 * (1 - b + b * |d| / mean |d|)),
    idf = ln(1 + (N - n + 1/2) / (n + 1/2)), f the word's count in d, n the number of the N documents that have it.
    Equal scores rank by document number; the order of a query's words does not matter. Raises ReproError where bm25s
    is not installed or there is no document.
    """

    def __init__(self, documents: Sequence[Sequence[str]], k1: float = 1.5, b: float = 0.75):
        if not importlib.util.find_spec("bm25s"):
            raise ReproError("the search world ranks with the bm25s library: pip install '.[search]'")
        import bm25s

        if not any(documents):
            raise ReproError("a search index needs at least one document with a word in it")
        self.vocabulary = {word: i for i, word in enumerate(dict.fromkeys(w for doc in documents for w in doc))}
        numbers = [[self.vocabulary[word] for word in doc] for doc in documents]
        scorer = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64", backend="numpy")
        scorer.index((numbers, self.vocabulary), create_empty_token=False, show_progress=False)
        matrix, ends = scorer.scores, scorer.scores["indptr"].tolist()
        self.documents = len(documents)
        # Of each word: the documents that have it, and what it adds to their scores. A document stands in a word's
        # postings once, so adding a slice does what bm25s's np.add.at does, several times faster.
        self.postings = [
            (matrix["indices"][start:end], matrix["data"][start:end]) for start, end in itertools.pairwise(ends)
        ]

    def terms(self, query: Iterable[str]) -> tuple[int, ...]:
        """A query's known words as sorted numbers: equal for two queries that must get the same results.

        A word that stands twice counts twice. Unknown words are passed over.
        """
        return tuple(sorted(self.vocabulary[word] for word in query if word in self.vocabulary))

    def scores(self, terms: Sequence[int]) -> np.ndarray:
        """The score of every document [documents], 0 where it shares no word with the query."""
        total = np.zeros(self.documents)
        for term in terms:
            documents, scores = self.postings[term]
            total[documents] += scores
        return total.round(DECIMALS)

    def search(self, terms: Sequence[int], count: int) -> tuple[int, ...]:
        """The best `count` documents that share a word with the query, best first."""
        if not terms:
            return ()
        scores = self.scores(terms)
        best = np.argsort(-scores, kind="stable")[:count]
        return tuple(best[scores[best] > 0].tolist())
