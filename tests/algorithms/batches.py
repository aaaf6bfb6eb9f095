"""Batches for the tests of this folder: written out by hand, or random and ragged."""

from dataclasses import fields, replace

import torch

from repro.algorithms.batch import BehaviourBatch, CurrentPolicyBatch
from repro.algorithms.credit import GroupCredit

torch.set_num_threads(1)


def behaviour_free(batch: BehaviourBatch) -> CurrentPolicyBatch:
    """The same batch without the fields a behaviour-free objective may not see."""
    return CurrentPolicyBatch(batch.logp_BT, batch.mask_BT, batch.advantage_B, batch.reward_B, batch.group_B)


def make_batch(logp, behaviour, advantage, reward, group, proximal=None, padding=0.0) -> BehaviourBatch:
    """A float64 batch from lists of unequal length; `padding` fills what no policy generated."""
    longest = max(len(row) for row in logp)

    def padded(rows):
        rows = [list(row) + [padding] * (longest - len(row)) for row in rows]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), longest)

    return BehaviourBatch(
        logp_BT=padded(logp).requires_grad_(),
        mask_BT=torch.arange(longest) < torch.tensor([[len(row)] for row in logp]),
        advantage_B=torch.tensor(advantage, dtype=torch.float64),
        reward_B=torch.tensor(reward, dtype=torch.float64),
        group_B=torch.tensor(group),
        behaviour_logp_BT=padded(behaviour),
        proximal_logp_BT=padded(behaviour if proximal is None else proximal),
    )


def random_batch(seed: int, padding: float = 0.0, drift: float = 0.4) -> BehaviourBatch:
    """Ragged groups of 1 to 5 in random order, one all equal; an empty response; holes in the masks."""
    g = torch.Generator().manual_seed(seed)
    group_B = torch.tensor([7] * 5 + [-2] * 4 + [30] * 3 + [5] * 1 + [11] * 2)
    group_B = group_B[torch.randperm(len(group_B), generator=g)]
    B, T = len(group_B), 9
    reward_B = torch.randint(0, 2, (B,), generator=g).double() + 0.25 * torch.randint(0, 3, (B,), generator=g)
    reward_B = torch.where(group_B == 30, 1.0, reward_B)  # no signal in this group
    length_B = torch.randint(1, T + 1, (B,), generator=g)
    length_B[3] = 0
    mask_BT = torch.arange(T) < length_B[:, None]
    mask_BT &= torch.rand(B, T, generator=g) < 0.9  # tool output within a response is not the policy's

    def logp():
        return (-3 * torch.rand(B, T, generator=g, dtype=torch.float64)).masked_fill(~mask_BT, padding)

    behaviour_BT = logp()
    near = [behaviour_BT + drift * torch.randn(B, T, generator=g, dtype=torch.float64) for _ in range(2)]
    logp_BT, proximal_BT = (n.clamp(max=-0.01).masked_fill(~mask_BT, padding) for n in near)
    advantage_B = GroupCredit().advantage_B(reward_B, group_B)
    return BehaviourBatch(logp_BT.requires_grad_(), mask_BT, advantage_B, reward_B, group_B, behaviour_BT, proximal_BT)


def view(objective, batch):
    """The batch as the learner hands it over: behaviour fields only for objectives that declare them."""
    return batch if objective.reads_behaviour else behaviour_free(batch)


def select(batch, index_B):
    """The responses at these positions, in this order; leaves without gradient."""
    given = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return replace(batch, **{name: value.detach()[index_B] for name, value in given.items() if value is not None})
