"""Training with vLLM beside the torch sampler: `python -m repro.study.vllm_comparison` writes data/vllm.json.

Smoke runs of a study are trained twice from the same warm start, on the same queries, by samplers that draw different
random numbers. What comes out must be the same up to that: for each metric the mean paired difference over seeds, with
its 99 % interval, which must hold 0. Needs vLLM (`make test-vllm` makes an environment for CPUs, .venv-vllm).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.machine import machine
from repro.study import runs, study_named

STUDY, ARM, SEEDS = "asympo_async", "asympo@lag0", 4
SHAPE = {"hidden": 64, "layers": 2, "heads": 2, "kv_heads": 2, "feed_forward": 96}  # vLLM wants heads of 32 or more
LEVEL = 0.99
MISMATCH = 1e-6  # nats: float32 on both sides


def configs(seed: int) -> dict[str, Any]:
    """The run of a seed by either sampler; nothing else differs."""
    from repro.config import override
    from repro.policy.model import PolicyConfig
    from repro.policy.pretrained import ServedConfig

    plain = study_named(STUDY).config(ARM, seed, "smoke")
    policies = {"torch": PolicyConfig(**SHAPE), "vllm": ServedConfig(**SHAPE)}
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


def compare(root: Path, seeds: int) -> dict[str, Any]:
    """Train below `root`; runs, and the paired differences with their intervals.

    Raises ReproError if a run fails, or if its sampler's log-probabilities are not the trainer's.
    """
    from repro.policy.vllm_engine import check_installed
    from repro.training.loop import train

    version = check_installed()
    os.environ["REPRO_DATA"] = str(root)  # one warm start for both
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for sampler, config in configs(seed).items():
            folder = runs.run_folder(config, root)
            began = time.perf_counter()
            result = train(config, folder)
            records = runs.read_metrics(folder)
            mismatch = max(record["mismatch_kl"] for record in records if record["kind"] == "update")
            if result["status"] != "finished" or not mismatch < MISMATCH:
                raise ReproError(f"{sampler}, seed {seed}: {result['status']}, mismatch_kl up to {mismatch:.2g}")
            rows.append(
                {"sampler": sampler, "seed": seed, "hash": result["hash"], "largest_mismatch_kl": mismatch}
                | {"seconds": round(time.perf_counter() - began, 1)}
                | measured(records)
            )
    differences = {name: paired(rows, name) for name in rows[0] if name not in _NOT_COMPARED}
    return {
        "what": f"{seeds} runs of {ARM} ({STUDY}, smoke tier, policy {SHAPE}), by vLLM and by the torch sampler",
        "command": "python -m repro.study.vllm_comparison",
        "differences": differences,
        "agree": all(entry["low"] <= 0 <= entry["high"] for entry in differences.values()),
        "runs": rows,
        "machine": machine() | {"vllm": version},
        "commit": runs.provenance()["commit"],
        "dirty": runs.provenance()["dirty"],
    }


_NOT_COMPARED = ("sampler", "seed", "hash", "largest_mismatch_kl", "seconds")


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
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=runs.data_folder() / "vllm.json")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="vllm-comparison-") as root:
            found = compare(Path(root), options.seeds)
    except ReproError as error:
        print(f"repro: {error}", file=sys.stderr)
        return 1
    runs.atomic_write(options.out, json.dumps(found, indent=1, allow_nan=False) + "\n")
    for name, entry in found["differences"].items():
        print(f"{name}: {entry['mean']:+.3g} [{entry['low']:+.3g}, {entry['high']:+.3g}]")
    print(f"{'the samplers agree' if found['agree'] else 'THE SAMPLERS DO NOT AGREE'}: {options.out}")
    return 0 if found["agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
