"""Guidance: what the policy sees besides the question."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


def words(text: str) -> list[str]:
    """Whitespace-separated words, each with the space after it: the tokens of a word-level policy."""
    return re.findall(r"\A\s*\S+\s*|\S+\s*", text)


class Measure(NamedTuple):
    """How long texts are for the policy that reads them.

    `split` cuts a text into its tokens, pieces that join back to it; `around` is how many tokens a chat template puts
    around a prompt.
    """

    split: Callable[[str], list[str]] = words
    around: int = 0


WORDS = Measure()


@dataclass(frozen=True)
class Unguided:
    """The question alone (GRPO, and every evaluation)."""

    def prompt(self, query: Any, failures: int = 0, measure: Measure = WORDS) -> str:
        """The text that the policy continues; `query` has a `text`, and its last `failures` groups have all failed.

        `measure`: the policy's, for guidance that has to fit its prompts.
        """
        return query.text
