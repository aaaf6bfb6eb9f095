"""A generated catalogue with instructions, in the formats of the real files: deterministic, of any size.

The real files may not be part of this project (see data.py), so tests, notebooks and the small tier shop here. What is
imitated: five categories with ten queries each; titles of brand, features, noun and use, some of them wordy; bullets of
one or two sentences; prices spread log-normally around the kind's median, some absent, some ranges; options by kind,
some absent, null or empty; attributes of two words, none to eight for a product; and the texts' oddities: HTML, stars,
accents, inch signs, slashes in option values. The rates are rounded from a reading of some rows of the
public 1,000-product file; they are no statistics of the full one.

`compact.py` makes the small catalogue for small policies from the same formats.
"""

from __future__ import annotations

import json
import random
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.environments.webshop import goals as goal_rules
from repro.environments.webshop import words
from repro.environments.webshop.data import ATTRIBUTES, HUMAN, PRODUCTS, parse_rows
from repro.environments.webshop.engine import Shop, ShopConfig
from repro.environments.webshop.search import SearchIndex
from repro.environments.webshop.words import Kind
from repro.errors import ReproError


@dataclass(frozen=True)
class CatalogueConfig:
    """Size and rates of a generated catalogue; rates are shares of products."""

    products: int = 1000
    seed: int = 0
    no_price: float = 0.12
    price_range: float = 0.2  # of those with options
    no_options: float = 0.45
    null_option: float = 0.05  # of those without: a name with null, or with an empty list
    no_attributes: float = 0.2
    max_attributes: int = 8
    instructions: int = 3  # people's instructions for each product that has attributes, at most

    def __post_init__(self) -> None:
        if self.products < 1:
            raise ReproError(f"WebShop: a catalogue of {self.products} products is none; products starts at 1")


@dataclass(frozen=True)
class Catalogue:
    """The contents of the three files: rows of products, attributes by identifier, people's instructions by it."""

    items: list[dict[str, Any]]
    attributes: dict[str, dict[str, Any]]
    human: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def generate(config: CatalogueConfig) -> Catalogue:
    """The catalogue of a config: the same config gives the same catalogue, and a larger one begins with a smaller."""
    items, attributes, human = [], {}, {}
    seen: set[str] = set()
    for number in range(config.products):
        rng = random.Random(f"product:{config.seed}:{number}")
        kind = rng.choice(words.KINDS)
        asin = _asin(rng)
        while asin in seen:
            asin = _asin(rng)
        seen.add(asin)
        chosen = _attributes(config, kind, rng)
        item = _item(config, kind, asin, chosen, rng)
        items.append(item)
        attributes[asin] = _attribute_entry(kind, chosen)
        if any(chosen):
            human[asin] = [_instruction(kind, item, chosen, rng) for _ in range(rng.randint(1, config.instructions))]
    return Catalogue(items, attributes, human)


def write(catalogue: Catalogue, folder: str | Path, small: bool = True) -> None:
    """Write the three files as the loader and the original read them; `small` names them as the 1,000-product set."""
    folder, ending = Path(folder), "_1000" if small else ""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PRODUCTS.format(ending)).write_text(json.dumps(catalogue.items), "utf-8")
    (folder / ATTRIBUTES.format(ending)).write_text(json.dumps(catalogue.attributes), "utf-8")
    (folder / HUMAN).write_text(json.dumps(catalogue.human), "utf-8")


def open_shop(
    catalogue: Catalogue,
    config: ShopConfig | None = None,
    human_goals: bool = True,
    seed: int = 0,
    clause: str = goal_rules.PRICE_CLAUSE,
) -> Shop:
    """A shop that sells the catalogue, in memory, with its goals in the original's shuffled order."""
    counts = {"rows": 0, "duplicates": 0, "skipped": 0}
    products = list(parse_rows(iter(catalogue.items), catalogue.attributes, seed, counts, []))
    index = SearchIndex.build((product.document for product in products), [product.asin for product in products])
    if human_goals:
        goals = goal_rules.human_goals(products, catalogue.human, seed, clause)
    else:
        goals = goal_rules.synthetic_goals(products, catalogue.attributes, seed, clause)
    return Shop(products, index, goal_rules.shuffled(goals), config)


