"""Resumable state in one file: tensors in safetensors, the rest as JSON in its header; one atomic rename."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from repro.errors import ReproError
from repro.policy.memory import is_out_of_memory
from repro.study.runs import atomic_write
from repro.training.learner import Learner


def save_checkpoint(folder: Path, learner: Learner, state: dict[str, Any]) -> None:
    """Write weights, optimiser moments and `state` (JSON-able) to checkpoint.safetensors."""
    tensors = {f"policy.{name}": p.detach().cpu().contiguous() for name, p in learner.masters.parameters.items()}
    for name, p in learner.masters.parameters.items():
        for key, value in learner.optimiser.state.get(p, {}).items():
            tensors[f"optimiser.{key}.{name}"] = value.detach().cpu().contiguous()
    atomic_write(folder / "checkpoint.safetensors", save(tensors, {"state": json.dumps(state)}))


def load_checkpoint(folder: Path, learner: Learner) -> dict[str, Any] | None:
    """Put a checkpoint back into `learner` and return its state; None if there is none.

    Raises ReproError, naming the file, if it is damaged or belongs to another model.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt", device=str(learner.device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            state = json.loads(file.metadata()["state"])
        parameters = learner.masters.parameters
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(tensors.pop(f"policy.{name}"))
        learner.masters.publish()
        for key, value in tensors.items():
            _, moment, name = key.split(".", 2)
            value = value.cpu() if moment == "step" else value
            learner.optimiser.state[parameters[name]][moment] = value
            # As after a step: where the next update has no gradient, its zeros still let the moments move the weights.
            parameters[name].grad = torch.zeros_like(parameters[name])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise ReproError(f"out of memory loading {path}, which is whole; start where there is more") from error
        if isinstance(error, PermissionError):
            raise ReproError(f"{path} cannot be read: {error.strerror}") from error
        raise ReproError(
            f"{path} is damaged or belongs to another model ({error}); delete its folder to start this run again"
        ) from error
    return state
