"""A shop of four products, small enough to know by heart, and helpers that write rows of the real format."""

from repro.environments.webshop.catalogue import Catalogue, open_shop
from repro.environments.webshop.engine import ShopConfig


def row(asin, name, **changes):
    """A row of an items file with the fields that the shop reads."""
    fields = {
        "asin": asin,
        "name": name,
        "category": "garden",
        "query": "Lamps",
        "product_category": "Home › Lighting › Lamps",
        "full_description": "",
        "small_description": ["One bullet "],
        "pricing": "$20.00",
        "customization_options": "",
    }
    return {**fields, **changes}


def values(*names):
    return [{"value": name, "image": None} for name in names]


def instruction(text, attributes, options):
    return {"instruction": text, "instruction_attributes": attributes, "instruction_options": options}


ITEMS = [
    row(
        "B0LAMP0001",
        "Brass Desk Lamp",
        full_description="A <b>fine</b> lamp.",
        small_description=["Dimmable light ", "Oak base "],
        customization_options={"Color": values("Red", "Navy Blue"), "Size": values('10"', "12 Inch/30 cm")},
    ),
    row("B0LAMP0002", "Glass Lamp Café", pricing="$10.00 - $30.00", small_description="A single text"),
    row("B0LAMP0003", "Paper Lamp", pricing="", customization_options={"Color": None, "Style": []}),
    row("B0SHOE0001", "Running Shoes", category="fashion", query="Shoes", product_category="Clothing › Shoes"),
]
ATTRIBUTES = {
    "B0LAMP0001": {"attributes": ["easy clean", "oak base"], "instruction": "Find me easy clean lamps",
                   "instruction_attributes": ["easy clean", "oak base"]},
    "B0LAMP0002": {"attributes": []},
    "B0SHOE0001": {"attributes": ["rubber sole"]},
}  # fmt: skip
HUMAN = {
    "B0LAMP0001": [instruction("i need a lamp that is easy clean in red.", ["easy clean"], ["red"])],
    "B0SHOE0001": [instruction("i want shoes", ["rubber sole"], []), instruction("left out", [], [])],
    "B0UNKNOWN1": [instruction("nobody sells this", ["easy clean"], [])],
}


def catalogue():
    return Catalogue(list(ITEMS), ATTRIBUTES, HUMAN)


def shop(human_goals=True, **config):
    return open_shop(catalogue(), ShopConfig(**config), human_goals=human_goals)
