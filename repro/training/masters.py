"""What the optimiser steps: the weights themselves, or float32 copies of weights of 16 bits.

A step of 1e-6 is below the rounding of a bfloat16 weight and would be lost. So the step is made on a copy of 32 bits
(as are gradients and moments), which is then rounded into the weight that computes: 18 bytes a trained parameter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from repro.policy.model import Policy


class Masters:
    """The tensors of an optimiser, by the names of the policy's trainable parameters."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.copied = [name for name, p in policy.parameters.items() if p.element_size() < 4]
        self.parameters: dict[str, Tensor] = dict(policy.parameters)
        for name in self.copied:
            self.parameters[name] = master = policy.parameters[name].detach().float()
            policy.parameters[name].register_post_accumulate_grad_hook(_handing_to(master))

    @torch.no_grad()
    def publish(self) -> None:
        """Round the copies into the weights, after a step."""
        weights = self.policy.parameters
        for name in self.copied:
            weights[name].copy_(self.parameters[name])


def _handing_to(master: Tensor):
    """Gradients are summed over the parts of an update in 32 bits, and need no room in 16."""

    def hand_over(parameter: Tensor) -> None:
        if master.grad is None:
            master.grad = torch.zeros_like(master)
        master.grad.add_(parameter.grad)
        parameter.grad = None

    return hand_over
