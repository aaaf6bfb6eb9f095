"""How an agent is asked to shop, and how its answer becomes an action: in few words, or as the paper's agents are.

In the compact shop a prompt is the task, the last turns, and the present page, and an answer is an action:

    task : find soft shirt in navy under $40 | shop : search search soft shirt results : p07 soft shirt $27.0

A language model is told more, in this order: the task, how many turns are gone, the last pages with the actions taken
there, the present page, the actions on offer now, and the form of the answer. These parts, and the rule of what is
valid, are those of the released 3SPO code (agent_system/environments, and its projection of actions); the words are
our own. As there, nothing of the past is shown where the prompt would be longer than 13,000 characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 13_000  # characters of a prompt with history
UNTAGGED = 20  # characters from the end of an answer that are read where there is no action tag
_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")

Past = Sequence[tuple[str, str]]  # the last turns: page and action


def compact_prompt(instruction: str, past: Past, page: str) -> str:
    turns = " ".join(f"{seen} {action}" for seen, action in past)
    return " ".join(f"task : {instruction} | {turns} {page}".split())


def prompt(instruction: str, past: Past, page: str, offers: Sequence[str], turn: int) -> str:
    """What a language model is told at a turn; `turn` are those gone."""
    told = _prompt(instruction, past, page, offers, turn)
    return told if len(told) <= LONGEST else _prompt(instruction, (), page, offers, turn)


def _prompt(instruction: str, past: Past, page: str, offers: Sequence[str], turn: int) -> str:
    parts = [
        "You are shopping in an online store whose pages you read as text. You search, click, and buy one product.",
        f"What you are to buy: {instruction}",
    ]
    if turn:
        parts.append(f"You have taken {turn} steps so far.")
    if past:
        steps = [
            f"Page {number}: {seen}\nAction {number}: {action}"
            for number, (seen, action) in enumerate(past, start=turn - len(past) + 1)
        ]
        parts.append("The latest of them:\n" + "\n".join(steps))
    parts += [
        f"The page before you: {page}",
        "What you can do here:\n" + "\n".join(f"'{offer}'" for offer in offers),
        "Reason step by step between <think> and </think>. Then choose one of these actions and give it between "
        "<action> and </action>.",
    ]
    return "\n\n".join(parts)


def project(answer: str) -> tuple[str, bool]:
    """(action, whether the answer has the form that was asked for). An action is taken from any answer.

    It is the text between the first action tags, in lower case, else the answer's last 20 characters. The form wants
    action tags and think tags and no Chinese character; it does not ask whether the action is on offer.
    """
    text = answer.lower()
    found = _ACTION.search(text)
    action = (found[1] if found else text[-UNTAGGED:]).strip()
    thought = "<think>" in text and "</think>" in text
    return action, bool(found) and thought and not _CHINESE.search(answer)
