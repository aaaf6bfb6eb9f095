"""The arithmetic world for guidance by expert traces: an answer that cannot be guessed, a route that can be missed.

    kiwi = plum *7          (facts, one a line, shuffled; some feed nothing)
    fig = plum +23
    plum =41
    ? kiwi :

    kiwi plum :             (an expert trace, one step a line: the route, then each fact restated and computed)
    plum =41
    kiwi = plum *7 =85
    ? kiwi =85              (and the question with its answer: the line that is easiest to copy)

It differs from `repro.environments.arithmetic` where the study of masks needs it to:

- values modulo 101, so that a group of eight guesses is right in one of thirteen cases, not in more than half, and so
  that a computed value is rarely a number that the question prints; sums and products, so that two ways seldom meet;
- a trace of several lines, for truncation is aligned to lines;
- the graph holds every fact of the question, the critical path last, so that "on the path" means something;
- slips of three kinds in the warm start's traces, each with its own chance: a wrong turn on the route, a misread fact,
  a wrong result. So warmed up, a policy mostly fails by losing the route, and can follow a route that it is shown;
- words that mark a hint and its blanks.

`plant` and `outcome` are the pure half of the copy-rate experiment.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from repro.config import at_least_one
from repro.environments import arithmetic, problem_lists
from repro.environments.arithmetic import NAMES, OPERATIONS, Step
from repro.environments.query import Query
from repro.errors import ReproError

HINT_WORDS = ("<hint>", "</hint>", "[NUMBER]", "=[NUMBER]")


@dataclass(frozen=True)
class GuidedArithmeticConfig:
    """Shape of the world. Lengths count operations on the way to the answer; `warm_lengths` are the warm start's."""

    modulus: int = 101  # a prime, so that no factor loses a value
    operators: str = "+*"
    constants: tuple[int, ...] = (7, 23, 38)  # few, so that 101 values by 6 operations are soon learned by heart
    names: int = 12  # how many of NAMES are in use
    min_length: int = 5
    max_length: int = 7
    min_distractors: int = 2  # without any, a wrong turn near the end has nowhere to go
    max_distractors: int = 4
    warm_lengths: tuple[int, int] = (1, 7)
    train_queries: int = 512  # finite, so that training makes epochs over it (the paper: several over 1-10 k rows)
    heldout_queries: int = 128  # per level
    levels: tuple[tuple[str, int, int], ...] = (("easy", 1, 3), ("medium", 4, 5), ("hard", 6, 7))

    def __post_init__(self) -> None:
        at_least_one("guided arithmetic world: ", self, "train_queries", "heldout_queries")
        low, high = self.warm_lengths
        longest = max(self.max_length, high, *(level[2] for level in self.levels))
        if not 1 <= self.min_length <= self.max_length or not 1 <= low <= high:
            raise ReproError(
                f"guided arithmetic world: lengths {self.min_length}..{self.max_length} and warm lengths {low}..{high} "
                "describe no problem"
            )
        if not 0 <= self.min_distractors <= self.max_distractors:
            raise ReproError(
                f"guided arithmetic world: {self.min_distractors} to {self.max_distractors} distractors cannot be"
            )
        if self.modulus < 2 or not self.operators or not set(self.operators) <= set(OPERATIONS):
            raise ReproError(
                f"guided arithmetic world: modulus {self.modulus} must be 2 or more and operators "
                f"{self.operators!r} some of {''.join(OPERATIONS)}"
            )
        if not self.constants or not all(1 <= constant < self.modulus for constant in self.constants):
            raise ReproError(
                f"guided arithmetic world: constants {self.constants} must be one or more between 1 and "
                f"{self.modulus - 1} (with 0, a step would print the next value before it is computed)"
            )
        if not longest + 1 + self.max_distractors <= self.names <= len(NAMES):
            raise ReproError(
                f"guided arithmetic world: {longest} operations with {self.max_distractors} distractors need "
                f"{longest + 1 + self.max_distractors} names; world.names is {self.names}, and there are {len(NAMES)}"
            )


def vocabulary(config: GuidedArithmeticConfig) -> list[str]:
    """Every word of this world's problems, traces and hints."""
    operations = [f"{operator}{constant}" for operator in config.operators for constant in config.constants]
    blanks = [f"{operator}[NUMBER]" for operator in config.operators]
    values = [f"={value}" for value in range(config.modulus)]
    return [*NAMES[: config.names], "=", *operations, *values, "?", ":", *HINT_WORDS, *blanks]


