"""The nouns of a product's title, by a rule or by spaCy.

The original's reward compares the nouns and proper nouns of two titles as spaCy's `en_core_web_sm` tags them. That
model is not on PyPI, so the default is a rule: a title is mostly a chain of capitalised words, which the tagger calls
proper nouns, so every word counts except

* words of closed classes (articles, prepositions, conjunctions, pronouns, auxiliaries),
* words that begin with a digit (numbers and measures, "4k", "13.5oz") and single letters,
* adverbs and adjectives that show it by their ending (-ly, -able, -ible, -less, -ful, -ous, -proof, -free, -ed), or
  that stand in a list of those common in titles.

Words are split at white space, hyphens, slashes and punctuation; an ending 's is cut off; a word that occurs twice
counts twice, as in the original. `spacy_nouns` is the original's own rule, for whoever has the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from repro.errors import ReproError

Nouns = Callable[[str], tuple[str, ...]]

CLOSED = frozenset(
    """
    a about above after all also am an and any are as at be been before below between both but by can could did do does
    down during each every few for from further had has have he her here hers him his how i if in inside into is it its
    itself just may me might more most must my near no nor not of off on once one only onto or other our out outside
    over own per same shall she should so some such than that the their them then there these they this those through
    to too under until up upon us very via was we were what when where which while who whom whose why will with within
    without would you your yours
    """.split()
)
ADJECTIVES = frozenset(
    """
    basic best big classic compact cool cute deep double dry easy extra fast fine fit flat flexible free fresh full
    good great handmade hard heavy high hot ideal large light lightweight long low medium mini modern natural new
    non old perfect plain plus portable premium proof pure quick rich round short simple single slim small smart
    smooth soft solid super tall thick thin tight tiny ultra unisex universal vintage warm wide wireless
    """.split()
)
_WORD = re.compile(r"[^\W_](?:[^\W_]|[.](?=[^\W_]))*")
_ENDINGS = ("ly", "able", "ible", "less", "ful", "ous", "proof", "free", "ed")
_SHORTEST_ENDED = 6  # letters: "table", "cable" and "speed" are nouns
_NOUN_ENDINGS = ("eed",)  # speed, breed, and many a brand
_NOUNS_ALL_THE_SAME = frozenset("assembly butterfly family supply turntable vegetable".split())


@lru_cache(maxsize=65_536)
def rule_nouns(title: str) -> tuple[str, ...]:
    """The lower-case nouns of a title by the rule above, in order, with repetitions."""
    words = re.sub(r"['’]s\b", "", title.lower())
    return tuple(word for word in _WORD.findall(words) if _is_noun(word))


def _is_noun(word: str) -> bool:
    if len(word) < 2 or word[0].isdigit() or word in CLOSED or word in ADJECTIVES:
        return False
    described = word.endswith(_ENDINGS) and not word.endswith(_NOUN_ENDINGS) and word not in _NOUNS_ALL_THE_SAME
    return len(word) < _SHORTEST_ENDED or not described


def spacy_nouns(model: str = "en_core_web_sm") -> Nouns:
    """The original's own rule: tokens that the named spaCy model tags NOUN or PROPN.

    Raises ReproError where spaCy or the model is not installed.
    """
    try:
        import spacy

        tagger = spacy.load(model)
    except (ImportError, OSError) as error:
        raise ReproError(
            f"WebShop: the nouns of a title are to be tagged by spaCy's {model}, which cannot be loaded ({error}). "
            f'Install it (pip install spacy, then python -m spacy download {model}) or set nouns = "rule".'
        ) from error

    @lru_cache(maxsize=65_536)
    def nouns(title: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in tagger(title) if token.pos_ in ("NOUN", "PROPN"))

    return nouns
