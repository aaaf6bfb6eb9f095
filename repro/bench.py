"""Speed beside peers: the same work on the same machine in the same run, taking turns, medians over repeats.

| row | ours | peer |
|---|---|---|
| `grpo_step` | encode, sample, score, update, diagnostics, as the training loop does | one step of TRL's GRPOTrainer |
| `decode_shared` | sampling, groups of 8 that share a prompt | transformers' `generate` on the same rows |
| `decode_distinct` | the same, every prompt distinct: nothing is shared | the same |
| `forward_backward` | log-probabilities and gradients of a batch of groups | Qwen2ForCausalLM with a prompt per row |
| `matrix_peak` | fp32 matrix products: the ceiling of the utilisations | none |

On a GPU the rows of `bench_models` follow: published shapes in bfloat16, without peers.

No response ends early on either side: the end token has an id that the model has no logit for. Rates count rollouts or
response tokens. FLOP utilisation is itemised FLOPs over time over the peak of the same run; each side is charged for
what it computes, so a peer that passes a prompt once per response is credited with those passes.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from repro.algorithms import ALGORITHMS
from repro.bench_models import run_models, skipped
from repro.environments.query import Query
from repro.machine import cores, machine, version
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.model import Policy, PolicyConfig, build, parameter_count
from repro.policy.sampler import sample
from repro.study.runs import atomic_write
from repro.timing import MemoryMeter, alternate, clock, rates, stopwatch, utilisation
from repro.training.accounting import Cost, cost, forward_flops
from repro.training.config import RunConfig, TrainingConfig
from repro.training.diagnostics import measure
from repro.training.learner import Learner
from repro.training.loop import check_device
from repro.training.rollouts import Group, batch, draw


@dataclass(frozen=True)
class BenchConfig:
    """Shapes, equal for both sides. The default: a Qwen2 of 0.79 M parameters, 16 prompts by 8 rollouts, fp32."""

    policy: PolicyConfig = PolicyConfig(hidden=128, layers=4, heads=4, kv_heads=4, feed_forward=256, lookback=0.0)
    vocabulary: int = 1024
    prompts: int = 16
    group: int = 8
    prompt_tokens: int = 64
    response_tokens: int = 32
    decode_batch: int = 64
    learning_rate: float = 1e-4
    repeats: int = 7
    matrix: int = 2048  # side of the square matrices of the peak; four times that on a GPU
    seed: int = 0


def run_benchmarks(device: str = "cpu", config: BenchConfig = BenchConfig()) -> list[dict[str, Any]]:
    """All rows, each with name, ours, peer, peer_name, ratio (ours / peer; None without a peer), unit and details.

    Uses all cores this process may run on, for both sides alike, and puts torch's thread count back afterwards.
    Raises ReproError for a device that is not there.
    """
    check_device(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        peak = matrix_peak(device, config)
        rows = [
            grpo_step(device, config),
            decode(device, config, shared=True),
            decode(device, config, shared=False),
            forward_backward(device, config),
        ]
    finally:
        torch.set_num_threads(threads)
    return [utilisation(r, peak["ours"] * 1e9) for r in rows] + [peak] + run_models(device)


def grpo_step(device: str, config: BenchConfig) -> dict[str, Any]:
    """A complete GRPO step: clipped ratio, group-normalised advantages, no KL term, AdamW, one update a batch."""
    texts, policy = prompt_texts(config, config.prompts, ragged=False), fresh_policy(device, config)
    training = TrainingConfig(learning_rate=config.learning_rate, max_new_tokens=config.response_tokens)
    learner = Learner(policy, ALGORITHMS["grpo"], training)
    queries = [Query(id=str(i), text=text, answer="", level="") for i, text in enumerate(texts)]
    run = RunConfig("bench", "grpo", "bench", config.seed, ALGORITHMS["grpo"], training=training)
    generated: list[int] = []

    def ours() -> None:
        update = len(generated)
        with torch.no_grad():
            dec = policy.decoder()
            groups = [Group(i, i, query, policy.encode(query.text)) for i, query in enumerate(queries)]
            draw(dec, policy, groups, [config.group] * len(groups), config=run, update=update)
            everything = [list(range(config.group)) for _ in groups]
            rollouts = batch(dec, groups, everything, config=run, update=update, version=update, seconds=0.0)
        scored = dataclasses.replace(rollouts, reward_B=[reward(policy.decode(r)) for r in rollouts.responses])
        measure(learner.update(scored)[1], learner.recipe)
        generated.append(sum(map(len, scored.responses)))

    peer_generated: list[int] = []
    if importlib.util.find_spec("trl"):
        peer_name = f"TRL {version('trl')} GRPOTrainer"
        timing = beside_trl(ours, texts, device, config, peer_generated)
    else:
        peer_name, timing = "TRL (not installed: pip install '.[bench]')", alternate(ours, None, device, config.repeats)
    if not set(peer_generated) <= set(generated) or len(set(generated)) != 1:
        raise RuntimeError(f"unequal work: {set(generated)} tokens a step here, {set(peer_generated)} there")
    unit = cost(policy.model.config, parameter_count(policy))
    rollouts, m = config.prompts * config.group, config.response_tokens
    shared = forward_flops(unit, [config.prompt_tokens] * config.prompts, group_rows(config), [m] * rollouts)
    row = rates("grpo_step", rollouts, "rollouts/s", peer_name, timing)
    # Sampling and scoring are a forward pass each, the backward pass is two.
    return row | {
        "parameters": parameter_count(policy),
        "generated_tokens": generated[0],
        "peer_generated_tokens": peer_generated[0] if peer_generated else None,
        "flops": 4 * shared,
        "peer_flops": 4 * unshared_flops(unit, [config.prompt_tokens] * rollouts, m) if peer_generated else None,
        "settings": f"{config.prompts} prompts x {config.group} rollouts, {config.prompt_tokens} prompt + {m} response "
        "tokens",
    }


def beside_trl(
    ours: Callable[[], None], texts: list[str], device: str, config: BenchConfig, counts: list[int]
) -> dict[str, Any]:
    """Steps of TRL's trainer with one of ours after each: first warm-up, then memory, then the timed repeats.

    TRL's settings are its fastest for this work: no checkpointing of activations, no reference model, no second pass
    for old log-probabilities (one update a batch needs none), nothing logged, saved or plotted. Its clock covers
    everything between two of our steps. `counts` receives the tokens TRL generated in each step.
    """
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    policy, meter = fresh_policy(device, config), MemoryMeter(device)
    timing: dict[str, Any] = {"ours": [], "peer": []}

    class TakingTurns(TrainerCallback):
        def begin(self) -> None:
            self.meter = len(counts) == 1  # the step after the warm-up
            if self.meter:
                meter.start()
            self.started = clock(device)

        def on_train_begin(self, *args, **kwargs) -> None:
            self.begin()

        def on_step_end(self, args, state, control, **kwargs) -> None:
            seconds = clock(device) - self.started
            if self.meter:
                timing["peer_memory"] = meter.stop()
                meter.start()
                ours()
                timing["memory"] = meter.stop()
            else:
                seconds_ours = stopwatch(ours, device)
                if state.global_step > 1:
                    timing["peer"].append(seconds)
                    timing["ours"].append(seconds_ours)
            self.begin()

    def score(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        counts.append(sum(map(len, completion_ids)))
        return [reward(text) for text in completions]

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=policy.model,
            processing_class=policy.tokenizer,
            reward_funcs=score,
            train_dataset=Dataset.from_dict({"prompt": texts}),
            callbacks=[TakingTurns()],
            args=GRPOConfig(
                output_dir=folder,
                use_cpu=device == "cpu",
                bf16=False,
                max_steps=config.repeats + 2,
                per_device_train_batch_size=config.prompts * config.group,
                num_generations=config.group,
                max_completion_length=config.response_tokens,
                steps_per_generation=1,
                num_iterations=1,
                beta=0.0,
                loss_type="grpo",
                learning_rate=config.learning_rate,
                lr_scheduler_type="constant",
                weight_decay=TrainingConfig.weight_decay,
                max_grad_norm=TrainingConfig.clip_norm,
                gradient_checkpointing=False,
                shuffle_dataset=False,
                dataloader_pin_memory=False,
                logging_strategy="no",
                logging_nan_inf_filter=False,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
        )
        trainer.remove_callback(PrinterCallback)  # it prints to standard output, which belongs to the JSON
        trainer.train()
    return timing


def decode(device: str, config: BenchConfig, shared: bool) -> dict[str, Any]:
    """Sampling for a batch of left-padded prompts of unequal lengths; ours also returns log-probabilities."""
    batch, size = config.decode_batch, config.group if shared else 1
    policy, m = fresh_policy(device, config), config.response_tokens
    prompts = [policy.encode(text) for text in prompt_texts(config, batch // size, ragged=True)]
    prompt_B = [i // size for i in range(batch)]
    rows = [prompts[p] for p in prompt_B]
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(r)) + r for r in rows], device=device)
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=device)
    dec = policy.decoder()
    generated: dict[str, int] = {}

    def ours() -> None:
        completions = sample(dec, prompts, prompt_B, range(batch), m, policy.end_token)
        generated["ours"] = sum(len(c.tokens) for c in completions)

    @torch.no_grad()
    def peer() -> None:
        out = policy.model.generate(
            input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=m, use_cache=True,
            eos_token_id=policy.end_token, pad_token_id=policy.tokenizer.pad_token_id,
        )  # fmt: skip
        generated["peer"] = out[:, width:].numel()

    timing = alternate(ours, peer, device, config.repeats)
    if generated["ours"] != generated["peer"]:
        raise RuntimeError(f"unequal work: {generated}")
    unit = cost(policy.model.config, parameter_count(policy))
    name = "decode_shared" if shared else "decode_distinct"
    return rates(name, batch * m, "tokens/s", f"transformers {version('transformers')} generate", timing) | {
        "parameters": parameter_count(policy),
        "generated_tokens": generated["ours"],
        "peer_generated_tokens": generated["peer"],
        "flops": forward_flops(unit, [len(p) for p in prompts], prompt_B, [m] * batch),
        "peer_flops": unshared_flops(unit, [width] * batch, m),
        "settings": f"{len(prompts)} prompts of {min(map(len, rows))}-{width} tokens x {size}, {m} new tokens",
    }


def forward_backward(device: str, config: BenchConfig) -> dict[str, Any]:
    """Gradient of a weighted sum of response log-probabilities; also the largest difference between both gradients."""
    policy, m = fresh_policy(device, config), config.response_tokens
    prompts = [policy.encode(text) for text in prompt_texts(config, config.prompts, ragged=False)]
    prompt_B = group_rows(config)
    generator = torch.Generator().manual_seed(config.seed)
    # Token 0 pads: transformers gives its embedding no gradient.
    response_BT = torch.randint(1, config.vocabulary, (len(prompt_B), m), generator=generator)
    weight_BT = torch.randn(len(prompt_B), m, generator=generator).to(device)
    responses = response_BT.tolist()
    target_BT = response_BT.to(device)
    ids = torch.cat((torch.tensor([prompts[p] for p in prompt_B], device=device), target_BT), 1)
    gradients: dict[str, dict[str, torch.Tensor]] = {}

    def backward(side: str, logp_BT: torch.Tensor) -> None:
        policy.model.zero_grad(set_to_none=True)
        (logp_BT * weight_BT).sum().backward()
        gradients[side] = {name: p.grad for name, p in policy.parameters.items()}

    def ours() -> None:
        backward("ours", response_logprobs(policy.decoder(), layout(prompts, responses, prompt_B, device))[0])

    def peer() -> None:
        logits = policy.model(input_ids=ids, logits_to_keep=m + 1, use_cache=False).logits[:, :-1]
        backward("peer", torch.log_softmax(logits.float(), -1).gather(-1, target_BT[..., None])[..., 0])

    timing = alternate(ours, peer, device, config.repeats)
    unit = cost(policy.model.config, parameter_count(policy))
    difference = max((g - gradients["peer"][name]).abs().max().item() for name, g in gradients["ours"].items())
    return rates(
        "forward_backward", response_BT.numel(), "tokens/s", f"transformers {version('transformers')} Qwen2", timing
    ) | {
        "parameters": parameter_count(policy),
        "flops": 3 * forward_flops(unit, [config.prompt_tokens] * config.prompts, prompt_B, [m] * len(prompt_B)),
        "peer_flops": 3 * unshared_flops(unit, [config.prompt_tokens] * len(prompt_B), m),
        "max_gradient_difference": difference,
        "max_gradient": max(g.abs().max().item() for g in gradients["peer"].values()),
        "settings": f"{config.prompts} prompts x {config.group} responses, {config.prompt_tokens} + {m} tokens",
    }


def matrix_peak(device: str, config: BenchConfig) -> dict[str, Any]:
    """The fastest of several fp32 products of square matrices, in GFLOP/s."""
    n = config.matrix * (1 if device == "cpu" else 4)
    a, b = torch.randn(2, n, n, device=device)
    for _ in range(2):
        a @ b
    speeds = [2 * n**3 / stopwatch(lambda: a @ b, device) / 1e9 for _ in range(max(config.repeats, 5))]
    return {"name": "matrix_peak", "ours": max(speeds), "peer": None, "peer_name": None, "ratio": None,
            "unit": "GFLOP/s", "low": min(speeds), "high": max(speeds), "repeats": len(speeds),
            "settings": f"fp32, {n} x {n}"}  # fmt: skip


def reward(text: str) -> float:
    """A trivial reward that differs within almost every group, so that both sides train on every response."""
    return float(len(text))


def fresh_policy(device: str, config: BenchConfig) -> Policy:
    """The same weights at every call. The end token is named after the model is built: there is no logit for it."""
    policy = build(config.policy, [f"w{i}" for i in range(config.vocabulary - 2)], config.seed, device)
    policy.tokenizer.add_special_tokens({"eos_token": "<never>"})
    policy.tokenizer.padding_side = "left"
    # TRL ends a response at any of the tokens that tokenizer and generation config name.
    policy.model.config.eos_token_id = policy.model.generation_config.eos_token_id = policy.end_token
    return policy


def prompt_texts(config: BenchConfig, count: int, ragged: bool) -> list[str]:
    """Random distinct prompts of `prompt_tokens` words; if `ragged`, of anything from half of that up to it."""
    generator = torch.Generator().manual_seed(config.seed + 1)
    ids = torch.randint(config.vocabulary - 2, (count, config.prompt_tokens), generator=generator).tolist()
    shortest = config.prompt_tokens // 2 if ragged else config.prompt_tokens
    lengths = torch.randint(shortest, config.prompt_tokens + 1, (count,), generator=generator).tolist()
    lengths[0] = config.prompt_tokens
    return [" ".join(f"w{i}" for i in row[:length]) for row, length in zip(ids, lengths, strict=True)]


def group_rows(config: BenchConfig) -> list[int]:
    """The prompt of each response of a batch of groups."""
    return [p for p in range(config.prompts) for _ in range(config.group)]


def unshared_flops(unit: Cost, lengths: Sequence[int], response: int) -> int:
    """A forward pass in which every response carries a prompt of its own, padding included in `lengths`."""
    return forward_flops(unit, lengths, range(len(lengths)), [response] * len(lengths))


def save(rows: list[dict[str, Any]], path: Path, device: str = "cpu") -> None:
    """Write the rows with a description of the machine as JSON, and which models were left out, and why."""
    found = {"machine": machine(device), "rows": rows, "skipped": skipped(device)}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(found, indent=1, allow_nan=False) + "\n")


def render(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, utilisation and memory as ours / peer."""

    def both(row: dict[str, Any], key: str, form: str) -> str:
        values = [row.get(key), row.get(f"peer_{key}")]
        return " / ".join(format(v, form) for v in values if v is not None) or "-"

    lines = [
        "| benchmark | unit | ours | peer | ratio (range) | FLOP utilisation | peak memory, MB | peer | settings |",
        "|---|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        peer = "-" if row["peer"] is None else f"{row['peer']:,.0f}"
        ratio = "-"
        if row["ratio"] is not None:
            ratio = f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})"
        lines.append(
            f"| {row['name']} | {row['unit']} | {row['ours']:,.0f} | {peer} | {ratio} | "
            f"{both(row, 'flop_utilisation', '.0%')} | {both(row, 'peak_memory_mb', ',.0f')} | "
            f"{row['peer_name'] or '-'} | {row['settings']} |"
        )
    return "\n".join(lines)