def generate(config: GuidedArithmeticConfig, rng: random.Random, id: str, lengths: tuple[int, int]) -> Query:
    """One problem whose number of operations lies in `lengths`."""
    length, distractors = rng.randint(*lengths), rng.randint(config.min_distractors, config.max_distractors)
    names = rng.sample(NAMES[: config.names], length + 1 + distractors)
    chain = [Step(names[0], "", "", 0, rng.randrange(config.modulus))]
    for name in names[1 : length + 1]:
        chain.append(_step(config, rng, name, chain[-1]))
    side = [_step(config, rng, name, rng.choice(chain)) for name in names[length + 1 :]]
    facts = side + chain
    rng.shuffle(facts)
    return Query(
        id=id,
        text="\n".join([*(fact.fact for fact in facts), f"? {chain[-1].name} :"]),
        answer=str(chain[-1].value),
        level=next((name for name, low, high in config.levels if low <= length <= high), "beyond"),
        trace=_trace(chain),
        graph=(*side, *chain),
    )


def _operation(config: GuidedArithmeticConfig, rng: random.Random) -> tuple[str, int]:
    return rng.choice(config.operators), rng.choice(config.constants)


def _step(config: GuidedArithmeticConfig, rng: random.Random, name: str, source: Step) -> Step:
    operator, constant = _operation(config, rng)
    return Step(name, source.name, operator, constant, OPERATIONS[operator](source.value, constant) % config.modulus)


def _trace(chain: list[Step] | tuple[Step, ...]) -> str:
    route = " ".join(step.name for step in reversed(chain))
    return "\n".join([f"{route} :", *(step.computed for step in chain), f"? {chain[-1].name} ={chain[-1].value}"])


def path(query: Query) -> tuple[Step, ...]:
    """The quantities on the way to the answer, the given one first."""
    by_name, steps = {step.name: step for step in query.graph}, [query.graph[-1]]
    while steps[-1].source:
        steps.append(by_name[steps[-1].source])
    return tuple(reversed(steps))


def slipped(
    config: GuidedArithmeticConfig, query: Query, rng: random.Random, route: float, fact: float, result: float
) -> Query:
    """The query with a trace that slips; text and answer stay, graph and trace are those of the slipped solution.

    Chances: `route`, at each turn of the route a wrong name instead of the one the fact gives; `fact`, a given value or
    an operation misread; `result`, a computed value wrong. The trace carries on consistently from every slip. What has
    slipped may slip further: without new slips it stays as it is.
    """
    facts = {step.name: step for step in query.graph}
    name, names = query.graph[-1].name, []
    while name:
        names.append(name)
        right = facts[name].source
        wrong = [other for other in facts if other not in names and other != right]
        back = right in names  # after a wrong turn, a source may have been passed already
        name = rng.choice(wrong) if right and wrong and (back or rng.random() < route) else "" if back else right
    chain: list[Step] = []
    for name in reversed(names):
        known = facts[name]
        if not chain:  # the end of the route, which after wrong turns need not be the given quantity
            given = not known.source and rng.random() >= fact
            chain.append(Step(name, "", "", 0, known.value if given else rng.randrange(config.modulus)))
            continue
        source, operator, constant = chain[-1], known.operator, known.constant
        if not operator or rng.random() < fact:
            operator, constant = _operation(config, rng)
        if (source, operator, constant) == (facts[source.name], known.operator, known.constant) and (
            source.name == known.source
        ):
            value = known.value  # right or not, it is what this solution says
        else:
            value = OPERATIONS[operator](source.value, constant) % config.modulus
        if rng.random() < result:
            value = rng.randrange(config.modulus)
        chain.append(Step(name, source.name, operator, constant, value))
    aside = [step for step in query.graph if step.name not in names]
    return replace(query, trace=_trace(chain), graph=(*aside, *chain))


