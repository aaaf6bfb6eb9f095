"""What 3SPO's exploration is made of: tasks, states on a path, branches, groups; and going back to a state (D4, D5).

The policy is a callback over nodes, the environment anything with snapshot and restore: nothing here knows of tokens,
tensors, or any particular world.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from repro.algorithms.threespo import ThreeSPO
from repro.errors import ReproError


class Environment(Protocol):
    """A deterministic world that can go back to where it was."""

    won: bool

    def reset(self) -> str: ...  # the first observation
    def step(self, action: str) -> tuple[str, float, bool]: ...  # observation, reward (unused), done
    def admissible(self) -> Sequence[str]: ...
    def snapshot(self) -> Hashable: ...
    def restore(self, snapshot: Any) -> None: ...
    def state_key(self, with_goal: bool = False) -> str: ...  # the world's state, not the text; no turn in it


@dataclass(frozen=True, eq=False)
class Task:
    """One game or goal with its environment; `id` is unique within a run, `goal` is for keys that contain it."""

    id: str
    environment: Environment
    goal: str = ""


# What is one state (D5), from a task whose environment has just shown an observation.
KEYS: dict[str, Callable[[Task, str], str]] = {
    "observation": lambda task, observation: observation,  # raw, goal-free but for a start's: as released
    "goal_observation": lambda task, observation: f"{task.goal}\n{observation}",
    "state": lambda task, observation: task.environment.state_key(),
    "goal_state": lambda task, observation: task.environment.state_key(with_goal=True),
    "abstract": lambda task, observation: task.environment.abstract_key(),  # relative to the goal, shared by tasks
}


@dataclass(frozen=True)
class Proposal:
    """What the policy would do: a command, whether the response held one, and the learner's own record of it."""

    command: str
    valid: bool = True
    sample: Any = None


@dataclass(frozen=True, eq=False)
class Node:
    """A state on a path from the start: all that a policy may see of it, and the way back to it."""

    id: int  # within the epoch
    parent: int | None
    task: Task
    turn: int
    observation: str
    admissible: tuple[str, ...]
    history: tuple[tuple[str, str], ...]  # (observation, command) of each earlier turn
    state: str  # the key without the turn
    key: str
    world: str  # the environment's own key
    path: tuple[str, ...]  # keys from the start to here
    snapshot: Any
    terminal: bool
    won: bool
    sample: Any = None  # of the first proposal that led here


@dataclass(eq=False)
class Branch:
    """One sampled action at a node. Equal commands share their successor."""

    proposal: Proposal
    child: Node
    p_hat: float | None = None  # of the successor, where continuations estimate it
    score: float = 0.0  # S(s')
    kind: str = ""  # see `threespo_tally.KINDS`
    reward: float = 0.0
    advantage: float = 0.0


@dataclass(eq=False)
class Group:
    """The branches of one state."""

    node: Node
    branches: list[Branch]
    score: float = 0.0  # S(s)
    deviation: float = 0.0  # standard deviation of the rewards

    def distinct(self, by: str) -> list[Branch]:
        """One branch for each distinct successor (D9), best reward first; equals in the order of sampling."""
        found: dict[Any, Branch] = {}
        for k, branch in enumerate(sorted(self.branches, key=lambda branch: -branch.reward)):
            same = {"state": branch.child.world, "command": branch.proposal.command, "all": k}[by]
            found.setdefault(same, branch)
        return list(found.values())


@dataclass(eq=False)
class Walk:
    """A plain rollout: the groups of one that it consists of, and where it stands."""

    at: Node
    steps: list[Group] = field(default_factory=list)


def start_node(config: ThreeSPO, task: Task, ids: Iterator[int]) -> Node:
    """The state that a task begins in."""
    return _node(config, task, None, None, task.environment.reset(), False, ids)


def stepped(config: ThreeSPO, node: Node, proposals: Sequence[Proposal], ids: Iterator[int]) -> Group:
    """The group of these proposals, each distinct command taken once from the node."""
    successors: dict[str, Node] = {}
    for proposal in proposals:
        if proposal.command not in successors:
            return_to(config, node)
            observation, _, done = node.task.environment.step(proposal.command)
            successors[proposal.command] = _node(config, node.task, node, proposal, observation, done, ids)
    return Group(node, [Branch(proposal, successors[proposal.command]) for proposal in proposals])


def return_to(config: ThreeSPO, node: Node) -> None:
    """Put the environment back to the node's state; ReproError if it is another (D4)."""
    environment = node.task.environment
    if config.restore == "snapshot":
        environment.restore(node.snapshot)
    else:
        environment.reset()
        for _, command in node.history:
            environment.step(command)
    if environment.state_key() != node.world:
        raise ReproError(
            f"task {node.task.id}, turn {node.turn}: going back by {config.restore} led to another state "
            f"({environment.state_key()!r}, not {node.world!r}); 3SPO needs a deterministic environment"
        )


def _node(
    config: ThreeSPO, task: Task, parent: Node | None, taken: Proposal | None, observation: str, done: bool,
    ids: Iterator[int],
) -> Node:  # fmt: skip
    environment, turn = task.environment, 0 if parent is None else parent.turn + 1
    state = KEYS[config.key](task, observation)
    key = f"{state}\nturn {turn // config.turn_bucket}" if config.turn_bucket else state
    return Node(
        id=next(ids),
        parent=None if parent is None else parent.id,
        task=task,
        turn=turn,
        observation=observation,
        admissible=tuple(environment.admissible()),
        history=() if parent is None else (*parent.history, (parent.observation, taken.command)),
        state=state,
        key=key,
        world=environment.state_key(),
        path=(key,) if parent is None else (*parent.path, key),
        snapshot=environment.snapshot(),
        terminal=done or environment.won or turn >= config.turns,
        won=environment.won,
        sample=None if taken is None else taken.sample,
    )
