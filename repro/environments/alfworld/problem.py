"""A household and its task as typed data, and the two public texts they travel in.

A `Problem` is what ALFWorld writes as PDDL (`initial_state.pddl`, and `pddl_problem` inside `game.tw-pddl`):
receptacles at locations, objects in receptacles, what may go where, and a goal. `parse_pddl` and `write_pddl`
translate; `Game` adds what a game file says around the problem (the task's sentence and a walkthrough), and
`read_game` loads one.

Identifiers keep the spelling of the file's `:objects` section; PDDL is case-insensitive, so every other mention may be
spelled differently. Types are written without their suffix: `Mug` stands for `MugType`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from repro.environments.alfworld.pddl import KINDS, List, Reader, Word, conjuncts
from repro.environments.alfworld.rules import check_rules
from repro.errors import ReproError

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
# What an object can undergo, what it is, and where facts of these names stand in a problem's :init.
ABILITIES = ("pickupable", "moveable", "cleanable", "heatable", "coolable", "toggleable", "sliceable")
CONDITIONS = ("isClean", "isHot", "isCool", "isSliced", "isToggled", "isOn")
# The condition that a task of this type asks of the object, and the ability that the condition needs.
REQUIRED = {
    "pick_clean_then_place_in_recep": ("isClean", "cleanable"),
    "pick_heat_then_place_in_recep": ("isHot", "heatable"),
    "pick_cool_then_place_in_recep": ("isCool", "coolable"),
}
# The type of receptacle that brings about a condition.
APPLIANCES = {"isClean": "SinkBasin", "isHot": "Microwave", "isCool": "Fridge"}
# What slices. The domain's actions name these and the appliances, so every problem declares their types.
KNIVES = ("Knife", "ButterKnife")
# Facts of these names change nothing that a player can see or do.
_IGNORED = {"=", "wasinreceptacle", "checked", "examined", "full", "isreceptacleobjectfull", "holdsanyreceptacleobject"}


@dataclass(frozen=True)
class Receptacle:
    """A place for objects. `type` and `location` are None where the file does not state them."""

    id: str
    type: str | None = None
    location: str | None = None
    openable: bool = False
    opened: bool = False


@dataclass(frozen=True)
class Object:
    """A thing. `receptacles` are those it lies in and `containers` the objects that hold it: real files name several.

    `locations` is where the file puts it, which need not be where its receptacle stands. `abilities` and `conditions`
    are subsets of ABILITIES and CONDITIONS; `is_receptacle` marks plates, bowls and the like.
    """

    id: str
    type: str | None = None
    locations: tuple[str, ...] = ()
    receptacles: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    is_receptacle: bool = False
    abilities: frozenset[str] = frozenset()
    conditions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Goal:
    """What wins: objects of type `object` in one receptacle of type `receptacle` (in the condition that REQUIRED
    states), or, to look at it in light, the object in hand where a lit `toggle` stands."""

    task_type: str
    object: str
    receptacle: str | None = None
    toggle: str | None = None


@dataclass(frozen=True)
class Problem:
    """One household with its goal. `can_contain` holds (receptacle type, object type); `holding` an object's id."""

    name: str
    receptacles: tuple[Receptacle, ...]
    objects: tuple[Object, ...]
    locations: tuple[str, ...]
    start: str
    can_contain: frozenset[tuple[str, str]]
    goal: Goal
    holding: str | None = None
    agent: str = "agent1"
    domain: str = "alfred"


@dataclass(frozen=True)
class Game:
    """A playable game. `task` is the sentence after "Your task is to: ", without its full stop.

    `id` is unique within a data set, `room` the floor plan or household, `split` one of train, valid_seen and
    valid_unseen; the three are empty for a file that was read on its own. `walkthrough` is empty where unknown.
    """

    problem: Problem
    task: str
    walkthrough: tuple[str, ...] = ()
    solvable: bool | None = None
    id: str = ""
    room: str = ""
    split: str = ""


