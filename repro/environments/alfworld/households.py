"""What small and full-size households share: rooms, house rules, and games drawn from them.

A `Room` is a set of receptacles that stay where they are; a game puts things into it and asks for one of the six
tasks. Games of the training rooms make up `train` and `valid_seen`, games of other rooms `valid_unseen`, as in
ALFWorld.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from repro.environments.alfworld.expert import shortest_plan
from repro.environments.alfworld.names import mangle
from repro.environments.alfworld.problem import APPLIANCES, REQUIRED, Game, Goal, Object, Problem, Receptacle
from repro.errors import ReproError

SPLITS = ("train", "valid_seen", "valid_unseen")


@dataclass(frozen=True)
class Rules:
    """What holds in every room: `contains` says what may be put into a receptacle of a type, `usual` where a thing of a
    type lies when a game starts (most likely first), `abilities` what can be done to it, `containers` which things hold
    others, `lamps` on what a lamp stands, `sentences` how a task is worded ({obj}, {recep}, {toggle})."""

    contains: Mapping[str, frozenset[str]]
    usual: Mapping[str, tuple[str, ...]]
    abilities: Mapping[str, frozenset[str]]
    containers: frozenset[str]
    openable: frozenset[str]
    lamps: Mapping[str, tuple[str, ...]]
    sentences: Mapping[str, tuple[str, ...]]

    @property
    def whereabouts(self) -> dict[str, tuple[str, ...]]:
        """Where to look for a thing or a lamp, most likely place first."""
        return {**self.usual, **self.lamps}


@dataclass(frozen=True)
class Room:
    """Receptacles at their locations, the location where the player starts, and the types of thing found here.

    A room has a `lamp` only if it has something to stand it on.
    """

    id: str
    receptacles: tuple[Receptacle, ...]
    start: str
    kinds: tuple[str, ...]
    lamp: str | None = None

    @property
    def types(self) -> frozenset[str]:
        return frozenset(receptacle.type for receptacle in self.receptacles)


@dataclass(frozen=True)
class GameSet:
    """Games in a fixed order, and how many candidates were passed over, by reason."""

    games: tuple[Game, ...]
    skipped: Mapping[str, int]


def goals(room: Room, rules: Rules, task_type: str) -> list[Goal]:
    """Every goal of this type that the room's receptacles and kinds of thing allow."""
    if task_type == "look_at_obj_in_light":
        return [Goal(task_type, kind, toggle=room.lamp) for kind in room.kinds] if room.lamp else []
    condition, ability = REQUIRED.get(task_type, (None, None))
    appliance = APPLIANCES.get(condition)
    if appliance is not None and appliance not in room.types:
        return []
    return [
        Goal(task_type, kind, place)
        for kind in room.kinds
        for place in sorted(room.types)
        if kind in rules.contains.get(place, ())
        and (ability is None or ability in rules.abilities[kind])
        and place != appliance
        and _start_places(room, rules, kind, place)
    ]


def _start_places(room: Room, rules: Rules, kind: str, avoid: str | None = None) -> list[Receptacle]:
    """Where a thing of this kind may lie at the start: in its usual places, or else wherever it may be put."""
    places = [r for r in room.receptacles if r.type in rules.usual[kind] and r.type != avoid]
    return places or [r for r in room.receptacles if kind in rules.contains.get(r.type, ()) and r.type != avoid]


def furnish(room: Room, rules: Rules, goal: Goal, kinds: Sequence[str], rng: random.Random) -> Problem:
    """Puts a thing of each of `kinds` (repeats allowed) and the room's lamp in place.

    Nothing of the goal's kind starts where the goal wants it, and every door is closed.
    """
    objects = []
    if room.lamp is not None:
        stand = next(kind for kind in rules.lamps[room.lamp] if kind in room.types)
        objects.append(_thing(room.lamp, rng.choice([r for r in room.receptacles if r.type == stand]), rules, rng))
    for kind in kinds:
        places = _start_places(room, rules, kind, goal.receptacle if kind == goal.object else None)
        if not places:
            raise ReproError(f"{room.id}: there is no place for a {kind} in {sorted(room.types)}")
        objects.append(_thing(kind, rng.choice(places), rules, rng))
    if len({thing.id for thing in objects}) < len(objects):
        return furnish(room, rules, goal, kinds, rng)  # two things at one point: one in a hundred thousand games
    here = {thing.type for thing in objects}
    allowed = ((place, kind) for place in room.types for kind in here if kind in rules.contains.get(place, ()))
    return Problem(
        name=f"plan_{_trial(rng)}",
        receptacles=room.receptacles,
        objects=tuple(objects),
        locations=tuple(dict.fromkeys((room.start, *(r.location for r in room.receptacles)))),
        start=room.start,
        can_contain=frozenset(allowed),
        goal=goal,
    )


