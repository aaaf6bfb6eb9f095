"""Rows of the real format, with all that is odd about them."""

import pytest

from repro.environments.webshop.product import BadRow, parse_pricing, parse_product
from tests.environments.webshop.shelves import row, values


@pytest.mark.parametrize(
    ("text", "prices"),
    [
        ("$877.80", (877.8,)),
        ("$1,020.50", (1020.5,)),
        ("$9.98 - $16.98", (9.98, 16.98)),
        ("$5.00 ($0.42 / Ounce)", (5.0, 0.42)),  # read as a range, as the original does
        ("$1.00 $2.00 $3.00", (1.0, 2.0)),
        ("", ()),
        (None, ()),
        ("Currently unavailable.", ()),  # no dollar sign: the original fails here and below
        ("12.99", ()),
        ("$N/A", ()),
        ("$1.2.3", ()),
        ("$", ()),
        ("$10 - $", ()),
        ("$٣", ()),
    ],
)
def test_prices(text, prices):
    assert parse_pricing(text) == prices


def test_price_tags_and_prices():
    assert (parse_product(row("A", "x")).price, parse_product(row("A", "x")).price_tag) == (20.0, "$20.0")
    absent = parse_product(row("A", "x", pricing=""))
    assert (absent.price, absent.price_tag) == (100.0, "$100.0")
    ranged = parse_product(row("A", "x", pricing="$10.00 - $30.00"))
    assert ranged.price_tag == "$10.0 to $30.0" and 10 < ranged.price < 30
    assert ranged == parse_product(row("A", "x", pricing="$10.00 - $30.00"))
    assert ranged.price != parse_product(row("A", "x", pricing="$10.00 - $30.00"), seed=1).price
    assert ranged.price != parse_product(row("B", "x", pricing="$10.00 - $30.00")).price
    backwards = parse_product(row("A", "x", pricing="$5.00 ($0.42 / Ounce)"))
    assert backwards.price_tag == "$5.0 to $0.42" and 0.42 < backwards.price < 5


def test_options():
    def options(value):
        return parse_product(row("A", "x", customization_options=value)).options

    assert options("") == options(None) == options({}) == options({"Color": None}) == ()
    assert options({"Color": []}) == (("color", ()),)
    assert options({"Flavor Name": values(" Crème/Brûlée ", "A-01")}) == (("flavor name", ("crème | brûlée", "a-01")),)
    for bad in ("Red", ["Red"], {"Color": "Red"}, {"Color": [{"image": None}]}, {"Color": [{"value": 3}]}):
        with pytest.raises(BadRow, match="option"):
            options(bad)


def test_texts_stay_as_they_are():
    got = parse_product(
        row(
            "A", 'Bücher ★ 帽子 20"', full_description="<b>x</b> &amp;\n", small_description=["é ", ""], query=" Lamps "
        )
    )
    assert got.title == 'Bücher ★ 帽子 20"' and got.description == "<b>x</b> &amp;\n"
    assert got.bullets == ("é ", "") and got.query == "lamps" and got.attributes == ("DUMMY_ATTR",)
    assert parse_product(row("A", "x", small_description="one text")).bullets == ("one text",)
    assert parse_product(row("A", "x", small_description=None, full_description=None)).bullets == ()
    assert parse_product(row("A", "x", full_description=None)).description == ""


def test_what_the_search_engine_reads():
    got = parse_product(
        row("A", "Big Lamp", full_description="Bright.", small_description=["First ", "Second "],
            customization_options={"Color": values("Red", "Blue"), "Size": values("S")})
    )  # fmt: skip
    assert got.document == "big lamp bright. first  color: red, blue, and size: s"
    assert parse_product(row("A", "x", small_description=[])).document == "x   "


def test_rows_that_describe_no_product():
    for bad, reason in [
        ("text", "is str, not an object"),
        (None, "is NoneType, not an object"),
        ({}, "has no text under 'asin', 'name', 'category', 'query', 'product_category'"),
        (row("A", None), "has no text under 'name'"),
        (row("A", "x", query=3), "has no text under 'query'"),
        (row("nan", "x"), "has the identifier 'nan'"),
        (row("", "x"), "has the identifier ''"),
        (row("B0123456789", "x"), "at most 10 characters"),
        (row("A", "x", pricing=12.5), "has a price of type float"),
        (row("A", "x", full_description=["a"]), "has 'full_description' of type list"),
        (row("A", "x", small_description=[None]), "has a 'small_description' that is no list of texts"),
    ]:
        with pytest.raises(BadRow) as error:
            parse_product(bad)
        assert reason in str(error.value)
