"""GiGPO: credit from whole episodes and, within them, from actions taken in the same state (arXiv 2505.10978).

| symbol | tensor | meaning |
|---|---|---|
| r_t | reward_B | reward of one turn; B are the turns of all episodes of an update, in any order |
| R | group_sum(reward_B, episode_B) | what the episode earned |
| A^E | - | R against the other episodes of the task (Eq. 3) |
| R_t | `discounted_returns` | sum_k gamma^(k-t) r_k from turn t to the end (Eq. 5) |
| A^S | - | R_t against the other turns of the task that began in the same state (Eq. 6-7) |
| A | advantage_B | A^E + step_weight A^S, for every token of the turn's response (Eq. 8) |

Where paper and released code (verl-agent) disagree or leave a choice, the default and the other:
- the statistics of A^E are over episodes (paper), each counting once; the code's default is over their turns, so that
  long episodes weigh more: `count="turns"`;
- the code's default subtracts the mean only; `scale="std"` divides by the deviation as well, both in A^E and A^S;
- a task with one episode: the code gives it its raw reward as A^E. Here it has nothing to be compared with: no credit.
  A state visited once has A^S = 0 in both;
- the code subtracts a penalty for an invalid action from that turn's R and R_t. Here, if any, it is part of r_t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repro.algorithms.groups import group_sum, in_mixed_group


def discounted_returns(reward_B: Tensor, episode_B: Tensor, turn_B: Tensor, gamma: float) -> Tensor:
    """R_t of every turn, (B,): its own reward and, discounted, those after it in its episode.

    ValueError if an episode has two entries of one turn.
    """
    rewards, places = reward_B.tolist(), list(zip(episode_B.tolist(), turn_B.tolist(), strict=True))
    if len(set(places)) < len(places):
        raise ValueError("an episode has the same turn twice: give each turn of an episode its own number")
    returns, episode, running = [0.0] * len(places), None, 0.0
    for k in sorted(range(len(places)), key=places.__getitem__, reverse=True):  # last turn of each episode first
        running = rewards[k] + (gamma * running if places[k][0] == episode else 0.0)
        returns[k], episode = running, places[k][0]
    return torch.tensor(returns, dtype=reward_B.dtype, device=reward_B.device)


def state_groups(group_B: Tensor, states: Sequence[str]) -> Tensor:
    """Ids of the groups of turns with the same task and exactly the same state, (B,), int64."""
    pairs = list(zip(group_B.tolist(), states, strict=True))
    ids = {pair: k for k, pair in enumerate(dict.fromkeys(pairs))}
    return torch.tensor([ids[pair] for pair in pairs], device=group_B.device)


def first_turns(episode_B: Tensor, turn_B: Tensor) -> Tensor:
    """True for one turn of each episode, its first, (B,) bool."""
    first: dict[int, int] = {}
    for k, (episode, turn) in enumerate(zip(episode_B.tolist(), turn_B.tolist(), strict=True)):
        if episode not in first or turn < turn_B[first[episode]]:
            first[episode] = k
    chosen_B = torch.zeros(len(episode_B), dtype=torch.bool, device=episode_B.device)
    chosen_B[list(first.values())] = True
    return chosen_B


def relative(value_B: Tensor, group_B: Tensor, counted_B: Tensor, scale: str, eps: float) -> Tensor:
    """Value minus the mean over the counted members of its group, (B,); with "std" over their deviation (n - 1) + eps.

    Exactly zero where all values of a group are equal, or only one is counted.
    """
    counted = counted_B.to(value_B.dtype)
    number_B = group_sum(counted, group_B)
    centred_B = value_B - group_sum(counted * value_B, group_B) / number_B
    if scale == "std":
        variance_B = group_sum(counted * centred_B**2, group_B) / (number_B - 1).clamp(min=1)
        centred_B = centred_B / (variance_B.sqrt() + eps)
    return torch.where(in_mixed_group(value_B, group_B) & (number_B > 1), centred_B, 0.0)


@dataclass(frozen=True)
class GiGPO:
    """Credit for episodes of several turns."""

    gamma: float = 0.95  # section 5.1
    step_weight: float = 1.0  # omega of Eq. 8; section 5.1
    scale: str = "none"  # "none": F_norm = 1; "std": the deviation
    count: str = "episodes"  # Eq. 3; "turns": as released
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name, choices in (("scale", ("none", "std")), ("count", ("episodes", "turns"))):
            if getattr(self, name) not in choices:
                listed = " or ".join(map(repr, choices))
                raise ValueError(f"GiGPO.{name} is {getattr(self, name)!r}; choose {listed}")

    def advantage_B(
        self, reward_B: Tensor, group_B: Tensor, episode_B: Tensor, turn_B: Tensor, states: Sequence[str]
    ) -> Tensor:
        """A of every turn, (B,).

        `group_B` is the turn's task, `episode_B` its episode (unique over all tasks), `turn_B` its place there, and
        `states` what the policy acted on.
        """
        outcome_B = group_sum(reward_B, episode_B)
        returns_B = discounted_returns(reward_B, episode_B, turn_B, self.gamma)
        all_B = torch.ones_like(reward_B, dtype=torch.bool)
        counted_B = first_turns(episode_B, turn_B) if self.count == "episodes" else all_B
        episode_advantage_B = relative(outcome_B, group_B, counted_B, self.scale, self.eps)
        step_advantage_B = relative(returns_B, state_groups(group_B, states), all_B, self.scale, self.eps)
        return episode_advantage_B + self.step_weight * step_advantage_B
