"""What a player of ALFWorld is shown, and how its response becomes a command.

`compact` is for policies trained from scratch: the game's texts in few words. Articles and fillers go, names and their
numbers are words of their own, and an arrival is told by what is found there:

    put hot apple diningtable . at fridge 1 . hand nothing . room see fridge 1 ... > go to fridge 1 . fridge 1 closed >

are the task, where the player stands, the thing in hand, the last turns (observation > command) and the present
observation. Place and hand can be asked for in the game; they are shown because two past turns that did nothing would
otherwise leave a policy without a memory in the dark.

`verbose` is for instruction-tuned models, in the form of 3SPO's released code (prompts/alfworld.py,
env_manager.py): task, number of turns taken, the last turns, the present observation, the commands possible now without
`help`, and the request to think inside <think> tags and to act inside <action> tags. The wording is this project's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from repro.environments.alfworld.text import HELP

# Every word of compact prompts and commands that is no name and no number.
COMMAND_WORDS = "go to open close take from move examine use heat clean cool with look inventory help".split()
TASK_WORDS = "put hot two under".split()
OBSERVATION_WORDS = (
    "at hand nothing room see closed pick using turn happens facing next not carrying anything special about cold "
    "normal"
).split()
SIGNS = (".", ">")

_FILLERS = frozenset(
    "a the you your is are it its in on at to of up and this there s middle looking quickly around".split()
)
_ECHO = re.compile(r"^You (?:arrive at|open the) [^.]*\. ")  # the next sentence names the place again
_WORD = re.compile(r"[a-z]+|\d+")


@lru_cache(maxsize=1 << 15)
def compact(text: str) -> str:
    """One of the game's texts in few words; the opening without its welcome and its task, which stands elsewhere."""
    if text == HELP:
        return "help"
    if text.startswith("-= Welcome"):
        text = text.split("\n\n")[1]
    return " ".join(word for word in _WORD.findall(_ECHO.sub("", text).lower()) if word not in _FILLERS)


def compact_prompt(
    task: str, here: Sequence[str], held: str | None, past: Sequence[tuple[str, str]], observation: str
) -> str:
    """All that a policy from scratch sees at a turn. `past` holds (observation, command), oldest first."""
    turns = [f"{compact(seen)} > {' '.join(command.split())}" for seen, command in past]
    where = " ".join(here) or "room"
    return " . ".join([compact(task), f"at {where}", f"hand {held or 'nothing'}", *turns, f"{compact(observation)} >"])


def verbose_prompt(
    task: str, turn: int, past: Sequence[tuple[str, str]], observation: str, admissible: Sequence[str]
) -> str:
    """All that an instruction-tuned model sees at a turn; `turn` counts the commands given so far."""
    lines = ["You act in a household by short text commands."]
    if turn:
        lines += [f"Your task is to: {task}.", f"You have taken {turn} steps so far."]
        if past:
            lines.append(f"The last {len(past)} of them, with what you saw before each:")
        for number, (seen, command) in enumerate(past, start=turn - len(past) + 1):
            lines.append(f"[Observation {number}: {seen!r}, Action {number}: {command!r}]")
    possible = ", ".join(f"'{command}'" for command in admissible if command != "help")
    lines += [
        f"This is step {turn + 1}, and what you see now is: {observation}",
        f"The commands possible now are: [{possible}].",
        "First think step by step about what to do next, between <think> and </think>. "
        "Then give exactly one of the possible commands between <action> and </action>.",
    ]
    return "\n".join(lines)


_TAGGED = re.compile(r"<action>(.*?)</action>", re.DOTALL)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_TAIL = 30  # characters of a response without action tags that are taken for its command


def projected(response: str) -> tuple[str, bool]:
    """The command in a response of an instruction-tuned model, and whether the response has the form asked for.

    As in the released code (env_package/alfworld/projection.py): in lower case, what stands between the first action
    tags, else the last 30 characters. The form wants both pairs of tags and no Chinese characters; whether the command
    is possible is left to the game, which also gets the command of a response that is out of form.
    """
    lowered = response.lower()
    tagged = _TAGGED.search(lowered)
    thought = "<think>" in response and "</think>" in response
    command = tagged.group(1).strip() if tagged else lowered[-_TAIL:]
    return command, tagged is not None and thought and not _CHINESE.search(response)
