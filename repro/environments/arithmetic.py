"""Multi-step arithmetic over named quantities: a procedural world with exact answers, graded by difficulty.

A problem is a chain of operations over one leaf, values modulo `modulus`; its facts are shuffled and mixed with
distractors that hang on the chain but never feed it. The policy has to find the route, look the facts up and compute:

    kiwi = plum -6          (facts, one a line, in random order)
    fig = plum +3           (a distractor)
    plum =7
    ? kiwi :                (the question)

    kiwi plum : plum =7 kiwi = plum -6 =1        (an expert trace: the route, then each fact restated and computed)

Spaces separate words, so a word-level tokenizer sees `-6` and `=7` as single tokens and a name as the same token
wherever it stands. `style="english"` renders the same problem in plain sentences, for pretrained models.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from repro.config import at_least_one
from repro.environments import problem_lists
from repro.environments.query import Query
from repro.errors import ReproError

NAMES = (
    "apple basil cedar daisy elder fig grape hazel iris jade kiwi lemon mango nut olive plum quince rose sage thyme "
    "umber violet willow xenia yarrow zinnia"
).split()
OPERATIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
_WORDS = {"+": "plus", "-": "minus", "*": "times"}


@dataclass(frozen=True)
class Step:
    """One fact of the solution graph: name = source operator constant = value; a leaf has no source."""

    name: str
    source: str
    operator: str
    constant: int
    value: int

    @property
    def fact(self) -> str:
        """As the question states it (no computed value)."""
        return f"{self.name} = {self.source} {self.operator}{self.constant}" if self.source else self.computed

    @property
    def computed(self) -> str:
        """As a trace restates it, with its value."""
        return f"{self.fact} ={self.value}" if self.source else f"{self.name} ={self.value}"


@dataclass(frozen=True)
class ArithmeticConfig:
    """Shape of the world. `levels` maps a difficulty to the range of chain lengths (operations) it holds."""

    modulus: int = 10
    names: int = 12  # how many of NAMES are in use; fewer are learned sooner
    min_length: int = 1
    max_length: int = 6
    max_distractors: int = 2
    train_queries: int = 512  # finite, so that training makes epochs over it (the paper: 4k problems, 3 epochs)
    heldout_queries: int = 64  # per level
    levels: tuple[tuple[str, int, int], ...] = (("easy", 1, 2), ("medium", 3, 4), ("hard", 5, 6))
    style: Literal["symbols", "english"] = "symbols"

    def __post_init__(self) -> None:
        at_least_one("arithmetic world: ", self, "train_queries", "heldout_queries")
        if not 1 <= self.min_length <= self.max_length or self.max_distractors < 0 or self.modulus < 2:
            raise ReproError(
                f"arithmetic world: lengths {self.min_length}..{self.max_length}, distractors "
                f"{self.max_distractors}, modulus {self.modulus} describe no problem"
            )
        if not self.max_length + 1 + self.max_distractors <= self.names <= len(NAMES):
            raise ReproError(
                f"arithmetic world: {self.max_length} operations with {self.max_distractors} distractors "
                f"need {self.max_length + 1 + self.max_distractors} names; world.names is {self.names}, "
                f"and there are {len(NAMES)}"
            )


def vocabulary(config: ArithmeticConfig) -> list[str]:
    """Every word that problems and traces of this world (style "symbols") are made of."""
    operations = [f"{op}{c}" for op in OPERATIONS for c in range(min(10, config.modulus))]
    return [*NAMES[: config.names], "=", *operations, *(f"={v}" for v in range(config.modulus)), "?", ":"]


def generate(config: ArithmeticConfig, rng: random.Random, id: str, lengths: tuple[int, int] | None = None) -> Query:
    """One problem; `lengths` narrows the range of chain lengths (operations)."""
    low, high = lengths or (config.min_length, config.max_length)
    length, distractors = rng.randint(low, high), rng.randint(0, config.max_distractors)
    names = rng.sample(NAMES[: config.names], length + 1 + distractors)
    chain = [Step(names[0], "", "", 0, rng.randrange(config.modulus))]
    for name in names[1 : length + 1]:
        chain.append(_step(config, rng, name, chain[-1]))
    side = [_step(config, rng, name, rng.choice(chain)) for name in names[length + 1 :]]
    facts = chain + side
    rng.shuffle(facts)
    target = chain[-1]
    return Query(
        id=id,
        text=_question(config, facts, target.name),
        answer=str(target.value),
        level=_level(config, length),
        trace=_trace(config, chain),
        graph=tuple(chain),
    )


def _step(config: ArithmeticConfig, rng: random.Random, name: str, source: Step) -> Step:
    operator, constant = rng.choice("+-*"), rng.randrange(min(10, config.modulus))
    return Step(name, source.name, operator, constant, OPERATIONS[operator](source.value, constant) % config.modulus)


def _level(config: ArithmeticConfig, length: int) -> str:
    return next((name for name, low, high in config.levels if low <= length <= high), "beyond")


def _question(config: ArithmeticConfig, facts: list[Step], target: str) -> str:
    if config.style == "symbols":
        return "\n".join([*(fact.fact for fact in facts), f"? {target} :"])
    lines = [
        f"{s.name} is {s.source} {_WORDS[s.operator]} {s.constant}." if s.source else f"{s.name} is {s.value}."
        for s in facts
    ]
    return "\n".join([*lines, f"All values are taken modulo {config.modulus}. What is {target}?"])


def _trace(config: ArithmeticConfig, chain: list[Step]) -> str:
    route = " ".join(step.name for step in reversed(chain))
    if config.style == "symbols":
        return f"{route} : " + " ".join(step.computed for step in chain)
    lines = [
        f"{s.name} = {s.source} {s.operator} {s.constant} = {s.value}" if s.source else f"{s.name} = {s.value}"
        for s in chain
    ]
    return "\n".join([f"Route: {route}.", *lines, f"#### {chain[-1].value}"])


Slip = float | tuple[tuple[str, float], ...]


def slip_rates(slip: Slip) -> dict[str, float]:
    """Chance of a slip by kind of step, "leaf", "+", "-" and "*"; a plain number is the same for all.

    Unequal chances make a policy that has mastered some operations and not others, and so a wide range of difficulty.
    ReproError for another kind of step or a chance outside 0..1.
    """
    kinds = ("leaf", *OPERATIONS)
    rates = dict.fromkeys(kinds, slip) if isinstance(slip, int | float) else dict(slip)
    if set(rates) != set(kinds) or not all(0 <= rate <= 1 for rate in rates.values()):
        raise ReproError(f"slip is {slip!r}: give a chance from 0 to 1, or one for each of {', '.join(kinds)}")
    return rates


def noisy_trace(config: ArithmeticConfig, query: Query, rng: random.Random, slip: Slip) -> str:
    """An expert trace with consistent slips: each leaf value, operation or result is replaced with probability `slip`.

    The trace carries on from a slip as if it were right. A policy warmed up on such traces makes slips that
    reinforcement can remove; one warmed up on perfect traces leaves it little to do. See `slip_rates` for `slip`.
    """
    rates = slip_rates(slip)
    steps: list[Step] = []
    for step in query.graph:
        if not step.source:
            value = rng.randrange(config.modulus) if rng.random() < rates["leaf"] else step.value
            steps.append(Step(step.name, "", "", 0, value))
            continue
        operator, constant, rate = step.operator, step.constant, rates[step.operator]
        if rng.random() < rate:
            operator, constant = rng.choice("+-*"), rng.randrange(min(10, config.modulus))
        value = OPERATIONS[operator](steps[-1].value, constant) % config.modulus
        if rng.random() < rate:
            value = rng.randrange(config.modulus)
        steps.append(Step(step.name, step.source, operator, constant, value))
    return _trace(config, steps)


_FINAL_VALUE = re.compile(r"(?:^|=|####)\s*([+-]?\d{1,9})\s*[.;]?\s*$", re.ASCII)


def reward(query: Query, response: str) -> float:
    """1.0 if the response closes with the right value ("=7", "= 7", "#### 7", or a bare "7"), else 0.0.

    A value must be stated, not only used: "kiwi = plum +8" answers nothing. Linear in the response's length.
    """
    end = response if len(response) <= 64 else "|" + response[-64:]  # the bar: what was cut off is no bare value
    match = _FINAL_VALUE.search(end)
    return float(match is not None and int(match[1]) == int(query.answer))


def heldout(config: ArithmeticConfig) -> dict[str, list[Query]]:
    """The fixed held-out lists, one per level, the same for every seed of a study."""
    return problem_lists.heldout(partial(generate, config), config.levels, config.heldout_queries)


def train_list(config: ArithmeticConfig, seed: int) -> list[Query]:
    """The finite training list of a seed, disjoint from every held-out list."""
    seen, lengths = problem_lists.texts(heldout(config)), (config.min_length, config.max_length)
    return problem_lists.listed(partial(generate, config), f"train:{seed}", lengths, config.train_queries, seen)


def stream(config: ArithmeticConfig, seed: int) -> Iterator[Query]:
    """Endless fresh problems for the supervised warm start, disjoint from every held-out list."""
    seen, lengths = problem_lists.texts(heldout(config)), (config.min_length, config.max_length)
    return problem_lists.stream(partial(generate, config), f"stream:{seed}", lengths, seen)
