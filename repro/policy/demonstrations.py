"""Expert demonstrations for the warm start: with slips and hints in the search and the program world, games, purchases.

A lesson is a tuple of texts, shown and done in turn: (question, trace) where one response is the whole answer,
(observation, action, observation, action, ...) where an episode is played; or, where a world words its own prompts, a
tuple of turns (prompt, action). Only what is done is learned.

| | without a hint | with a hint |
|---|---|---|
| perfect phase | the expert's own way | a way with wrong turns, which the hint tells and the response follows |
| noisy phase | a way with slips | the same; the hint is cut from it with chance `trust`, else from the right one |

Hints that were always right would never be read in the perfect phase: the question alone would do. For the same reason
full traces there are misread too, with chance `misled` at each place: else what they have found or written would be
found or written anew, and never be copied.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from typing import Any

from repro.algorithms.masks import CodeBlocks, Entities, Nothing, RandomMask
from repro.algorithms.smepo import HINTS, ExpertTrace
from repro.environments import program, search
from repro.environments.alfworld import world as alfworld
from repro.environments.alfworld.world import AlfworldConfig
from repro.environments.guided_arithmetic import GuidedArithmeticConfig
from repro.environments.program import ProgramConfig
from repro.environments.query import Query
from repro.environments.search import SearchConfig, Slips
from repro.environments.webshop import world as webshop
from repro.environments.webshop.world import WebShopConfig
from repro.policy.transcript import Transcript

Lesson = tuple[str, ...] | tuple[tuple[str, str], ...]
Lessons = tuple[Iterator[Query], Callable[[Query], Lesson], Callable[[Query], Lesson]]

_COMMON = {name: HINTS[name] for name in ("full", "full_cut", "prefix_25", "prefix_50", "prefix_75")}


def _masked(masker: Any) -> ExpertTrace:
    return dataclasses.replace(HINTS["full"], masker=masker)


FORMATS: dict[type, dict[str, ExpertTrace]] = {  # by world: the hints that its vocabulary can write
    GuidedArithmeticConfig: HINTS,
    SearchConfig: _COMMON | {
        "entities": _masked(Entities()),
        "entities_found": _masked(Entities(keep_given=True)),
        "random": _masked(RandomMask(Entities())),
    },
    ProgramConfig: _COMMON | {
        "code": _masked(CodeBlocks()),
        "random": _masked(RandomMask(CodeBlocks())),
        "random_words": _masked(RandomMask(CodeBlocks(), singly=True)),
    },
}  # fmt: skip


def search_lessons(world: SearchConfig, settings: Any, seed: int) -> Lessons:
    """Whole episodes of an expert. `settings` is a `warmstart.DemonstrationConfig`.

    Slips are those of `search.slipped`: `route_slip` at each search, `slip` (a misreading) at each page.
    """

    def slipped(query: Query, rng: random.Random, route: float, reading: float) -> Query:
        return search.slipped(world, query, rng, Slips(route, reading, settings.trust))

    def taught(solved: Query, question: str) -> Lesson:
        (_, action), *rest = search.demonstration(world, solved)
        return (question, action, *(text for turn in rest for text in turn))

    return _lessons(search.stream(world, seed), slipped, taught, FORMATS[SearchConfig], settings, seed)


def program_lessons(world: ProgramConfig, settings: Any, seed: int) -> Lessons:
    """Plan and program as one response. Slips are those of `program.slipped`; `slip` is that of a misreading."""
    return _lessons(
        program.stream(world, seed), program.slipped, lambda solved, question: (question, solved.trace),
        FORMATS[ProgramConfig], settings, seed,
    )  # fmt: skip


def household_lessons(world: AlfworldConfig, settings: Any, seed: int) -> Lessons:
    """Games, see `alfworld.world.demonstration`. `settings` is a `warmstart.PlayedWarmStartConfig`."""
    rng = random.Random(f"slips:{seed}")

    def played(noise: float, slip: float) -> Callable[[Query], Lesson]:
        return lambda query: tuple(alfworld.demonstration(world, query, rng, noise, slip))

    return alfworld.stream(world, seed), played(settings.noise, 0.0), played(settings.late_noise, settings.slip)


def shop_lessons(world: WebShopConfig, settings: Any, seed: int) -> Lessons:
    """Purchases, see `webshop.world.demonstration`. `settings` is a `warmstart.PlayedWarmStartConfig`."""
    rng = random.Random(f"slips:{seed}")

    def played(noise: float, slip: float) -> Callable[[Query], Lesson]:
        return lambda query: tuple(webshop.demonstration(world, query, rng, noise, slip))

    return webshop.stream(world, seed), played(settings.noise, 0.0), played(settings.late_noise, settings.slip)


def _lessons(
    problems: Iterator[Query],
    slipped: Callable[[Query, random.Random, float, float], Query],
    taught: Callable[[Query, str], Lesson],
    formats: dict[str, ExpertTrace],
    settings: Any,
    seed: int,
) -> Lessons:
    slips, hints = random.Random(f"slips:{seed}"), random.Random(f"formats:{seed}")

    def hint() -> ExpertTrace | None:
        return formats[hints.choice(settings.hints)] if settings.hints and hints.random() >= settings.bare else None

    def perfect(query: Query) -> Lesson:
        if (shown := hint()) is None:
            return taught(query, query.text)
        whole = shown.masker == Nothing() and shown.ratio == 1.0
        followed = slipped(query, slips, settings.route_slip, settings.misled if whole else 0.0)
        return taught(followed, shown.prompt(followed))

    def noisy(query: Query) -> Lesson:
        solved = slipped(query, slips, settings.route_slip, settings.slip)
        if (shown := hint()) is None:
            return taught(solved, query.text)
        return taught(solved, shown.prompt(solved if hints.random() < settings.trust else query))

    return problems, perfect, noisy


def examples(policy: Any, lesson: Lesson, history: int | None) -> list[tuple[list[int], list[int], list[bool]]]:
    """(prompt, response, which of the response's tokens are learned), in tokens, as the policy will meet them in play.

    With the whole history in its prompts an episode is one response, in which observations are not learned: the same
    log-probabilities as turn by turn for half the tokens. With a shorter `history`, or in a world that words its own
    prompts, every turn is an example by itself.
    """
    if not isinstance(lesson[0], str):
        turns = [(policy.encode(shown), [*policy.encode(done), policy.end_token]) for shown, done in lesson]
        return [(shown, done, [True] * len(done)) for shown, done in turns]
    shown = [policy.encode(text) for text in lesson[0::2]]
    done = [policy.encode(text) + [policy.end_token] for text in lesson[1::2]]
    if history is None:
        response, learned = [], []
        for turn, action in enumerate(done):
            seen = shown[turn] if turn else []
            response += seen + action
            learned += [False] * len(seen) + [True] * len(action)
        return [(shown[0], response, learned)]
    transcript, rows = Transcript.start(shown[0]), []
    for turn, action in enumerate(done):
        rows.append((transcript.prompt(history), action, [True] * len(action)))
        if turn + 1 < len(shown):
            transcript = transcript.then(action, shown[turn + 1])
    return rows
