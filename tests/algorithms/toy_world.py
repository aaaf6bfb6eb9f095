"""A world small enough to walk by hand: states joined by commands, some of them won."""

import pytest

from repro.algorithms.threespo import StateTable
from repro.algorithms.threespo_nodes import Proposal, Task
from repro.algorithms.threespo_tree import Epoch

WALK = {
    "s1": {"l": "s2", "r": "s3"},
    "s2": {"l": "s4", "r": "s5"},
    "s5": {"l": "s6", "r": "s7"},
    "s3": {"l": "s8", "r": "s2"},
    "s8": {"r": "s1"},
}
BINARY = {f"n{k}": {"l": f"n{2 * k}", "r": f"n{2 * k + 1}"} for k in range(1, 64)}  # a tree of six levels, never won


class Graph:
    """`edges` maps a state to {command: next state}; an unknown command changes nothing and says so."""

    def __init__(self, edges, start="s1", wins=()):
        self.edges, self.start, self.wins, self.steps, self.resets = edges, start, set(wins), 0, 0
        self.at = start

    @property
    def won(self):
        return self.at in self.wins

    def reset(self):
        self.at, self.resets = self.start, self.resets + 1
        return self.at

    def step(self, action):
        self.steps += 1
        known = action in self.edges.get(self.at, {})
        self.at = self.edges[self.at][action] if known else self.at
        return self.at if known else "Nothing happens.", float(self.won), self.won

    def admissible(self):
        return sorted(self.edges.get(self.at, {}))

    def snapshot(self):
        return self.at

    def restore(self, snapshot):
        self.at = snapshot

    def state_key(self, with_goal=False):
        return f"goal {self.at}" if with_goal else self.at

    def abstract_key(self):
        return "won" if self.won else "not yet"


class Leaky(Graph):
    """Its restoring goes wrong."""

    def restore(self, snapshot):
        self.at = "elsewhere"


def task(edges, start="s1", wins=(), id="t1", world=Graph):
    return Task(id, world(edges, start, wins), goal="win")


def cycling(*commands):
    """A policy that gives these commands in turn, from the first at every state; it notes what it was asked."""

    def propose(nodes, counts):
        propose.asked.append([(node.observation, n) for node, n in zip(nodes, counts, strict=True)])
        return [
            [Proposal(commands[k % len(commands)], sample=(node.id, k)) for k in range(n)]
            for node, n in zip(nodes, counts, strict=True)
        ]

    propose.asked = []
    return propose


def scripted(by_state):
    """A policy that gives each state's commands in turn, going on where it stopped: {state: (command, ...)}."""
    used = {}

    def propose(nodes, counts):
        answers = []
        for node, n in zip(nodes, counts, strict=True):
            commands, first = by_state[node.world], used.get(node.world, 0)
            answers.append([Proposal(commands[(first + k) % len(commands)]) for k in range(n)])
            used[node.world] = first + n
        return answers

    return propose


def run(config, tasks, propose, table=None, **options):
    """Explore an epoch to its end: (epoch, groups of each update, events)."""
    events, table = [], StateTable() if table is None else table
    epoch = Epoch(config, table, tasks, propose, trace=events.append, **options)
    return epoch, list(epoch.explore()), events


def rewards(event):
    return {branch["command"]: pytest.approx(branch["reward"], abs=1e-9) for branch in event["branches"]}