def believed(config: GuidedArithmeticConfig, query: Query, shown: str) -> Query:
    """The query with the trace of one who believes every result that `shown` states and computes all others.

    `shown` is a text with lines of `query`'s trace, as a hint has them; of a line with blanks the result counts if name
    and value are there. Route, given values and operations are those of `query`.
    """
    lines = [line.removeprefix("? ").split() for line in shown.splitlines()]
    stated = {(words[0], words[-1]) for words in lines if words}
    chain: list[Step] = []
    for step in path(query):
        if not step.source or (step.name, f"={step.value}") in stated:
            chain.append(step)
        else:
            value = OPERATIONS[step.operator](chain[-1].value, step.constant) % config.modulus
            chain.append(replace(step, value=value))
    aside = [step for step in query.graph if step.name not in {known.name for known in chain}]
    return replace(query, trace=_trace(chain), graph=(*aside, *chain))


reward = arithmetic.reward  # 1.0 if the response closes with the answer's value, else 0.0


def first_error(query: Query, response: str) -> Literal["none", "route", "fact", "value", "form"]:
    """Where a response first leaves the expert trace: naming the route, restating a fact, or computing a value.

    "form": it stops early or says what no trace says. The trace of a question is unique, so the comparison is exact.
    """
    expected, given = query.trace.split(), response.split()
    for place, word in enumerate(expected):
        said = given[place] if place < len(given) else ""
        if said == word:
            continue
        if ":" not in expected[:place]:
            return "route" if said in NAMES or said == ":" else "form"
        value = len(word) > 1 and word[0] == "=" and len(said) > 1 and said[0] == "="
        if value:
            before = expected[place - 2 : place]
            restated = before[-1] in NAMES and before[0] != "?"  # "plum =41": a given, not a result
            return "fact" if restated else "value"
        return "fact" if said in NAMES or said[:1] in OPERATIONS else "form"
    return "none" if len(given) == len(expected) else "form"


def plant(config: GuidedArithmeticConfig, query: Query, rng: random.Random, step: int | None = None) -> Query:
    """A copy whose trace is wrong from one computed value on, consistently, and ends in a wrong answer.

    The result of path step `step` (1 is the first computed one, -1 the last; None draws one) is replaced by a wrong
    value and the steps after it are computed from there; question and right answer stay. Raises ReproError if the step
    is not a computed one, or if no wrong value leads to a wrong answer (a later factor of 0).
    """
    chain = path(query)
    computed = range(1, len(chain))
    place = rng.choice(computed) if step is None else step if step >= 0 else len(chain) + step
    if place not in computed:
        raise ReproError(f"query {query.id}: step {step} of {len(chain) - 1} is not a computed value")
    wrong = [value for value in range(config.modulus) if value != chain[place].value]
    rng.shuffle(wrong)
    for value in wrong:
        steps = [*chain[:place], replace(chain[place], value=value)]
        for later in chain[place + 1 :]:
            result = OPERATIONS[later.operator](steps[-1].value, later.constant) % config.modulus
            steps.append(replace(later, value=result))
        if steps[-1].value != chain[-1].value:
            on_path = {after.name: after for after in steps}
            graph = tuple(on_path.get(node.name, node) for node in query.graph)
            return replace(query, trace=_trace(steps), graph=graph)
    raise ReproError(f"query {query.id}: no wrong value at step {place} changes the answer")


def outcome(planted: Query, response: str) -> Literal["copied", "solved", "neither"]:
    """Whether a response closes with the planted answer, with the right one, or with another."""
    if reward(replace(planted, answer=str(planted.graph[-1].value)), response):
        return "copied"
    return "solved" if reward(planted, response) else "neither"


def heldout(config: GuidedArithmeticConfig) -> dict[str, list[Query]]:
    """The fixed held-out lists, one per level, the same for every seed of a study."""
    return problem_lists.heldout(partial(generate, config), config.levels, config.heldout_queries, "guided-")


def train_list(config: GuidedArithmeticConfig, seed: int) -> list[Query]:
    """The finite training list of a seed, disjoint from every held-out list."""
    seen, lengths = problem_lists.texts(heldout(config)), (config.min_length, config.max_length)
    return problem_lists.listed(partial(generate, config), f"guided-train:{seed}", lengths, config.train_queries, seen)


def stream(config: GuidedArithmeticConfig, seed: int) -> Iterator[Query]:
    """Endless fresh problems of `warm_lengths` for the warm start, disjoint from every held-out list."""
    seen = problem_lists.texts(heldout(config))
    return problem_lists.stream(partial(generate, config), f"guided-stream:{seed}", config.warm_lengths, seen)
