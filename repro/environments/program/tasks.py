"""Programming tasks: named lists and numbers described in words, an example, and a program to be written.

A task is a chain of operations from the input to the result; its facts are shuffled and mixed with distractors that
hang on the chain but never feed it. The policy has to find the route, plan it in words and write it as a program,
which hidden tests judge:

    kiwi : plum +3                  (facts, one a line, in random order)
    fig : plum reversed             (a distractor)
    plum : input sorted
    in 3 1 4 out 4                  (a visible example)
    return : kiwi leading           (the question)

    plan kiwi leading plum plus input sorted        (an expert trace: the plan from the result back to the input,
    ```                                              each operation behind what it works on, without its details,
    plum = input sort                                then the program)
    kiwi = plum +3
    return kiwi first
    ```

Spaces separate words, so a word-level tokenizer sees `+3` as a single token, and facts, plan and program put source
and operation in one order: looking a fact up is then copying what followed a name. With constants as words of their
own, one word further from the name, a policy of half a million parameters never learned to look them up.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from repro.config import at_least_one
from repro.environments import problem_lists
from repro.environments.program import interpreter
from repro.environments.program.checking import FENCE, TESTS, expected_outputs, reward
from repro.environments.program.language import FUNCTIONS, INPUT, Type
from repro.environments.query import Query
from repro.errors import ReproError

NAMES = "apple basil cedar daisy elder fig grape hazel iris jade kiwi lemon mango nut olive plum".split()
BLANK = "[CODE]"  # a random mask may begin at a constant: then its operator stays
HINT_WORDS = ("<hint>", "</hint>", BLANK)
RETURN = "return"
CONSTANTS = range(2, 6)
NUMBERS = range(0, 21)  # what a visible example may show
MIN_OUTPUTS = 4  # different ones, of the hidden tests of a task: fewer could be guessed
OPERATIONS = {  # the word for it: the function or operator of a program
    "sorted": "sort", "reversed": "reverse", "shortened": "rest", "distinct": "unique",
    "total": "sum", "largest": "max", "smallest": "min", "counted": "count", "leading": "first", "trailing": "last",
    "plus": "+", "minus": "-", "times": "*", "divided": "/", "modulo": "%", "above": ">", "below": "<",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One fact: `name` is `source` changed by `operation`; `constant` is 0 where the operation takes none."""

    name: str
    source: str
    operation: str
    constant: int = 0

    @property
    def fact(self) -> str:
        """As the task states it."""
        return f"{self.name} : {self.source} {self._operator if self.constant else self.operation}"

    @property
    def statement(self) -> str:
        """As a program computes it."""
        start = RETURN if self.name == RETURN else f"{self.name} ="
        return f"{start} {self.source} {self._operator if self.constant else OPERATIONS[self.operation]}"

    @property
    def _operator(self) -> str:
        return f"{OPERATIONS[self.operation]}{self.constant}"


@dataclass(frozen=True)
class ProgramConfig:
    """Shape of the world. Difficulty is the number of statements of the expert's program: `levels` names ranges of it,
    the training list draws from min to max, the warm start from `warm_statements`.
    """

    names: int = 10  # how many of NAMES are in use; fewer are learned sooner
    min_statements: int = 3
    max_statements: int = 6
    max_distractors: int = 2
    warm_statements: tuple[int, int] = (1, 6)
    examples: int = 1  # visible ones, in the task's text
    train_queries: int = 512
    heldout_queries: int = 64  # per level
    levels: tuple[tuple[str, int, int], ...] = (("easy", 1, 2), ("medium", 3, 4), ("hard", 5, 6))

    def __post_init__(self) -> None:
        at_least_one("program world: ", self, "train_queries", "heldout_queries")
        ranges = {"training list": (self.min_statements, self.max_statements), "warm start": self.warm_statements}
        ranges |= {f"level {name!r}": (low, high) for name, low, high in self.levels}
        if self.max_distractors < 0 or self.examples < 0 or not 1 <= self.names <= len(NAMES):
            raise ReproError(
                f"program world: {self.names} names, {self.max_distractors} distractors and {self.examples} examples "
                f"describe no task; there are {len(NAMES)} names"
            )
        for what, (low, high) in ranges.items():
            if not 1 <= low <= high:
                raise ReproError(f"program world: {low}..{high} statements of the {what} are no range from 1 up")
            if high - 1 + self.max_distractors > self.names:
                raise ReproError(
                    f"program world: {high} statements of the {what} with {self.max_distractors} distractors need "
                    f"{high - 1 + self.max_distractors} names; world.names is {self.names}"
                )