def _asin(rng: random.Random) -> str:
    return "B0" + "".join(rng.choices(string.ascii_uppercase + string.digits, k=8))


Chosen = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]  # what it is like, what it has, what it is for


def _attributes(config: CatalogueConfig, kind: Kind, rng: random.Random) -> Chosen:
    pools: tuple[list[str], ...] = ([], [], [])
    for family in kind.families:
        for pool, names in zip(pools, words.ATTRIBUTES[family], strict=True):
            pool.extend(name.strip() for name in names.split(","))
    if rng.random() < config.no_attributes:
        return (), (), ()
    place = [(index, name) for index, pool in enumerate(pools) for name in dict.fromkeys(pool)]
    chosen = rng.sample(place, min(len(place), rng.randint(1, config.max_attributes)))
    return tuple(tuple(name for index, name in chosen if index == slot) for slot in range(3))


def _attribute_entry(kind: Kind, chosen: Chosen) -> dict[str, Any]:
    """As items_ins_v2 has it: an instruction only where at least two attributes can be asked for."""
    wanted = [name for names in chosen for name in names]
    if len(wanted) < 2:
        return {"attributes": wanted}
    like, has, use = (", ".join(names) for names in chosen)
    parts = ["Find me", like, kind.query.lower(), has and f"with {has}", use and f"for {use}"]
    return {
        "attributes": wanted,
        "instruction": " ".join(part for part in parts if part),
        "instruction_attributes": wanted,
    }


def _item(config: CatalogueConfig, kind: Kind, asin: str, chosen: Chosen, rng: random.Random) -> dict[str, Any]:
    noun, brand = rng.choice(kind.nouns), _brand(rng)
    names = [name for group in chosen for name in group]
    options = _options(config, kind, rng)
    title = _title(brand, noun, names, options, rng)
    features = ", ".join(rng.sample(names, len(names))) or "plain and simple"
    description = " ".join(
        part.format(title=title, noun=noun, brand=brand, features=features, use=rng.choice(words.USES).lower())
        for part in rng.sample(words.DESCRIPTIONS, rng.randint(1, 3))
    )
    bullets = _bullets(noun, names, rng)
    return {
        "name": title,
        "product_information": {"ASIN": asin, "Manufacturer": brand},
        "brand": f"Brand: {brand}",
        "brand_url": "",
        "full_description": description if rng.random() < 0.9 else "",
        "pricing": _pricing(config, kind, bool(options), rng),
        "list_price": "",
        "availability_status": rng.choice(("In Stock.", "", "Only 2 left in stock - order soon.")),
        "images": [""],
        "product_category": kind.chain,
        "average_rating": rng.choice(("", round(rng.uniform(2.5, 5), 1))),
        "small_description": bullets if len(bullets) != 1 else bullets[0],
        "total_reviews": "",
        "customization_options": options,
        "seller_name": brand,
        "asin": asin,
        "category": kind.category,
        "query": kind.query,
        "page": rng.randint(1, 400),
        "small_description_old": "About this item " + "".join(bullets),
    }


def _brand(rng: random.Random) -> str:
    name = "".join(rng.choices(words.SYLLABLES, k=rng.randint(2, 4)))
    return name.upper() if rng.random() < 0.4 else name.title()


