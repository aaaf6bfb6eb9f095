"""When a game is won, and whether it can be won at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from repro.environments.alfworld.problem import APPLIANCES, REQUIRED, Object, Problem, Receptacle
from repro.errors import ReproError


def winning(
    problem: Problem, objects: Sequence[Object], receptacles: Sequence[Receptacle]
) -> tuple[Callable[[Any], bool], bool]:
    """The test of a state for victory, and whether the player's location matters to it.

    `objects` and `receptacles` give the order of the bits and masks in a state. Two things count only in the *same*
    receptacle; to look at something in light is to hold it where a lamp lies that was ever switched on.
    """
    goal = problem.goal
    if goal.task_type == "look_at_obj_in_light":
        return _light(problem, objects), True
    condition, ability = REQUIRED.get(goal.task_type, (None, None))
    wanted = _mask(objects, goal.object, ability)
    places = [i for i, r in enumerate(receptacles) if r.type == goal.receptacle]
    number = 2 if goal.task_type == "pick_two_obj_and_place" else 1
    state_of = {None: None, "isClean": "clean", "isHot": "hot", "isCool": "cool"}[condition]

    def won(state: Any) -> bool:
        mask = wanted if state_of is None else wanted & getattr(state, state_of)
        contents = state.contents
        return any((contents[i] & mask).bit_count() >= number for i in places) if mask else False

    return won, False


def _light(problem: Problem, objects: Sequence[Object]) -> Callable[[Any], bool]:
    held = {i for i, o in enumerate(objects) if o.type == problem.goal.object}
    lamps = _mask(objects, problem.goal.toggle, "toggleable")

    def won(state: Any) -> bool:
        if state.hand not in held:
            return False
        lit = state.toggled & lamps
        return any(state.contents[r] & lit for r in state.engine.here[state.place]) if lit else False

    return won


def _mask(objects: Sequence[Object], kind: str | None, ability: str | None) -> int:
    return sum(1 << i for i, o in enumerate(objects) if o.type == kind and (ability is None or ability in o.abilities))


def check_reachable(problem: Problem) -> None:
    """Raises ReproError where the goal stays out of reach even if nothing that was once true ever ceased to be.

    That is the test that the reference's planner makes when it loads a game; it fails there without a message.
    """
    goal, located = problem.goal, {r.id: r for r in problem.receptacles if r.location is not None}
    appliances = {(r.type or "").lower() for r in located.values()}

    def in_hand(o: Object) -> bool:
        lies = any(id in located for id in o.receptacles)
        return o.id == problem.holding or ("pickupable" in o.abilities and lies)

    def in_place(o: Object, r: Receptacle) -> bool:
        return r.id in o.receptacles or (r.id in located and in_hand(o) and (r.type, o.type) in problem.can_contain)

    def treated(o: Object) -> bool:
        if goal.task_type not in REQUIRED:
            return True
        condition, ability = REQUIRED[goal.task_type]
        there = APPLIANCES[condition].lower() in appliances
        return ability in o.abilities and (condition in o.conditions or (there and in_hand(o)))

    things = [o for o in problem.objects if o.type == goal.object]
    if goal.task_type == "look_at_obj_in_light":
        lamps = [o for o in problem.objects if o.type == goal.toggle and "toggleable" in o.abilities]
        lit = any(in_place(lamp, r) for lamp in lamps for r in located.values())
        if not (lit and any(in_hand(o) for o in things)):
            raise ReproError(f"{problem.name}: no {goal.object} can be held, or no {goal.toggle} be lit")
        return
    # Of two things the planner asks only that one can lie there: it leaves the inequality of the two aside. Whether
    # such a game can be won, `expert.shortest_plan` says.
    homes = [r for r in problem.receptacles if r.type == goal.receptacle]
    if not any(treated(o) and in_place(o, r) for o in things for r in homes):
        raise ReproError(
            f"{problem.name}: the goal of {goal.task_type} is out of reach: no {goal.object} can come to lie in a "
            f"{goal.receptacle} as asked (in this household: {len(things)} {goal.object}, {len(homes)} "
            f"{goal.receptacle})"
        )
