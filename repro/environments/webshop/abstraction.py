"""An abstract state of an episode, relative to its goal: what a shopper who knows the shop would call where they stand.

3SPO's table compares states by exact texts. Pages tell nothing of the goal, and with it few are met twice; so estimates
of success are either mixed over goals or made of few visits. This key is the way between, our own choice, in the spirit
of abstractions by what matters for the return (Li, Walsh and Littman, 2006): states of different goals share it where
the same is left to do. It is made of the goal and of the state's products, options and results, and of nothing else;
how many turns are left is no part of it.

| page | key |
|---|---|
| search | `search` |
| results | `results`, then the best score within reach: on this page, on the pages after it, on those before |
| a product, or one of its sub-pages | `item` or `sub-page`, then type, attributes met, price, options |
| after the purchase | `done` and the score |

Scores and shares are in four bins: none (0), some (below 1/2), most (below 1), all (1). A product's score within reach
is what it earns with the best of the options that it offers. Options are counted among those asked for: chosen, still
to be chosen, not on offer; and of the chosen ones, those that nobody asked for, up to 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from repro.environments.webshop.engine import Shop, State
from repro.environments.webshop.goals import Goal
from repro.environments.webshop.reward import Reward, options_met, reward

Prospect = Callable[[int], Reward]  # position of a product -> what it earns at best


@lru_cache(maxsize=4096)
def prospects(shop: Shop, goal: Goal) -> Prospect:
    """`prospect` of a shop's products for a goal, each computed once."""
    return lru_cache(maxsize=None)(lambda position: prospect(shop, goal, position))


def prospect(shop: Shop, goal: Goal, position: int) -> Reward:
    """What buying a product earns, were all values that it offers chosen at once: a bound, and exact where the wishes
    are for different options."""
    product = shop.products[position]
    offered = {f"{name}:{value}": value for name, values in product.options for value in values}
    return reward(product, goal, offered, shop.nouns)


def abstract_key(shop: Shop, goal: Goal, state: State, prospects: Prospect) -> str:
    """The key of a state; `prospects` looks the shop's products up for the goal."""
    if state.page == "search":
        return "search"
    if state.page == "results":
        hits, first = shop.hits(state.query), (state.number - 1) * shop.config.per_page
        parts = hits[first : first + shop.config.per_page], hits[first + shop.config.per_page :], hits[:first]
        return " ".join(["results", *(_best(part, prospects) for part in parts)])
    if state.page == "done":
        return f"done {binned(state.score)}"
    possible, values = prospects(state.product), [value for _, value in state.options]
    chosen = options_met(values, goal.options)
    astray = sum(not options_met([value], goal.options) for value in values)
    return " ".join(
        [
            "item" if state.page == "item" else "sub-page",
            f"type {binned(possible.type_factor)}",
            f"attributes {binned(possible.attributes_met / possible.attributes)}",
            f"price {'met' if possible.price_met else 'missed'}",
            f"options {chosen} chosen {possible.options_met - chosen} open {possible.options - possible.options_met} "
            f"absent {min(astray, 2)} astray",
        ]
    )


def _best(positions: Sequence[int], prospects: Prospect) -> str:
    return binned(max((prospects(position).total for position in positions), default=0.0))


def binned(share: float) -> str:
    """none, some, most or all."""
    return "none" if share == 0 else "all" if share == 1 else "some" if share < 0.5 else "most"