def read_game(path: Path | str) -> Game:
    """Loads one `game.tw-pddl`.

    Raises ReproError that names the file, and the line where its problem is malformed; also for rules of play that
    are not ALFWorld 0.4's.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReproError(f"cannot read the game file {path}: {error}") from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ReproError(f"{path}, line {error.lineno}: not a game file, which is JSON ({error.msg})") from error
    if not isinstance(content, dict):
        raise ReproError(f"{path}: a game file is a JSON object, this one holds a {type(content).__name__}")
    for key in ("pddl_problem", "grammar"):
        if not isinstance(content.get(key), str):
            raise ReproError(f"{path}: a game file needs the text {key!r}; it has {sorted(content)}")
    walkthrough = content.get("walkthrough") or ()
    if isinstance(walkthrough, str) or not all(isinstance(command, str) for command in walkthrough):
        raise ReproError(f"{path}: the walkthrough is not a list of commands")
    check_rules(str(content.get("pddl_domain")), content["grammar"], source=str(path))
    problem = parse_pddl(content["pddl_problem"], source=f"{path} (pddl_problem)")
    task = task_sentence(content["grammar"], source=str(path))
    return Game(problem, task, tuple(walkthrough), content.get("solvable"))


def task_sentence(grammar: str, source: str = "grammar") -> str:
    """The task's sentence inside a game's grammar text, without its full stop."""
    match = re.search(r'"rhs":\s*("Your task is to: (?:[^"\\]|\\.)*")', grammar)
    if match is None:
        raise ReproError(f'{source}: the grammar states no task ("Your task is to: ...")')
    return json.loads(match[1], strict=False).removeprefix("Your task is to: ").removesuffix(".")


# Reading PDDL


# Facts of :init, with the kinds of their arguments.
_FACTS = {
    "atlocation": ("agent", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "objectatlocation": ("object", "location"),
    "openable": ("receptacle",),
    "opened": ("receptacle",),
    "inreceptacle": ("object", "receptacle"),
    "isreceptacleobject": ("object",),
    "inreceptacleobject": ("object", "object"),
    "receptacletype": ("receptacle", "rtype"),
    "cancontain": ("rtype", "otype"),
    "objecttype": ("object", "otype"),
    "holds": ("agent", "object"),
    "holdsany": ("agent",),
} | {name.lower(): ("object",) for name in ABILITIES + CONDITIONS}


def parse_pddl(text: str, source: str = "problem") -> Problem:
    """Reads a problem of the ALFRED domain.

    Raises:
        ReproError: malformed text, an unknown predicate, object, type or receptacle, or a goal that is none of the six
            task types; the message starts with `source` and the line.
    """
    reader = Reader(source)
    root = reader.tree(text)
    if root.head != "define":
        raise reader.fail(root.line, "a problem starts with (define (problem ...) ...)")
    sections: dict[str, List] = {}
    for item in root.items[1:]:
        if isinstance(item, Word):
            raise reader.fail(item.line, f"expected a section in parentheses, found {item.text!r}")
        sections[item.head] = item
    for name in ("problem", ":domain", ":objects", ":init", ":goal"):
        if name not in sections:
            raise reader.fail(root.line, f"the problem has no ({name} ...)")
    for word, kind in reader.typed(sections[":objects"].items[1:]):
        if kind not in KINDS:
            raise reader.fail(word.line, f"{word.text!r} has the unknown kind {kind!r}; known are {sorted(KINDS)}")
        if kind in ("rtype", "otype") and not word.text.lower().endswith("type"):
            raise reader.fail(word.line, f"the {KINDS[kind]} {word.text!r} does not end in `Type`")
        if reader.kinds.setdefault(word.text.lower(), (word.text, kind))[1] != kind:
            raise reader.fail(word.line, f"{word.text!r} is declared twice, with different kinds")
    facts = _facts(reader, sections[":init"])
    goal = _goal(reader, sections[":goal"])
    return _problem(reader, sections, facts, goal)


def _facts(reader: Reader, section: List) -> dict[str, list[tuple[str, ...]]]:
    facts: dict[str, list[tuple[str, ...]]] = {name: [] for name in _FACTS}
    for entry in section.items[1:]:
        if isinstance(entry, Word):
            raise reader.fail(entry.line, f"expected a fact in parentheses, found {entry.text!r}")
        if entry.head in _IGNORED:
            continue
        kinds = _FACTS.get(entry.head)
        if kinds is None:
            raise reader.fail(entry.line, f"unknown fact {entry.head!r}; known are {sorted(_FACTS)}")
        words = reader.words(entry)[1:]
        if len(words) != len(kinds):
            raise reader.fail(entry.line, f"({entry.head} ...) takes {len(kinds)} names, found {len(words)}")
        facts[entry.head].append(tuple(reader.resolve(word, kind) for word, kind in zip(words, kinds, strict=True)))
    return facts


def _one(reader: Reader, section: List, pairs: list[tuple[str, ...]], what: str) -> dict[str, str]:
    """A relation in which everything has at most one partner."""
    partners: dict[str, str] = {}
    for name, partner in pairs:
        if partners.setdefault(name, partner) != partner:
            raise reader.fail(section.line, f"{name!r} has two {what}s: {partners[name]!r} and {partner!r}")
    return partners


def _many(pairs: list[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    partners: dict[str, tuple[str, ...]] = {}
    for name, partner in pairs:
        if partner not in partners.get(name, ()):
            partners[name] = (*partners.get(name, ()), partner)
    return partners


def _problem(reader: Reader, sections: dict[str, List], facts: dict[str, list], goal: Goal) -> Problem:
    init = sections[":init"]

    def declared(kind: str) -> list[str]:
        return [spelling for spelling, found in reader.kinds.values() if found == kind]

    def holding(predicate: str) -> set[str]:
        return {fact[0] for fact in facts[predicate.lower()]}

    if len(facts["atlocation"]) != 1:
        raise reader.fail(init.line, f"one (atLocation agent place) is needed, found {len(facts['atlocation'])}")
    if len(facts["holds"]) != len(facts["holdsany"]) or len(facts["holds"]) > 1:
        raise reader.fail(init.line, "(holds agent object) and (holdsAny agent) must come together, once")
    agent, start = facts["atlocation"][0]
    types = _one(reader, init, facts["receptacletype"], "receptacle type")
    places = _one(reader, init, facts["receptacleatlocation"], "location")
    openable, opened = holding("openable"), holding("opened")
    kinds = _one(reader, init, facts["objecttype"], "object type")
    locations, inside = _many(facts["objectatlocation"]), _many(facts["inreceptacle"])
    within = _many(facts["inreceptacleobject"])
    has = {name: holding(name) for name in (*ABILITIES, *CONDITIONS, "isReceptacleObject")}
    return Problem(
        name=reader.words(sections["problem"])[-1].text,
        domain=reader.words(sections[":domain"])[-1].text,
        agent=agent,
        start=start,
        locations=tuple(declared("location")),
        receptacles=tuple(
            Receptacle(id, types.get(id), places.get(id), id in openable, id in opened) for id in declared("receptacle")
        ),
        objects=tuple(
            Object(
                id,
                type=kinds.get(id),
                locations=locations.get(id, ()),
                receptacles=inside.get(id, ()),
                containers=within.get(id, ()),
                is_receptacle=id in has["isReceptacleObject"],
                abilities=frozenset(name for name in ABILITIES if id in has[name]),
                conditions=frozenset(name for name in CONDITIONS if id in has[name]),
            )
            for id in declared("object")
        ),
        can_contain=frozenset(facts["cancontain"]),
        goal=goal,
        holding=facts["holds"][0][1] if facts["holds"] else None,
    )


def _goal(reader: Reader, section: List) -> Goal:
    """Matches the goal with the six templates, whatever its variables are called and its conditions' order."""
    line = section.line
    atoms = set(conjuncts(reader, section.items[1:], {}))

    def of(predicate: str) -> list[tuple[str, ...]]:
        return sorted(atom[1:] for atom in atoms if atom[0] == predicate)

    try:
        types, rtypes = dict(of("objecttype")), dict(of("receptacletype"))
        inside, holds, lit = of("inreceptacle"), of("holds"), of("istoggled")
        if lit and holds:
            ((lamp,), (agent, held), (_, receptacle)) = lit[0], holds[0], inside[0]
            ((_, place),) = of("receptacleatlocation")
            looker = of("atlocation")[0][0]
            goal = Goal("look_at_obj_in_light", types[held], toggle=types[lamp])
            expected = {
                ("objecttype", lamp, goal.toggle), ("istoggled", lamp), ("inreceptacle", lamp, receptacle),
                ("receptacleatlocation", receptacle, place), ("atlocation", looker, place),
                ("objecttype", held, goal.object), ("holds", agent, held),
            }  # fmt: skip
            optional = {("toggleable", lamp)}
        else:
            name, receptacle = inside[0]
            expected = {("receptacletype", receptacle, rtypes[receptacle])}
            expected |= {("objecttype", thing, types[name]) for thing, _ in inside}
            expected |= {("inreceptacle", thing, receptacle) for thing, _ in inside}
            optional = set()
            task_type = "pick_and_place_simple"
            if len(inside) == 2:
                task_type = "pick_two_obj_and_place"
                first, second = (thing for thing, _ in inside)
                expected |= {("differ", first, second)}
            for wanted, (condition, ability) in REQUIRED.items():
                if (condition.lower(), name) in atoms:
                    task_type = wanted
                    expected |= {(condition.lower(), name)}
                    optional = {(ability, name)}
            goal = Goal(task_type, types[name], rtypes[receptacle])
    except (KeyError, IndexError, ValueError) as error:
        raise reader.fail(line, f"the goal is none of the six task types {TASK_TYPES}") from error
    if atoms - optional != expected:
        odd = sorted(" ".join(atom) for atom in (atoms - optional) ^ expected)
        raise reader.fail(line, f"the goal is none of the six task types {TASK_TYPES}: see {odd}")
    for name, kind in ((goal.object, "otype"), (goal.receptacle, "rtype"), (goal.toggle, "otype")):
        if name is not None and reader.kinds.get(f"{name}Type".lower(), ("", ""))[1] != kind:
            raise reader.fail(line, f"the goal names the unknown {KINDS[kind]} {name!r}")
    return goal


