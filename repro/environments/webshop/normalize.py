"""Colours as WebShop's reward compares them.

An option value that contains the name of a base colour counts as that colour ("c-navy blue" and "sky blue" are both
"blue"), whichever option it belongs to; the alphabetically first name wins. Containment is by letters, as in the
original, so "standard" counts as "tan". Source: princeton-nlp/WebShop, web_agent_site/engine/normalize.py.
"""

from __future__ import annotations

from functools import lru_cache

COLOURS = tuple(
    """
    alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
    dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo
    ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
    mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand
    sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut
    wheat white
    wine yellow
    """.split()
)


@lru_cache(maxsize=65_536)
def normalize_colour(option: str | tuple[str, str]) -> str:
    """The base colour an option value contains, or the value itself where there is none.

    A goal made from a catalogue's options holds (name, value) pairs, and there the original tests membership in the
    pair instead of containment in a string: ("color", "red") is "red", but ("color", "dark red") stays a pair and is
    compared by the words of the pair as Python writes it, "color dark red".
    """
    found = next((colour for colour in COLOURS if colour in option), None)
    return found or (option if isinstance(option, str) else str(option))
