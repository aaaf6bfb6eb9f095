"""Work, FLOPs, GPU-hours and memory of a run, from its config, before it is run.

Memory of one GPU, in bytes; P parameters, T of them trained, b bytes of a weight:

- weights: b P;
- optimiser: gradients and AdamW's two moments in 32 bits, 12 T, and 4 T more for 32-bit copies of 16-bit weights;
- activations of an update's part of n tokens (one response with its prompt at least, `training.microbatch_tokens` if
  there is room): with recomputation b n h for the input of each block and one block's own, about b n (4 h + 4 q + 3 f)
  (h hidden width, q all heads' width, f feed-forward width); without it the latter for every block; and 6 bytes a logit
  of the vocabulary for n tokens, at most 4,096 at a time;
- key-value cache: 2 x layers x key-value heads x head width x b a token, for every sequence alive at its full length.
  vLLM takes a fixed share of the GPU for that and its own weights; the torch sampler goes on with half of the sequences
  where memory ends.

`least` is weights, optimiser, the activations and the cache of one sequence: below that nothing runs.

FLOPs: the itemised count of `training.accounting` for responses of the expected length: sampling, one forward and a
backward pass (twice the forward) over everything sampled, another forward pass with recomputation, and the last
evaluation. Where an allocation drops or shrinks groups the count is of uniform groups: an upper bound, and so is what
follows from it. GPU-hours divide them by the rate of a GPU at a utilisation: measured by `repro bench` on a GPU where
data/bench.json has a model of a similar size, else assumed. Estimates, then: within a factor of two or three at best.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.config import config_hash
from repro.places import data_folder
from repro.study import shapes
from repro.study.definition import Study
from repro.study.paper_tier import PaperTier
from repro.study.runs import read_json
from repro.study.shapes import SHAPES, Shape

GIB = 2**30
PEAK = 989e12  # FLOP/s of an H100 SXM at bfloat16 without sparsity, by its data sheet
UTILISATION = {"sampling": 0.05, "training": 0.35}  # of PEAK, assumed: decoding waits for memory, training less so
ROWS = {"sampling": "decode", "training": "forward_backward"}  # how the rows of data/bench.json begin that measure them
SIMILAR = 4.0  # a measured model may be so many times larger or smaller
LOGIT_ROWS = 4096  # positions whose logits exist at once


def shape_of(config: Any) -> Shape | None:
    """The shape of a run's policy: of the folder or published model it names, or from scratch; None if unknown."""
    from repro import environments

    policy = config.policy
    if not policy.checkpoint:
        return shapes.from_scratch(policy, 2 + len(environments.vocabulary(config.world)))
    if (Path(policy.checkpoint) / "config.json").is_file():
        return shapes.of_folder(Path(policy.checkpoint))
    return SHAPES.get(policy.checkpoint)


def measured_work(study: Study, tier: str, config: Any) -> dict[str, Any] | None:
    """Means a run over the committed runs of these very settings, whatever their seed; None where there are none."""
    from repro.study import tables

    if not (tables.results_folder(study.name, tier) / "runs.parquet").exists():
        return None
    runs = tables.load(study.name, tier).runs
    ids = {config_hash(replace(config, seed=seed)) for seed in runs["seed"].unique().tolist()}
    runs = runs[runs["run_id"].isin(ids)]
    if not len(runs):
        return None
    names = ("updates", "rollouts", "prompt_tokens", "generated_tokens", "flops", "seconds")
    means = {name: float(runs[name].mean()) for name in names}
    return {"from": f"{len(runs)} committed runs", "bound": False} | means


def expected_work(config: Any, entry: PaperTier | None, shape: Shape | None) -> dict[str, Any] | None:
    """Updates, generations (sampled responses), tokens and FLOPs that a run's config implies.

    Without an entry, whose expected lengths are used, responses count at their longest, and None is returned where an
    allocation decides by itself how much is sampled. A world of several turns counts `turns` generations an episode.
    """
    from repro.algorithms.allocation import Uniform

    allocation, training = config.recipe.allocation, config.training
    size = largest_group(allocation)
    uniform, turns = isinstance(allocation, Uniform), (entry.turns if entry else None) or 1
    if training.generations is not None:  # a budget, whoever samples
        updates, generations, bound = None, training.generations, False
    elif uniform or (entry and entry.passes):
        updates = training.updates if uniform else round(entry.passes * entry.queries / allocation.prompts)
        generations, bound = updates * allocation.prompts * size * turns, not uniform
    else:
        return None
    prompt, response = (entry.prompt_tokens, entry.response_tokens) if entry else (0, training.max_new_tokens)
    work = {
        "from": entry.lengths if entry else "responses at their longest, prompts not counted",
        "bound": bound,
        "updates": updates,
        "prompts": allocation.prompts,
        "group_size": size,
        "turns": turns,
        "generations": generations,
        "generated_tokens": generations * response,
        "longest": generations * training.max_new_tokens,
        "profile_rollouts": entry.queries * allocation.samples if entry and hasattr(allocation, "trivial") else 0,
        "evaluation_rollouts": entry.evaluated * config.evaluation.final_samples if entry else 0,
    }
    if shape:
        work |= _flops(config, shape, work, prompt, response)
    return work