def vocabulary(config: ProgramConfig) -> list[str]:
    """Every word of this world's tasks, traces and hints."""
    functions = [symbol for symbol in OPERATIONS.values() if symbol in FUNCTIONS]
    symbols = [symbol for symbol in OPERATIONS.values() if symbol not in FUNCTIONS]
    operators = [f"{symbol}{constant}" for symbol in symbols for constant in (*CONSTANTS, BLANK)]
    marks = [INPUT, ":", "in", "out", RETURN, "plan", FENCE, "="]
    numbers = [str(number) for number in NUMBERS]
    return [*NAMES[: config.names], *OPERATIONS, *functions, *operators, *marks, *numbers, *HINT_WORDS]


def result_type(operation: str, source: Type) -> Type | None:
    """The type that an operation makes of a source's, or None where it cannot be done or tasks do not ask it."""
    symbol = OPERATIONS[operation]
    if symbol in FUNCTIONS:
        return FUNCTIONS[symbol] if source == "list" else None
    return None if source == "number" and symbol in "<>" else source


def _change(step: Step, value: interpreter.Value) -> interpreter.Value:
    symbol = OPERATIONS[step.operation]
    return interpreter.apply(symbol, value, step.constant) if step.constant else interpreter.call(symbol, value)


def outputs(steps: Sequence[Step], inputs: Sequence[tuple[int, ...]] = TESTS) -> list[interpreter.Value]:
    """What the chain `steps`, first operation first, makes of each input. The steps must fit one another."""
    return [functools.reduce(lambda value, step: _change(step, value), steps, x) for x in inputs]


def generate(
    config: ProgramConfig, rng: random.Random, id: str, statements: tuple[int, int], held_out: bool | None = None
) -> Query:
    """One task whose number of statements lies in `statements`; `held_out` picks a side of the split by behaviour.

    Drawn again until the tests have at least MIN_OUTPUTS different outputs and notice every step that is left out, an
    example can be shown and the side is right. The query's `answer` is the outputs of the hidden tests as JSON, its
    `graph` the Steps of the distractors, then those of the chain in order.

    Raises ReproError if a thousand draws give none.
    """
    length, distractors = rng.randint(*statements), rng.randint(0, config.max_distractors)
    for _ in range(1000):
        names = rng.sample(NAMES[: config.names], length - 1 + distractors)
        chain, side = _facts(rng, [*names[: length - 1], RETURN], names[length - 1 :])
        expected = outputs(chain)
        if len(set(expected)) < MIN_OUTPUTS or _idle_step(chain, expected):
            continue
        answer = expected_outputs(expected)
        if held_out not in (None, is_held_out(answer)):
            continue
        examples = [_example(chain, rng) for _ in range(config.examples)]
        if None in examples or len(set(examples)) < len(examples):
            continue
        facts = [*chain[:-1], *side]
        rng.shuffle(facts)
        text = "\n".join([*(fact.fact for fact in facts), *examples, chain[-1].fact])
        return Query(id, text, answer, _level(config, length), expert_trace(chain), (*side, *chain))
    raise ReproError(f"program world: a thousand draws of {length} statements gave no task for {id}")


