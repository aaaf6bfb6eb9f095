"""Two hand-written experts: one knows the household and takes the shortest way, one has to look for things.

`shortest_plan` sees the whole `Problem` and gives a plan with the fewest commands; it says whether a game can be solved
and how long a perfect player needs. `Searcher` sees what a player sees: it looks in the likely places first, remembers
what it saw, and its games are what a policy can learn from.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from repro.environments.alfworld.names import names
from repro.environments.alfworld.problem import APPLIANCES, REQUIRED, Goal, Object, Problem, Receptacle

Step = tuple[str, Object, Receptacle]  # what to do, with what, where
VERBS = {"isClean": "clean", "isHot": "heat", "isCool": "cool"}
_COMMANDS = {
    "take": "take {thing} from {place}",
    "move": "move {thing} to {place}",
    "clean": "clean {thing} with {place}",
    "heat": "heat {thing} with {place}",
    "cool": "cool {thing} with {place}",
    "use": "use {thing}",
}


def shortest_plan(problem: Problem) -> tuple[str, ...] | None:
    """The fewest commands that win, () if the game is won already, None if it cannot be won.

    Any state of a game can be given as a `Problem`. Every place is one `go to` away, so a plan is settled by which
    things are handled where: all choices are tried, and going and opening are filled in where they are needed. This
    is exact where lamps cannot be carried off, as in ALFWorld's games.
    """
    shown = names(problem)
    plans = (_commands(problem, steps, shown) for steps in _choices(problem))
    return min(plans, key=len, default=None)


def _commands(problem: Problem, steps: Sequence[Step], shown: Mapping[str, str]) -> tuple[str, ...]:
    """The steps as commands, with going and opening where they are needed."""
    here, opened, commands = problem.start, {place.id for place in problem.receptacles if place.opened}, []
    for verb, thing, place in steps:
        if place.location != here:
            commands.append(f"go to {shown[place.id]}")
            here = place.location
        if verb in ("take", "move") and place.openable and place.id not in opened:
            commands.append(f"open {shown[place.id]}")
            opened.add(place.id)
        if verb in _COMMANDS:  # "face" asks for nothing but going there
            commands.append(_COMMANDS[verb].format(thing=shown[thing.id], place=shown[place.id]))
    return tuple(commands)


def _choices(problem: Problem) -> Iterator[list[Step]]:
    """The steps of every plan worth trying."""
    goal = problem.goal
    places = {place.id: place for place in problem.receptacles if place.location is not None}
    condition, ability = REQUIRED.get(goal.task_type, (None, None))
    targets = [o for o in problem.objects if o.type == goal.object and (ability is None or ability in o.abilities)]
    held = next((thing for thing in problem.objects if thing.id == problem.holding), None)
    if _placed(problem, targets, condition):
        yield []
        return
    homes = [p for p in places.values() if p.type == goal.receptacle and (p.type, goal.object) in problem.can_contain]

    def lying(thing: Object) -> list[Receptacle]:
        return [places[id] for id in thing.receptacles if id in places]

    def taken(thing: Object) -> list[list[Step]]:
        if thing == held:
            return [[]]
        return [[("take", thing, place)] for place in lying(thing)] if "pickupable" in thing.abilities else []

    def treated(thing: Object) -> list[list[Step]]:
        if condition is None or condition in thing.conditions:
            return [[]]
        return [[(VERBS[condition], thing, p)] for p in places.values() if p.type == APPLIANCES[condition]]

    fits = [p for p in places.values() if held is not None and (p.type, held.type) in problem.can_contain]

    def brought(thing: Object, home: Receptacle) -> list[list[Step]]:
        if home.id in thing.receptacles:  # even if in hand: what was taken from one receptacle may still lie in another
            return [[]] if thing != held else [[("move", thing, place)] for place in fits]
        return [[*grasp, ("move", thing, home)] for grasp in taken(thing)]

    # A thing in hand is worked with, if it is one of the right ones, or put down first.
    starts: list[tuple[list[Step], list[Object]]] = [([], targets)]
    if held is not None:
        starts = [([], [held])] if held in targets else []
        others = [thing for thing in targets if thing != held]
        starts += [([("move", held, place)], others) for place in fits]
    for clearing, firsts in starts:
        for first in firsts:
            if goal.task_type == "look_at_obj_in_light":
                lamps = [o for o in problem.objects if o.type == goal.toggle and "toggleable" in o.abilities]
                for lamp in lamps:
                    verb = "face" if "isToggled" in lamp.conditions else "use"
                    for grasp in taken(first):
                        yield from ([*clearing, *grasp, (verb, lamp, place)] for place in lying(lamp))
            elif goal.task_type == "pick_two_obj_and_place":
                for second in targets:
                    for home in homes if second not in (first, held) else []:
                        for one in brought(first, home):
                            yield from ([*clearing, *one, *two] for two in brought(second, home))
            else:
                for grasp in taken(first):
                    # What lies in two receptacles at once stays in the other one when it is taken out of this.
                    rest = {*first.receptacles} - {place.id for _, _, place in grasp}
                    kept = any(p.id in rest and p.type == goal.receptacle for p in problem.receptacles)
                    for change in treated(first):
                        yield from ([*clearing, *grasp, *change, ("move", first, home)] for home in homes)
                        if kept and change:
                            yield [*clearing, *grasp, *change]


def _placed(problem: Problem, targets: Sequence[Object], condition: str | None) -> bool:
    """Whether a goal that asks for things in a receptacle is reached."""
    goal = problem.goal
    needed = 2 if goal.task_type == "pick_two_obj_and_place" else 1
    done = [thing for thing in targets if condition is None or condition in thing.conditions]
    homes = [place.id for place in problem.receptacles if place.type == goal.receptacle]
    return any(sum(home in thing.receptacles for thing in done) >= needed for home in homes)


# The expert that has to look


class Playable(Protocol):
    """What a game that is played offers; the project's engine does."""

    won: bool

    def reset(self) -> str: ...
    def step(self, action: str) -> tuple[str, float, bool]: ...
    def admissible(self) -> list[str]: ...