def largest_group(allocation: Any) -> int:
    """Rollouts of a query at most: of a uniform allocation, or of one that sizes groups by a profile."""
    if hasattr(allocation, "buckets"):
        return max(size for _, size in allocation.buckets)
    return getattr(allocation, "group_size", 8)


def _flops(config: Any, shape: Shape, work: dict[str, Any], prompt: int, response: int) -> dict[str, float]:
    from repro.training.accounting import cost, forward_flops

    unit, turns, size = cost(shape, shape.parameters), work["turns"], work["group_size"]
    one = forward_flops(unit, [prompt], [0], [response])
    if turns == 1 and work["updates"] is not None:  # a group shares its prompt
        forward = work["generations"] / size * forward_flops(unit, [prompt], [0] * size, [response] * size)
    else:
        forward = work["generations"] * one
    aside = one * turns * (work["profile_rollouts"] + work["evaluation_rollouts"])
    passes = 4 if getattr(config.policy, "recompute", False) else 3
    return {"sampling_flops": float(forward + aside), "training_flops": float(passes * forward)}


def gpu_hours(work: dict[str, Any] | None, shape: Shape | None) -> dict[str, Any] | None:
    """Hours of one GPU for a run, with the rates they rest on; None without FLOPs."""
    if not work or "sampling_flops" not in work:
        return None
    rates = {kind: rate(kind, shape.parameters) for kind in UTILISATION}
    seconds = sum(work[f"{kind}_flops"] / rates[kind]["flops_per_second"] for kind in rates)
    return {"a_run": seconds / 3600, "rates": rates}


def rate(kind: str, parameters: int) -> dict[str, Any]:
    """FLOP/s of "sampling" or "training" on one GPU: measured where data/bench.json has a model of that size."""
    path = data_folder() / "bench.json"
    bench = read_json(path) if path.exists() else {"machine": {}, "rows": []}
    rows = [
        row
        for row in bench["rows"]
        if row["name"].startswith(ROWS[kind]) and row.get("flops") and row.get("seconds")
        and 1 / SIMILAR <= row.get("parameters", 0) / parameters <= SIMILAR
    ]  # fmt: skip
    if not bench["machine"].get("gpu") or not rows:
        return {"flops_per_second": UTILISATION[kind] * PEAK, "from": f"{UTILISATION[kind]:.0%} of an H100, assumed"}
    nearest = min(rows, key=lambda row: abs(row["parameters"] - parameters))
    told = f"{nearest['name']} on {bench['machine']['gpu']}, measured"
    return {"flops_per_second": nearest["flops"] / nearest["seconds"], "from": told}


def memory(config: Any, shape: Shape) -> dict[str, float]:
    """GiB by what they hold, by the formulae above, and `least`; `engine_share` is what vLLM takes of the GPU."""
    policy, training, allocation = config.policy, config.training, config.recipe.allocation
    width = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}[policy.dtype]
    lora = getattr(policy, "lora", None)
    trained = shape.adapter_parameters(lora.rank, lora.matrices) if lora else shape.parameters
    longest = getattr(policy, "context", 0) or training.max_new_tokens
    part = max(longest, training.microbatch_tokens)
    alive = allocation.prompts * largest_group(allocation)
    parts = {
        "weights": width * (shape.parameters + (trained if lora else 0)),
        "optimiser": trained * (12 if width >= 4 else 16),
        "activations": _activations(shape, part, width, getattr(policy, "recompute", False)),
        "cache": shape.cache_values * width * longest * alive,
    }
    least = parts["weights"] + parts["optimiser"] + shape.cache_values * width * longest
    least += _activations(shape, longest, width, getattr(policy, "recompute", False))
    share = getattr(getattr(policy, "sampler", None), "gpu_memory", 0.0)
    gib = {name: value / GIB for name, value in (parts | {"least": least}).items()}
    return gib | {"sequences": alive, "engine_share": share}


def _activations(shape: Shape, tokens: int, width: int, recompute: bool) -> int:
    heads = shape.num_attention_heads * shape.head_dim
    block = width * tokens * (4 * shape.hidden_size + 4 * heads + 3 * shape.intermediate_size)
    kept = width * tokens * shape.hidden_size * shape.num_hidden_layers + block
    logits = 6 * min(tokens, LOGIT_ROWS) * shape.vocab_size
    return (kept if recompute else shape.num_hidden_layers * block) + logits
