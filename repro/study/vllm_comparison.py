"""Training with vLLM beside the torch sampler: `python -m repro.study.vllm_comparison` writes data/vllm.json.

Runs of a study are trained twice from the same warm start, on the same queries, by samplers that draw different random
numbers. What comes out must be the same up to that: for each metric the mean paired difference over seeds, with its
99 % interval, which must hold 0. The file keeps one record a tier; runs are kept in data/cache, so that a second start
goes on. Needs vLLM (`make test-vllm` makes an environment for CPUs, .venv-vllm).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.machine import machine
from repro.study import runs, study_named

STUDY, ARM, SEEDS = "asympo_async", "asympo@lag0", 4
SHAPES: dict[str, dict[str, int]] = {  # vLLM wants heads of 32 or more: the small tier has them
    "smoke": {"hidden": 64, "layers": 2, "heads": 2, "kv_heads": 2, "feed_forward": 96},
    "small": {},
}
LEVEL = 0.99
MISMATCH = 1e-6  # nats: float32 on both sides


def configs(seed: int, tier: str) -> dict[str, Any]:
    """The run of a seed by either sampler; nothing else differs."""
    from repro.config import override
    from repro.policy.model import PolicyConfig
    from repro.policy.pretrained import ServedConfig

    plain, shape = study_named(STUDY).config(ARM, seed, tier), SHAPES[tier]
    policies = {"torch": PolicyConfig(**shape), "vllm": ServedConfig(**shape)}
    return {sampler: override(plain, {"policy": policy}) for sampler, policy in policies.items()}


def measured(records: list[dict]) -> dict[str, float]:
    """What a run is compared by: means over its updates, and its evaluations at both ends."""
    updates = [record for record in records if record["kind"] == "update"]
    evaluations = [record for record in records if record["kind"] == "eval"]
    last = max(record["update"] for record in evaluations)
    found = {name: statistics.mean(u[name] for u in updates) for name in ("reward", "entropy", "finished", "grad_norm")}
    found["generated_tokens"] = statistics.mean(u["generated_tokens"] for u in updates)
    for when, update in (("first", 0), ("last", last)):
        for record in evaluations:
            if record["update"] == update:
                found[f"mean_at_k {when} {record['level']}"] = record["mean_at_k"]
    return found


def compare(root: Path, tier: str, seeds: int) -> dict[str, Any]:
    """Train below `root`; runs, and the paired differences with their intervals.

    Raises ReproError if a run fails, or if its sampler's log-probabilities are not the trainer's.
    """
    from repro.policy.vllm_engine import check_installed
    from repro.training.loop import train

    version = check_installed()
    os.environ["REPRO_DATA"] = str(root)  # one warm start for both
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for sampler, config in configs(seed, tier).items():
            folder = runs.run_folder(config, root)
            result = train(config, folder)
            records = runs.read_metrics(folder)
            updates = [record for record in records if record["kind"] == "update"]
            mismatch = max(record["mismatch_kl"] for record in updates)
            if result["status"] != "finished" or not mismatch < MISMATCH:
                raise ReproError(f"{sampler}, seed {seed}: {result['status']}, mismatch_kl up to {mismatch:.2g}")
            spent = {part: sum(record[f"seconds_{part}"] for record in updates) for part in ("generate", "update")}
            rows.append(
                {"sampler": sampler, "seed": seed, "hash": result["hash"], "largest_mismatch_kl": mismatch}
                | {f"seconds_{part}": round(seconds, 1) for part, seconds in spent.items()}
                | measured(records)
            )
            print(f"{tier}, seed {seed}, {sampler}: {spent['generate']:.0f} s of sampling", flush=True)
    differences = {name: paired(rows, name) for name in rows[0] if name not in _NOT_COMPARED}
    shape = SHAPES[tier] or "as in the study"
    return {
        "what": f"{seeds} runs of {ARM} ({STUDY}, {tier} tier, policy {shape}), by vLLM and by the torch sampler",
        "command": f"python -m repro.study.vllm_comparison --tier {tier} --seeds {seeds}",
        "differences": differences,
        "agree": all(entry["low"] <= 0 <= entry["high"] for entry in differences.values()),
        "runs": rows,
        "machine": machine() | {"vllm": version},
        "commit": runs.provenance()["commit"],
        "dirty": runs.provenance()["dirty"],
    }


_NOT_COMPARED = ("sampler", "seed", "hash", "largest_mismatch_kl", "seconds_generate", "seconds_update")


def paired(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """vLLM minus torch over seeds: the mean, and Student's interval at LEVEL."""
    from scipy import stats

    by_sampler = {s: [row[name] for row in rows if row["sampler"] == s] for s in ("torch", "vllm")}
    gaps = [b - a for a, b in zip(by_sampler["torch"], by_sampler["vllm"], strict=True)]
    mean, half = statistics.mean(gaps), 0.0
    if len(gaps) > 1:
        half = stats.t.ppf((1 + LEVEL) / 2, len(gaps) - 1) * statistics.stdev(gaps) / len(gaps) ** 0.5
    spread = statistics.stdev(by_sampler["torch"]) if len(gaps) > 1 else 0.0
    return {"torch": statistics.mean(by_sampler["torch"]), "vllm": statistics.mean(by_sampler["vllm"]), "mean": mean,
            "low": mean - half, "high": mean + half, "spread_over_seeds": spread}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m repro.study.vllm_comparison", description=__doc__.splitlines()[0])
    parser.add_argument("--tier", choices=list(SHAPES), default="smoke")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=runs.data_folder() / "vllm.json")
    options = parser.parse_args(arguments)
    try:
        found = compare(runs.data_folder() / "cache" / "vllm_comparison", options.tier, options.seeds)
    except ReproError as error:
        print(f"repro: {error}", file=sys.stderr)
        return 1
    kept = json.loads(options.out.read_text()) if options.out.is_file() else {}
    runs.atomic_write(options.out, json.dumps(kept | {options.tier: found}, indent=1, allow_nan=False) + "\n")
    for name, entry in found["differences"].items():
        print(f"{name}: {entry['mean']:+.3g} [{entry['low']:+.3g}, {entry['high']:+.3g}]")
    print(f"{'the samplers agree' if found['agree'] else 'THE SAMPLERS DO NOT AGREE'}: {options.out}")
    return 0 if found["agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
