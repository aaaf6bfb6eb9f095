"""ALFWorld's text world in plain Python: every text and command as the `alfworld` and `textworld` packages give them.

What the reference engine does is kept also where its authors meant something else (ALFWorld 0.4.2, TextWorld 1.7.0):

- Only the thing in hand can be examined. A stray comma in the domain (`alfred.pddl`, examineObject) makes a type that
  nothing has, so the branch for visible things never applies.
- `go to` is missing for every receptacle at the present location: going nowhere has no effect, and actions without
  effects are dropped. Receptacles that share a location are opened and used without moving.
- `look` names the receptacles here and what lies "next to" them: things that stand at this location and were once
  taken out of one of these receptacles, said once for each. Contents are told by examining, opening and arriving.
- A thing can be cleaned, heated or cooled at a closed appliance and again and again, a lamp used inside a closed
  cabinet; a used lamp stays on for ever. Slicing needs a knife in hand and the thing's location, not a way to it.
- A command must match an admissible one exactly, once spaces at both ends are gone; anything else is
  "Nothing happens.". A won game can be played on, and be won no more.

A state is a handful of integers: sets of things are bit masks over the things in the order of their identifiers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from repro.environments.alfworld import actions, text
from repro.environments.alfworld.actions import bits
from repro.environments.alfworld.names import names
from repro.environments.alfworld.problem import APPLIANCES, KNIVES, Game, Problem
from repro.environments.alfworld.winning import check_reachable, winning
from repro.errors import ReproError

Handler = Callable[["Environment", Any], str]
_SIGNS = ';|"<>[]{}#'  # the grammar's own; inside a task's sentence they cut it short or worse
_VIEWS = 4096  # situations that an engine remembers before it starts afresh; one takes about a kilobyte


class View:
    """What can be done in one situation: place, thing in hand, and what is visible here."""

    __slots__ = ("actions", "commands")

    def __init__(self, actions: dict[str, tuple[Handler, Any]]):
        self.actions = actions  # all but going elsewhere
        self.commands: list[str] | None = None  # sorted, with going elsewhere; made when asked for


class Engine:
    """One game, compiled: what never changes in it, and a memory of situations that all its environments share."""

    def __init__(self, game: Game):
        """Raises ReproError for a goal that no commands can reach; the reference cannot load such a game either."""
        problem = game.problem
        check_reachable(problem)
        if set(game.task) & set(_SIGNS):
            raise ReproError(
                f"{problem.name}: the task {game.task!r} has a sign of the game's grammar, one of {_SIGNS}, which cuts "
                "or changes the sentence that a player reads; put it in plain words"
            )
        self.game, shown = game, names(problem)
        receptacles = sorted((r for r in problem.receptacles if r.id in shown), key=lambda r: r.id.lower())
        objects = sorted((o for o in problem.objects if o.id in shown), key=lambda o: o.id.lower())
        locations = sorted({r.location for r in receptacles if r.location})
        self.places = len(locations)  # the places one can go to; what is elsewhere stays there
        locations += sorted({problem.start, *(place for o in objects for place in o.locations)} - set(locations))
        self.receptacles = range(len(receptacles))
        self.receptacle_name = [shown[r.id] for r in receptacles]
        self.object_name = [shown[o.id] for o in objects]
        object_at = {o.id: index for index, o in enumerate(objects)}

        def having(ability: str) -> int:
            return sum(1 << i for i, o in enumerate(objects) if ability in o.abilities)

        def being(condition: str) -> int:
            return sum(1 << i for i, o in enumerate(objects) if condition in o.conditions)

        self.pickupable, self.toggleable, self.sliceable = map(having, ("pickupable", "toggleable", "sliceable"))
        self.treatable = [
            (handler, verb, APPLIANCES[condition].lower(), having(ability))
            for condition, (handler, verb, ability) in actions.TREATMENTS.items()
        ]
        self.knives = {i for i, o in enumerate(objects) if (o.type or "").lower() in {k.lower() for k in KNIVES}}
        self.containers = {
            i: [shown[inner.id] for inner in objects if o.id in inner.containers]
            for i, o in enumerate(objects) if o.is_receptacle
        }  # fmt: skip
        self.openable = [r.openable for r in receptacles]
        self.kind = [(r.type or "").lower() for r in receptacles]
        self.location = [locations.index(r.location) if r.location else -1 for r in receptacles]
        self.here = [[r for r in self.receptacles if self.location[r] == place] for place in range(len(locations))]
        self.doors_here = [sum(1 << r for r in here) for here in self.here]
        self.fits = [
            {i for i, o in enumerate(objects) if (receptacle.type, o.type) in problem.can_contain}
            for receptacle in receptacles
        ]
        contents = [sum(1 << i for i, o in enumerate(objects) if r.id in o.receptacles) for r in receptacles]
        standing = [sum(1 << i for i, o in enumerate(objects) if place in o.locations) for place in locations]
        # Where a thing stands follows from where it lies, unless receptacles share a location or the file says
        # otherwise. Elsewhere only what can be sliced needs its location, and nothing can lie next to a receptacle.
        self.loose = [len(here) != 1 or standing[p] != contents[here[0]] for p, here in enumerate(self.here)]
        self.tracked = [-1 if loose else self.sliceable for loose in self.loose]
        standing = [mask & tracked for mask, tracked in zip(standing, self.tracked, strict=True)]
        self.won, self.light = winning(problem, objects, receptacles)
        opened = sum(1 << i for i, r in enumerate(receptacles) if r.opened)
        self.household = _digest(_household(problem, locations[: self.places]))
        self.goal = " ".join(filter(None, vars(problem.goal).values()))
        place, hand = locations.index(problem.start), object_at.get(problem.holding, -1)
        conditions = map(being, ("isClean", "isHot", "isCool", "isSliced", "isToggled"))
        start = (place, hand, opened, *conditions, tuple(contents), tuple(standing), (0,) * len(receptacles))
        self.identity = _digest(f"{self.household} {problem.start} {start} {self.goal} {game.task}")
        self.start = (self.identity, *start)
        self.go = {
            f"go to {self.receptacle_name[r]}": (actions.go, r) for r in self.receptacles if self.location[r] >= 0
        }
        self.views: dict[tuple, View] = {}
        self.texts: dict[tuple[int, int, int], str] = {}

    def names(self, mask: int) -> list[str]:
        return [self.object_name[i] for i in bits(mask)]

    def in_receptacle(self, receptacle: int, opened: int, contents: int) -> str:
        """The sentence for a receptacle and its contents; `opened` is 0 or its bit."""
        key = (receptacle, opened, contents)
        found = self.texts.get(key)
        if found is None:
            if len(self.texts) >= _VIEWS:
                self.texts.clear()
            name, openable = self.receptacle_name[receptacle], self.openable[receptacle]
            found = self.texts[key] = text.receptacle(name, openable, opened > 0, self.names(contents))
        return found

    def view(self, place: int, hand: int, opened: int, contents: tuple[int, ...], sliceable: int) -> View:
        """The actions of a situation; `contents` are those of all receptacles, `sliceable` what the hand can slice."""
        found: dict[str, tuple[Handler, Any]] = {
            "look": (actions.look, None), "inventory": (actions.inventory, None), "help": (actions.help_, None)
        }  # fmt: skip
        held = self.object_name[hand] if hand >= 0 else ""
        for r in self.here[place]:
            name, visible = self.receptacle_name[r], not self.openable[r] or opened >> r & 1
            found[f"examine {name}"] = (actions.examine_receptacle, r)
            if self.openable[r]:
                found[f"close {name}" if visible else f"open {name}"] = (actions.close if visible else actions.open_, r)
            if visible and hand < 0:
                for i in bits(contents[r] & self.pickupable):
                    found[f"take {self.object_name[i]} from {name}"] = (actions.take, (i, r))
            if visible and hand in self.fits[r]:
                found[f"move {held} to {name}"] = (actions.move, (hand, r))
            for i in bits(contents[r] & self.toggleable):
                found[f"use {self.object_name[i]}"] = (actions.use, i)
            for handler, verb, kind, able in self.treatable:
                if hand >= 0 and self.kind[r] == kind and able >> hand & 1:
                    found[f"{verb} {held} with {name}"] = (handler, (hand, r))
        if hand >= 0:
            found[f"examine {held}"] = (actions.examine_object, hand)
            for i in bits(sliceable):
                found[f"slice {self.object_name[i]} with {held}"] = (actions.slice_, (i, hand))
        return View(found)

    def commands(self, place: int, view: View) -> list[str]:
        """All admissible commands, sorted."""
        elsewhere = (command for command, (_, r) in self.go.items() if self.location[r] != place)
        return sorted({*view.actions, *elsewhere})


class Environment:
    """One player's game: single-use or reset at will, deterministic, restored to any of its states at once.

    Building one from an engine costs next to nothing; environments of an engine share what it remembers.
    """

    def __init__(self, game: Engine | Game):
        self.engine = game if isinstance(game, Engine) else Engine(game)
        self.restore(self.engine.start)

    @property
    def task(self) -> str:
        """The task's sentence, without its full stop."""
        return self.engine.game.task

    @property
    def inventory(self) -> str | None:
        """The name of the thing in hand."""
        return self.engine.object_name[self.hand] if self.hand >= 0 else None

    @property
    def score(self) -> int:
        return int(self.won)

    def reset(self) -> str:
        """Back to the start; the opening text with the view and the task."""
        engine = self.engine
        self.restore(engine.start)
        if engine.here[self.place]:
            view = actions.look(self, None)
        else:
            view = text.middle([engine.receptacle_name[r] for r in engine.receptacles if engine.location[r] >= 0])
        return text.intro(view, engine.game.task)

    def step(self, action: str) -> tuple[str, float, bool]:
        """The observation, 1.0 if the game is now won (else 0.0), and whether it is won.

        Raises ReproError for a command that is not text; a text that means nothing is "Nothing happens.".
        """
        if not isinstance(action, str):
            raise ReproError(f"a command is text, not {type(action).__name__}: {action!r}")
        command = action.strip()
        found = self.view.actions.get(command) or self.engine.go.get(command)
        if found is None:
            return text.NOTHING_HAPPENS, float(self.won), self.won
        observation = found[0](self, found[1])
        return observation, float(self.won), self.won

    def admissible(self) -> list[str]:
        """The commands that do something now, sorted, a fresh list. Identical to the reference's."""
        view = self.view
        if view.commands is None:
            view.commands = self.engine.commands(self.place, view)
        return view.commands.copy()

    def snapshot(self) -> tuple:
        """The state as a small immutable value; `restore` takes it in any environment of the same game."""
        return (self.engine.identity, self.place, self.hand, self.opened, self.clean, self.hot, self.cool, self.sliced,
                self.toggled, self.contents, self.standing, self.removed)  # fmt: skip

    def restore(self, snapshot: tuple) -> None:
        """Raises ReproError for a snapshot of another game."""
        if not isinstance(snapshot, tuple) or snapshot[:1] != (self.engine.identity,):
            raise ReproError(
                f"this snapshot is not one of the game {self.engine.game.id or self.engine.game.problem.name!r}: "
                "restore it in an environment of the game that it was taken in"
            )
        (_, self.place, self.hand, self.opened, self.clean, self.hot, self.cool, self.sliced,
         self.toggled, self.contents, self.standing, self.removed) = snapshot  # fmt: skip
        self.enter()
        self.won = self.engine.won(self)

    def state_key(self, with_goal: bool = False) -> str:
        """Equal for equal states: what is where, in hand, open, clean, hot, cool, sliced, lit, and next to what.

        The key starts with a digest of the household (its things, places and their kinds, not where things lie at the
        start), so that games in one household share keys, and games in different ones do not. `with_goal` adds the
        task type and the kinds that the goal names.
        """
        places = self.engine.places
        place = self.place if self.place < places else self.engine.game.problem.start
        masks = (self.opened, self.clean, self.hot, self.cool, self.sliced, self.toggled)
        lying = f"{_hex(masks)}:{_hex(self.contents)}:{_hex(self.standing[:places])}:{_hex(self.removed)}"
        key = f"{self.engine.household}:{place}:{self.hand}:{lying}"
        return f"{key}:{self.engine.goal}" if with_goal else key

    def enter(self) -> None:
        """Take up the view of the present situation."""
        engine, place, hand = self.engine, self.place, self.hand
        here, contents = engine.here[place], self.contents
        seen = contents[here[0]] if len(here) == 1 else tuple([contents[r] for r in here])
        sliceable = self.standing[place] & engine.sliceable if hand in engine.knives else 0
        key = (place, hand, self.opened & engine.doors_here[place], seen, sliceable)
        view = engine.views.get(key)
        if view is None:
            if len(engine.views) >= _VIEWS:
                engine.views.clear()
            view = engine.views[key] = engine.view(place, hand, self.opened, contents, sliceable)
        self.view = view


@lru_cache(maxsize=2**16)
def _hex(masks: tuple[int, ...]) -> str:
    return ",".join(map("{:x}".format, masks))


def _household(problem: Problem, places: Sequence[str]) -> str:
    """What stays as it is during a game, as canonical text."""
    facts = [f"{r.id} {r.type} {r.location} {r.openable}" for r in problem.receptacles]
    facts += [f"{o.id} {o.type} {sorted(o.abilities)} {o.is_receptacle} {o.containers}" for o in problem.objects]
    facts += [f"{o.id} stands at {place}" for o in problem.objects for place in o.locations if place not in places]
    facts += [f"{rtype} holds {otype}" for rtype, otype in problem.can_contain]
    return "\n".join(sorted(facts))


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]
