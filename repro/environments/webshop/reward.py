"""WebShop's reward: how well a purchase meets a goal, in [0, 1].

    reward = type * (attributes met + options met + [price <= limit]) / (attributes + options + 1)

Source: princeton-nlp/WebShop, web_agent_site/engine/goal.py, rule for rule. Texts are compared as thefuzz does it: in
lower case, without the code points 128-255, everything but letters and digits read as white space; two texts match
where their token set ratio, rounded to whole points, is above 85. (thefuzz before 0.20 computes the ratio with difflib
where this uses the longest common subsequence; the two can differ by a few points.) The nouns of titles, which the
original takes from a part-of-speech tagger, come from `nouns`: see repro.environments.webshop.nouns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from repro.environments.webshop.goals import Goal
from repro.environments.webshop.normalize import normalize_colour
from repro.environments.webshop.nouns import Nouns, rule_nouns
from repro.environments.webshop.packages import package
from repro.environments.webshop.product import Product

THRESHOLD = 85  # points: a pair matches above it
_DROP = {code: None for code in range(128, 256)}


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward and how it was made up: counts of what was met out of what was asked, the price, and the type factor."""

    total: float
    type_factor: float
    query_match: bool
    category_match: bool
    title_overlap: float
    attributes_met: int
    attributes: int
    options_met: int
    options: int
    price_met: bool


def reward(product: Product, goal: Goal, options: Mapping[str, str], nouns: Nouns = rule_nouns) -> Reward:
    """The reward for buying `product` with the chosen `options` (name to value) when `goal` was asked for."""
    query_match, category_match, overlap = type_match(product, goal, nouns)
    factor = type_factor(query_match or category_match, overlap)
    attributes, chosen = attributes_met(product, goal.attributes), options_met(options.values(), goal.options)
    price_met = product.price <= goal.price_limit
    asked = len(goal.attributes) + len(goal.options) + 1
    return Reward(
        total=(attributes + chosen + price_met) / asked * factor,
        type_factor=factor,
        query_match=query_match,
        category_match=category_match,
        title_overlap=overlap,
        attributes_met=attributes,
        attributes=len(goal.attributes),
        options_met=chosen,
        options=len(goal.options),
        price_met=price_met,
    )


def type_match(product: Product, goal: Goal, nouns: Nouns = rule_nouns) -> tuple[bool, bool, float]:
    """(same query, at least two levels of category in common, share of the goal title's nouns that are met)."""
    bought, wanted = nouns(product.title), nouns(goal.title)
    # Distinct common nouns over all of the goal's, repetitions included; 0.2 where the goal has none.
    overlap = len(set(bought) & set(wanted)) / len(wanted) if wanted else 0.2
    common = _levels(product.product_category) & _levels(goal.product_category)
    return product.query == goal.query, len(common) >= 2, overlap


@lru_cache(maxsize=65_536)
def _levels(category: str) -> frozenset[str]:
    return frozenset(level.strip() for level in category.split("›"))


def type_factor(same_kind: bool, overlap: float) -> float:
    """1, 0.5, 0.1 or 0. Titles overrule: with an overlap below 0.1 not even the same query helps."""
    if overlap == 0:
        return 0.0
    if overlap < 0.1:
        return 0.1
    return 1.0 if same_kind or overlap > 0.2 else 0.5


def attributes_met(product: Product, wanted: Iterable[str]) -> int:
    """How many wanted attributes match one of the product's, or stand in its title, bullets or description."""
    texts = (product.title.lower(), " ".join(product.bullets).lower(), product.description.lower())
    return sum(
        any(matches(attribute, wish) for attribute in product.attributes) or any(wish in text for text in texts)
        for wish in wanted
    )


def options_met(chosen: Iterable[str], wanted: Iterable[str | tuple[str, str]]) -> int:
    """How many wanted options match one of the chosen values; names of options play no part, colours are normalised."""
    values = [normalize_colour(value) for value in chosen]
    return sum(any(matches(value, normalize_colour(wish)) for value in values) for wish in wanted)


@lru_cache(maxsize=65_536)
def matches(a: str, b: str) -> bool:
    """Whether the token set ratio of two texts is above the threshold."""
    return token_set_ratio(a, b) > THRESHOLD


def token_set_ratio(a: str, b: str) -> int:
    """thefuzz's token set ratio, 0-100: 100 where the words of one text are among the other's."""
    return round(package("rapidfuzz.fuzz").token_set_ratio(_plain(a), _plain(b)))


@lru_cache(maxsize=65_536)
def _plain(text: str) -> str:
    return package("rapidfuzz.utils").default_process(text.translate(_DROP))