def _thing(kind: str, place: Receptacle, rules: Rules, rng: random.Random) -> Object:
    position = "|".join(f"{rng.uniform(-4, 4):+06.2f}" for _ in range(3))
    return Object(
        mangle(f"{kind}|{position}"),
        kind,
        locations=(place.location,),
        receptacles=(place.id,),
        is_receptacle=kind in rules.containers,
        abilities=rules.abilities[kind],
    )


def _trial(rng: random.Random) -> str:
    return f"trial_T{rng.randrange(10**8):08d}_{rng.randrange(10**6):06d}_{rng.randrange(10**6):06d}"


# Lists of games


@dataclass(frozen=True)
class World:
    """Rooms by split (`train` and `valid_seen` share theirs), the rules of all, and what a game puts into a room:
    `stock(room, goal, rng)` gives the types of the things, with repeats, the lamp left out."""

    rooms: Mapping[str, tuple[Room, ...]]
    rules: Rules
    stock: Callable[[Room, Goal, random.Random], list[str]]


def heldout(world: World, task_types: Sequence[str], number: int) -> dict[str, GameSet]:
    """The fixed held-out lists, the same for every seed of a study: games of known rooms and of unseen ones."""
    return {
        split: take(candidates(world, task_types, split, f"heldout:{split}", set()), number)
        for split in ("valid_seen", "valid_unseen")
    }


def train(world: World, task_types: Sequence[str], seed: int, number: int, without: Iterable[Game]) -> GameSet:
    """The finite training list of a seed, with none of the games `without`."""
    seen = {signature(game) for game in without}
    return take(candidates(world, task_types, "train", f"train:{seed}", seen), number)


def stream(world: World, task_types: Sequence[str], seed: int, without: Iterable[Game]) -> Iterator[Game]:
    """Endless fresh games of the training rooms for the supervised warm start, with none of the games `without`."""
    seen = {signature(game) for game in without}
    found = candidates(world, task_types, "train", f"stream:{seed}", seen)
    return (candidate for candidate in found if isinstance(candidate, Game))


def candidates(
    world: World, task_types: Sequence[str], split: str, seed: str, seen: set[tuple]
) -> Iterator[Game | str]:
    """An endless row of candidates: a game that is new to `seen` (which is extended), or why it is passed over.

    Task types take turns, so that any first n games hold them in equal parts.
    """
    options = {task: [(room, goals(room, world.rules, task)) for room in world.rooms[split]] for task in task_types}
    options = {task: [pair for pair in pairs if pair[1]] for task, pairs in options.items()}
    if impossible := sorted(task for task, pairs in options.items() if not pairs):
        raise ReproError(f"no room of {split} allows the tasks {impossible}: leave them out or ask for more rooms")
    for index in count():
        rng = random.Random(f"{seed}:{index}")
        room, wanted = rng.choice(options[task_types[index % len(task_types)]])
        kind = rng.choice(sorted({goal.object for goal in wanted}))  # every kind of thing equally likely
        goal = rng.choice([goal for goal in wanted if goal.object == kind])
        problem = furnish(room, world.rules, goal, world.stock(room, goal, rng), rng)
        game = _finish(room, world.rules, problem, split, rng)
        if game is None:
            yield "the expert finds no plan"
        elif signature(game) in seen:
            yield "drawn before"
        else:
            seen.add(signature(game))
            yield game


def _finish(room: Room, rules: Rules, problem: Problem, split: str, rng: random.Random) -> Game | None:
    """A problem with its sentence and shortest walkthrough, or None if the expert finds none."""
    plan = shortest_plan(problem)
    if not plan:
        return None
    goal = problem.goal
    words = {"obj": goal.object, "recep": goal.receptacle or "", "toggle": goal.toggle or ""}
    sentence = rng.choice(rules.sentences[goal.task_type])
    folder = f"{goal.task_type}-{goal.object}-None-{goal.receptacle or goal.toggle}-{room.id}"
    return Game(
        problem=problem,
        task=sentence.format(**{key: word.lower() for key, word in words.items()}),
        walkthrough=plan,
        solvable=True,
        id=f"{split}/{folder}/{problem.name.removeprefix('plan_')}",
        room=room.id,
        split=split,
    )


def signature(game: Game) -> tuple:
    """What makes two games the same for a player: the room, the goal, and which kinds of thing lie where."""
    places = Counter((thing.type, thing.receptacles) for thing in game.problem.objects)
    return game.room, game.problem.goal, frozenset(places.items())


def take(found: Iterator[Game | str], number: int) -> GameSet:
    """The first `number` games. Raises ReproError when 100 candidates a game do not give them."""
    games: list[Game] = []
    skipped: Counter[str] = Counter()
    while len(games) < number:
        candidate = next(found)
        if isinstance(candidate, Game):
            games.append(candidate)
            continue
        skipped[candidate] += 1
        if skipped.total() > 100 * number + 100:
            raise ReproError(f"found {len(games)} of {number} games, passed over {dict(skipped)}: ask for fewer games")
    return GameSet(tuple(games), dict(skipped))