# Writing PDDL


def write_pddl(problem: Problem) -> str:
    """The problem as the reference engine loads it; `parse_pddl` gives the same `Problem` back, up to unused types."""
    rtypes = {*APPLIANCES.values(), *(r.type for r in problem.receptacles if r.type)}
    otypes = {*KNIVES, *(o.type for o in problem.objects if o.type), problem.goal.object}
    rtypes |= {rtype for rtype, _ in problem.can_contain} | {t for t in [problem.goal.receptacle] if t}
    otypes |= {otype for _, otype in problem.can_contain} | {t for t in [problem.goal.toggle] if t}
    names = [
        f"{problem.agent} - agent",
        *(f"{otype}Type - otype" for otype in sorted(otypes)),
        *(f"{rtype}Type - rtype" for rtype in sorted(rtypes)),
        *(f"{o.id} - object" for o in problem.objects),
        *(f"{r.id} - receptacle" for r in problem.receptacles),
        *(f"{location} - location" for location in problem.locations),
    ]
    facts = ["(= (total-cost) 0)", f"(atLocation {problem.agent} {problem.start})"]
    for r in problem.receptacles:
        facts += [f"(receptacleType {r.id} {r.type}Type)"] if r.type else []
        facts += [f"(receptacleAtLocation {r.id} {r.location})"] if r.location else []
        facts += [f"(openable {r.id})"] if r.openable else []
        facts += [f"(opened {r.id})"] if r.opened else []
    for o in problem.objects:
        facts += [f"(objectType {o.id} {o.type}Type)"] if o.type else []
        facts += [f"(isReceptacleObject {o.id})"] if o.is_receptacle else []
        facts += [f"({name} {o.id})" for name in (*ABILITIES, *CONDITIONS) if name in o.abilities | o.conditions]
        facts += [f"(inReceptacle {o.id} {receptacle})" for receptacle in o.receptacles]
        facts += [f"(inReceptacleObject {o.id} {container})" for container in o.containers]
        facts += [f"(objectAtLocation {o.id} {location})" for location in o.locations]
    if problem.holding:
        facts += [f"(holds {problem.agent} {problem.holding})", f"(holdsAny {problem.agent})"]
    facts += [f"(canContain {rtype}Type {otype}Type)" for rtype, otype in sorted(problem.can_contain)]
    between = "\n        "
    return (
        f"(define (problem {problem.name})\n"
        f"    (:domain {problem.domain})\n"
        f"    (:objects\n        {between.join(names)}\n    )\n"
        f"    (:init\n        {between.join(facts)}\n    )\n"
        f"    (:goal\n        {goal_pddl(problem.goal)}\n    )\n"
        f"    (:metric minimize (total-cost))\n"
        f")\n"
    )


