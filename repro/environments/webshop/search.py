"""The shop's search engine: BM25 as the original's Lucene index ranks, by way of bm25s.

The original searches with pyserini's defaults: BM25 with k1 = 0.9 and b = 0.4, a document the lower-cased title,
description, first bullet and options; words are stemmed by Porter's algorithm after Lucene's 33 stop words and an
ending 's are dropped; equal scores rank by identifier. All of that holds here. What differs from Lucene: document
lengths are exact, where Lucene stores them in one byte (rounded from 40 words on), and words are split by a regular
expression instead of Unicode's full rules for word boundaries, so scripts without spaces are not cut into characters.
Source: princeton-nlp/WebShop, search_engine/ and web_agent_site/engine/engine.py.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.environments.webshop.packages import package

if TYPE_CHECKING:
    import bm25s

K1, B = 0.9, 0.4
MAX_TERMS = 1024  # Lucene's limit on the clauses of a query
STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with".split()
)
_WORD = re.compile(r"(?:[^\W_]|(?<=[^\W\d_])[.'’](?=[^\W\d_])|(?<=\d)[.,](?=\d))+")
_stems: dict[str, str] = {}


@lru_cache
def _stemmer():
    return package("snowballstemmer").stemmer("porter")


def terms(text: str) -> list[str]:
    """The index terms of a text, in order: lower-case words without stop words, stemmed."""
    found = []
    for word in _WORD.findall(text.lower()):
        stem = _stems.get(word)
        if stem is None:
            bare = word[:-2] if word.endswith(("'s", "’s")) else word
            stem = _stems[word] = "" if bare in STOP_WORDS else _stemmer().stemWord(bare)
        if stem:
            found.append(stem)
    return found


class SearchIndex:
    """A BM25 index of documents, built once, searched by text.

    Memory: 8 bytes for each pair of a document and a distinct term of it.
    """

    def __init__(self, bm25: bm25s.BM25, order: np.ndarray):
        """`order` ranks documents of equal score, smallest first: shape [documents]."""
        self.bm25, self._order = bm25, order

    @classmethod
    def build(cls, documents: Iterable[str], ids: Sequence[str]) -> SearchIndex:
        """An index of `documents`; `ids` order the documents of equal score."""
        vocabulary: dict[str, int] = {}
        corpus = [
            array("i", [vocabulary.setdefault(term, len(vocabulary)) for term in terms(document)])
            for document in documents
        ]
        bm25 = package("bm25s").BM25(k1=K1, b=B, method="lucene")
        vocabulary.setdefault("", len(vocabulary))  # bm25s wants a word, even where no document has any
        with np.errstate(invalid="ignore"):  # where no document has a word, their mean length is 0
            bm25.index((corpus, vocabulary), create_empty_token=False, show_progress=False)
        return cls(bm25, _ranks(ids))

    def search(self, query: str, count: int) -> list[int]:
        """Positions of the up to `count` best documents that share a term with the query, best first.

        A term that the query repeats counts each time; terms beyond the first 1,024 are left out (Lucene refuses
        such a query). Deterministic: equal scores rank by identifier.
        """
        scores = self.bm25.get_scores_from_ids(self.bm25.get_tokens_ids(terms(query)[:MAX_TERMS]))
        found = np.flatnonzero(scores >= max(_floor(scores, count), np.finfo(np.float32).tiny))
        best = np.lexsort((self._order[found], -scores[found]))[:count]
        return found[best].tolist()

    @property
    def nbytes(self) -> int:
        """Size of the index's arrays."""
        return sum(self.bm25.scores[name].nbytes for name in ("data", "indices", "indptr")) + self._order.nbytes

    def save(self, folder: Path) -> None:
        """Write the index under `folder` as arrays and JSON."""
        self.bm25.save(folder, show_progress=False)
        np.save(folder / "order.npy", self._order, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> SearchIndex:
        """The index under `folder`, its arrays mapped from disk, not read."""
        bm25 = package("bm25s").BM25.load(folder, mmap=True, show_progress=False)
        return cls(bm25, np.load(folder / "order.npy", mmap_mode="r", allow_pickle=False))


def _floor(scores: np.ndarray, count: int) -> float:
    """A bound that the `count` largest scores reach: the `count`-th largest among the maxima of blocks of 64.

    Selecting among all scores takes numpy milliseconds where most are 0; maxima and a comparison take microseconds.
    """
    blocks = scores[: len(scores) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).max(axis=1)
    return float(np.sort(blocks)[-count]) if len(blocks) >= count else 0.0


_BLOCK = 64


def _ranks(ids: Sequence[str]) -> np.ndarray:
    """Where each identifier stands in their sorted order: shape [documents]."""
    ranks = np.empty(len(ids), dtype=np.int32)
    ranks[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids), dtype=np.int32)
    return ranks
