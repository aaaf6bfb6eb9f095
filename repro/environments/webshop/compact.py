"""A small shop for small policies: few products, short titles, and every text made of some hundred words.

The rows, instructions, search, pages and reward are the same as of any catalogue, so an episode has the same shape
(search, read results, open, read features, choose options, buy) and the same partial credit; only the texts are short:

    task : find cotton washable shirt in navy m under $40 | shop : search
    task : find ... | results : p07 soft washable shirt $27.0 | p31 cotton shirt $14.0 | ... : next
    task : find ... | item p07 : soft washable shirt $27.0 | color red * navy | size s m

Buttons are named only where they may be missing: next and prev on results. (All pages but the search page have back,
products and their sub-pages prev, products description, features, reviews and buy.)

A title tells two of a product's three attributes; its features and description tell all. Instructions are distinct,
so none that is held out is trained on.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

from repro.environments.webshop import text
from repro.environments.webshop.catalogue import Catalogue, open_shop
from repro.environments.webshop.engine import Shop, ShopConfig
from repro.environments.webshop.goals import LIMITS
from repro.errors import ReproError

KINDS = "shirt shoes lamp chair bag cup rug clock watch desk vase coat".split()
# Adjectives by the rule for nouns, so that a title's only noun is its kind: the wrong kind earns nothing.
FEATURES = "soft light warm round classic modern smooth heavy slim washable striped vintage handmade".split()
COLOURS = "black white red blue green pink brown gold".split()
SIZES = "s m l xl".split()
PRICES = (8, 14, 19, 27, 33, 46, 58)  # dollars
SHOWN = 3  # of the values of each option, on each product
CLAUSE = " under ${:.0f}"


@dataclass(frozen=True)
class CompactConfig:
    """Size of the small shop. A product has three of the features, and three values of each of two options."""

    products: int = 64
    kinds: int = 8
    features: int = 10
    colours: int = 6
    sizes: int = 4
    goals: int = 1200
    results: int = 12
    per_page: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {"kinds": (KINDS, 2), "features": (FEATURES, SHOWN), "colours": (COLOURS, SHOWN)}
        for name, (pool, least) in {**bounds, "sizes": (SIZES, SHOWN)}.items():
            if not least <= getattr(self, name) <= len(pool):
                raise ReproError(
                    f"WebShop: the compact shop has {least} to {len(pool)} {name}; {name} is {getattr(self, name)}"
                )
        if self.products < 1 or self.goals < 1:
            raise ReproError(f"WebShop: {self.products} products with {self.goals} goals make no compact shop")


def shop(config: CompactConfig, **options: Any) -> Shop:
    """The small shop in mode "compact"; `options` are further fields of ShopConfig. Goals: see goals.split."""
    shown = ShopConfig(mode="compact", results=config.results, per_page=config.per_page, **options)
    return open_shop(generate(config), shown, clause=CLAUSE)


def generate(config: CompactConfig) -> Catalogue:
    """The small catalogue in the formats of the real files.

    Raises ReproError where the words allow fewer distinct instructions than `goals`.
    """
    rng = random.Random(f"compact:{config.seed}")
    width = len(str(config.products - 1))
    items = [_item(config, f"p{number:0{width}d}", number, rng) for number in range(config.products)]
    attributes = {item["asin"]: {"attributes": item["small_description"]} for item in items}
    human: dict[str, list[dict[str, Any]]] = {item["asin"]: [] for item in items}
    seen: set[str] = set()
    for attempt in itertools.count():
        if len(seen) == config.goals:
            return Catalogue(items, attributes, human)
        if attempt == 100 * config.goals:
            raise ReproError(
                f"WebShop: {config.products} compact products give {len(seen)} distinct instructions, "
                f"not {config.goals}; ask for fewer goals or make the shop larger"
            )
        item = rng.choice(items)
        entry = _instruction(item, rng)
        if entry["instruction"] not in seen:
            seen.add(entry["instruction"])
            human[item["asin"]].append(entry)


def _item(config: CompactConfig, asin: str, number: int, rng: random.Random) -> dict[str, Any]:
    kind = KINDS[number % config.kinds]
    features = rng.sample(FEATURES[: config.features], SHOWN)
    pools = {"color": COLOURS[: config.colours], "size": SIZES[: config.sizes]}
    options = {
        name: [{"value": pool[at]} for at in sorted(rng.sample(range(len(pool)), SHOWN))]
        for name, pool in pools.items()
    }
    return {
        "asin": asin,
        "name": f"{features[0]} {features[1]} {kind}",
        "category": "shop",
        "query": kind,
        "product_category": f"shop › {kind}",
        "full_description": f"{' '.join(features)} {kind}",
        "small_description": features,
        "pricing": f"${rng.choice(PRICES)}",
        "customization_options": options,
    }


def _instruction(item: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    wanted = rng.sample(item["small_description"], rng.choice((1, 2, 2)))
    chosen = [rng.choice(values)["value"] for values in item["customization_options"].values()]
    asked = chosen if rng.random() < 0.6 else [rng.choice(chosen)]
    return {
        "asin": item["asin"],
        "instruction": f"find {' '.join(wanted)} {item['query']} in {' '.join(asked)}",
        "attributes": item["small_description"],
        "options": chosen,
        "instruction_attributes": wanted,
        "instruction_options": asked,
    }


def vocabulary(config: CompactConfig) -> list[str]:
    """Every word, between spaces, that instructions, pages and the expert's actions of the small shop consist of."""
    width = len(str(config.products - 1))
    structure = "task shop results item description features reviews none bought search click find in under".split()
    structure += [":", "|", "*", "color", "size", *(name for name in text.COMPACT_NAMES.values())]
    prices = [f"${float(price)}" for price in PRICES]
    limits = [f"${limit:.0f}" for limit in LIMITS[1:] if limit <= 10 * (max(PRICES) // 10 + 4)]
    words = [*structure, *KINDS[: config.kinds], *FEATURES[: config.features], *COLOURS[: config.colours]]
    words += [*SIZES[: config.sizes], *prices, *limits, *(f"p{n:0{width}d}" for n in range(config.products))]
    return list(dict.fromkeys(words))
