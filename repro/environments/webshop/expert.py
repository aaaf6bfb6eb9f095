"""An expert shopper that knows the goal's product: for demonstrations, and to show that a goal can be met.

It searches with the instruction's own words, turns pages until the product shows, opens it, chooses the options asked
for and buys. It goes on from any state, so it also says what to do after somebody else's steps.
"""

from __future__ import annotations

import random
from dataclasses import replace

from repro.environments.webshop.engine import Shop, WebShop
from repro.environments.webshop.goals import Goal
from repro.environments.webshop.normalize import normalize_colour
from repro.environments.webshop.product import Product
from repro.environments.webshop.reward import token_set_ratio
from repro.environments.webshop.text import COMPACT_NAMES
from repro.errors import ReproError


def next_action(shop: WebShop) -> str:
    """What the expert does in the episode's present state. Raises ReproError where the product cannot be found."""
    state, config, at = shop.state, shop.shop.config, target(shop.shop, shop.goal)
    if state.page == "search":
        return _act(shop, "search", query(shop.shop, shop.goal))
    if state.page == "results":
        hits = shop.shop.hits(state.query)
        if at not in hits:
            return _click(shop, "Back to Search")
        number = hits.index(at) // config.per_page + 1
        if number == state.number:
            return _act(shop, "click", shop.shop.products[at].asin.lower())
        return _click(shop, "Next >" if number > state.number else "< Prev")
    if state.page != "item" or state.product != at:
        return _click(shop, "< Prev")
    chosen = dict(state.options)
    for name, value in wanted_options(shop.shop.products[at], shop.goal).items():
        if chosen.get(name) != value:
            return _act(shop, "click", value)
    return _click(shop, "Buy Now")


def target(shop: Shop, goal: Goal) -> int:
    """Position of the product that the goal was made from."""
    return shop.positions[goal.asin]


def query(shop: Shop, goal: Goal) -> str:
    """The first query that finds the product: attributes and kind as asked for, the whole instruction, the title."""
    at = target(shop, goal)
    words = goal.instruction.rpartition(" under $")[0] if shop.config.mode == "compact" else goal.instruction
    queries = (" ".join((*goal.attributes, goal.query)), words, shop.products[at].title)
    # Square brackets would end the action's argument early.
    plain = (query.lower().replace("[", " ").replace("]", " ").strip() for query in queries)
    found = next((query for query in plain if query and at in shop.hits(query)), None)
    if found is None:
        raise ReproError(f"WebShop: not even its title finds the product {goal.asin} of the goal {goal.instruction!r}")
    return found


def wanted_options(product: Product, goal: Goal) -> dict[str, str]:
    """Values to choose on the goal's product, by option: the value asked for, else the most alike one."""
    chosen: dict[str, str] = {}
    for wish in goal.options:
        name, value = (None, wish) if isinstance(wish, str) else wish
        offers = [(n, v) for n, values in product.options if name in (None, n) and n not in chosen for v in values]
        if offers:
            best = max(offers, key=lambda offer: (offer[1] == value, _alike(offer[1], value)))
            chosen[best[0]] = best[1]
    return chosen


def mistaken(shop: Shop, goal: Goal, rng: random.Random, chance: float) -> Goal:
    """The goal as a careless shopper takes it, by whom the expert goes on to the end without noticing.

    With the given chance each: another of the products found is the one to buy; a value asked for is taken for another
    that the product offers, or forgotten.
    """
    others = [at for at in shop.hits(query(shop, goal)) if at != target(shop, goal)]
    if others and rng.random() < chance:
        goal = replace(goal, asin=shop.products[rng.choice(others)].asin)
    product, options = shop.products[target(shop, goal)], wanted_options(shop.products[target(shop, goal)], goal)
    for name, values in product.options:
        if name in options and rng.random() < chance:
            options[name] = rng.choice([None, *(value for value in values if value != options[name])])
    return replace(goal, options=tuple((name, value) for name, value in options.items() if value is not None))


def _alike(a: str, b: str) -> int:
    return token_set_ratio(normalize_colour(a), normalize_colour(b))


def _click(shop: WebShop, button: str) -> str:
    return _act(shop, "click", COMPACT_NAMES[button] if shop.shop.config.mode == "compact" else button.lower())


def _act(shop: WebShop, verb: str, argument: str) -> str:
    return f"{verb} {argument}" if shop.shop.config.mode == "compact" else f"{verb}[{argument}]"


def demonstration(
    shop: WebShop, rng: random.Random | None = None, slip: float = 0.0, turns: int = 30
) -> list[tuple[str, str]]:
    """(observation, action) pairs from the start to the purchase, at most `turns` of them.

    With probability `slip` a step is a click drawn from those on the page instead of the expert's; what follows goes
    on from there. A policy warmed up on such traces leaves reinforcement something to improve.
    """
    observation, done, trace = shop.reset(), False, []
    while not done and len(trace) < turns:
        action = next_action(shop)
        if rng is not None and rng.random() < slip:
            action = rng.choice(shop.admissible())
            action = next_action(shop) if action.startswith("search") else action
        trace.append((observation, action))
        observation, _, done = shop.step(action)
    return trace
