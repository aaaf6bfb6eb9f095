"""3SPO's exploration: trees grown from states that an environment can return to, and when an update is due.

One epoch over a list of tasks, in lock step over all of them:

    for groups in Epoch(config, table, tasks, propose, seed).explore():
        learner.update(groups)  # before the next states are sampled: `propose` then asks the new policy

`propose(nodes, counts)` is the policy: for each node that many proposals. A proposal carries whatever the learner needs
as `sample`, and comes back with its advantage.

Each round takes one state of every task's tree, samples n(s) actions there (Eq. 3), scores the steps (Eq. 2), writes
the trajectories that ended to the table, pushes the unfinished successors with the best on top, and yields the groups.
When a branch ends, the tree goes on at its deepest state left: ranked, backtracking, depth-first search.

With `branching="rollouts"` plain rollouts come first, and groups are grown at states along them, one step deep; the
action that the rollout took is one of the n.

Bounds: leaves a task (`config.leaves`), generations an epoch (`config.generations`) and in all (`budget`). Generations
are never exceeded: a round that does not fit is served in order as far as it does, and the epoch ends. A run that was
killed repeats its epoch from the table of the epoch before: draws depend on seed, epoch and task alone.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from repro.algorithms.threespo import (
    StateTable,
    ThreeSPO,
    annealing,
    branches,
    given_up,
    group_advantage,
    score,
    step_reward,
    success_rate,
    table_score,
)
from repro.algorithms.threespo_nodes import Branch, Group, Node, Proposal, Task, Walk, start_node, stepped
from repro.algorithms.threespo_tally import Tally
from repro.errors import ReproError


@dataclass(eq=False)
class Tree:
    """The states of one task that wait for their turn; the last is on top."""

    pending: list[Node]
    rng: random.Random
    leaves: int = 0
    descending: bool = True  # whether the top is the best successor of the last expansion

    def pop(self, backtrack: str) -> Node:
        if self.descending or backtrack in ("deepest", "none"):
            return self.pending.pop()
        if backtrack == "random":
            return self.pending.pop(self.rng.randrange(len(self.pending)))
        shallowest = min(range(len(self.pending)), key=lambda k: (self.pending[k].turn, -k))  # best of its siblings
        return self.pending.pop(shallowest)


class Epoch:
    """One epoch. `tally` says what happened; `trace`, if given, receives an event (plain data) for each thing that did.

    ReproError if an environment does not return to where it was, or `propose` does not give what it was asked for.
    """

    def __init__(
        self,
        config: ThreeSPO,
        table: StateTable,
        tasks: Sequence[Task],
        propose: Callable[[list[Node], list[int]], list[list[Proposal]]],
        seed: int = 0,
        budget: int | None = None,
        trace: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.config, self.table, self.tasks, self.propose = config, table, tasks, propose
        self.seed, self.budget, self.trace = seed, budget, trace
        self.tally, self._ids, self._cut = Tally(), itertools.count(), False

    def explore(self) -> Iterator[list[Group]]:
        """Yield groups whenever an update is due; never an empty list."""
        config = self.config
        self.table.begin_epoch(config.half_life)
        starts = [start_node(config, task, self._ids) for task in self.tasks]
        self.tally.count["solved_at_start"] += sum(node.terminal for node in starts)
        starts = [node for node in starts if not node.terminal]
        self.table.met(node.key for node in starts)
        walks = self._play([node for node in starts for _ in range(config.rollouts)])
        self.tally.outcomes("rollout", [walk.at.won for walk in walks if walk.at.terminal])
        if config.score_after_recording:
            self._record_rollouts(walks)
        yield from self._grow_trees(starts) if config.branching == "depth_first" else self._branch_along(walks)
        if not config.score_after_recording:
            self._record_rollouts(walks)

    # Trees -----------------------------------------------------------------------------------------------------------

    def _grow_trees(self, starts: list[Node]) -> Iterator[list[Group]]:
        config, count, ready = self.config, self.tally.count, []
        trees = [Tree([node], self._rng(node.task)) for node in starts]
        while not self._cut:
            taken = [(tree, *found) for tree in trees if (found := self._next(tree))]
            if not taken:
                break
            groups = self._expand([(node, n) for _, node, n in taken])
            count["pending"] += len(taken) - len(groups)
            grown = [(tree, group) for (tree, _, _), group in zip(taken, groups, strict=False)]
            if config.score_after_recording:
                self._record_leaves(grown)
            judged = self._judge(groups)
            if not config.score_after_recording:
                self._record_leaves(grown)
            for tree, group in grown:
                self._push(tree, group)
            count["rounds"] += 1
            ready += self._trainable(judged)
            if ready and config.update_every and count["rounds"] % config.update_every == 0:
                yield ready
                ready = []
        count["pending"] += sum(len(tree.pending) for tree in trees)
        if ready:
            yield ready

    def _next(self, tree: Tree) -> tuple[Node, int] | None:
        """The next state of a tree that is not given up, and its n; None if the tree is done."""
        while tree.pending and (self.config.leaves is None or tree.leaves < self.config.leaves):
            node = tree.pop(self.config.backtrack)
            n = self._allocate(node)
            if n:
                return node, n
            tree.descending = False
        return None

    def _push(self, tree: Tree, group: Group) -> None:
        ranked = group.distinct(self.config.expand)
        kept = ranked[:1] if self.config.backtrack == "none" else ranked
        tree.pending += [branch.child for branch in reversed(kept) if not branch.child.terminal]
        tree.descending = not ranked[0].child.terminal  # a best successor that is final ends this branch

    # Rollouts --------------------------------------------------------------------------------------------------------

    def _branch_along(self, walks: list[Walk]) -> Iterator[list[Group]]:
        config, count = self.config, self.tally.count
        chosen = [self._choose(walk, self._rng(walk.at.task, k)) for k, walk in enumerate(walks) if walk.steps]
        stride = config.update_every or config.nodes
        for first in range(0, config.nodes, stride):
            requests = []
            for step in [step for steps in chosen for step in steps[first : first + stride]]:
                n = self._allocate(step.node)
                count["singletons"] += n == 1  # the rollout has acted here once already
                requests += [(step, n - 1)] * (n > 1)
            groups = self._expand([(step.node, n) for step, n in requests])
            for (step, _), group in zip(requests, groups, strict=False):
                group.branches.insert(0, Branch(step.branches[0].proposal, step.branches[0].child))
            count["unfinished"] += len(requests) - len(groups)
            count["rounds"] += 1
            if ready := self._trainable(self._judge(groups)):
                yield ready

    def _choose(self, walk: Walk, rng: random.Random) -> list[Group]:
        """The steps of a rollout at which to branch, in their order."""
        config, number = self.config, min(self.config.nodes, len(walk.steps))
        if config.node_choice == "random":
            return [walk.steps[k] for k in sorted(rng.sample(range(len(walk.steps)), number))]
        sign = -1 if config.node_choice == "highest" else 1
        scores = [sign * table_score(config, self.table, s.node.key, s.node.turn, allocating=True) for s in walk.steps]
        return [walk.steps[k] for k in sorted(sorted(range(len(scores)), key=scores.__getitem__)[:number])]

    def _play(self, starts: list[Node]) -> list[Walk]:
        """Plain rollouts, one from each node, in lock step."""
        walks = [Walk(node) for node in starts]
        while live := [walk for walk in walks if not walk.at.terminal]:
            groups = self._expand([(walk.at, 1) for walk in live])
            for walk, group in zip(live, groups, strict=False):
                walk.steps.append(group)
                walk.at = group.branches[0].child
            if len(groups) < len(live):
                self.tally.count["unfinished"] += sum(not walk.at.terminal for walk in walks)
                break
        return walks

    # Sampling --------------------------------------------------------------------------------------------------------

    def _allocate(self, node: Node) -> int:
        """n(s), Eq. 3."""
        config, count, start = self.config, self.tally.count, node.turn == 0
        value = table_score(config, self.table, node.key, node.turn, allocating=True, start=start)
        n = branches(config, value)
        self.tally.visit(value, n)
        hopeless = given_up(config, self.table, node.key)
        count["given_up"] += hopeless
        count["given_up_starts"] += hopeless and start
        if n == 0:
            count["truncated"] += 1
            count["pruned_starts"] += start
            if config.record_truncated:
                self.table.record(node.path, won=False)
            self._tell("truncated", node=node.id, task=node.task.id)
        return n

    def _expand(self, requests: list[tuple[Node, int]]) -> list[Group]:
        """Sample and step; as many groups, in order, as the bounds on generations allow."""
        room = self._room()
        for served, (_, n) in enumerate(requests):
            room -= n
            if room < 0:
                self._cut, requests = True, requests[:served]
                break
        if not requests:
            return []
        nodes, counts = [node for node, _ in requests], [n for _, n in requests]
        answers = self.propose(nodes, counts)
        given = [len(proposals) for proposals in answers]
        if given != counts:
            raise ReproError(f"propose was asked for {counts} proposals and gave {given}: give each node its number")
        self.tally.count["generations"] += sum(counts)
        self.table.generations += sum(counts)
        return [stepped(self.config, *pair, self._ids) for pair in zip(nodes, answers, strict=True)]

    def _room(self) -> float:
        rooms = [float("inf")]
        if self.config.generations is not None:
            rooms.append(self.config.generations - self.tally.count["generations"])
        if self.budget is not None:
            rooms.append(self.budget - self.table.generations)
        return min(rooms)

    # Credit ----------------------------------------------------------------------------------------------------------

    def _judge(self, groups: list[Group]) -> list[Group]:
        """Rewards and advantages, all from one state of the table; groups that the budget left unestimated drop out."""
        config, table = self.config, self.table
        if config.estimate == "continuations":
            groups = self._continued(groups)
        for group in groups:
            node, visits = group.node, table.visits(group.node.key)
            group.score = self._score_before(group)
            for branch in group.branches:
                child = branch.child
                branch.kind, branch.score = self._kind(node, child), self._score_after(group, branch)
                facts = visits, self._novel(node, child), group.score, branch.score, child.won
                branch.reward = step_reward(config, *facts, branch.proposal.valid)
            advantages, group.deviation = group_advantage(config, [branch.reward for branch in group.branches])
            for branch, advantage in zip(group.branches, advantages, strict=True):
                branch.advantage = advantage
            self._tell_group(group)
        table.met(branch.child.key for group in groups for branch in group.branches)
        return groups

    def _continued(self, groups: list[Group]) -> list[Group]:
        """p_hat of each branch from plain continuations of its successor; a final one's is its outcome.

        Also of the action that a rollout took: its own end would not do, as where to branch depends on its length.
        """
        starts = [  # (group, successor) of each continuation
            (number, branch.child)
            for number, group in enumerate(groups)
            for branch in group.distinct(by="state")
            if not branch.child.terminal
            for _ in range(self.config.continuations)
        ]
        walks, wins = self._play([child for _, child in starts]), {}
        for (number, child), walk in zip(starts, walks, strict=True):
            if walk.at.terminal:
                wins.setdefault((number, child.world), []).append(walk.at.won)
        self.tally.outcomes("continuation", list(itertools.chain.from_iterable(wins.values())))
        if self.config.record != "rollouts":
            self._record(walks)
        whole = []
        for number, group in enumerate(groups):
            for branch in group.branches:
                child = branch.child
                outcomes = [child.won] if child.terminal else wins.get((number, child.world), [])
                branch.p_hat = sum(outcomes) / len(outcomes) if outcomes else None
            whole += [group] * all(branch.p_hat is not None for branch in group.branches)
        self.tally.count["unfinished"] += len(groups) - len(whole)
        return whole

    def _score_before(self, group: Group) -> float:
        """S(s)."""
        node = group.node
        if self.config.estimate == "continuations":
            p_hat = sum(branch.p_hat for branch in group.branches) / len(group.branches)
            return score(p_hat, annealing(self.config, self.table, node.turn))
        return table_score(self.config, self.table, node.key, node.turn, start=node.turn == 0)

    def _score_after(self, group: Group, branch: Branch) -> float:
        """S(s')."""
        config, table, child = self.config, self.table, branch.child
        if branch.p_hat is not None or child.terminal and config.terminal == "outcome":
            p_hat = float(child.won) if branch.p_hat is None else branch.p_hat
            return score(p_hat, annealing(config, table, child.turn))
        if config.unseen == "neutral" and not table.visits(child.key):
            return group.score
        return table_score(config, table, child.key, child.turn)

    def _novel(self, node: Node, child: Node) -> bool:
        """R_novel(s'), in one of its readings."""
        if self.config.novel == "training":
            return child.key not in self.table.counts and child.state != node.state
        if self.config.novel == "trajectory":
            return child.key not in node.path
        return self.config.novel == "changed" and child.state != node.state

    def _kind(self, node: Node, child: Node) -> str:
        if child.won:
            return "won"
        if child.world == node.world:
            return "no_op"
        if not self.table.visits(child.key):
            return "unseen"
        if given_up(self.config, self.table, child.key):
            return "pruned"
        return "solved" if success_rate(self.config, self.table, child.key) > 0 else "unsolved"

    def _trainable(self, groups: list[Group]) -> list[Group]:
        """The groups that an update gets: of two or more, with the spread that is asked for."""
        kept, count = [], self.tally.count
        for group in groups:
            if len(group.branches) == 1:
                count["singletons"] += 1
                continue
            count["groups"] += 1
            count["flat"] += group.deviation == 0
            self.tally.deviation_sum += group.deviation
            for branch in group.branches:
                self.tally.successor(branch.kind, branch.reward, branch.advantage)
            if self.config.min_std is None or group.deviation > self.config.min_std:
                kept.append(group)
            else:
                count["dropped"] += 1
        return kept

    # Records ---------------------------------------------------------------------------------------------------------

    def _record_leaves(self, grown: list[tuple[Tree, Group]]) -> None:
        """Each path that has just ended: once, whatever the number of samples that ended it alike."""
        for tree, group in grown:
            ended = [branch.child for branch in group.distinct(self.config.expand) if branch.child.terminal]
            tree.leaves += len(ended)
            self.tally.outcomes("leaf", [child.won for child in ended])
            for child in ended:
                if self.config.record != "rollouts":
                    self.table.record(child.path, child.won)
                self._tell("leaf", node=child.id, task=child.task.id, won=child.won)

    def _record_rollouts(self, walks: list[Walk]) -> None:
        if self.config.record != "leaves":
            self._record(walks)
        self.table.met(key for walk in walks for key in walk.at.path)

    def _record(self, walks: list[Walk]) -> None:
        for walk in walks:
            if walk.at.terminal:
                self.table.record(walk.at.path, walk.at.won)

    def _rng(self, task: Task, number: int = 0) -> random.Random:
        return random.Random(f"threespo:{self.seed}:{self.table.epoch}:{task.id}:{number}")

    def _tell(self, event: str, **facts: Any) -> None:
        if self.trace is not None:
            self.trace({"event": event} | facts)

    def _tell_group(self, group: Group) -> None:
        if self.trace is None:
            return
        node = group.node
        rows = [
            {"child": b.child.id, "command": b.proposal.command, "observation": b.child.observation, "kind": b.kind}
            | {"score": b.score, "reward": b.reward, "advantage": b.advantage}
            | {"terminal": b.child.terminal, "won": b.child.won}
            for b in group.branches
        ]
        about = {"node": node.id, "parent": node.parent, "task": node.task.id, "turn": node.turn}
        self._tell("expanded", **about, observation=node.observation, score=group.score, branches=rows)
