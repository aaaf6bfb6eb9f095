"""One search episode: the policy searches the knowledge base, reads, and answers once.

An action is one line: `search <words>` shows the best documents, `answer <text>` ends the episode with reward 1.0 for
an exact match, else 0.0 ("Search: ..." will do). Every action is a turn, and without an answer after `max_turns` the
episode is lost. What cannot be searched costs its turn, is answered in words and counted in `faults`:

| action | observation | counted as |
|---|---|---|
| neither a search nor an answer; an answer without a word | `no such action .` | malformed |
| a search without a word that could be searched for | `no query .` | empty |
| a search of more than `max_query_words` such words | `query too long .`, nothing is searched | overlong |
| a search with words that stand in no document | what the others find, else `no results .` | unknown |
| any but an answer on the last turn | followed by `no turns left .` | out_of_turns |
"""

from __future__ import annotations

from typing import NamedTuple

from repro.environments.query import Query
from repro.environments.search.index import words
from repro.environments.search.knowledge import SearchConfig
from repro.environments.search.questions import base_of, exact_match, normalise
from repro.errors import ReproError


class Faults(NamedTuple):
    """How many of an episode's actions went wrong, by kind."""

    malformed: int = 0
    empty: int = 0
    overlong: int = 0
    unknown: int = 0
    out_of_turns: int = 0


class State(NamedTuple):
    """All that changes in an episode: a snapshot."""

    turn: int = 0  # actions taken
    seen: tuple[int, ...] = ()  # documents shown so far, in the order of their first showing
    done: bool = False
    won: bool = False
    answer: str = ""  # as it was given
    faults: Faults = Faults()


class SearchEpisode:
    """A question played against its knowledge base, which all episodes about it share. Deterministic; for one use."""

    def __init__(self, config: SearchConfig, query: Query):
        self.config = config
        self.query = query
        self.base = base_of(config, query)
        self.state: State | None = None
        subject = query.graph[0].subject
        if f"the {self.base.type_of.get(subject)} {subject} ?" not in query.text:
            raise ReproError(
                f"search world: {query.id} ({query.text!r}) is not about this config's knowledge base; play a question "
                "with the config that made it"
            )

    def reset(self) -> str:
        """Start; the question is the first observation."""
        self.state = State()
        return self.query.text

    @property
    def won(self) -> bool:
        return self._begun().won

    @property
    def answer(self) -> str:
        """The answer as it was given; empty as long as there is none."""
        return self._begun().answer

    @property
    def done(self) -> bool:
        return self._begun().done

    @property
    def faults(self) -> Faults:
        return self._begun().faults

    def step(self, action: str) -> tuple[str, float, bool]:
        """(observation, reward, done) after one action. Raises ReproError before `reset` and after the end."""
        state = self._begun()
        if state.done:
            raise ReproError("search world: the episode is over; restore a snapshot or build a new one")
        verb, rest = (*action.split(maxsplit=1), "", "")[:2]
        verb = verb.lower().removesuffix(":")
        if verb == "answer" and normalise(rest):
            won = exact_match(rest, self.query.answer)
            self.state = state._replace(turn=state.turn + 1, done=True, won=won, answer=rest)
            return "", float(won), True
        observation, seen, faults = self._search(rest) if verb == "search" else ("no such action .", (), ["malformed"])
        done = state.turn + 1 >= self.config.max_turns
        if done:
            observation += "\nno turns left ."
            faults.append("out_of_turns")
        self.state = State(
            turn=state.turn + 1,
            seen=(*state.seen, *(d for d in seen if d not in state.seen)),
            done=done,
            faults=state.faults._replace(**{fault: getattr(state.faults, fault) + 1 for fault in faults}),
        )
        return observation, 0.0, done

    def _search(self, text: str) -> tuple[str, tuple[int, ...], list[str]]:
        """Observation, documents shown, and the faults of a query."""
        query = words(text)
        if not query:
            return "no query .", (), ["empty"]
        if len(query) > self.config.max_query_words:
            return "query too long .", (), ["overlong"]
        page = self.base.search(query)
        unknown = any(word not in self.base.index.vocabulary for word in query)
        return page.text, page.documents, ["unknown"] if unknown else []

    def admissible(self) -> list[str]:
        """Every search for a name read so far with one relation, then every answer with such a name; [] when over.

        Not all that is allowed (any words may be searched), but all that a sensible player needs.
        """
        state = self._begun()
        if state.done:
            return []
        facts = (self.base.facts[d] for d in state.seen)
        read = [self.query.graph[0].subject, *(name for fact in facts for name in (fact.subject, fact.object))]
        known = list(dict.fromkeys(read))
        relations = list(dict.fromkeys(relation for _, relation, _ in self.config.schema))
        return [f"search {n} {r}" for n in known for r in relations] + [f"answer {n}" for n in known]

    def snapshot(self) -> State:
        """The state, an immutable value; `restore` takes it back, in this episode or another of the same question."""
        return self._begun()

    def restore(self, snapshot: State) -> None:
        self.state = snapshot

    def state_key(self, with_goal: bool = False) -> str:
        """What is known: the knowledge base and the documents read, in any order; with the question if asked.

        Turns taken and faults do not count: two ways to the same knowledge are one state.
        """
        state = self._begun()
        stage = "open" if not state.done else "won" if state.won else "lost"
        key = f"{self.base.name}|{stage}|{','.join(map(str, sorted(state.seen)))}"
        return f"{key}|{self.query.text}" if with_goal else key

    def _begun(self) -> State:
        if self.state is None:
            raise ReproError("search world: call reset before anything else")
        return self.state