def _facts(rng: random.Random, chain_names: list[str], side_names: list[str]) -> tuple[list[Step], list[Step]]:
    """A chain from the input through `chain_names`, and facts that hang on it."""
    types: dict[str, Type] = {INPUT: "list"}

    def step(name: str, source: str, numbers: float) -> Step:
        """A list becomes a number with probability `numbers`."""
        wanted = "number" if types[source] == "number" or rng.random() < numbers else "list"
        types[name] = wanted
        return _drawn_step(rng, name, source, types[source], wanted)

    chain: list[Step] = []
    for name in chain_names:
        chain.append(step(name, chain[-1].name if chain else INPUT, 0.5 if name == RETURN else 0.15))
    sources = [INPUT, *chain_names[:-1]]
    return chain, [step(name, rng.choice(sources), 0.3) for name in side_names]


def _drawn_step(rng: random.Random, name: str, source: str, given: Type, wanted: Type) -> Step:
    operation = rng.choice([word for word in OPERATIONS if result_type(word, given) == wanted])
    return Step(name, source, operation, 0 if OPERATIONS[operation] in FUNCTIONS else rng.choice(CONSTANTS))


def _idle_step(chain: list[Step], expected: list[interpreter.Value]) -> bool:
    """Whether the tests would not notice that some step is left out."""
    kind: Type = "list"
    for at, step in enumerate(chain):
        before, kind = kind, result_type(step.operation, kind)
        if kind == before:
            rest = chain[:at] + chain[at + 1 :]
            if all(outputs(rest, [x])[0] == y for x, y in zip(TESTS, expected, strict=True)):
                return True
    return False


def _example(chain: list[Step], rng: random.Random) -> str | None:
    """A short input and its output, all in NUMBERS; None where twenty draws give none."""
    for _ in range(20):
        shown = tuple(rng.randrange(10) for _ in range(rng.randint(2, 4)))
        (value,) = outputs(chain, [shown])
        items = value if isinstance(value, tuple) else (value,)
        if items and shown not in TESTS and all(item in NUMBERS for item in items):
            return " ".join(["in", *map(str, shown), "out", *map(str, items)])
    return None


def _level(config: ProgramConfig, statements: int) -> str:
    return next((name for name, low, high in config.levels if low <= statements <= high), "beyond")


def expert_trace(chain: Sequence[Step], written: Sequence[Step] | None = None) -> str:
    """The plan of `chain`, then its program, or that of `written` where the two differ."""
    plan = " ".join(f"{step.source} {step.operation}" for step in reversed(chain))
    return "\n".join([f"plan {plan}", FENCE, *(step.statement for step in written or chain), FENCE])


def path(query: Query) -> tuple[Step, ...]:
    """The steps that lead to the result, the one that reads the input first."""
    facts = {step.name: step for step in query.graph}
    return tuple(facts[name] for name in _names_back(facts, RETURN))[::-1]


def slipped(query: Query, rng: random.Random, route: float, misread: float) -> Query:
    """The query with a trace that slips and carries on consistently; all else stays.

    Chances: `route`, at each turn of the plan another fact of the right type than the one that is named (the plan leads
    on from there to the input, and the program follows the plan); `misread`, a statement whose operation and constant
    are drawn afresh among those that fit its types. The first kind lies in what a mask of code blocks keeps, the
    second in what it hides.
    """
    facts = {step.name: step for step in query.graph}
    types = _types(facts)
    turns, visited, name = [facts[RETURN]], {RETURN}, facts[RETURN].source
    while True:
        if rng.random() < route:
            others = [other for other in types if other != name and types[other] == types[name]]
            free = [other for other in others if visited.isdisjoint(_names_back(facts, other))]
            name = rng.choice(free) if free else name
        turns[-1] = replace(turns[-1], source=name)
        if name == INPUT:
            break
        visited.add(name)
        turns.append(facts[name])
        name = facts[name].source
    chain = turns[::-1]
    written = [_misread(rng, step, types) if rng.random() < misread else step for step in chain]
    return replace(query, trace=expert_trace(chain, written))


