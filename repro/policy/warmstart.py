"""Supervised warm start on expert traces: what stands in for pretraining where a policy is trained from scratch."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from repro.config import config_hash, to_dict
from repro.environments import arithmetic
from repro.environments.arithmetic import ArithmeticConfig
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.model import Policy, PolicyConfig, build, load


@dataclass(frozen=True)
class WarmStartConfig:
    """Two phases: perfect traces until facts are looked up, then traces with slips (see `arithmetic.noisy_trace`).

    Muon takes the matrices of the blocks, AdamW everything else; both warm up linearly, stay flat until 60 % of a phase
    and fall linearly to 5 %.
    """

    steps: int = 950
    noisy_steps: int = 120
    slip: float = 0.1  # chance of a slip at each leaf value, operation and result of a noisy trace
    batch: int = 32
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    noisy_lr_scale: float = 0.5
    warmup_steps: int = 50
    clip_norm: float = 1.0


@dataclass(frozen=True)
class WarmStartKey:
    """All that a warm start depends on; its hash names the cached folder."""

    world: ArithmeticConfig
    policy: PolicyConfig
    warmstart: WarmStartConfig
    seed: int


def warm_start(
    key: WarmStartKey, cache: Path, device: str = "cpu", progress: Callable[[dict], None] | None = None
) -> Policy:
    """The warm-started policy of `key`, from `cache` if it is there, else trained and put there.

    A checkpoint named by the policy config is taken as it is: it has been pretrained already. The folder appears in one
    rename, so a killed warm start leaves nothing half-written behind, and two at once give the same weights.
    """
    if key.policy.checkpoint:
        return build(key.policy, [], key.seed, device)
    folder = cache / f"warmstart-{config_hash(key)}"
    if not (folder / "warmstart.json").is_file():
        policy = build(key.policy, arithmetic.vocabulary(key.world), key.seed, device)
        losses = train_supervised(policy, key, progress)
        partial = Path(f"{folder}.{random.SystemRandom().getrandbits(32):08x}.partial")
        partial.mkdir(parents=True)
        policy.save(partial)
        (partial / "warmstart.json").write_text(json.dumps({"key": to_dict(key), "final_loss": losses[-1]}, indent=1))
        try:
            partial.rename(folder)
        except OSError:  # another process was first; its weights are the same
            shutil.rmtree(partial)
    return load(str(folder), device, key.policy.dtype)


def train_supervised(policy: Policy, key: WarmStartKey, progress: Callable[[dict], None] | None = None) -> list[float]:
    """Minimise the traces' token NLL (mean over the batch's trace tokens, prompts excluded); the loss of every step.

    Raises FloatingPointError if the loss stops being finite.
    """
    settings = key.warmstart
    matrices = [p for n, p in policy.parameters.items() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in policy.parameters.items() if not (p.ndim == 2 and "layers" in n)]
    problems = arithmetic.stream(key.world, key.seed)
    total = settings.steps + settings.noisy_steps
    losses = []
    for phase, steps, scale in (("perfect", settings.steps, 1.0), ("noisy", settings.noisy_steps, settings.noisy_lr_scale)):
        muon = torch.optim.Muon(matrices, lr=settings.muon_lr * scale, momentum=0.95, weight_decay=0.0)
        adam = torch.optim.AdamW(rest, lr=settings.adam_lr * scale, betas=(0.9, 0.95), weight_decay=0.0)
        for step in range(steps):
            queries = [next(problems) for _ in range(settings.batch)]
            if phase == "noisy":
                rng = random.Random(f"slips:{key.seed}:{step}")
                traces = [arithmetic.noisy_trace(key.world, q, rng, settings.slip) for q in queries]
            else:
                traces = [q.trace for q in queries]
            factor = _schedule(step, steps, settings.warmup_steps)
            for optimiser, lr in ((muon, settings.muon_lr), (adam, settings.adam_lr)):
                optimiser.param_groups[0]["lr"] = lr * scale * factor
            prompts = [policy.encode(q.text) for q in queries]
            responses = [policy.encode(t) + [policy.end_token] for t in traces]
            device = matrices[0].device
            logp_BT, _ = response_logprobs(policy.decoder(), layout(prompts, responses, range(len(prompts)), device))
            loss = -logp_BT.sum() / sum(map(len, responses))
            if not torch.isfinite(loss):
                raise FloatingPointError(f"warm start: the loss is {loss.item()} at step {step} of the {phase} phase")
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*matrices, *rest], settings.clip_norm)
            for optimiser in (muon, adam):
                optimiser.step()
                optimiser.zero_grad()
            losses.append(loss.item())
            if progress:
                progress({"phase": "warm start", "step": len(losses), "of": total, "loss": losses[-1]})
    return losses


def _schedule(step: int, steps: int, warmup: int) -> float:
    rise = min(1.0, (step + 1) / min(warmup, max(steps // 2, 1)))
    return min(rise, max(0.05, 1 - 0.95 * (step / steps - 0.6) / 0.4)) if step > 0.6 * steps else rise
