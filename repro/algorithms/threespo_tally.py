"""What happened in one epoch of 3SPO's exploration, counted where it happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

KINDS = ("won", "no_op", "unseen", "pruned", "solved", "unsolved")  # of a successor; the first that applies
HIGH_SCORE = 0.5  # a state above counts as unresolved; the paper's threshold is not reported


@dataclass
class Tally:
    """Counts of one epoch; `metrics` flattens them for a log.

    `count`, all zero unless they happened:
    generations            responses sampled, plain rollouts and continuations included
    rounds                 of all trees together, or chunks of nodes along rollouts
    visits, high_scores    states asked for n(s), and those whose score is above HIGH_SCORE
    given_up, given_up_starts  visits at which the indicator of Eq. 1 is 0, whether or not it is obeyed; those of starts
    truncated, pruned_starts   visits that ended a branch (n = 0); those at a start, which end the task for the epoch
    singletons             states that acted once, without an update (n = 1)
    groups, flat, dropped  groups of two or more; without any spread of rewards; left out of the updates for too little
    leaves, leaf_wins      outcomes of the tree
    rollouts, rollout_wins, continuations, continuation_wins  outcomes of plain play
    unfinished             plain rollouts, continuations or groups that the budget cut off
    pending                states left on the trees when exploration ended
    solved_at_start        tasks whose first observation is final: nothing to explore
    """

    count: Counter = field(default_factory=Counter)
    branches: Counter = field(default_factory=Counter)  # n(s) -> visits
    kinds: dict[str, list[float]] = field(default_factory=dict)  # -> successors, sum of rewards, sum of advantages
    score_sum: float = 0.0
    deviation_sum: float = 0.0

    def visit(self, score: float, n: int) -> None:
        self.count["visits"] += 1
        self.count["high_scores"] += score > HIGH_SCORE
        self.branches[n] += 1
        self.score_sum += score

    def outcomes(self, kind: str, wins: Sequence[bool]) -> None:
        """Finished play of a kind: leaf, rollout or continuation."""
        self.count["leaves" if kind == "leaf" else f"{kind}s"] += len(wins)
        self.count[f"{kind}_wins"] += sum(wins)

    def successor(self, kind: str, reward: float, advantage: float) -> None:
        totals = self.kinds.setdefault(kind, [0, 0.0, 0.0])
        for k, value in enumerate((1, reward, advantage)):
            totals[k] += value

    def metrics(self) -> dict[str, float]:
        """One flat record; means are left out where there is nothing to average."""
        record: dict[str, float] = dict(self.count)
        if visits := self.count["visits"]:
            record |= {"score_mean": self.score_sum / visits, "high_share": self.count["high_scores"] / visits}
        if groups := self.count["groups"]:
            record["deviation_mean"] = self.deviation_sum / groups
        record |= {f"n_{n}": visits for n, visits in sorted(self.branches.items())}
        for kind in KINDS:
            if kind in self.kinds:
                number, reward, advantage = self.kinds[kind]
                record |= {f"{kind}_successors": number, f"{kind}_reward": reward / number}
                record[f"{kind}_advantage"] = advantage / number
        return record
