"""A shopping episode as a person sees it: pages, clicks, what was bought, and how the reward was made up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from repro.environments.webshop import expert
from repro.environments.webshop.reward import Reward
from repro.environments.webshop.world import ShopEpisode, WebShopConfig, heldout
from repro.study.summary import code
from repro.study.walkthrough import _short


@dataclass(frozen=True)
class Purchase:
    """An episode: the instruction, (page, action) of every turn, the last page, and how the reward was made up."""

    instruction: str
    turns: tuple[tuple[str, str], ...]
    last: str
    receipt: Reward | None


def shopped(config: WebShopConfig, number: int = 0, careless: float = 0.0) -> Purchase:
    """An expert's episode on a held-out goal; one who is `careless` mistakes each part of the goal with that chance."""
    query = heldout(config)["heldout"][number]
    episode = ShopEpisode(config, query)
    page, turns, shop = episode.reset(), [], episode.shop
    goal = shop.goal
    taken = expert.mistaken(shop.shop, goal, random.Random(f"careless:{number}"), careless) if careless else goal
    while not episode.done:
        shop.goal = taken  # what the shopper believes; the shop pays by what was asked
        action = expert.next_action(shop)
        shop.goal = goal
        turns.append((page, action))
        said = action if episode.compact else f"<think>An expert need not.</think><action>{action}</action>"
        page, _, _ = episode.step(said)
    return Purchase(goal.instruction, tuple(turns), page, episode.receipt)


def told(purchase: Purchase) -> str:
    """The episode as Markdown."""
    lines = [f"**Asked for:** {code(purchase.instruction)}", "", "| turn | page | action |", "|---|---|---|"]
    lines += [
        f"| {turn} | {code(_short(page, 400))} | {code(action)} |"
        for turn, (page, action) in enumerate(purchase.turns, start=1)
    ]
    lines.append(f"| | {code(_short(purchase.last, 400))} | |")
    return "\n".join(lines) + "\n\n" + bill(purchase.receipt)


def bill(receipt: Reward | None) -> str:
    """How a reward was made up, as Markdown."""
    if receipt is None:
        return "Nothing was bought: no reward.\n"
    met = receipt.attributes_met + receipt.options_met + receipt.price_met
    asked = receipt.attributes + receipt.options + 1
    rows: list[tuple[str, Any]] = [
        ("attributes met", f"{receipt.attributes_met} of {receipt.attributes}"),
        ("options met", f"{receipt.options_met} of {receipt.options}"),
        ("price within the limit", "yes" if receipt.price_met else "no"),
        ("type: same query, same category, overlap of titles", f"{_yes(receipt.query_match)}, "
         f"{_yes(receipt.category_match)}, {receipt.title_overlap:.2f}: factor {receipt.type_factor:g}"),
        ("**score**", f"{met} of {asked} times {receipt.type_factor:g} = **{receipt.total:.2f}**"),
        ("**success**", "**yes**" if receipt.total == 1 else "**no**: it takes the full score"),
    ]  # fmt: skip
    return "| reward | |\n|---|---|\n" + "".join(f"| {what} | {value} |\n" for what, value in rows)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
