"""The sentences of ALFWorld's text world, as its grammar (`alfred.twl2`, ALFWorld 0.4.2) derives them."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING_HAPPENS = "Nothing happens."
_COMMANDS = (
    ("look:                             ", "look around your current location"),
    ("inventory:                        ", "check your current inventory"),
    ("go to (receptacle):               ", "move to a receptacle"),
    ("open (receptacle):                ", "open a receptacle"),
    ("close (receptacle):               ", "close a receptacle"),
    ("take (object) from (receptacle):  ", "take an object from a receptacle"),
    ("move (object) to (receptacle):  ", "place an object in or on a receptacle"),
    ("examine (something):              ", "examine a receptacle or an object"),
    ("use (object):                     ", "use an object"),
    ("heat (object) with (receptacle):  ", "heat an object using a receptacle"),
    ("clean (object) with (receptacle): ", "clean an object using a receptacle"),
    ("cool (object) with (receptacle):  ", "cool an object using a receptacle"),
    ("slice (object) with (object):     ", "slice an object using a sharp object"),
)
HELP = "Available commands:\n" + "".join(f"  {command}{meaning}\n" for command, meaning in _COMMANDS)


def listing(items: Sequence[str]) -> str:
    """`a`, `a, and b`, `a, b, and c`; for no items `nothing`."""
    if len(items) < 2:
        return items[0] if items else "nothing"
    return ", ".join(items[:-1]) + ", and " + items[-1]


def things(names: Sequence[str]) -> str:
    """A listing in which everything has the article "a"."""
    return listing([f"a {name}" for name in names])


def intro(view: str, task: str) -> str:
    return f"-= Welcome to TextWorld, ALFRED! =-\n\n{view}\n\nYour task is to: {task}."


def middle(receptacles: Sequence[str]) -> str:
    """The view from a location without receptacles. Only the opening text lists the receptacles of the room."""
    return f"You are in the middle of a room. Looking quickly around you, you see {things(receptacles)}."


def facing(receptacles: Sequence[str], floor: Sequence[str]) -> str:
    """The view from a location with receptacles. `floor` repeats an object per receptacle that it was taken out of."""
    return f"You are facing the {listing(receptacles)}. Next to it, you see {things(floor)}."


def receptacle(name: str, openable: bool, opened: bool, contents: Sequence[str]) -> str:
    if not openable:
        return f"On the {name}, you see {things(contents)}."
    if not opened:
        return f"The {name} is closed."
    return f"The {name} is open. In it, you see {things(contents)}."


def inventory(held: str | None) -> str:
    return "You are not carrying anything." if held is None else f"You are carrying: a {held}."


def thing(name: str, *, clean: bool, hot: bool, cool: bool, on: bool, sliceable: bool, sliced: bool) -> str:
    """An object under examination: of what is true of it the grammar says the first that it has words for.

    `on` is whether an object with a switch was ever used. The grammar also knows "is off", for a fact that nothing
    in the game makes true.
    """
    cut = "sliced " if sliced else ""
    if clean and hot:
        return f"This is a hot and clean {cut}{name}."
    if clean and cool:
        return f"This is a cool and clean {cut}{name}."
    if sliced and (clean or hot or cool):
        return f"This is a {'clean' if clean else 'hot' if hot else 'cool'} sliced {name}."
    if hot or clean or cool:
        return f"This is a {'hot' if hot else 'clean' if clean else 'cold'} {name}."
    if on:
        return f"This {name} is on."
    if sliced and sliceable:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."


def container(name: str, contents: Sequence[str]) -> str:
    """A plate, bowl or the like under examination: whatever else is true of it stays unsaid."""
    return f"This is a normal {name}. In it, you see {things(contents)}."