def plant(query: Query, rng: random.Random) -> Query:
    """A copy whose trace has a wrong program: one statement misread, so that some test fails.

    Question and right answer stay, and so does the plan: only the code block tells of the plant. The graph is that of
    the planted program.
    """
    chain, types = path(query), _types({step.name: step for step in query.graph})
    side = query.graph[: -len(chain)]
    while True:
        at = rng.randrange(len(chain))
        written = (*chain[:at], _misread(rng, chain[at], types), *chain[at + 1 :])
        if expected_outputs(outputs(written)) != query.answer:
            return replace(query, trace=expert_trace(chain, written), graph=(*side, *written))


def outcome(planted: Query, response: str) -> Literal["copied", "solved", "neither"]:
    """Whether a response's program does what the planted one does, what the task asks, or something else."""
    if reward(replace(planted, answer=expected_outputs(outputs(path(planted)))), response):
        return "copied"
    return "solved" if reward(planted, response) else "neither"


def first_error(query: Query, response: str) -> Literal["none", "plan", "code", "form"]:
    """Where a response first leaves the expert trace: in the plan, or in the program after a plan that is right.

    "form": it stops too early or too late. The trace of a task is unique, but a program that differs from it may pass.
    """
    expected, given = query.trace.split(), response.split()
    for place, (word, said) in enumerate(zip(expected, given, strict=False)):
        if said != word:
            return "code" if FENCE in expected[:place] else "plan"
    return "none" if len(given) == len(expected) else "form"


def _misread(rng: random.Random, step: Step, types: dict[str, Type]) -> Step:
    return _drawn_step(rng, step.name, step.source, types[step.source], types[step.name])


def _types(facts: dict[str, Step]) -> dict[str, Type]:
    def type_of(name: str) -> Type:
        return "list" if name == INPUT else result_type(facts[name].operation, type_of(facts[name].source))

    return {name: type_of(name) for name in (INPUT, *facts)}


def _names_back(facts: dict[str, Step], name: str) -> Iterator[str]:
    """The names from `name` back to the input, which is left out."""
    while name != INPUT:
        yield name
        name = facts[name].source


def is_held_out(answer: str) -> bool:
    """The side of a behaviour: a fixed quarter of all behaviours belongs to the held-out lists alone."""
    return hashlib.sha256(answer.encode()).digest()[0] < 64


def heldout(config: ProgramConfig) -> dict[str, list[Query]]:
    """The fixed held-out lists, one per level, the same for every seed of a study."""
    return {
        name: _distinct(config, f"heldout:{name}", (low, high), config.heldout_queries, True)
        for name, low, high in config.levels
    }


def train_list(config: ProgramConfig, seed: int) -> list[Query]:
    """The finite training list of a seed. No task of it gives the outputs of a held-out task on the tests."""
    lengths = (config.min_statements, config.max_statements)
    return _distinct(config, f"train:{seed}", lengths, config.train_queries, False)


def stream(config: ProgramConfig, seed: int) -> Iterator[Query]:
    """Endless fresh tasks of `warm_statements` for the warm start, disjoint by behaviour from the held-out lists."""
    index = 0
    while True:
        id = f"stream:{seed}:{index}"
        yield generate(config, random.Random(id), id, config.warm_statements, held_out=False)
        index += 1


def _distinct(
    config: ProgramConfig, split: str, statements: tuple[int, int], count: int, held_out: bool
) -> list[Query]:
    """`count` tasks of one side with distinct texts."""
    propose = problem_lists.numbered(partial(generate, config, held_out=held_out), split, statements)
    wanted = f"program world: {split} wants {count} distinct tasks, but the world of {statements} statements"
    return problem_lists.distinct(propose, count, set(), wanted, tries=20)
