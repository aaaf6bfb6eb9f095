"""The shop and an episode in it: search, pages, clicks and the purchase, as the original's text environment has them.

`Shop` is what every episode shares: products, index, goals and rendered pages. `WebShop` is one episode for one goal.
An episode's state is a small immutable value, so a snapshot is that value. Source of the behaviour:
princeton-nlp/WebShop, web_agent_site/envs/web_agent_text_env.py. What that file does, and this does too:

* actions are `search[words]` and `click[label]` in any case of letters; anything else, and a click on what is not
  there, changes nothing and earns nothing;
* a search works on every page, although only the search page offers it; it forgets chosen options;
* there is always a next page of results, even an empty one; a search without hits shows "Total results: 0";
* "< Prev" on a product's page returns to the results and forgets its options; on a sub-page it keeps them;
* "Back to Search" forgets everything; choosing another value of an option replaces the first;
* a purchase needs no options: those not chosen are not met. It ends the episode with the reward of reward.py;
* an option whose value is a button's name is unreachable: the click counts as the button's.

Where the original fails with an error, this does not: see parse_pricing and SearchIndex.search. Its search codes
(`<r>`, `<a>`, `<c>`, `<q>` as first word) are hooks for its baselines and are plain words here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

from repro.environments.webshop import text
from repro.environments.webshop.goals import Goal
from repro.environments.webshop.nouns import rule_nouns, spacy_nouns
from repro.environments.webshop.product import Product
from repro.environments.webshop.reward import Reward, reward
from repro.environments.webshop.search import SearchIndex
from repro.environments.webshop.text import Mode, Page
from repro.errors import ReproError

SEARCH_OFFER = "search[<your query>]"  # how the agents' prompts list the search bar


@dataclass(frozen=True)
class ShopConfig:
    """How the shop shows itself.

    `mode`: "text" is what the 3SPO paper's agents read, "text_rich" the original's other text mode, "compact" the short
    texts for small policies. `show_instruction` puts the instruction on every page, as the original does.
    `key` says what tells states apart: "text", the page without instruction (the paper's), where a page in mode "text"
    looks the same whatever options are chosen, or "state", which adds query, result page and chosen options.
    """

    mode: Mode = "text"
    show_instruction: bool = True
    show_attributes: bool = False  # the Attributes button on a product's page
    results: int = 50  # products a search returns at most
    per_page: int = 10
    key: Literal["text", "state"] = "text"
    nouns: Literal["rule", "spacy"] = "rule"
    cached_pages: int = 65_536  # of each kind; a full catalogue's page takes a few kilobytes

    def __post_init__(self) -> None:
        if self.results < 1 or self.per_page < 1:
            raise ReproError(f"WebShop: {self.results} results, {self.per_page} a page, make no shop; both start at 1")


class State(NamedTuple):
    """Where an episode stands. `product` is a position in the catalogue, `visited` the products opened since the
    last return to the search page, `options` what is chosen on the open product, sorted by name."""

    page: str = "search"
    query: str = ""
    number: int = 0
    product: int = -1
    options: tuple[tuple[str, str], ...] = ()
    visited: frozenset[int] = frozenset()
    score: float = 0.0


class Shop:
    """Products on sale, their index, the goals, and the pages rendered so far."""

    def __init__(
        self, products: Sequence[Product], index: SearchIndex, goals: Sequence[Goal], config: ShopConfig | None = None
    ):
        self.products, self.index, self.goals = products, index, goals
        self.config = config or ShopConfig()
        self.nouns = spacy_nouns() if self.config.nouns == "spacy" else rule_nouns
        cached = lru_cache(maxsize=self.config.cached_pages)
        self.hits = cached(self._hits)
        self._search_page = cached(self._search_page)
        self._results_page = cached(self._results_page)
        self._item_page = cached(self._item_page)
        self._sub_page = cached(self._sub_page)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where in the catalogue each identifier stands."""
        asins = getattr(self.products, "asins", None) or [product.asin for product in self.products]
        return {asin: position for position, asin in enumerate(asins)}

    def _hits(self, query: str) -> tuple[int, ...]:
        """Positions of the products found for a query, best first."""
        return tuple(self.index.search(query, self.config.results))

    def page(self, state: State) -> Page:
        """The page of a state that is not done. Pages are shared between the states that show the same."""
        if state.page == "search":
            return self._search_page()
        if state.page == "results":
            seen = state.visited if self.config.mode == "text_rich" else frozenset()
            return self._results_page(state.query, state.number, seen)
        if state.page == "item":
            if self.config.mode == "text":  # shows neither what is chosen nor how one came here
                return self._item_page(state.product, (), "")
            return self._item_page(state.product, state.options, _quoted(state))
        return self._sub_page(state.product, state.page)

    def _search_page(self) -> Page:
        if self.config.mode == "compact":
            return _compact("shop : search", {})
        return self._page(text.search_texts(), [text.SEARCH], {}, start=True)

    def _results_page(self, query: str, number: int, visited: frozenset[int]) -> Page:
        hits = self.hits(query)
        shown = hits[(number - 1) * self.config.per_page : number * self.config.per_page]
        products = [self.products[position] for position in shown]
        links = {product.asin: ("link", at) for product, at in zip(products, shown, strict=True)}
        if self.config.mode == "compact":
            buttons = [text.BACK] + [text.PREV] * (number > 1)
            buttons += [text.NEXT] * (number * self.config.per_page < len(hits))
            rows = [[product.asin, product.title, product.price_tag] for product in products]
            return _compact(text.compact_words("results", rows, buttons), links, buttons)
        clicked = {product.asin for product, at in zip(products, shown, strict=True) if at in visited}
        texts = text.results_texts(products, number, len(hits), clicked)
        return self._page(texts, [text.BACK] + [text.PREV] * (number > 1) + [text.NEXT], links)

    def _item_page(self, position: int, options: tuple[tuple[str, str], ...], quoted: str) -> Page:
        product = self.products[position]
        buttons = [text.BACK, text.PREV, *text.sub_pages(self.config.show_attributes), text.BUY]
        links = {value: ("option", name) for name, values in product.options for value in values}
        if self.config.mode == "compact":
            rows = [[product.title, product.price_tag]]
            for name, values in product.options:
                rows.append([name, *(f"* {value}" if (name, value) in options else value for value in values)])
            words = text.compact_words(f"item {product.asin}", rows, buttons)
            return _compact(words, links, buttons)
        # As in the original, an option shows as clicked where the page's address holds its value in double quotes.
        address = f"{quoted}/{json.dumps(dict(options))}" if self.config.mode == "text_rich" else ""
        return self._page(text.item_texts(product, self.config.show_attributes, address), buttons, links)

    def _sub_page(self, position: int, page: str) -> Page:
        product, buttons = self.products[position], [text.BACK, text.PREV]
        texts = text.sub_page_texts(product, page)
        if self.config.mode == "compact":
            contents = [[line.text] for line in texts if line.kind == "text"]
            return _compact(text.compact_words(page, contents, buttons), {}, buttons)
        return self._page(texts, buttons, {})

    def _page(self, texts: list[text.Text], buttons: list[str], links: dict, start: bool = False) -> Page:
        head, tail, body = text.render(texts, self.config.mode, start)
        clicks = {label.lower(): ("button", label.lower()) for label in buttons}
        clicks.update({label.lower() if target[0] == "link" else label: target for label, target in links.items()})
        return Page(head, tail, body, clicks)


def _compact(words: str, links: dict, buttons: Sequence[str] = ()) -> Page:
    clicks = {text.COMPACT_NAMES[button]: ("button", button.lower()) for button in buttons}
    return Page("task : ", f" | {words}", words, {**clicks, **{label.lower(): at for label, at in links.items()}})


def _quoted(state: State) -> str:
    """The part of a page's address that can hold quoted words besides the options: the query, if it has any quote."""
    return state.query.replace(" ", "+") if '"' in state.query else ""


_ACTION = re.compile(r"(.+)\[(.+)\]")


def parse_action(action: str, mode: Mode = "text") -> tuple[str, str]:
    """("search", words) or ("click", label) in lower case; the verb is anything else where the action is neither.

    In mode "compact" the brackets may be missing: "click b12", "search cotton shirt".
    """
    match = _ACTION.match(action)
    if match:
        return match[1], match[2].lower()
    if mode == "compact":
        verb, _, argument = " ".join(action.lower().split()).partition(" ")
        return verb, argument
    return action, ""


class WebShop:
    """One episode: buy what `goal` asks for. Deterministic; single-use, but `restore` takes it back to any snapshot."""

    def __init__(self, shop: Shop, goal: Goal):
        self.shop, self.goal, self.state = shop, goal, State()

    def reset(self) -> str:
        """Back to the start; the first observation."""
        self.restore(State())
        return self.observation()

    @property
    def done(self) -> bool:
        return self.state.page == "done"

    @property
    def score(self) -> float:
        """The reward earned so far, in [0, 1]: the "score" of published tables, times 100 there."""
        return self.state.score

    @property
    def won(self) -> bool:
        """Whether the purchase earned the full reward: the "success" of published tables."""
        return self.state.score == 1.0

    @property
    def receipt(self) -> Reward | None:
        """How the reward was made up, once something was bought."""
        return self._reward() if self.done else None

    def step(self, action: str) -> tuple[str, float, bool]:
        """(observation, reward, done). Only a purchase earns anything. Raises ReproError after the episode's end."""
        if self.done:
            raise ReproError("WebShop: the episode is over; reset it or restore a snapshot before the next step")
        verb, argument = parse_action(action, self.shop.config.mode)
        if verb == "search" and argument:
            self.state = State("results", argument, 1, visited=self.state.visited)
        elif verb == "click":
            target = self.shop.page(self.state).clicks.get(argument)
            if target and argument != "search":
                self.state = self._clicked(argument, target)
        return self.observation(), self.state.score, self.done

    def _clicked(self, label: str, target: tuple[str, str | int]) -> State:
        state = self.state
        kind, value = target
        name = value if kind == "button" else label
        if name == "buy now":
            return state._replace(page="done", score=self._reward().total)
        if name == "back to search":
            return State()
        if state.page == "results" and name in ("next >", "< prev"):
            return state._replace(number=state.number + (1 if name == "next >" else -1))
        if name == "< prev" and state.page == "item":
            return state._replace(page="results", product=-1, options=())
        if name == "< prev":
            return state._replace(page="item")
        if state.page == "item" and name in _SUB_PAGES:
            return state._replace(page=name)
        if kind == "link":
            return state._replace(page="item", product=value, visited=state.visited | {value})
        return state._replace(options=tuple(sorted({**dict(state.options), value: label}.items())))

    def _reward(self) -> Reward:
        return reward(self.shop.products[self.state.product], self.goal, dict(self.state.options), self.shop.nouns)

    def observation(self, with_instruction: bool | None = None) -> str:
        """The page as the policy sees it; `with_instruction` overrides the config. A receipt shows no instruction."""
        if self.done:
            product, options = self.shop.products[self.state.product], dict(self.state.options)
            return text.done_text(product.asin, options, self.state.score, self.shop.config.mode)
        page = self.shop.page(self.state)
        if self.shop.config.show_instruction if with_instruction is None else with_instruction:
            return f"{page.head}{self.goal.instruction}{page.tail}"
        return page.body

    def clickables(self) -> list[str]:
        """Labels that can be clicked, as the original lists them: "search" among them, which does nothing."""
        return [] if self.done else list(self.shop.page(self.state).clicks)

    def admissible(self) -> list[str]:
        """The actions on offer as the agents' prompts list them: a search where there is a search bar, and clicks."""
        compact = self.shop.config.mode == "compact"
        offers = [f"click {label}" if compact else f"click[{label}]" for label in self.clickables()]
        return ["search" if compact else SEARCH_OFFER, *offers] if self.state.page == "search" else offers

    def snapshot(self) -> State:
        return self.state

    def restore(self, snapshot: State) -> None:
        self.state = snapshot

    def state_key(self, with_goal: bool = False) -> str:
        """The state as a text, for counting: the page without instruction, or with it where `with_goal` is set."""
        key = self.observation(with_instruction=False)
        if self.shop.config.key == "state" and not self.done:
            key = f"{key}\n{self.state.query}\n{self.state.number}\n{json.dumps(self.state.options)}"
        return f"{self.goal.instruction}\n{key}" if with_goal else key


_SUB_PAGES = frozenset(page.lower() for page in text.SUB_PAGES)
