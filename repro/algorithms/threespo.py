"""3SPO: state scores, step rewards and adaptive branching (arXiv 2606.09961 v1). The tree is in `threespo_tree`.

| symbol | here | meaning |
|---|---|---|
| N_total, N_success | `StateTable.counts[key]` | finished trajectories through a state, and those that won |
| p_hat | `success_rate` | N_success / (N_total + eps) |
| lambda(t) | `annealing` | alpha log t |
| S(s) | `score` | exp(-lambda p_hat), and 0 once N_fail >= xi while p_hat <= zeta (Eq. 1); high = unresolved |
| omega(N) | `novelty_weight` | 0.5 exp(-omega_k N) |
| R(s, s') | `step_reward` | omega R_novel + (0.5 - omega) (S(s) - S(s')) + 0.5 R_success (Eq. 2) |
| n(s) | `branches` | ceil(G_max S(s)): 0 truncates, 1 acts without an update (Eq. 3) |
| A_i | `group_advantage` | R_i - mean_j R_j over the n branches of one state, immediate reward alone |

S(s) and omega(N(s)) are the same for all branches of a state: S(s) cancels in A_i, omega only weighs, and a group
learns from the estimates at its successors, novelty and success alone.

The sources leave much open. Every choice is a field of `ThreeSPO` (D1-D10 are the numbered ones); its default is the
equation as published or, where those are silent, what the released code does. Three whole readings are in `READINGS`:

- "literal": the equations and published constants as they stand;
- "table": the paper's persistent table, with the smallest changes under which its estimates are unbiased and current:
  successors are told apart by an abstract state and the turn, visits are recorded from plain rollouts, groups are
  scored after that and spread over the rollouts, updates gathered over an epoch;
- "continuation": p_hat of a successor from plain continuations sampled for it, the nearest thing to an oracle. It
  separates "the equations are wrong" from "the estimates are wrong".

`PIECES` puts what the last two changed back, one at a time; `ABLATIONS` are the paper's own. The released ALFWorld and
WebShop scripts train GRPO: nothing here can be compared with a run of theirs.

Not offered: counting a visit on arrival, as one summary has it. A branch point is arrived at once and passed by
many leaves, so its successes would outnumber its visits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repro.errors import ReproError

CHOICES = {
    "clock": ("trajectories", "epochs", "depth", "constant"),
    "prune": ("everywhere", "allocation", "nowhere"),
    "unseen": ("one", "neutral"),
    "terminal": ("table", "outcome"),
    "estimate": ("table", "continuations"),
    "novel": ("training", "trajectory", "changed", "none"),
    "scale": ("none", "std"),
    "branching": ("depth_first", "rollouts"),
    "backtrack": ("deepest", "shallowest", "random", "none"),
    "node_choice": ("random", "highest", "lowest"),
    "record": ("leaves", "rollouts", "both"),
    "key": ("observation", "goal_observation", "state", "goal_state", "abstract"),
    "restore": ("snapshot", "replay"),
    "expand": ("state", "command", "all"),
}


@dataclass(frozen=True)
class ThreeSPO:
    """Every decision of the method; the defaults are the "literal" reading. ValueError for one that is not offered."""

    # Eq. 1: the score.
    alpha: float = 50.0  # published; the released code had 1 until the week before, and the figures need about 1
    clock: str = "trajectories"  # D8, t: recorded trajectories + 1; epoch; turn + 1; "constant": lambda = alpha
    xi: float = 10.0  # published: failures before a state may be given up
    zeta: float = 0.1  # published: success rate above which it never is
    eps: float = 1e-6  # released code
    prune: str = "everywhere"  # the indicator in reward and allocation; in Eq. 3 alone; or not at all
    start_visits: int = 0  # visits before a start state may be given up; 0: at once, as published
    unseen: str = "one"  # S(unseen) = 1; "neutral": that of the state before, so that the difference is 0
    terminal: str = "table"  # p_hat of a final state: like any other's; "outcome": 1 if won, else 0
    half_life: float | None = None  # epochs after which a visit counts half; None: never forgotten (published)
    estimate: str = "table"  # where p_hat comes from; "continuations": plain rollouts from each distinct successor
    continuations: int = 1  # that many each

    # Eq. 2: the reward of a step.
    omega_max: float = 0.5  # weight of novelty at N = 0; 0: no novelty, its weight goes to the score difference
    omega_k: float = 0.1  # released code; 0: omega is fixed
    novel: str = "training"  # s' not met in training, nor s; not on this path; not s (released code); no term
    score_difference: bool = True  # False: the ablation without S(s) - S(s')
    invalid_penalty: float = 0.0  # D10: Eq. 2 has none, the released GRPO subtracts 0.1. Give every arm the same

    # Eq. 3 and the advantage.
    g_max: int = 8  # published
    adaptive: bool = True  # False: always g_max branches ("fixed n")
    scale: str = "none"  # the released helper's; "std": over the group's deviation, as in the authors' other code
    std_eps: float = 1e-6
    min_std: float | None = None  # groups whose rewards deviate by no more are dropped; None: none are

    # Exploration.
    tasks: int = 16  # D1, a task being one game or goal: per epoch
    turns: int = 50  # published for ALFWorld; WebShop 30 (paper) or 15 (script)
    branching: str = "depth_first"  # a tree; "rollouts": single steps at states along plain rollouts
    backtrack: str = "deepest"  # where the tree goes on after a leaf: depth first (published), or a control
    leaves: int | None = 32  # D2, a task: no expansion begins with as many; the last may add g_max - 1 more
    generations: int | None = 10_000  # D2, an epoch, never exceeded; one descent takes tasks x g_max x turns = 6,400
    update_every: int | None = 1  # D3: rounds of all trees between updates; None: one, when the epoch is explored
    restore: str = "snapshot"  # D4; "replay": reset and the commands again. Either way the state's key is checked
    key: str = "observation"  # D5, what is one state (see `threespo_tree.KEYS`): the raw text, without the goal
    turn_bucket: int = 0  # turns that share a state; 0: the turn is no part of it
    record_truncated: bool = False  # D6: a branch that is given up is not an outcome
    score_after_recording: bool = False  # D7: rewards from the table as it was before this round's outcomes
    expand: str = "state"  # D9: each distinct successor once; by world state, by command, or duplicates too
    rollouts: int = 0  # plain rollouts a task before any branching
    nodes: int = 0  # branched states of each rollout, for `branching="rollouts"`
    node_choice: str = "random"  # which ones; "highest" or "lowest" score
    record: str = "leaves"  # whose outcomes enter the table: the tree's leaves, the plain rollouts, or both

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                listed = ", ".join(map(repr, choices))
                raise ValueError(f"ThreeSPO.{name} is {getattr(self, name)!r}; choose one of {listed}")
        for name, least in {"g_max": 1, "tasks": 1, "turns": 1, "continuations": 1, "rollouts": 0, "nodes": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"ThreeSPO.{name} is {getattr(self, name)}; give {least} or more")
        for name in ("leaves", "generations", "update_every", "half_life"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"ThreeSPO.{name} is {getattr(self, name)}; give a positive number, or None")
        if self.branching == "rollouts" and not (self.rollouts and self.nodes):
            raise ValueError("ThreeSPO.branching is 'rollouts': give 1 or more rollouts, and nodes of each")
        if not 0 <= self.omega_max <= 0.5:
            raise ValueError(f"ThreeSPO.omega_max is {self.omega_max}; the weights of Eq. 2 need 0 to 0.5")


# The table -----------------------------------------------------------------------------------------------------------


@dataclass
class StateTable:
    """What training remembers of states, shared by tasks and epochs, never reset: plain data, to JSON and back.

    A key that was met but never on a recorded trajectory has the counts [0, 0]; for Eq. 1 it is unseen.
    """

    identity: str = ""  # of the run it belongs to: a table of another run is refused
    counts: dict[str, list[float]] = field(default_factory=dict)  # key -> [N_total, N_success]
    trajectories: int = 0  # recorded
    epoch: int = 0  # the present one, from 1
    generations: int = 0  # sampled since training began: what a matched budget is counted in

    def visits(self, key: str) -> float:
        return self.counts[key][0] if key in self.counts else 0

    def met(self, keys: Iterable[str]) -> None:
        """Note states as met, without counting a visit."""
        for key in keys:
            self.counts.setdefault(key, [0, 0])

    def record(self, path: Iterable[str], won: bool) -> None:
        """One finished trajectory: each distinct state on it counts once."""
        for key in dict.fromkeys(path):
            count = self.counts.setdefault(key, [0, 0])
            count[0] += 1
            count[1] += bool(won)
        self.trajectories += 1

    def begin_epoch(self, half_life: float | None = None) -> None:
        self.epoch += 1
        if half_life is not None:
            for count in self.counts.values():
                count[:] = [value * 0.5 ** (1 / half_life) for value in count]

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("identity", "trajectories", "epoch", "generations")}
        return plain | {"counts": {key: list(count) for key, count in self.counts.items()}}

    @classmethod
    def from_dict(cls, data: Any, identity: str) -> StateTable:
        """The table again. ReproError if it is of another run, or not a table."""
        fields = {"identity", "trajectories", "epoch", "generations", "counts"}
        if not isinstance(data, dict) or set(data) != fields or not isinstance(data["counts"], dict):
            raise ReproError(f"this is not a state table: expected the fields {', '.join(sorted(fields))}")
        if data["identity"] != identity:
            raise ReproError(f"the state table is of {data['identity']!r}, not of {identity!r}: give the right one")
        for key, count in data["counts"].items():
            numbers = isinstance(count, list) and len(count) == 2 and all(isinstance(n, int | float) for n in count)
            if not numbers or not 0 <= count[1] <= count[0]:
                raise ReproError(f"the state table is damaged: {key!r} has the counts {count!r}")
        return cls(**data | {"counts": {key: list(count) for key, count in data["counts"].items()}})


# Eq. 1 ---------------------------------------------------------------------------------------------------------------


def success_rate(config: ThreeSPO, table: StateTable, key: str) -> float:
    """p_hat(s); 0 for a state without visits."""
    total, success = table.counts.get(key, (0, 0))
    return success / (total + config.eps)


def given_up(config: ThreeSPO, table: StateTable, key: str, start: bool = False) -> bool:
    """Whether the indicator of Eq. 1 is 0: xi failures or more, and a success rate of zeta or less.

    A start state is protected until it has had `config.start_visits` visits.
    """
    total, success = table.counts.get(key, (0, 0))
    if start and total < config.start_visits:
        return False
    return not (total - success < config.xi or success_rate(config, table, key) > config.zeta)


def annealing(config: ThreeSPO, table: StateTable, turn: int) -> float:
    """lambda(t) = alpha log t, or alpha where it is constant."""
    if config.clock == "constant":
        return config.alpha
    t = {"trajectories": table.trajectories + 1, "epochs": max(table.epoch, 1), "depth": turn + 1}[config.clock]
    return config.alpha * math.log(t)


def score(p_hat: float, annealed: float, hopeless: bool = False) -> float:
    """S = exp(-lambda p_hat) times the indicator (Eq. 1). Positive without it, as Eq. 3 reads 0 as "give up"."""
    return 0.0 if hopeless else max(math.exp(-annealed * p_hat), sys.float_info.min)  # exp(-800) rounds to 0


def table_score(
    config: ThreeSPO, table: StateTable, key: str, turn: int, allocating: bool = False, start: bool = False
) -> float:
    """S(s) from the table, for Eq. 2 or (`allocating`) for Eq. 3; 1 for a state without visits."""
    pruning = config.prune == "everywhere" or allocating and config.prune == "allocation"
    hopeless = pruning and given_up(config, table, key, start)
    return score(success_rate(config, table, key), annealing(config, table, turn), hopeless)


# Eq. 2 ---------------------------------------------------------------------------------------------------------------


def novelty_weight(config: ThreeSPO, visits: float) -> float:
    """omega(N) = omega_max exp(-omega_k N)."""
    return config.omega_max * math.exp(-config.omega_k * visits)


def step_reward(
    config: ThreeSPO, visits: float, novel: bool, before: float, after: float, won: bool, valid: bool = True
) -> float:
    """R(s, s') from N_total(s), R_novel(s'), S(s), S(s') and R_success(s'), all 0 or 1 but the scores and visits."""
    omega = novelty_weight(config, visits)
    difference = before - after if config.score_difference else 0.0
    return omega * novel + (0.5 - omega) * difference + 0.5 * won - config.invalid_penalty * (not valid)


# Eq. 3 and the advantage ---------------------------------------------------------------------------------------------


def branches(config: ThreeSPO, state_score: float) -> int:
    """n(s) = ceil(G_max S(s)); G_max where n is fixed."""
    return math.ceil(config.g_max * state_score) if config.adaptive else config.g_max


def group_advantage(config: ThreeSPO, rewards: Sequence[float]) -> tuple[list[float], float]:
    """A_i of one state's branches, and the standard deviation (n - 1) of their rewards.

    Zero for a group of one, which has nothing to be compared with, and exactly zero where all rewards are equal.
    """
    n = len(rewards)
    if n < 2 or max(rewards) == min(rewards):
        return [0.0] * n, 0.0
    mean = sum(rewards) / n
    deviation = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / (n - 1))
    divisor = deviation + config.std_eps if config.scale == "std" else 1.0
    return [(reward - mean) / divisor for reward in rewards], deviation


# Readings ------------------------------------------------------------------------------------------------------------

_TABLE = ThreeSPO(
    alpha=1.0, clock="constant", prune="allocation", unseen="neutral", omega_max=0.0, adaptive=False, scale="std",
    min_std=0.02, branching="rollouts", rollouts=2, nodes=6, record="rollouts", score_after_recording=True,
    leaves=None, update_every=None, key="abstract", turn_bucket=2,
)  # fmt: skip

READINGS: dict[str, ThreeSPO] = {
    "literal": ThreeSPO(),
    "table": _TABLE,
    "continuation": replace(_TABLE, estimate="continuations", terminal="outcome", rollouts=1, nodes=2),
}

# What "table" and "continuation" changed, put back.
PIECES: dict[str, dict[str, Any]] = {
    "raw_key": {"key": "observation"},
    "no_turn": {"turn_bucket": 0},
    "indicator_in_reward": {"prune": "everywhere"},
    "unseen_one": {"unseen": "one"},
    "novelty": {"omega_max": 0.5},
    "depth_first": {"branching": "depth_first", "leaves": 32},  # outcomes still from plain rollouts
    "depth_first_recorded": {"branching": "depth_first", "leaves": 32, "rollouts": 0, "record": "leaves"},
    "scores_before_recording": {"score_after_recording": False},
    "adaptive_n": {"adaptive": True},
    "alpha_50": {"alpha": 50.0, "clock": "trajectories"},
    "mean": {"scale": "none", "min_std": 0.005},
    "all_groups": {"min_std": None},
    "update_every_step": {"update_every": 1},
    "table_estimate": {"estimate": "table", "terminal": "table"},
    "recency": {"half_life": 4.0},  # not the paper's: it forgets nothing
}

# Of the literal reading: the paper's five, the other alpha, and the comparison that the paper lacks.
ABLATIONS: dict[str, dict[str, Any]] = {
    "no_novelty": {"novel": "none"},
    "no_score_difference": {"score_difference": False},
    "fixed_omega": {"omega_max": 0.25, "omega_k": 0.0},  # the value is not reported: half of the annealed one's start
    "fixed_n": {"adaptive": False},
    "no_backtracking": {"backtrack": "none"},
    "figure_alpha": {"alpha": 1.0, "clock": "epochs"},  # gives the scores that the paper's figures show
    "post_trajectory": {"update_every": None},
}


def reading(name: str, *pieces: str) -> ThreeSPO:
    """A reading, with pieces put back or ablated: `reading("table", "novelty")`. ReproError for an unknown name."""
    changes = PIECES | ABLATIONS
    for kind, known, given in (("reading", READINGS, [name]), ("piece or ablation", changes, pieces)):
        for word in given:
            if word not in known:
                raise ReproError(f"3SPO has no {kind} {word!r}; there are: {', '.join(known)}")
    merged: dict[str, Any] = {}
    for piece in pieces:
        merged |= changes[piece]
    return replace(READINGS[name], **merged)
