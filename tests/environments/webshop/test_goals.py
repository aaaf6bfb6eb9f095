"""Goals from people's instructions and from options, price limits, the shuffle and the split."""

import random

import pytest

from repro.environments.webshop import goals
from repro.environments.webshop.goals import (
    NO_LIMIT,
    PRICE_CLAUSE,
    human_goals,
    price_limit,
    shuffled,
    split,
    synthetic_goals,
)
from repro.errors import ReproError
from tests.environments.webshop import shelves


@pytest.fixture(scope="module")
def products():
    return shelves.shop().products


def test_people_s_goals(products):
    made = human_goals(products, shelves.HUMAN, 0, PRICE_CLAUSE)
    assert [goal.asin for goal in made] == ["B0LAMP0001", "B0SHOE0001"]  # in the products' order; one names nothing
    lamp = made[0]
    assert lamp.attributes == ("easy clean",) and lamp.options == ("red",) and lamp.values == ("red",)
    assert lamp.title == "Brass Desk Lamp" and lamp.query == "lamps" and lamp.weight == 1
    clause = f", and price lower than {lamp.price_limit:.2f} dollars"
    assert lamp.instruction == f"i need a lamp that is easy clean in red{clause}"  # without its full stop
    assert made == human_goals(products, shelves.HUMAN, 0, PRICE_CLAUSE)


def test_goals_from_options_take_every_combination(products):
    made = synthetic_goals(products, shelves.ATTRIBUTES, 0, PRICE_CLAUSE)
    assert [goal.asin for goal in made] == ["B0LAMP0001"] * 4  # the others have no instruction
    assert [goal.options for goal in made] == [
        (("color", "red"), ("size", '10"')),
        (("color", "red"), ("size", "12 inch | 30 cm")),
        (("color", "navy blue"), ("size", '10"')),
        (("color", "navy blue"), ("size", "12 inch | 30 cm")),
    ]
    limit = made[0].price_limit
    assert made[0].instruction == (
        f'Find me easy clean lamps with color: red, and size: 10", and price lower than {limit:.2f} dollars'
    )
    assert made[0].values == ("red", '10"')
    assert {goal.price_limit for goal in made} == {limit}  # drawn once for a product
    assert [goal.weight for goal in made] == [1 / 4] * 4  # each attribute is shared by all four


def test_a_product_without_options_makes_one_goal(products):
    entry = {"B0SHOE0001": {"instruction": "Find me shoes", "instruction_attributes": ["rubber sole"]}}
    (only,) = synthetic_goals(products, entry, 0, PRICE_CLAUSE)
    assert only.options == () and only.instruction.startswith("Find me shoes, and price lower than ")
    # A name without values leaves no combination at all, as a product of sets has it.
    empty = {"B0LAMP0003": {"instruction": "Find me lamps", "instruction_attributes": ["easy clean"]}}
    assert synthetic_goals(products, empty, 0, PRICE_CLAUSE) == []


def test_price_limits_are_the_larger_of_two_of_the_next_four():
    seen = {price_limit(25.0, random.Random(f"{n}")) for n in range(200)}
    assert seen == {40.0, 50.0, 60.0}  # of 30, 40, 50, 60 the larger of two
    assert {price_limit(20.0, random.Random(f"{n}")) for n in range(200)} == {40.0, 50.0, 60.0}  # 20 is not above 20
    assert {price_limit(975.0, random.Random(f"{n}")) for n in range(50)} == {990.0}  # of 980 and 990
    assert price_limit(985.0, random.Random("x")) == NO_LIMIT  # one is too few
    assert price_limit(5_000.0, random.Random("x")) == NO_LIMIT


def test_without_a_limit_the_instruction_names_no_price():
    dear = shelves.catalogue()
    dear.items[0] = {**dear.items[0], "pricing": "$2,000.00"}
    shop = goals.human_goals(_products(dear), shelves.HUMAN, 0, PRICE_CLAUSE)
    dear.items[0] = shelves.row("B0LAMP0001", "Brass Desk Lamp")
    assert shop[0].instruction == "i need a lamp that is easy clean in red" and shop[0].price_limit == NO_LIMIT


def _products(stock):
    from repro.environments.webshop.product import parse_product

    return [parse_product(row) for row in stock.items]


def test_limits_follow_the_seed(products):
    drawn = {human_goals(products, shelves.HUMAN, seed, PRICE_CLAUSE)[0].price_limit for seed in range(20)}
    assert len(drawn) > 1


def test_an_instruction_without_its_fields_is_named(products):
    with pytest.raises(ReproError, match="instruction 0 for B0LAMP0001 needs"):
        human_goals(products, {"B0LAMP0001": [{"instruction": "x"}]}, 0, PRICE_CLAUSE)


def test_the_shuffle_is_the_originals_permutation():
    numbers = list(range(10))
    random.seed(233)  # what the original does before it shuffles
    random.shuffle(numbers)
    assert shuffled(list(range(10))) == numbers and numbers != list(range(10))


def test_the_first_goals_are_held_out():
    training, heldout = split(list(range(700)))
    assert list(heldout) == list(range(500)) and list(training) == list(range(500, 700))
    for count in (0, 700, 900):
        with pytest.raises(ReproError, match="cannot be held out"):
            split(list(range(700)), count)