def _title(brand: str, noun: str, names: list[str], options: dict | str, rng: random.Random) -> str:
    """Brand, features, noun and use, and sometimes what else a seller thinks will be searched for."""
    told = [name.title() for name in rng.sample(names, min(len(names), rng.randint(0, 4)))]
    parts = [brand, *rng.sample(words.FILLERS, rng.choice((0, 0, 1, 2))), *told[:2], noun.title(), *told[2:]]
    if rng.random() < 0.7:
        parts.append(f"for {' '.join(rng.sample(words.USES, rng.randint(1, 3)))}")
    if rng.random() < 0.5:
        parts.append(f"{' '.join(rng.sample(words.AUDIENCE, 2))} {noun.title()}")
    if options and rng.random() < 0.25:
        name, contents = next(iter(options.items()))
        if contents:
            parts.append(f"({name} : {contents[0]['value']})")
    title = " ".join(parts)
    return title.replace(f" {noun.title()} for", f" {noun.title()}, for", 1) if rng.random() < 0.3 else title


def _bullets(noun: str, names: list[str], rng: random.Random) -> list[str]:
    told = rng.sample(names, min(len(names), 4))
    bullets = [
        rng.choice(words.BULLETS).format(
            ATTRIBUTE=name.upper(), attribute=name, noun=noun, use=rng.choice(words.USES).lower()
        )
        for name in told
    ]
    bullets += rng.sample(words.GENERAL_BULLETS, rng.randint(0, 3))
    rng.shuffle(bullets)
    return bullets or [""]


def _options(config: CatalogueConfig, kind: Kind, rng: random.Random) -> dict[str, Any] | str:
    if rng.random() < config.no_options:
        return {kind.options[0].title(): rng.choice((None, []))} if rng.random() < config.null_option else ""
    options = {}
    for name in rng.sample(kind.options, rng.randint(1, len(kind.options))):
        values = [value.strip() for value in words.OPTIONS[name].split(",")]
        chosen = sorted(rng.sample(range(len(values)), rng.randint(1, min(len(values), 8))))
        options[name.title()] = [
            {"is_selected": place == 0, "url": None, "value": values[at], "price_string": "", "price": 0, "image": None}
            for place, at in enumerate(chosen)
        ]
    return options


def _pricing(config: CatalogueConfig, kind: Kind, options: bool, rng: random.Random) -> str:
    if rng.random() < config.no_price:
        return ""
    low = kind.price * rng.lognormvariate(0, 0.6)
    if options and rng.random() < config.price_range:
        return f"${low:,.2f} - ${low * rng.uniform(1.05, 2.2):,.2f}"
    return f"${low:,.2f}"


def _instruction(kind: Kind, item: dict[str, Any], chosen: Chosen, rng: random.Random) -> dict[str, Any]:
    """One entry of items_human_ins: what a person would write, who asks for some attributes and some options."""
    names = [name for group in chosen for name in group]
    wanted = set(rng.sample(names, min(len(names), rng.choice((1, 1, 2, 2, 3)))))
    options = {
        name.lower(): rng.choice(contents)["value"].strip().replace("/", " | ").lower()
        for name, contents in (item["customization_options"] or {}).items()
        if contents
    }
    asked = {name: value for name, value in options.items() if rng.random() < 0.85}
    noun = next(noun for noun in kind.nouns if noun.title() in item["name"])
    text = rng.choice(words.OPENINGS).format(noun=noun if noun.endswith("s") else f"a {noun}")
    for group, phrases in zip(chosen, (words.LIKE, words.HAS, words.FOR), strict=True):
        told = [name for name in group if name in wanted]
        text += rng.choice(phrases).format(" and ".join(told)) if told else ""
    if asked:
        wishes = [value if name in ("color", "size") else f"{value} {name}" for name, value in asked.items()]
        text += rng.choice(words.PICK).format(" and ".join(wishes))
    return {
        "asin": item["asin"],
        "instruction": text if text.endswith(".") else f"{text}.",
        "attributes": names,
        "options": [f"{name}: {value}" for name, value in options.items()] or [""],
        "instruction_attributes": [name for name in names if name in wanted],
        "instruction_options": list(asked.values()),
        "assignment_id": "".join(rng.choices(string.ascii_uppercase + string.digits, k=30)),
        "worker_id": "".join(rng.choices(string.ascii_uppercase + string.digits, k=14)),
    }
