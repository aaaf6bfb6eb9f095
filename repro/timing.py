"""Timing two sides against each other: they take turns, after a warm-up and a run that measures memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def clock(device: str) -> float:
    """Seconds, once the device has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def stopwatch(call: Callable[[], Any], device: str) -> float:
    started = clock(device)
    call()
    return clock(device) - started


class MemoryMeter:
    """The most memory that tensors held between start and stop beyond what they held before, in MB (10^6 bytes).

    On a GPU the allocator keeps the maximum; on a CPU torch's profiler reports every allocation and release.
    """

    def __init__(self, device: str):
        self.device = device

    def start(self) -> None:
        if self.device == "cpu":
            self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
            self.profile.start()
        else:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)

    def stop(self) -> float:
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)
            return (torch.cuda.max_memory_allocated(self.device) - self.before) / 1e6
        self.profile.stop()
        events = [e for e in self.profile.profiler.kineto_results.events() if e.name() == "[memory]"]
        held = peak = 0
        for event in sorted(events, key=lambda e: e.start_ns()):
            held += event.nbytes()
            peak = max(peak, held)
        return peak / 1e6


def alternate(ours: Callable[[], None], peer: Callable[[], None] | None, device: str, repeats: int) -> dict[str, Any]:
    """Seconds of each repeat of both sides in turn (A B A B), after a warm-up and one run that measures memory."""
    timing: dict[str, Any] = {"ours": [], "peer": []}
    sides = [("ours", "memory", ours)] + ([("peer", "peer_memory", peer)] if peer else [])
    meter = MemoryMeter(device)
    for _, memory, call in sides:
        call()
        meter.start()
        call()
        timing[memory] = meter.stop()
    for _ in range(repeats):
        for side, _, call in sides:
            timing[side].append(stopwatch(call, device))
    return timing


def rates(name: str, work: int, unit: str, peer_name: str, timing: dict[str, Any]) -> dict[str, Any]:
    """A row from the seconds of each repeat: rates from median times, `ratio` of the two, and their ranges.

    `ratio_low` and `ratio_high` are the extremes over the pairs of neighbouring repeats.
    """
    ours, peer = ([work / s for s in timing[side]] for side in ("ours", "peer"))
    seconds = statistics.median(timing["ours"])
    row = {"name": name, "ours": work / seconds, "peer": None, "peer_name": peer_name, "ratio": None, "unit": unit,
           "low": min(ours), "high": max(ours), "repeats": len(ours), "seconds": seconds,
           "peak_memory_mb": timing["memory"]}  # fmt: skip
    if peer:
        peer_seconds, pairs = statistics.median(timing["peer"]), [a / b for a, b in zip(ours, peer, strict=True)]
        row |= {"peer": work / peer_seconds, "ratio": peer_seconds / seconds, "peer_low": min(peer),
                "peer_high": max(peer), "ratio_low": min(pairs), "ratio_high": max(pairs),
                "peer_seconds": peer_seconds, "peer_peak_memory_mb": timing["peer_memory"]}  # fmt: skip
    return row


def utilisation(row: dict[str, Any], peak: float) -> dict[str, Any]:
    """The row with tokens per second and, of both sides, FLOPs per second as a share of `peak` (FLOP/s)."""
    tokens = row.get("generated_tokens")
    row = row | {
        "tokens_per_second": tokens / row["seconds"] if tokens else row["ours"],
        "flop_utilisation": row["flops"] / row["seconds"] / peak,
    }
    if row["peer"] is not None:
        row["peer_flop_utilisation"] = row["peer_flops"] / row["peer_seconds"] / peak
    return row
