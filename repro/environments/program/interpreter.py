"""Running a parsed program: a stack machine that counts its steps, so that it ends whatever it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.environments.program.language import INPUT, LIMITS, Instruction, Limits, ProgramError

Value = int | tuple[int, ...]

_CALLS: dict[str, Callable[[tuple[int, ...]], Value]] = {
    "sort": lambda items: tuple(sorted(items)),
    "reverse": lambda items: items[::-1],
    "rest": lambda items: items[1:],
    "unique": lambda items: tuple(dict.fromkeys(items)),  # the first of equals stays, in its place
    "sum": sum,
    "max": lambda items: max(items, default=0),
    "min": lambda items: min(items, default=0),
    "count": len,
    "first": lambda items: items[0] if items else 0,
    "last": lambda items: items[-1] if items else 0,
}
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,  # rounds down, and the remainder has the sign of b
    "%": lambda a, b: a % b,
    "<": lambda a, b: int(a < b),
    ">": lambda a, b: int(a > b),
}


def call(function: str, items: tuple[int, ...], limits: Limits = LIMITS) -> Value:
    """A function of a list; of an empty list, every number is 0. Raises ProgramError past a limit."""
    return _within(_CALLS[function](items), limits)


def apply(operator: str, left: Value, right: Value, limits: Limits = LIMITS) -> Value:
    """An operator between a number or list and a number (or two lists, for +).

    Raises ProgramError for a division by zero and past a limit.
    """
    if isinstance(right, tuple):
        return _within(left + right, limits)
    if right == 0 and operator in "/%":
        raise ProgramError("value", "division by zero")
    compute = _ARITHMETIC[operator]
    if not isinstance(left, tuple):
        return _within(compute(left, right), limits)
    if operator in "<>":
        return tuple(item for item in left if compute(item, right))
    return _within(tuple(compute(item, right) for item in left), limits)


def _within(value: Value, limits: Limits) -> Value:
    if isinstance(value, tuple):
        if len(value) > limits.items:
            raise ProgramError("limit", f"a list of {len(value)} items")
        largest = max(map(abs, value), default=0)
    else:
        largest = abs(value)
    if largest > limits.magnitude:
        raise ProgramError("limit", f"a number beyond {limits.magnitude}")
    return value


def run(code: Sequence[Instruction], argument: Sequence[int], limits: Limits = LIMITS) -> Value:
    """What the program returns for the list `argument`.

    Raises ProgramError where a limit is passed, a number divided by zero, a name read that no statement has set, or
    the end reached without a return.
    """
    names: dict[str, Value] = {INPUT: tuple(argument)}
    stack: list[Value] = []
    at = steps = 0
    while at < len(code):
        kind, what = code[at]
        at += 1
        cost = 1
        if kind == "push":
            stack.append(what)
        elif kind == "load":
            if what not in names:
                raise ProgramError("value", f"{what} has no value here")
            stack.append(names[what])
        elif kind == "store":
            names[what] = stack.pop()
        elif kind == "call":
            cost += _size(stack[-1])
            stack.append(call(what, stack.pop(), limits))
        elif kind == "apply":
            right, left = stack.pop(), stack.pop()
            cost += _size(left) + _size(right)
            stack.append(apply(what, left, right, limits))
        elif kind == "jump":
            at = what
        elif kind == "unless":
            at = at if stack.pop() else what
        else:
            return stack.pop()
        steps += cost
        if steps > limits.steps:
            raise ProgramError("limit", f"more than {limits.steps} steps")
    raise ProgramError("value", "nothing is returned")


def _size(value: Value) -> int:
    return len(value) if isinstance(value, tuple) else 0
