"""Does a game file play by the rules that this project's engine knows?

A game file carries its own rules: the PDDL domain and the grammar of all texts. Published files and files written with
ALFWorld 0.4 state the same ones, up to layout, comments and parts that no action uses; another release may not.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache

from repro.errors import ReproError

_TASK = re.compile(r'"Your task is to: (?:[^"\\]|\\.)*"')
_ACTION = re.compile(r'action\s+(\w+)\s*\{(.*?template\s*::\s*"([^"]*)".*?feedback\s*::\s*"([^"]*)".*?)\n\}', re.DOTALL)
_BLOCK = re.compile(r'grammar\s*::\s*"""(.*?)"""', re.DOTALL)

# The first 8 digits of the SHA-256 of each rule in ALFWorld 0.4.2, normalised as below.
_DOMAIN = {
    "look": "5a32a258", "inventory": "4e5c74c5", "examinereceptacle": "a4bdaba6",
    "examineobject": "ee4490c0", "gotolocation": "028f790f", "openobject": "f68de1df",
    "closeobject": "dd6017ce", "pickupobject": "d0146514", "putobject": "17130571",
    "cleanobject": "a86e103b", "heatobject": "95ace243", "coolobject": "56ab6948",
    "toggleobject": "1e7ded38", "sliceobject": "0558c841", "help": "6fe7e7eb",
}  # fmt: skip
_GRAMMAR = {
    "GotoLocation command": "354d7720", "OpenObject command": "c709f77d", "CloseObject command": "f34b6930",
    "PickupObject command": "b345d301", "PutObject command": "53984f67", "inventory command": "b11a85b2",
    "examineReceptacle command": "b00d6277", "examineObject command": "f06bac88", "ToggleObject command": "879cced3",
    "HeatObject command": "d953603e", "CleanObject command": "075db8a1", "CoolObject command": "6dce652a",
    "SliceObject command": "b03d03ee", "look command": "3c01eba1", "help command": "106a5842",
    "help.feedback": "dd93b4f3", "look.feedback": "5b44b7fa", "list_appliances": "e9fbf6cb",
    "overview(r)": "8b21a2e2", "list_objects_on_the_floor": "13ab8aa1", "overview(o)": "0e118f89",
    "look-variations": "b7713c31", "sliceObject.feedback": "a0539da9", "coolObject.feedback": "3c5e624f",
    "cleanObject.feedback": "7bf1f23c", "heatObject.feedback": "2ad8b87a", "toggleObject.feedback": "6dad182f",
    "examineObject.feedback": "a81e2e7b", "examineReceptacle.feedback": "09375641", "inventory.feedback": "1a033ccc",
    "PutObject.feedback": "072d5c25", "PickupObject.feedback": "49ba4ca2", "CloseObject.feedback": "69dcd09b",
    "OpenObject.feedback": "9e946a4d", "GotoLocation.feedback": "dbc3f590", "list_last_separator": "8c8bfb7e",
    "list_separator": "529b04a3", "list_empty": "b44bbf44", "intro": "72845309",
    "task": "ab95dfcc",
}  # fmt: skip


def check_rules(domain: str, grammar: str, source: str) -> None:
    """Raises ReproError that names the file and every rule that differs from those of ALFWorld 0.4.

    Texts without any action pass: a file written where the rules are not installed has none.
    """
    if "(:action" not in domain:
        return
    try:
        different = _different(domain, _TASK.sub('"Your task is to: "', grammar))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReproError(f"{source}: the grammar inside this game file is malformed ({error!r})") from error
    if different:
        raise ReproError(
            f"{source}: this game does not play by the rules of ALFWorld 0.4, which this engine implements; different "
            f"are {', '.join(different)}. Get the games again with alfworld-download of alfworld 0.4.2."
        )


@lru_cache(maxsize=8)
def _different(domain: str, grammar: str) -> tuple[str, ...]:
    rules, texts = domain_digests(domain), grammar_digests(grammar, set(_DOMAIN))
    wrong = [f"action {name}" for name in {*rules, *_DOMAIN} if rules.get(name) != _DOMAIN.get(name)]
    wrong += [f"text {name}" for name, digest in _GRAMMAR.items() if texts.get(name) != digest]
    return tuple(sorted(wrong))


def domain_digests(domain: str) -> dict[str, str]:
    """A digest for each action, without comments, letter case and layout."""
    plain = re.sub(r";[^\n]*", "", domain).lower()
    blocks = plain.split("(:action ")[1:]
    # What follows an action in the file (a parenthesis that closes the domain, at most) is not part of it.
    return {block.split()[0]: _digest(" ".join(re.findall(r"[()]|[^\s()]+", _balanced(block)))) for block in blocks}


def grammar_digests(grammar: str, actions: set[str]) -> dict[str, str]:
    """A digest for each text that can appear: command templates of the given actions, and what they refer to."""
    texts: dict[str, list[dict[str, str]]] = {}
    for block in _BLOCK.findall(grammar):
        lines = [line for line in block.split("\n") if not line.lstrip().startswith("#")]
        texts |= json.loads("\n".join(lines))
    found, waiting = {}, ["intro", "list_empty", "list_separator", "list_last_separator"]
    for name, _, template, feedback in _ACTION.findall(grammar):
        if name.lower() in actions:
            found[f"{name} command"] = _digest(template)
            # Published games have the words of `help` where the package refers to them.
            refers = re.fullmatch(r"#([^#]+)#", feedback)
            waiting += [refers[1]] if refers else []
            found |= {} if refers else {f"{name}.feedback": _digest(feedback.strip("\n") + "||")}
    while waiting:
        name = waiting.pop()
        if name in found or name not in texts:
            continue
        rules = [(rule["rhs"], rule.get("condition", "")) for rule in texts[name]]
        found[name] = _digest("\n".join(rhs.strip("\n") + "||" + condition for rhs, condition in rules))
        waiting += [symbol for rhs, _ in rules for symbol in re.findall(r"#([^#]+)#", rhs)]
    return found


def _balanced(block: str) -> str:
    depth = 1  # the parenthesis before :action
    for index, character in enumerate(block):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return block[:index]
    return block


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:8]