_NAME = r"([\w-]+ \d+)"
_SEES = re.compile(rf"(?:On the {_NAME}|The {_NAME} is open\. In it), you see ([^.]*)\.")
_EVENTS = {
    "closed": re.compile(rf"The {_NAME} is closed\."),
    "shut": re.compile(rf"You close the {_NAME}\."),
    "taken": re.compile(rf"You pick up the {_NAME} from the {_NAME}\."),
    "moved": re.compile(rf"You move the {_NAME} to the {_NAME}\."),
    "isClean": re.compile(rf"You clean the {_NAME} using"),
    "isHot": re.compile(rf"You heat the {_NAME} using"),
    "isCool": re.compile(rf"You cool the {_NAME} using"),
}


class Searcher:
    """Solves a game from its texts alone: likely places first, in a fixed order, nothing forgotten.

    `usual` says where a type of thing may lie, most likely first; without it, places are searched as numbered. The
    order is fixed so that a policy which only sees its last turns can learn it.
    """

    def __init__(self, goal: Goal, usual: Mapping[str, Sequence[str]] | None = None) -> None:
        self.goal = goal
        self.usual = {kind.lower(): [place.lower() for place in places] for kind, places in (usual or {}).items()}
        self.places: list[str] = []
        self.contents: dict[str, list[str]] = {}
        self.closed: set[str] = set()
        self.held: str | None = None
        self.conditions: dict[str, set[str]] = {}
        self.home: str | None = None

    def start(self, observation: str) -> None:
        """Takes in the opening text, which lists the receptacles."""
        listed = observation.partition("you see ")[2].partition(".")[0]
        self.places = sorted(re.findall(_NAME, listed), key=lambda name: (_kind(name), int(name.split()[-1])))

    def see(self, observation: str) -> None:
        """Takes in what a command was answered with, whoever gave it."""
        for at, inside, listed in _SEES.findall(observation):
            self.contents[at or inside] = re.findall(_NAME, listed)
            self.closed.discard(at or inside)
        found = {event: match.groups() for event, pattern in _EVENTS.items() if (match := pattern.search(observation))}
        for event, named in found.items():
            if event in ("closed", "shut"):
                self.closed.add(named[0])
            elif event == "taken":
                self.held = named[0]
                self.contents[named[1]] = [thing for thing in self.contents.get(named[1], []) if thing != named[0]]
            elif event == "moved":
                self.held = None
                self.contents.setdefault(named[1], []).append(named[0])
            else:
                opposite = {"isHot": "isCool", "isCool": "isHot"}.get(event)
                self.conditions[named[0]] = self.conditions.get(named[0], set()) - {opposite} | {event}

    def act(self, admissible: Sequence[str]) -> str:
        """The next command."""
        goal = self.goal
        if self.held is None:
            return self._fetch(goal.object, admissible)
        if _kind(self.held) != goal.object.lower():
            return self._put_down(admissible)
        if goal.toggle is not None:
            return self._fetch(goal.toggle, admissible)
        condition, _ = REQUIRED.get(goal.task_type, (None, None))
        if condition is not None and condition not in self.conditions.get(self.held, ()):
            place = self._first(APPLIANCES[condition])
            command = f"{VERBS[condition]} {self.held} with {place}"
            return command if command in admissible else f"go to {place}"
        if self.home is None:
            self.home = self._choose_home(admissible)
        return self._at(self.home, admissible, f"move {self.held} to {self.home}")

    def _at(self, place: str, admissible: Sequence[str], command: str) -> str:
        """The command at an open place, or the next step towards it."""
        if f"examine {place}" not in admissible:
            return f"go to {place}"
        return f"open {place}" if place in self.closed else command

    def _fetch(self, kind: str, admissible: Sequence[str]) -> str:
        """Takes a thing of this kind, or uses it where it is a lamp; looks for one where none is known."""
        for place, things in self.contents.items():
            for thing in things:
                if _kind(thing) != kind.lower() or self._done(place):
                    continue
                if kind == self.goal.toggle:
                    return f"use {thing}" if f"use {thing}" in admissible else f"go to {place}"
                return self._at(place, admissible, f"take {thing} from {place}")
        unseen = [place for place in self.places if place not in self.contents]
        if not unseen:
            return "look"  # everything is known and nothing fits: the game cannot be won
        usual = self.usual.get(kind.lower(), [])
        rank = {place: usual.index(_kind(place)) if _kind(place) in usual else len(usual) for place in unseen}
        place = min(unseen, key=lambda name: (self._done(name), rank[name]))
        return self._at(place, admissible, f"examine {place}")

    def _done(self, place: str) -> bool:
        """Whether the goal wants things of its kind to stay at this place."""
        if self.goal.task_type == "pick_two_obj_and_place" and self.home is not None:
            return place == self.home
        return self.goal.task_type not in REQUIRED and _kind(place) == (self.goal.receptacle or "").lower()

    def _choose_home(self, admissible: Sequence[str]) -> str:
        kind = self.goal.receptacle.lower()
        fitting = [place for place in self.places if _kind(place) == kind]
        begun = [p for p in fitting if any(_kind(o) == self.goal.object.lower() for o in self.contents.get(p, ()))]
        return next(iter([*begun, *(place for place in fitting if f"examine {place}" in admissible), *fitting]))

    def _put_down(self, admissible: Sequence[str]) -> str:
        """Gets rid of a thing that is in the way: here if possible, else at the next place that takes it."""
        for command in admissible:
            if command.startswith(f"move {self.held} to "):
                return command
        here = [place for place in self.places if f"examine {place}" in admissible]
        shut = [place for place in here if place in self.closed]
        if shut:
            return f"open {shut[0]}"
        after = self.places.index(here[-1]) + 1 if here else 0
        return f"go to {self.places[after % len(self.places)]}"

    def _first(self, kind: str) -> str:
        return next(place for place in self.places if _kind(place) == kind.lower())


def _kind(name: str) -> str:
    return name.rsplit(" ", 1)[0]


@dataclass(frozen=True)
class Turn:
    """What was seen, the command that was given, and whether the expert chose it."""

    observation: str
    command: str
    by_expert: bool


@dataclass(frozen=True)
class Demonstration:
    """A game as the expert played it."""

    turns: tuple[Turn, ...]
    won: bool


def demonstrate(
    environment: Playable, expert: Searcher, rng: random.Random, max_turns: int, noise: float = 0.0
) -> Demonstration:
    """Plays a fresh game to its end or for `max_turns`; with probability `noise` a turn is a random admissible command.

    The expert sees what the random commands led to and carries on from there, so that a policy learns to recover.
    """
    observation = environment.reset()
    expert.start(observation)
    turns: list[Turn] = []
    while not environment.won and len(turns) < max_turns:
        admissible = environment.admissible()
        by_expert = rng.random() >= noise
        command = expert.act(admissible) if by_expert else rng.choice(sorted(admissible))
        turns.append(Turn(observation, command, by_expert))
        observation, _, _ = environment.step(command)
        expert.see(observation)
    return Demonstration(tuple(turns), environment.won)
