"""Guidance: what the policy sees besides the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unguided:
    """The question alone (GRPO, and every evaluation)."""

    def prompt(self, query: Any, failures: int = 0) -> str:
        """The text that the policy continues; `query` has a `text`, and its last `failures` groups have all failed."""
        return query.text
