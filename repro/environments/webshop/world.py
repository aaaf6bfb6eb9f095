"""WebShop as a world of several turns: its config, its goals as queries, and an episode as the loop plays it.

    config = WebShopConfig()
    query = train_list(config, seed=0)[0]
    episode = ShopEpisode(config, query)
    episode.reset()                            # 'shop : search'
    episode.step("search soft shirt")          # ('results : p32 soft ... : next', 0.0, False)
    episode.step("click p32")                  # ('item p32 : soft ... | color ... | size ...', 0.0, False)
    episode.step("click buy")                  # ('bought p32', 0.75, True)

Observations are pages without the instruction, as in the released 3SPO code: texts that all goals share. What the
policy reads is `prompt()`, which says the instruction once.

An action is a turn; without a purchase after `max_turns` the episode ends and earns nothing. What goes wrong:

| action | what happens | counted as |
|---|---|---|
| neither a search nor a click | nothing | malformed |
| an answer without the tags that were asked for | what it holds is done | malformed |
| a click on what is not on the page | nothing | absent |
| a search that finds nothing | an empty page of results | no_hits |
| a purchase without all options asked for | it earns less | incomplete |
| any but a purchase on the last turn | the end | out_of_turns |
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from repro.environments.query import Query
from repro.environments.webshop import abstraction, agent, catalogue, compact, data, engine, expert
from repro.environments.webshop.catalogue import CatalogueConfig
from repro.environments.webshop.compact import CompactConfig
from repro.environments.webshop.data import DataConfig
from repro.environments.webshop.engine import SEARCH_OFFER, Shop, ShopConfig, WebShop, parse_action
from repro.environments.webshop.goals import HELDOUT, NO_LIMIT, Goal, split
from repro.environments.webshop.reward import Reward
from repro.errors import ReproError


@dataclass(frozen=True)
class WebShopConfig:
    """Which shop, and how it is played. The compact shop speaks in few words, the others as the paper's agents read it.

    `reward` is what a purchase earns: "score", its partial credit in [0, 1], or "success", 1 for a full score and else
    0 (10 in the released code; an advantage over the group's deviation does not see the factor). Either way an episode
    is won by a full score, and its `score` is the partial credit.
    """

    source: CompactConfig | CatalogueConfig | DataConfig = CompactConfig(goals=4500)
    max_turns: int = 15  # released script; the paper's setting is told as 30
    history: int | None = 2  # past turns in a prompt (released code)
    reward: Literal["score", "success"] = "score"
    heldout_goals: int = HELDOUT  # 500: released code
    train_queries: int | None = None  # training goals, a seed's own choice; None: all that are not held out

    def __post_init__(self) -> None:
        if self.max_turns < 1 or (self.history is not None and self.history < 0):
            raise ReproError(
                f"WebShop: {self.max_turns} turns with {self.history} past ones shown are not possible; give max_turns "
                "of 1 or more, and history of 0 or more, or null for all"
            )
        if self.train_queries is not None and self.train_queries < 1:
            raise ReproError(f"WebShop: train_queries is {self.train_queries}; give 1 or more, or null for all")


@functools.lru_cache(maxsize=4)
def shop_of(source: CompactConfig | CatalogueConfig | DataConfig) -> Shop:
    """The shop of a source, built once and then shared. ReproError where files are absent or damaged."""
    if isinstance(source, CompactConfig):
        return compact.shop(source, show_instruction=False)
    shown = ShopConfig(show_instruction=False)
    if isinstance(source, CatalogueConfig):
        return catalogue.open_shop(catalogue.generate(source), shown)
    return data.load(source, shown)[0]


# Queries -------------------------------------------------------------------------------------------------------------


def train_list(config: WebShopConfig, seed: int) -> list[Query]:
    """The training goals: all, in the shop's order, or `train_queries` of them drawn by the seed."""
    goals, _ = _split(config)
    numbers: Any = range(config.heldout_goals, config.heldout_goals + len(goals))
    if config.train_queries is not None:
        if config.train_queries > len(goals):
            raise ReproError(
                f"WebShop: {config.train_queries} training goals are asked for, the shop has {len(goals)}; ask for "
                "fewer or make it larger"
            )
        numbers = random.Random(f"training goals:{seed}").sample(numbers, config.train_queries)
    return [_query(config, number) for number in numbers]


def heldout(config: WebShopConfig) -> dict[str, list[Query]]:
    """The first goals of the shop's shuffled order, as in the released code."""
    _, goals = _split(config)
    return {"heldout": [_query(config, number) for number in range(len(goals))]}


def stream(config: WebShopConfig, seed: int) -> Iterator[Query]:
    """All goals that are not held out, again and again, each time in another order."""
    goals, _ = _split(config)
    numbers = list(range(config.heldout_goals, config.heldout_goals + len(goals)))
    for round in itertools.count():
        random.Random(f"stream:{seed}:{round}").shuffle(numbers)
        yield from (_query(config, number) for number in numbers)


def vocabulary(config: WebShopConfig) -> list[str]:
    """The words of the compact shop. ReproError for another: its texts are not made of a few words."""
    if not isinstance(config.source, CompactConfig):
        raise ReproError(
            f"WebShop: the texts of a shop of {type(config.source).__name__} have no short list of words; set "
            "policy.checkpoint to a language model, or world.source to CompactConfig"
        )
    return compact.vocabulary(config.source)


def _split(config: WebShopConfig) -> tuple[Any, Any]:
    return split(shop_of(config.source).goals, config.heldout_goals)


def _query(config: WebShopConfig, number: int) -> Query:
    goal = shop_of(config.source).goals[number]
    return Query(id=f"goal/{number}", text=goal.instruction, answer=goal.asin, level=goal.category)


def goal_of(config: WebShopConfig, query: Query) -> Goal:
    """The goal of a query. ReproError if it is of another shop."""
    kind, _, number = query.id.rpartition("/")
    goals = shop_of(config.source).goals
    if kind == "goal" and number.isdecimal() and int(number) < len(goals):
        goal = goals[int(number)]
        if (goal.asin, goal.instruction) == (query.answer, query.text):
            return goal
    raise ReproError(
        f"WebShop: {query.id!r} ({query.text!r}) is no goal of this config's shop; take goals from its lists"
    )


# Episodes ------------------------------------------------------------------------------------------------------------


class Faults(NamedTuple):
    """How many of an episode's actions went wrong, by kind."""

    malformed: int = 0
    absent: int = 0
    no_hits: int = 0
    incomplete: int = 0
    out_of_turns: int = 0


class State(NamedTuple):
    """All that changes in an episode: a snapshot."""

    shop: engine.State = engine.State()
    turn: int = 0  # actions taken
    past: tuple[tuple[str, str], ...] = ()  # the last turns that a prompt shows: page and action
    faults: Faults = Faults()


class ShopEpisode:
    """A goal to be met in the shop that all episodes share. Deterministic; for one use."""

    def __init__(self, config: WebShopConfig, query: Query):
        self.config = config
        self.query = query
        self.shop = WebShop(shop_of(config.source), goal_of(config, query))
        self.compact = self.shop.shop.config.mode == "compact"
        self.turn, self.past, self.faults = 0, (), Faults()

    def reset(self) -> str:
        """Start; the search page is the first observation."""
        self.restore(State())
        return self.shop.observation()

    @property
    def won(self) -> bool:
        """Whether something was bought that earns the full score."""
        return self.shop.won

    @property
    def score(self) -> float:
        """The partial credit of the purchase, in [0, 1]; 0 as long as there is none."""
        return self.shop.score

    @property
    def receipt(self) -> Reward | None:
        """How the score was made up, once something was bought."""
        return self.shop.receipt

    @property
    def done(self) -> bool:
        return self.shop.done or self.turn >= self.config.max_turns

    def step(self, action: str) -> tuple[str, float, bool]:
        """(observation, reward, done) after one action, or one answer of a language model. ReproError after the end."""
        if self.done:
            raise ReproError("WebShop: the episode is over; restore a snapshot or build a new one")
        command, formed = (action, True) if self.compact else agent.project(action)
        verb, argument = parse_action(command, self.shop.shop.config.mode)
        clickable = argument != "search" and argument in self.shop.shop.page(self.shop.state).clicks
        shown = self.shop.observation()
        observation, score, bought = self.shop.step(command)
        self.turn += 1
        kept = self.config.history
        past = (*self.past, (shown, command))
        self.past = past if kept is None else past[len(past) - min(kept, len(past)) :]
        went_wrong = {
            "malformed": not formed or verb not in ("search", "click") or not argument,
            "absent": verb == "click" and bool(argument) and not clickable,
            "no_hits": verb == "search" and bool(argument) and not self.shop.shop.hits(argument),
            "incomplete": bought and self.receipt.options_met < self.receipt.options,
            "out_of_turns": self.done and not bought,
        }
        self.faults = Faults(*(count + went_wrong[kind] for kind, count in self.faults._asdict().items()))
        return observation, (score if self.config.reward == "score" else float(self.won)), self.done

    def prompt(self) -> str:
        """All that the policy reads at this turn."""
        page, instruction = self.shop.observation(), self.shop.goal.instruction
        if self.compact:
            return agent.compact_prompt(instruction, self.past, page)
        return agent.prompt(instruction, self.past, page, self.offers(), self.turn)

    def offers(self) -> list[str]:
        """The actions on offer as a prompt lists them; a search stands there without its words."""
        return self.shop.admissible()

    def admissible(self) -> list[str]:
        """What can be done here, [] when over. Of all searches, which the shop takes on every page, there is one, where
        there is a search bar: that for the words of the instruction."""
        if self.done:
            return []
        words = searched(self.shop.goal)
        search = f"search {words}" if self.compact else SEARCH_OFFER.replace("<your query>", words)
        return [search if offer in ("search", SEARCH_OFFER) else offer for offer in self.offers()]

    def snapshot(self) -> State:
        """The state, an immutable value; `restore` takes it back, in this episode or another of the same goal."""
        return State(self.shop.snapshot(), self.turn, self.past, self.faults)

    def restore(self, snapshot: State) -> None:
        state, self.turn, self.past, self.faults = snapshot
        self.shop.restore(state)

    def state_key(self, with_goal: bool = False) -> str:
        """Where the episode stands: page, query, product and chosen options; with the goal if asked.

        Turns taken, what was seen before and faults do not count.
        """
        state = self.shop.state
        options = ",".join(f"{name}={value}" for name, value in state.options)
        key = f"{state.page}|{state.query}|{state.number}|{state.product}|{options}"
        return f"{self.query.id}|{key}" if with_goal else key

    def abstract_key(self) -> str:
        """Where the episode stands relative to its goal, as `webshop.abstraction` says: shared by goals."""
        shop, goal = self.shop.shop, self.shop.goal
        return abstraction.abstract_key(shop, goal, self.shop.state, abstraction.prospects(shop, goal))


def demonstration(
    config: WebShopConfig, query: Query, rng: random.Random, noise: float = 0.0, slip: float = 0.0
) -> list[tuple[str, str]]:
    """The turns (prompt, action) of an expert's episode, each action by chance `noise` any admissible one instead.

    The expert goes on from wherever that leads; with `slip` it also errs, see `expert.mistaken`.
    """
    episode = ShopEpisode(config, query)
    episode.reset()
    shop, turns = episode.shop.shop, []
    shopper = WebShop(shop, expert.mistaken(shop, episode.shop.goal, rng, slip) if slip else episode.shop.goal)
    while not episode.done:
        shopper.restore(episode.snapshot().shop)
        action = rng.choice(episode.admissible()) if rng.random() < noise else expert.next_action(shopper)
        turns.append((episode.prompt(), action))
        episode.step(action)
    return turns


def searched(goal: Goal) -> str:
    """The words of an instruction as a query: without the price, which stands on no page that is searched."""
    words = goal.instruction
    for clause in (" under $", ", and price lower than") if goal.price_limit < NO_LIMIT else ():
        words = words.rpartition(clause)[0] or words
    return " ".join(words.lower().replace("[", " ").replace("]", " ").split())
