"""The shop's pages as texts: the original's two text modes, and a compact one for small policies.

The original renders HTML and takes the visible texts out of it. The pages here are the same texts in the same order,
without the HTML: "text" joins them by " [SEP] ", "text_rich" writes one a line and marks what can be clicked and what
has been. Texts that the HTML would swallow are left out here too: empty ones, and white space that holds a line break.
HTML inside a product's own texts shows as it is written, since the original escapes it. Source: princeton-nlp/WebShop,
web_agent_site/templates/ and envs/web_agent_text_env.py (convert_html_to_text).

"compact" says the same in few words, each separated by a space, so that a word-level tokenizer with some hundred words
covers it: see `compact_words`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from repro.environments.webshop.product import Product

Mode = Literal["text", "text_rich", "compact"]
SEPARATOR = " [SEP] "

BACK, NEXT, PREV, BUY, SEARCH = "Back to Search", "Next >", "< Prev", "Buy Now", "Search"
SUB_PAGES = ("Description", "Features", "Reviews", "Attributes")
# What the buttons are called in compact texts and actions.
COMPACT_NAMES = {BACK: "back", NEXT: "next", PREV: "prev", BUY: "buy", **{page: page.lower() for page in SUB_PAGES}}


class Text(NamedTuple):
    """One visible text of a page, as the HTML holds it, and what it is."""

    text: str
    kind: Literal["text", "button", "option", "link"] = "text"
    clicked: bool = False


class Page(NamedTuple):
    """A rendered page: its text before and after the instruction, and what a click on each label means.

    `clicks` maps a label to ("button", name), ("link", position of the product) or ("option", name of the option).
    `body` is the text alone, without instruction.
    """

    head: str
    tail: str
    body: str
    clicks: dict[str, tuple[str, str | int]]


def search_texts() -> list[Text]:
    return [Text(SEARCH, "button")]


def results_texts(products: Sequence[Product], number: int, total: int, clicked: Iterable[str] = ()) -> list[Text]:
    """Page `number` (from 1) of `total` results. There is always a next page, even behind the last result."""
    texts = [Text(BACK, "button"), Text(f"Page {number} (Total results: {total})")]
    texts += [Text(PREV, "button")] * (number > 1) + [Text(NEXT, "button")]
    for product in products:
        texts += [Text(product.asin, "link", product.asin in clicked), Text(product.title), Text(product.price_tag)]
    return texts


def item_texts(product: Product, show_attributes: bool, address: str = "") -> list[Text]:
    """A product's page. An option counts as clicked where `address` holds its value in double quotes."""
    texts = [Text(BACK, "button"), Text(PREV, "button")]
    for name, values in product.options:
        texts.append(Text(name))
        texts += [Text(value, "option", f'"{value}"' in address) for value in values]
    texts += [Text(product.title), Text(f"Price: {product.price_tag}"), Text("Rating: N.A.")]
    return texts + [Text(name, "button") for name in sub_pages(show_attributes)] + [Text(BUY, "button")]


def sub_pages(show_attributes: bool) -> tuple[str, ...]:
    return SUB_PAGES if show_attributes else SUB_PAGES[:-1]


def sub_page_texts(product: Product, page: str) -> list[Text]:
    """Description, features, reviews (the original loads none) or attributes."""
    contents = {
        "description": [product.description],
        "features": [f" {bullet}" for bullet in product.bullets],
        "reviews": [],
        "attributes": [*(f" {attribute}" for attribute in product.attributes), product.category, product.query]
        + [product.product_category],
    }[page]
    return [Text(BACK, "button"), Text(PREV, "button"), *map(Text, contents)]


def done_text(asin: str, options: dict[str, str], score: float, mode: Mode) -> str:
    """What stands there after a purchase. The original fills its receipt with nothing, down to the misspelt label."""
    if mode == "compact":
        return f"bought {asin.lower()}"
    bought = json.dumps(options, sort_keys=True)
    for character in "<>&'":  # as Flask writes JSON into a page
        bought = bought.replace(character, f"\\u{ord(character):04x}")
    lines = [
        "Thank you for shopping with us!", "Your code: ", "None", " (Paste it in your MTurk interface.)",
        "Purchased", "asin", asin, "options", bought, "attrs", "None",
        "category", "None", "query", "None", "product category", "None",
        "Target", "asin", "options", "attrs", "price upper", "instuction text", "category", "product category", "query",
        "Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)", str(score), "Reward Details ", "None",
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines) if mode == "text_rich" else SEPARATOR.join(map(str.strip, lines))


def render(texts: Sequence[Text], mode: Mode, start: bool = False) -> tuple[str, str, str]:
    """(text before the instruction, text after it, text of the page alone), in "text" or "text_rich".

    `start` is the search page, which greets with the shop's name.
    """
    before = ["WebShop", "Instruction: "] if start else ["Instruction:"]
    shown = [text._replace(text=_whitespace(text.text)) for text in texts]
    shown = [text for text in shown if text.text and text.text != "\n"]
    if mode == "text":
        body = SEPARATOR.join(text.text.strip() for text in shown)
        return SEPARATOR.join([*map(str.strip, before), ""]), SEPARATOR + body, body
    clicked = "".join(f"You have clicked {text.text}.\n" for text in reversed(shown) if text.clicked and _option(text))
    body = "".join(f"{_rich(text)}\n" for text in shown)
    return clicked + "".join(f"{line}\n" for line in before), "\n" + body, clicked + body


def _option(text: Text) -> bool:
    return text.kind == "option"


def _rich(text: Text) -> str:
    if text.kind == "text":
        return text.text
    indent = {"button": "", "option": "  ", "link": "\n"}[text.kind]
    name = "clicked button" if text.clicked else "button"
    return f"{indent}[{name}] {text.text} [{name.replace('button', 'button_')}]"


def _whitespace(text: str) -> str:
    """White space alone is a line break or a blank, as the HTML parser leaves it."""
    if text.strip(" \n\t\f\r"):
        return text
    return "\n" if "\n" in text else " " if text else ""


def compact_words(page: str, contents: Sequence[Sequence[str]], buttons: Iterable[str]) -> str:
    """A compact page: its name, its contents and, of its buttons, those that such pages do not always have; lower case.

    results : b12 cotton navy shirt $20 | b07 silk shirt $35 : next
    item b12 : cotton navy shirt $20 | color red * navy | size s m
    """
    body = " | ".join(" ".join(content) for content in contents) or "none"
    turning = " ".join(COMPACT_NAMES[button] for button in buttons if page == "results" and button in (PREV, NEXT))
    return " ".join(f"{page} : {body}{f' : {turning}' if turning else ''}".lower().split())
