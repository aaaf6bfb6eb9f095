"""Goals: what a shopper was told to buy, from people's instructions or from a catalogue's own options.

Source of the rules: princeton-nlp/WebShop, web_agent_site/engine/goal.py (get_human_goals, get_synthetic_goals) and
envs/web_agent_text_env.py (the shuffle, seed 233). Prices and limits are drawn there from an unseeded generator, so
they differ from process to process; here each is drawn by `seed` and its own product.

The code released with 3SPO shuffles the goals in every worker by that worker's own seed and evaluates on the first
500 of its shuffle, so its training and evaluation goals overlap. Here one shuffle serves everything.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from repro.environments.webshop.product import Product
from repro.errors import ReproError

LIMITS = tuple(10.0 * step for step in range(1, 100))  # dollars: the price limits that instructions use
NO_LIMIT = 1_000_000.0
HELDOUT = 500  # goals, the first ones after the shuffle
SHUFFLE_SEED = 233


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be bought. `options` holds values, or (name, value) pairs in a goal made from a catalogue's options.

    `weight` is the original's sampling weight: the mean of 1 / (goals that share the attribute).
    """

    asin: str
    category: str
    query: str
    title: str
    product_category: str
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[str | tuple[str, str], ...]
    price_limit: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.attributes:
            raise ReproError(f"WebShop: the goal for {self.asin} names no attribute; its reward would be undefined")

    @property
    def values(self) -> tuple[str, ...]:
        """The option values alone."""
        return tuple(option if isinstance(option, str) else option[1] for option in self.options)


def price_limit(price: float, rng: random.Random) -> float:
    """The larger of two of the first four limits above `price`; no limit where fewer than two are left."""
    above = [limit for limit in LIMITS if limit > price][:4]
    return max(rng.sample(above, 2)) if len(above) >= 2 else NO_LIMIT


def _limit(product: Product, rng: random.Random, clause: str) -> tuple[float, str]:
    limit = price_limit(product.price, rng)
    return limit, clause.format(limit) if limit < NO_LIMIT else ""


PRICE_CLAUSE = ", and price lower than {:.2f} dollars"


def human_goals(
    products: Iterable[Product], instructions: Mapping[str, Sequence[Mapping[str, Any]]], seed: int, clause: str
) -> list[Goal]:
    """One goal for each instruction (items_human_ins.json) whose product is on sale, in the products' order.

    An instruction without attributes is left out, as in the original. Raises ReproError where an entry lacks a field.
    """
    goals = []
    for product in products:
        for index, entry in enumerate(instructions.get(product.asin, ())):
            text, attributes, options = _entry(product.asin, index, entry)
            if not attributes:
                continue
            limit, ending = _limit(product, random.Random(f"limit:{seed}:{product.asin}:{index}"), clause)
            goals.append(_goal(product, text.strip(".") + ending, attributes, options, limit))
    return goals


def _entry(asin: str, index: int, entry: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    fields = ("instruction", "instruction_attributes", "instruction_options")
    if not isinstance(entry, Mapping) or any(field not in entry for field in fields):
        raise ReproError(f"WebShop: instruction {index} for {asin} needs the fields {', '.join(fields)}")
    return entry["instruction"], tuple(entry["instruction_attributes"]), tuple(entry["instruction_options"])


def synthetic_goals(
    products: Iterable[Product], instructions: Mapping[str, Mapping[str, Any]], seed: int, clause: str
) -> list[Goal]:
    """A goal for each combination of a product's options, from the instruction in the file of attributes.

    Products without an instruction make none. (This is the released 3SPO code's default, `human_goals = False`.)
    """
    goals = [goal for product in products for goal in _combinations(product, instructions, seed, clause)]
    shared = Counter(attribute for goal in goals for attribute in goal.attributes)
    return [replace(g, weight=sum(1 / shared[a] for a in g.attributes) / len(g.attributes)) for g in goals]


def _combinations(
    product: Product, instructions: Mapping[str, Mapping[str, Any]], seed: int, clause: str
) -> Iterator[Goal]:
    entry = instructions.get(product.asin) or {}
    text, attributes = entry.get("instruction"), tuple(entry.get("instruction_attributes") or ())
    if text is None or not attributes:
        return
    limit, ending = _limit(product, random.Random(f"limit:{seed}:{product.asin}"), clause)
    names, values = zip(*sorted(product.options), strict=True) if product.options else ((), ())
    for combination in itertools.product(*values):
        options = tuple(zip(names, combination, strict=True))
        wish = ", and ".join(f"{name}: {value}" for name, value in options)
        yield _goal(product, text + (f" with {wish}" if wish else "") + ending, attributes, options, limit)


def _goal(product: Product, instruction: str, attributes: tuple, options: tuple, limit: float) -> Goal:
    return Goal(
        asin=product.asin,
        category=product.category,
        query=product.query,
        title=product.title,
        product_category=product.product_category,
        instruction=instruction,
        attributes=attributes,
        options=options,
        price_limit=limit,
    )


def shuffled(goals: Sequence[Goal], seed: int = SHUFFLE_SEED) -> list[Goal]:
    """The goals in the original's order: 233 gives the permutation that its seeded shuffle gives."""
    goals = list(goals)
    random.Random(seed).shuffle(goals)
    return goals


def split(goals: Sequence[Goal], heldout: int = HELDOUT) -> tuple[Sequence[Goal], Sequence[Goal]]:
    """(training goals, held-out goals): the first `heldout` are held out, as in the released 3SPO code.

    Raises ReproError where that would leave nothing to train on.
    """
    if not 0 < heldout < len(goals):
        raise ReproError(
            f"WebShop: {heldout} of {len(goals)} goals cannot be held out; hold out fewer or make the catalogue larger"
        )
    return goals[heldout:], goals[:heldout]
