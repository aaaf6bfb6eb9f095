"""A product as the shop uses it, and how one row of an items file becomes one.

Source of the row format and of the rules: princeton-nlp/WebShop, web_agent_site/engine/engine.py (load_products,
generate_product_prices).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_PRICE = 100.0  # the original's price for a product without one
MAX_ASIN = 10  # a longer identifier is no product's, and its row is left out


class BadRow(ValueError):
    """A row of an items file that describes no product; the message says which field and why."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product. `price` (dollars) is what a purchase costs; `price_tag` is what the pages say, which may be a range.

    `options` maps an option's name to its values, both in lower case; `attributes` are what the reward compares.
    """

    asin: str
    title: str
    category: str
    query: str
    product_category: str
    description: str
    bullets: tuple[str, ...]
    attributes: tuple[str, ...]
    options: tuple[tuple[str, tuple[str, ...]], ...]
    price: float
    price_tag: str

    @property
    def document(self) -> str:
        """What the search engine indexes: title, description, first bullet and options, in lower case."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options)
        return " ".join((self.title, self.description, self.bullets[0] if self.bullets else "", options)).lower()


_NOT_PRICE = re.compile(r"[^\d.]")
_PRICE = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)


def parse_pricing(pricing: str | None) -> tuple[float, ...]:
    """The one price or the two ends of a range in "$12.99" or "$5.00 - $1,020.50"; empty where there is none.

    Each part after a "$" is read for its digits and points. A text without a "$", or with a part that leaves no
    number ("$N/A", "$1.2.3"), holds no price; the original stops with an error there.
    """
    parts = [_NOT_PRICE.sub("", part) for part in (pricing or "").split("$")[1:]]
    if not all(_PRICE.fullmatch(part) for part in parts):
        return ()
    return tuple(float(part) for part in parts[:2])


def parse_product(row: Any, attributes: tuple[str, ...] = ("DUMMY_ATTR",), seed: int = 0) -> Product:
    """A product from one row of an items file. `attributes` come from the file of attributes.

    The price of a product with a range is drawn between its ends, by `seed` and the product's own identifier: the
    original draws it anew in every process. Raises BadRow for a row that is no object or lacks a field.
    """
    if not isinstance(row, Mapping):
        raise BadRow(f"is {type(row).__name__}, not an object")
    texts = {name: row.get(name) for name in ("asin", "name", "category", "query", "product_category")}
    wrong = [name for name, value in texts.items() if not isinstance(value, str)]
    if wrong:
        raise BadRow(f"has no text under {', '.join(repr(name) for name in wrong)}")
    if texts["asin"] in ("", "nan") or len(texts["asin"]) > MAX_ASIN:
        raise BadRow(f"has the identifier {texts['asin']!r}; at most {MAX_ASIN} characters make one")
    pricing = row.get("pricing")
    if pricing is not None and not isinstance(pricing, str):
        raise BadRow(f"has a price of type {type(pricing).__name__}; a text such as '$12.99' is expected")
    price, tag = _price(parse_pricing(pricing), texts["asin"], seed)
    return Product(
        asin=texts["asin"],
        title=texts["name"],
        category=texts["category"],
        query=texts["query"].lower().strip(),
        product_category=texts["product_category"],
        description=_text(row, "full_description"),
        bullets=_bullets(row.get("small_description")),
        attributes=attributes,
        options=_options(row.get("customization_options")),
        price=price,
        price_tag=tag,
    )


def _price(prices: tuple[float, ...], asin: str, seed: int) -> tuple[float, str]:
    if not prices:
        return DEFAULT_PRICE, f"${DEFAULT_PRICE}"
    if len(prices) == 1:
        return prices[0], f"${prices[0]}"
    return random.Random(f"price:{seed}:{asin}").uniform(*prices), f"${prices[0]} to ${prices[1]}"


def _text(row: Mapping, name: str) -> str:
    value = row.get(name) or ""
    if not isinstance(value, str):
        raise BadRow(f"has {name!r} of type {type(value).__name__}, not a text")
    return value


def _bullets(value: Any) -> tuple[str, ...]:
    bullets = value if isinstance(value, list) else [value] if value is not None else []
    if not all(isinstance(bullet, str) for bullet in bullets):
        raise BadRow("has a 'small_description' that is no list of texts")
    return tuple(bullets)


def _options(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Names and values in lower case; a name without a list is left out, one with an empty list stays."""
    if not value:
        return ()
    if not isinstance(value, Mapping):
        raise BadRow("has 'customization_options' that are no object")
    options: dict[str, tuple[str, ...]] = {}
    for name, contents in value.items():
        if contents is None:
            continue
        if not isinstance(contents, list) or not all(
            isinstance(content, Mapping) and isinstance(content.get("value"), str) for content in contents
        ):
            raise BadRow(f"has an option {name!r} whose contents are no list of objects with a 'value'")
        options[name.lower()] = tuple(content["value"].strip().replace("/", " | ").lower() for content in contents)
    return tuple(options.items())
