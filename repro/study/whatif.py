"""What sGPO would cost with other constants: bills predicted from profiles alone, before anything is trained.

Two conventions, both in rollouts, as if all responses were equally long:

| convention | a profiled rollout | a rollout in training |
|---|---|---|
| paper | 2P a token | 12P a token, trained on or not (Appendix G.4) |
| itemised | 2P a token | 2P a token, and 6P more where its group has successes and failures |

Whether a group is going to have both is predicted from the success rate at the start, which training changes: the
second convention's prediction is for the first steps rather than for the last.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import exp

import numpy as np
import pandas as pd

from repro.algorithms.allocation import Profile
from repro.algorithms.sgpo import PAPER_BUCKETS, SGPO, bill
from repro.errors import ReproError
from repro.study import bill as bills
from repro.study.statistics import t_interval
from repro.study.tables import Tables

PRICE = 6.0  # 12P over 2P
UPDATE = 3.0  # 6P over 2P
BASELINE = 8  # group size of the uniform baseline
THINNINGS = 4  # draws of a coarser profile from a finer one that a prediction is averaged over


def finest(tables: Tables) -> dict[int, Profile]:
    """seed -> the profile of the untrained policy with the most draws that any arm took; ReproError if there is none.

    Queries of like difficulty are told apart by nothing here, so their order in the list is of no account.
    """
    first = tables.profiles[tables.profiles["update"] == 0]
    if first.empty:
        raise ReproError("these tables hold no profile: run an arm that takes one, for instance sgpo")
    return {int(seed): _profile(rows) for seed, rows in first.groupby("seed")}


def against_measured(tables: Tables, arm: str = "sgpo", reference: str = "uniform") -> str:
    """What `arm`'s own profiles promised before training beside what the runs cost, paired by seed, as Markdown.

    Ratios are geometric means over the seeds that both arms have, with t intervals.
    """
    profiles = tables.profiles[(tables.profiles["arm"] == arm) & (tables.profiles["update"] == 0)]
    promised = {int(seed): _profile(rows) for seed, rows in profiles.groupby("seed")}
    runs = [tables.runs[tables.runs["arm"] == name].set_index("seed") for name in (arm, reference)]
    seeds = sorted(promised.keys() & set(runs[0].index) & set(runs[1].index))
    if not seeds:
        return f"No seed has runs of both {arm} and {reference}.\n"
    expected = predicted({seed: promised[seed] for seed in seeds})
    lines = [f"| bill of {reference} over that of {arm} | predicted | measured | measured over predicted |"]
    lines.append("|---|---|---|---|")
    for convention in ("paper", "itemised"):
        ours, theirs = (bills.total(frame.loc[seeds], convention) for frame in runs)
        before, after = expected[convention], theirs / ours
        cells = (_times(x, geometric=True) for x in (before, after, after / before))
        lines.append(f"| {bills.CONVENTIONS[convention]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def thinned(profile: Profile, samples: int, seed: int | str) -> Profile:
    """A profile of fewer draws, drawn without replacement from those taken; ReproError if it has not as many."""
    if not 1 <= samples <= profile.samples:
        raise ReproError(f"N = {samples}: this profile has {profile.samples} draws a query; choose 1 to that many")
    rng = random.Random(f"thin:{seed}:{samples}")
    draws = (rng.sample([1] * k + [0] * (profile.samples - k), samples) for k in profile.solved)
    return Profile(profile.update, samples, tuple(map(sum, draws)))


def predicted(
    profiles: dict[int, Profile],
    samples: int = 8,
    trivial: float = 0.75,
    unsolved: float = 0.10,
    buckets: Sequence[tuple[float, int]] = PAPER_BUCKETS,
    sweeps: int = 2,
) -> pd.DataFrame:
    """The predicted bill by seed: share of queries a phase, rollouts, and by how much uniform groups of 8 are dearer.

    Columns: "dropped" (share of queries in no phase, the unsolved mix not counted as kept), "G = g" (queries of each
    phase, unsolved mix included), "rollouts_sweep", "rollouts_profile", "rollouts_uniform" (one epoch), "paper" and
    "itemised" (bill of the baseline over sGPO's, all sweeps). With fewer draws than a profile has, a mean over a few
    thinned ones. ReproError for constants that SGPO refuses, or where no query is learnable.
    """
    try:
        allocation = SGPO(
            samples=samples, trivial=trivial, unsolved=unsolved, buckets=tuple(map(tuple, buckets)), sweeps=sweeps
        )
        rows = {}
        for seed, profile in profiles.items():
            times = 1 if samples == profile.samples else THINNINGS
            drawn = [thinned(profile, samples, f"{seed}:{k}") for k in range(times)]
            rows[seed] = pd.DataFrame([_bill(allocation, measured, profile.rates(), seed) for measured in drawn]).mean()
    except ValueError as error:
        raise ReproError(str(error)) from error
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")


HEAD = ("setting", "queries dropped", "queries a phase", "rollouts of the profile", "of a sweep (uniform G = 8)",
        "uniform costs, 2P / 12P", "uniform costs, itemised")  # fmt: skip


def compared(settings: dict[str, dict], profiles: dict[int, Profile]) -> list[tuple[str, ...]]:
    """A row of words for every named setting, under HEAD: means over seeds, ratios of bills with their t interval."""
    rows = []
    for name, setting in settings.items():
        frame = predicted(profiles, **setting)
        mean = frame.mean()
        phases = ", ".join(f"{column}: {mean[column]:.0f}" for column in frame if column.startswith("G = "))
        sweep = f"{mean['rollouts_sweep']:.0f} ({mean['rollouts_uniform']:.0f})"
        ratios = (_times(frame[column]) for column in ("paper", "itemised"))
        rows.append((name, f"{100 * mean['dropped']:.0f} %", phases, f"{mean['rollouts_profile']:.0f}", sweep, *ratios))
    return rows


def markdown(settings: dict[str, dict], profiles: dict[int, Profile]) -> str:
    """`compared` as a Markdown table."""
    lines = [HEAD, ("---",) * len(HEAD), *compared(settings, profiles)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def parsed_buckets(text: str) -> tuple[tuple[float, int], ...]:
    """Success rates up to the first number get the second, as in "0.125: 8, 0.25: 4, 1: 2"; ReproError for other text.

    Fractions such as 1/8 will do.
    """
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return tuple((_number(bound), int(size)) for bound, size in pairs)
    except (ValueError, ZeroDivisionError):
        raise ReproError(f"{text!r} is no table of sizes; write for example 1/8: 8, 1/4: 4, 1: 2") from None


def _number(text: str) -> float:
    above, slash, below = text.partition("/")
    return float(above) / (float(below) if slash else 1.0)


def _bill(allocation: SGPO, measured: Profile, rates: Sequence[float], seed: int) -> dict[str, float]:
    """A row of `predicted`: assignments go by the measured profile, signals by the finest success rates there are."""
    promised, phases = bill(measured, allocation, BASELINE, PRICE, seed), allocation.phases(measured, seed)
    ours = sum(_itemised(rates[q], size) for size, members in phases.items() for q in members)
    theirs = sum(_itemised(rate, BASELINE) for rate in rates)
    learnable = sum(1 for rate in measured.rates() if allocation.group_size(rate))
    return {
        "dropped": 1 - learnable / len(rates),
        **{f"G = {size}": len(phases.get(size, ())) for size in sorted({size for _, size in allocation.buckets})},
        "rollouts_sweep": promised["rollouts_sweep"],
        "rollouts_profile": promised["rollouts_profile"],
        "rollouts_uniform": promised["rollouts_uniform_epoch"],
        "paper": promised["ratio"],
        "itemised": theirs * allocation.sweeps / (ours * allocation.sweeps + promised["rollouts_profile"]),
    }


def _itemised(rate: float, size: int) -> float:
    """What a group costs, in rollouts that are only sampled."""
    return size * (1 + UPDATE * (1 - rate**size - (1 - rate) ** size))


def _profile(rows: pd.DataFrame) -> Profile:
    """The profile with the most draws among rows of `profiles` of one seed; arms share their draws."""
    rows = rows[rows["samples"] == rows["samples"].max()].drop_duplicates("solved").sort_values("solved")
    counts = zip(rows["solved"], rows["queries"], strict=True)
    return Profile(0, int(rows["samples"].iloc[0]), tuple(int(k) for k, queries in counts for _ in range(queries)))


def _times(values: pd.Series, geometric: bool = False) -> str:
    interval = t_interval(np.log(values.astype(float)) if geometric else values)
    mean, low, high = (exp(x) if geometric else x for x in (interval.estimate, interval.low, interval.high))
    if interval.n == 1:
        return f"{mean:.2f} times (one seed)"
    return f"{mean:.2f} [{low:.2f}, {high:.2f}] times"
