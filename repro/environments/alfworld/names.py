"""The names players see: `Cabinet_bar__plus_00_dot_68_...` is "cabinet 3"."""

from __future__ import annotations

from collections import defaultdict

from repro.environments.alfworld.problem import Problem


def names(problem: Problem) -> dict[str, str]:
    """Display names by identifier, as ALFWorld numbers them.

    Everything of a kind is numbered in *descending* order of its lower-case identifier: the smallest gets the highest
    number. The kind is what stands before the first `_bar_`, with "basin" added where the identifier mentions one, so
    that `Sink_bar_..._bar_SinkBasin` is a "sinkbasin". An identifier without `_bar_` stands for a kind, not for a
    thing; ALFWorld shows it with a trailing space and no number. What is declared but never mentioned in a fact has no
    name and does not count.
    """
    used = _mentioned(problem)
    kinds: dict[str, list[str]] = defaultdict(list)
    shown: dict[str, str] = {}
    spellings = {
        entity.id.lower(): entity.id for entity in (*problem.receptacles, *problem.objects) if entity.id in used
    }
    for key in sorted(spellings, reverse=True):
        kind, bar, _ = key.partition("_bar_")
        if not bar:
            shown[spellings[key]] = f"{_plain(key)} "
            continue
        kind = _plain(kind) + ("basin" if "basin" in key else "")
        kinds[kind].append(key)
        shown[spellings[key]] = f"{kind} {len(kinds[kind])}"
    return shown


def _mentioned(problem: Problem) -> set[str]:
    """Identifiers of receptacles and objects of which the problem says something."""
    used = {r.id for r in problem.receptacles if r.type or r.location or r.openable or r.opened}
    for o in problem.objects:
        used |= {*o.receptacles, *o.containers}
        if o.type or o.locations or o.receptacles or o.containers or o.is_receptacle or o.abilities or o.conditions:
            used.add(o.id)
    return used | ({problem.holding} if problem.holding else set())


def _plain(text: str) -> str:
    for escape, character in (("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ",")):
        text = text.replace(escape, character)
    return text


def mangle(identifier: str) -> str:
    """AI2-THOR's identifiers as PDDL names: `Cabinet|+00.68|+00.50|-02.20` is `Cabinet_bar__plus_00_dot_68_...`."""
    escapes = {"-": "_minus_", "|": "_bar_", "+": "_plus_", ".": "_dot_", ",": "_comma_"}
    return "".join(escapes.get(character, character) for character in identifier)
