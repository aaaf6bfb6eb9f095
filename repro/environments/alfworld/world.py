"""ALFWorld as a world of several turns: lists of games, and a game as an episode with a turn limit.

    config = AlfworldConfig()                   # small households, prompts in few words
    query = train_list(config, seed=0)[0]
    episode = HouseholdEpisode(config, query)
    episode.reset()                             # the game's own opening text, as every observation is its own
    episode.prompt()                            # 'put apple sinkbasin . at room . hand nothing . room see ... >'
    episode.step("go to fridge 1")              # ('You arrive at fridge 1. The fridge 1 is closed.', 0.0, False)

Observations are ALFWorld's texts character for character; only what the policy is shown (`prompt`) has another form.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from types import ModuleType
from typing import Literal, NamedTuple

from repro.environments.alfworld import data, games, layouts
from repro.environments.alfworld.data import DatasetConfig
from repro.environments.alfworld.engine import Engine, Environment
from repro.environments.alfworld.expert import Searcher
from repro.environments.alfworld.games import HouseholdConfig
from repro.environments.alfworld.households import Rules
from repro.environments.alfworld.layouts import LayoutConfig
from repro.environments.alfworld.problem import REQUIRED, Game
from repro.environments.alfworld.prompts import (
    COMMAND_WORDS,
    OBSERVATION_WORDS,
    SIGNS,
    TASK_WORDS,
    compact_prompt,
    projected,
    verbose_prompt,
)
from repro.environments.alfworld.text import NOTHING_HAPPENS
from repro.environments.query import Query
from repro.errors import ReproError

_NAME = re.compile(r"[a-z]+ \d+")
_SOURCES: dict[type, ModuleType] = {HouseholdConfig: games, LayoutConfig: layouts, DatasetConfig: data}


@dataclass(frozen=True)
class AlfworldConfig:
    """Which games are played, and how. The defaults are the small tier; the paper (3SPO, released configuration) has
    ALFWorld's data, verbose prompts, 50 turns, and 0.1 off for a response out of form: `AlfworldConfig(DatasetConfig(),
    "verbose", max_turns=50, invalid="penalty")`.

    Winning earns 1.0 (the released code: 10). An action is invalid if it is out of form in verbose prompts, which ask
    for tags, or has no effect in compact ones, which do not.
    """

    source: HouseholdConfig | LayoutConfig | DatasetConfig = HouseholdConfig()
    form: Literal["compact", "verbose"] = "compact"
    history: int | None = 2  # turns shown before the present one; None: all
    max_turns: int = 20
    invalid: Literal["nothing", "penalty", "end"] = "nothing"  # what it costs, besides its turn
    penalty: float = 0.1  # what "penalty" takes off the turn's reward

    def __post_init__(self) -> None:
        if self.max_turns < 1 or (self.history is not None and self.history < 0) or self.penalty < 0:
            raise ReproError("alfworld: max_turns must be 1 or more, history and penalty not negative")


@dataclass(frozen=True)
class Household:
    """A game with what is made from it once: the engine that all its episodes share, and what its goal is about."""

    game: Game

    @cached_property
    def engine(self) -> Engine:
        return Engine(self.game)

    @cached_property
    def targets(self) -> int:
        """The things of the goal's kind, as a bit mask."""
        return self._things(self.game.problem.goal.object)

    @cached_property
    def lamps(self) -> int:
        return self._things(self.game.problem.goal.toggle)

    @cached_property
    def homes(self) -> frozenset[int]:
        """The receptacles of the goal's kind."""
        wanted = (self.game.problem.goal.receptacle or "").lower()
        return frozenset(r for r in self.engine.receptacles if wanted and self.engine.kind[r] == wanted)

    def _things(self, kind: str | None) -> int:
        names = self.engine.object_name
        return sum(1 << i for i, name in enumerate(names) if name.rpartition(" ")[0] == (kind or "").lower())


# Lists


def train_list(config: AlfworldConfig, seed: int) -> list[Query]:
    """The finite training list of a seed. A query's level is its task type, its trace the shortest walkthrough."""
    return _queries(_SOURCES[type(config.source)].train_list(config.source, seed).games)


def heldout(config: AlfworldConfig) -> dict[str, list[Query]]:
    """The fixed held-out lists: `valid_seen` in rooms of the training list, `valid_unseen` in others."""
    return {
        split: _queries(found.games) for split, found in _SOURCES[type(config.source)].heldout(config.source).items()
    }


def stream(config: AlfworldConfig, seed: int) -> Iterator[Query]:
    """Endless fresh games of the training rooms for the warm start, none of them held out. Data sets have none."""
    if isinstance(config.source, DatasetConfig):
        raise ReproError("alfworld: a data set has no endless stream of games; generate them with another world.source")
    return (_query(game) for game in _SOURCES[type(config.source)].stream(config.source, seed))


def vocabulary(config: AlfworldConfig) -> list[str]:
    """Every word of compact prompts and commands in small households. Other games are for pretrained policies."""
    if config.form != "compact" or not isinstance(config.source, HouseholdConfig):
        raise ReproError(
            "alfworld: only compact prompts of small households have a list of words; for other games and prompts set "
            "policy.checkpoint to a pretrained model"
        )
    rooms = games.world(config.source).rooms.values()
    most = max([r.type for r in room.receptacles].count(kind) for room in chain(*rooms) for kind in room.types)
    numbers = map(str, range(1, max(most, config.source.max_things) + 1))
    fixed = [*SIGNS, *COMMAND_WORDS, *TASK_WORDS, *OBSERVATION_WORDS]
    return list(dict.fromkeys([*fixed, *numbers, *games.nouns(config.source)]))


def _queries(found: Iterable[Game]) -> list[Query]:
    return [_query(game) for game in found]


def _query(game: Game) -> Query:
    return Query(
        id=game.id,
        text=game.task,
        answer="",
        level=game.problem.goal.task_type,
        trace="\n".join(game.walkthrough),
        graph=(Household(game),),
    )


def demonstration(
    config: AlfworldConfig, query: Query, rng: random.Random, noise: float, slip: float = 0.0
) -> list[tuple[str, str]]:
    """(prompt, command) of the turns of a game that the searching expert plays to its end or to the turn limit.

    By chance `noise` a command is any admissible one instead of the expert's. By chance `slip` it is a wrong one (once
    or several times), which mostly does nothing; such a turn is left out, but later prompts show what came of it.
    The expert knows the house rules of generated games, but not where things are in this one.
    """
    episode, shown = HouseholdEpisode(config, query), []
    searcher = Searcher(episode.household.game.problem.goal, _rules(config).whereabouts)
    searcher.start(episode.reset())
    wrong = ""
    while not episode.done:
        admissible = episode.admissible()
        if shown and rng.random() < slip:
            wrong = wrong if wrong and rng.random() < _STUBBORN else _wrong(episode, rng)
            command = wrong
        else:
            command, wrong = rng.choice(admissible) if rng.random() < noise else searcher.act(admissible), ""
            shown.append((episode.prompt(), command))
        observation, _, _ = episode.step(command)
        searcher.see(observation)
    return shown


_STUBBORN = 0.5  # chance that a slip which follows on another repeats it
_WRONG = (
    "go to {place}", "go to {place}", "take {thing} from {place}", "take {thing} from {place}", "open {place}",
    "move {thing} to {place}", "use {thing}", "clean {thing} with {place}", "heat {thing} with {place}",
    "cool {thing} with {place}",
)  # fmt: skip


def _wrong(episode: HouseholdEpisode, rng: random.Random) -> str:
    """A command as beginners give it: where they stand or anywhere, with the thing in hand, the one that is wanted, or
    any other, and with any number. Most do nothing."""
    env, goal = episode.environment, episode.household.game.problem.goal
    engine = env.engine

    def numbered(names: list[str]) -> str:
        return f"{rng.choice(names).rpartition(' ')[0]} {rng.randint(1, 3)}"

    here = [engine.receptacle_name[r] for r in engine.here[env.place]]
    wanted = f"{goal.object.lower()} {rng.randint(1, 3)}"
    thing = rng.choice([env.inventory or wanted, wanted, numbered(engine.object_name)])
    place = rng.choice([*here, numbered(engine.receptacle_name)])
    return rng.choice(_WRONG).format(thing=thing, place=place)


def _rules(config: AlfworldConfig) -> Rules:
    return games.RULES if isinstance(config.source, HouseholdConfig) else layouts.rules()


# Play


class Faults(NamedTuple):
    """How many of an episode's actions went wrong, by kind."""

    nothing_happens: int = 0  # no command, or one that is not possible now
    unparsed: int = 0  # a response without words, or out of the form that verbose prompts ask for
    out_of_turns: int = 0


class State(NamedTuple):
    """All that changes in an episode: a snapshot. `world` is the engine's, `past` what prompts show of it."""

    world: tuple
    observation: str
    past: tuple[tuple[str, str], ...] = ()
    turn: int = 0  # actions taken
    done: bool = False
    faults: Faults = Faults()


class HouseholdEpisode:
    """A game played with a turn limit. Deterministic; for one use, or restored to any of its states."""

    def __init__(self, config: AlfworldConfig, query: Query):
        if not query.graph or not isinstance(query.graph[0], Household):
            raise ReproError(f"alfworld: {query.id!r} holds no household; play queries of this world's own lists")
        self.config = config
        self.household: Household = query.graph[0]
        self.environment = Environment(self.household.engine)
        self.state: State | None = None  # its field `world` is kept up to date by `snapshot` alone

    def reset(self) -> str:
        """Start; the game's opening text, which states the task."""
        observation = self.environment.reset()
        self.state = State((), observation)
        return observation

    @property
    def won(self) -> bool:
        self._begun()
        return self.environment.won

    @property
    def done(self) -> bool:
        return self._begun().done

    @property
    def faults(self) -> Faults:
        return self._begun().faults

    def step(self, action: str) -> tuple[str, float, bool]:
        """(the game's answer, reward, done). Raises ReproError before `reset`, after the end, and if it is no text."""
        state, config = self._begun(), self.config
        if state.done:
            raise ReproError("alfworld: the episode is over; restore a snapshot or build a new one")
        if not isinstance(action, str):
            raise ReproError(f"alfworld: an action is text, not {type(action).__name__}: {action!r}")
        verbose = config.form == "verbose"
        command, formed = projected(action) if verbose else (action, bool(action.split()))
        observation, _, won = self.environment.step(command)
        idle, turn = observation == NOTHING_HAPPENS, state.turn + 1
        invalid = not formed if verbose else idle
        done = won or turn >= config.max_turns or (invalid and config.invalid == "end")
        nothing, unparsed, late = state.faults
        faults = Faults(nothing + idle, unparsed + (not formed), late + (turn >= config.max_turns and not won))
        past = (*state.past, (state.observation, command))
        if config.history is not None:
            past = past[len(past) - config.history :] if len(past) > config.history else past
        self.state = State((), observation, past, turn, done, faults)
        penalty = config.penalty if invalid and config.invalid == "penalty" else 0.0
        return observation, float(won) - penalty, done

    def prompt(self) -> str:
        """All that the policy sees at this turn."""
        state, task = self._begun(), self.environment.task
        if self.config.form == "compact":
            engine = self.environment.engine
            here = [engine.receptacle_name[r] for r in engine.here[self.environment.place]]
            return compact_prompt(task, here, self.environment.inventory, state.past, state.observation)
        return verbose_prompt(task, state.turn, state.past, state.observation, self.admissible())

    def admissible(self) -> list[str]:
        """The commands that do something now, sorted; [] when over."""
        return [] if self._begun().done else self.environment.admissible()

    def snapshot(self) -> State:
        """The state, an immutable value; `restore` takes it back, in this episode or another of the same game."""
        return self._begun()._replace(world=self.environment.snapshot())

    def restore(self, snapshot: State) -> None:
        """Raises ReproError for what is no snapshot, or one of another game."""
        if not isinstance(snapshot, State):
            raise ReproError(f"alfworld: {snapshot!r} is no snapshot of an episode")
        self.environment.restore(snapshot.world)
        self.state = snapshot

    def state_key(self, with_goal: bool = False) -> str:
        """The household's state, see `Environment.state_key`. Turns taken, faults and what was seen do not count."""
        return self.environment.state_key(with_goal)

    def abstract_key(self) -> str:
        """Where the game stands relative to its goal, in words that all games share.

        Task type; the kinds of receptacle here, whether the goal wants things there, whether one is open; how many
        things of the goal's kind are to be had here, and how many are in place; whether the goal's lamp is here and
        lit; whether the hand is empty, or holds a thing of the goal's kind, treated or not, or another.
        """
        env, house = self.environment, self.household
        engine, task_type = env.engine, house.game.problem.goal.task_type
        here = engine.here[env.place]
        visible = [r for r in here if not engine.openable[r] or env.opened >> r & 1]
        condition, _ = REQUIRED.get(task_type, (None, None))
        ready = house.targets & {None: -1, "isClean": env.clean, "isHot": env.hot, "isCool": env.cool}[condition]
        in_place = max((env.contents[r] & ready for r in house.homes), key=int.bit_count, default=0)
        to_be_had = sum((env.contents[r] & house.targets & ~in_place).bit_count() for r in visible)
        lamp = [env.contents[r] & house.lamps for r in here if env.contents[r] & house.lamps]
        if env.hand < 0:
            held = "empty"
        elif house.targets >> env.hand & 1:
            held = "target" if condition is None or not ready >> env.hand & 1 else "treated target"
        else:
            held = "other"
        parts = (
            task_type,
            " ".join(sorted(engine.kind[r] for r in here)) or "nowhere",
            "home" if house.homes.intersection(here) else "elsewhere",
            "open" if visible else "shut",
            f"{min(to_be_had, 2)} here",
            f"{min(in_place.bit_count(), 2)} in place",
            "no lamp" if not lamp else "lit" if any(mask & env.toggled for mask in lamp) else "unlit",
            held,
        )
        return ", ".join(parts)

    def _begun(self) -> State:
        if self.state is None:
            raise ReproError("alfworld: call reset before anything else")
        return self.state