def goal_pddl(goal: Goal) -> str:
    """The goal's condition, as ALFWorld's six goal templates state it."""
    if goal.task_type == "look_at_obj_in_light":
        return (
            "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and "
            f"(objectType ?ot {goal.toggle}Type) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) "
            "(atLocation ?a ?l) (inReceptacle ?ot ?r))) "
            f"(exists (?o - object ?a - agent) (and (objectType ?o {goal.object}Type) (holds ?a ?o))))"
        )
    place = f"(objectType ?o {goal.object}Type) (receptacleType ?r {goal.receptacle}Type) (inReceptacle ?o ?r)"
    if goal.task_type == "pick_two_obj_and_place":
        place += (
            f" (exists (?o2 - object) (and (not (= ?o ?o2)) (objectType ?o2 {goal.object}Type) "
            f"(receptacleType ?r {goal.receptacle}Type) (inReceptacle ?o2 ?r)))"
        )
    elif goal.task_type in REQUIRED:
        condition, ability = REQUIRED[goal.task_type]
        place = f"({ability} ?o) ({condition} ?o) {place}"
    elif goal.task_type != "pick_and_place_simple":
        raise ReproError(f"unknown task type {goal.task_type!r}; known are {TASK_TYPES}")
    return f"(and (exists (?r - receptacle) (exists (?o - object) (and {place}))))"
