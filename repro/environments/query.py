"""The unit of every environment: one question with its checkable answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """A question, the answer that a verifier compares with, and what the other rooms need to know of it.

    ``id`` is unique within its data set and stable across loads, ``text`` is the question as shown to the
    policy, ``answer`` the reference answer, ``level`` the difficulty as its source names it, ``trace`` an
    expert's worked solution (empty where there is none) and ``graph`` the solution graph as an immutable
    structure that the generator defines (empty for real data sets).
    """

    id: str
    text: str
    answer: str
    level: str
    trace: str = ""
    graph: tuple = ()
