"""Speed and memory at the shapes of published models, with random weights in bfloat16: what a GPU makes of them.

| row | what is timed |
|---|---|
| `decode_<size>` | the torch sampler: groups of 8 that share a prompt, no response ends early |
| `forward_backward_<size>` | log-probabilities and gradients of a batch of groups, activations made again |
| `update_<size>` | one update of the learner: scoring, gradients, AdamW in 32 bits; of adapters for 7B |
| `matrix_peak_bfloat16` | bfloat16 matrix products: the ceiling of the utilisations |

Weights that mean nothing cost what trained ones cost. Without a GPU the rows are left out, and so is a model for which
the GPU is too small; `skipped` says why. FLOPs are counted without what is made again (model FLOP utilisation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from repro.algorithms import ALGORITHMS
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.model import Policy, parameter_count
from repro.policy.pretrained import LoRA, add_adapters
from repro.policy.sampler import sample
from repro.study.shapes import SHAPES, Shape
from repro.timing import alternate, rates, stopwatch, utilisation
from repro.training.accounting import cost, forward_flops
from repro.training.config import TrainingConfig
from repro.training.learner import Learner
from repro.training.rollouts import Rollouts

MODELS = {
    "0.5B": "Qwen/Qwen2.5-0.5B-Instruct",
    "1.5B": "Qwen/Qwen2.5-Math-1.5B",
    "7B": "Qwen/Qwen2.5-Math-7B",
}
ADAPTED = {"7B"}  # AdamW on all weights wants 18 bytes each: more than a card of 80 GB
NEVER = -1  # an end token that no model draws


@dataclass(frozen=True)
class ModelBench:
    """Sizes of the work, the same for every model."""

    prompts: int = 16
    group: int = 8
    prompt_tokens: int = 256
    response_tokens: int = 256
    microbatch_tokens: int = 1 << 14
    matrix: int = 8192
    repeats: int = 5


def skipped(device: str) -> dict[str, str]:
    """Why a model's rows are left out on a device, by the model's size; empty if all can be measured."""
    if not device.startswith("cuda"):
        return {size: "needs a CUDA GPU (--device cuda)" for size in MODELS}
    room = torch.cuda.get_device_properties(device).total_memory
    needs = {size: needed_bytes(SHAPES[name], size in ADAPTED) for size, name in MODELS.items()}
    return {
        size: f"needs about {need / 1e9:.0f} GB of GPU memory, this one has {room / 1e9:.0f}"
        for size, need in needs.items()
        if need > room
    }


def needed_bytes(shape: Shape, adapted: bool) -> int:
    """Weights, gradients of `forward_backward`, what AdamW keeps, and 10 GB for activations and the cache."""
    return shape.parameters * (4 if adapted else 20) + 10 * 10**9


def run_models(device: str, config: ModelBench = ModelBench()) -> list[dict[str, Any]]:
    """The rows of all models that this device has room for, with FLOP utilisation; the last one is the peak."""
    left_out, rows = skipped(device), []
    sizes = [size for size in MODELS if size not in left_out]
    if not sizes:
        return []
    peak = bfloat16_peak(device, config)
    for size in sizes:
        rows += model_rows(size, SHAPES[MODELS[size]], device, config, size in ADAPTED)
    return [utilisation(row, peak["ours"] * 1e9) for row in rows] + [peak]


def model_rows(size: str, shape: Shape, device: str, config: ModelBench, adapted: bool = False) -> list[dict[str, Any]]:
    """The three rows of one model."""
    policy = random_policy(shape, device)
    rows = [decode(size, policy, device, config), forward_backward(size, policy, device, config)]
    policy.model.zero_grad(set_to_none=True)
    if adapted:
        add_adapters(policy, LoRA(), seed=0)
    return [*rows, update(size, policy, device, config)]


def random_policy(shape: Shape, device: str) -> Policy:
    """A model of that shape with weights as transformers draws them, in bfloat16, without a tokenizer."""
    import transformers

    family = "Qwen3" if shape.head_norms else "Qwen2" if shape.attention_bias else "Llama"
    model_config = getattr(transformers, f"{family}Config")(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
    )
    with torch.device(device), torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(model_config, dtype=torch.bfloat16)
    return Policy(model, None, recompute=True)


def decode(size: str, policy: Policy, device: str, config: ModelBench) -> dict[str, Any]:
    prompts, prompt_B, m, dec = _prompts(policy, config), _rows(config), config.response_tokens, policy.decoder()
    generated = []

    def ours() -> None:
        completions = sample(dec, prompts, prompt_B, range(len(prompt_B)), m, NEVER)
        generated.append(sum(len(c.tokens) for c in completions))

    row = _row(f"decode_{size}", len(prompt_B) * m, ours, policy, device, config)
    if set(generated) != {len(prompt_B) * m}:
        raise RuntimeError(f"unequal work: {set(generated)} tokens")
    return row | {"flops": _forward(policy, config), "generated_tokens": generated[0]}


def forward_backward(size: str, policy: Policy, device: str, config: ModelBench) -> dict[str, Any]:
    prompts, responses = _prompts(policy, config), _responses(policy, config)

    def ours() -> None:
        policy.model.zero_grad(set_to_none=True)
        for p, prompt in enumerate(prompts):  # a group at a time, as micro-batches are
            group = responses[p * config.group : (p + 1) * config.group]
            lay = layout([prompt], group, [0] * config.group, device)
            response_logprobs(policy.decoder(), lay)[0].sum().backward()

    row = _row(f"forward_backward_{size}", len(responses) * config.response_tokens, ours, policy, device, config)
    return row | {"flops": 3 * _forward(policy, config)}


def update(size: str, policy: Policy, device: str, config: ModelBench) -> dict[str, Any]:
    settings = TrainingConfig(learning_rate=1e-6, microbatch_tokens=config.microbatch_tokens)
    learner, responses, prompt_B = (
        Learner(policy, ALGORITHMS["grpo"], settings),
        _responses(policy, config),
        _rows(config),
    )
    rollouts = Rollouts(
        update=0, version=0, prompts=_prompts(policy, config), prompt_B=prompt_B, group_B=prompt_B,
        query_B=[str(p) for p in prompt_B], responses=responses,
        behaviour_logp=[[-10.0] * config.response_tokens for _ in responses],
        reward_B=[float(b % 2) for b in range(len(responses))], finished_B=[True] * len(responses),
        mismatch_kl=0.0, seconds=0.0,
    )  # fmt: skip
    adapted = "_adapters" if policy.adapters else ""
    row = _row(
        f"update_{size}{adapted}", len(responses) * config.response_tokens, lambda: learner.update(rollouts), policy,
        device, config,
    )  # fmt: skip
    # Scoring is a forward pass, training another and a backward pass; frozen matrices have no gradient of their own.
    return row | {"flops": (3 if policy.adapters else 4) * _forward(policy, config)}


def bfloat16_peak(device: str, config: ModelBench) -> dict[str, Any]:
    """The fastest of several bfloat16 products of square matrices, in GFLOP/s."""
    n = config.matrix
    a, b = torch.randn(2, n, n, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ b
    speeds = [2 * n**3 / stopwatch(lambda: a @ b, device) / 1e9 for _ in range(10)]
    return {"name": "matrix_peak_bfloat16", "ours": max(speeds), "peer": None, "peer_name": None, "ratio": None,
            "unit": "GFLOP/s", "low": min(speeds), "high": max(speeds), "repeats": len(speeds),
            "settings": f"bfloat16, {n} x {n}"}  # fmt: skip


def _row(
    name: str, tokens: int, call: Callable[[], Any], policy: Policy, device: str, config: ModelBench
) -> dict[str, Any]:
    timing = alternate(call, None, device, config.repeats)
    row = rates(name, tokens, "tokens/s", "", timing) | {"peer_name": None}
    before = torch.cuda.memory_allocated(device) / 1e6 if device != "cpu" else None
    return row | {
        "parameters": parameter_count(policy),
        "resident_memory_mb": before,  # weights and what the optimiser keeps; the peak comes on top
        "settings": f"bfloat16, {config.prompts} prompts of {config.prompt_tokens} x {config.group} responses of "
        f"{config.response_tokens} tokens",
    }


def _rows(config: ModelBench) -> list[int]:
    return [p for p in range(config.prompts) for _ in range(config.group)]


def _tokens(policy: Policy, rows: int, length: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(policy.model.config.vocab_size, (rows, length), generator=generator).tolist()


def _prompts(policy: Policy, config: ModelBench) -> list[list[int]]:
    return _tokens(policy, config.prompts, config.prompt_tokens, 1)


def _responses(policy: Policy, config: ModelBench) -> list[list[int]]:
    return _tokens(policy, config.prompts * config.group, config.response_tokens, 2)


def _forward(policy: Policy, config: ModelBench) -> int:
    """FLOPs of one forward pass over the groups, prompts shared."""
    unit, rows = cost(policy.model.config, parameter_count(policy)), _rows(config)
    return forward_flops(unit, [config.prompt_tokens] * config.prompts, rows, [config.response_tokens] * len(rows))
