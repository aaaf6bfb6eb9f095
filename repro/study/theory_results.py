"""The theory's tables on disk: simulated once, committed, and read by figures and claims.

`<data>/results/threespo_theory/<tier>/` holds `bandit.parquet` (columns of `theory.simulate`), `eq3.parquet` (those of
`theory.simulate_eq3`), `exact.parquet` and `SHA256SUMS`. A row of the first two is a batch of replications at one
round. `exact` has the columns quantity, p (p* of the state or arm), gap, i, n, value and bound:

| quantity | value | bound |
|---|---|---|
| pruned_at | P(the indicator of Eq. 1 is 0 at count n) | exp(-2 n (p - zeta)^2) for p > zeta |
| pruned_within | P(it has been 0 by count n) | the same, which is what the statement has |
| estimate | P(an estimate errs by more than gap / 4 after n = 8 log(2 K i^2) / gap^2 rollouts) | i^-2 / K |
| needed | rollouts from which on that probability stays below i^-2 / K | n |
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from repro.errors import ReproError
from repro.study import runs, theory

NAME = "threespo_theory"
TABLES = ("bandit", "eq3", "exact")
STATES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)  # p* of states whose pruning is computed
VISITS = 64
WINDOW = 32  # visits that the probabilities of pruning are quoted for: one tree's leaves
IDENTIFIED_AT = (10, 100, 1000)  # rounds i


@dataclass(frozen=True, eq=False)
class Theory:
    """The three tables, and the tier they are of."""

    tier: str
    bandit: pd.DataFrame
    eq3: pd.DataFrame
    exact: pd.DataFrame


def folder(tier: str, root: Path | None = None) -> Path:
    return Path(root or runs.data_folder()) / "results" / NAME / tier


def build(tier: str = "smoke", root: Path | None = None) -> Theory:
    """Simulate a tier and write its tables; the same code gives the same numbers. ReproError for an unknown tier.

    About two minutes of one core at the small tier, seconds at smoke.
    """
    bandit = _known(tier)
    frames = {
        "bandit": _joined(theory.simulate(bandit)),
        "eq3": _joined(theory.simulate_eq3(bandit)),
        "exact": exact(bandit),
    }
    sums = []
    for name, frame in frames.items():
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), buffer, compression="zstd")
        target = folder(tier, root) / f"{name}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        runs.atomic_write(target, buffer.getvalue())
        sums.append(f"{hashlib.sha256(buffer.getvalue()).hexdigest()}  {target.name}\n")
    runs.atomic_write(folder(tier, root) / "SHA256SUMS", "".join(sums))
    return Theory(tier, **frames)


def load(tier: str = "small", root: Path | None = None) -> Theory:
    """A tier's tables; ReproError, with the remedy, if one is missing or damaged."""
    _known(tier)
    place, frames = folder(tier, root), {}
    remedy = f"simulate them again: make reproduce TIER={tier} ONLY={NAME}"
    for name in TABLES:
        path, sums = place / f"{name}.parquet", place / "SHA256SUMS"
        if not path.exists() or not sums.exists():
            raise ReproError(f"{sums if path.exists() else path} is missing; {remedy}")
        content = path.read_bytes()
        if f"{hashlib.sha256(content).hexdigest()}  {path.name}" not in sums.read_text().splitlines():
            raise ReproError(f"{path} is damaged, or of another build than {sums}; {remedy}")
        frames[name] = pq.read_table(io.BytesIO(content)).to_pandas()
    return Theory(tier, **frames)


def whole(tier: str, root: Path | None = None) -> bool:
    """Whether a tier's tables are there and undamaged."""
    try:
        load(tier, root)
    except ReproError:
        return False
    return True


def exact(bandit: theory.Bandit) -> pd.DataFrame:
    """What needs no simulation."""
    rows, counts = [], np.arange(1, VISITS + 1)
    for p in STATES:
        bound = theory.filtering_bound(p, counts, bandit.zeta) if p > bandit.zeta else np.full(VISITS, np.nan)
        for quantity, of in (("pruned_at", theory.pruned_at), ("pruned_within", theory.pruned_within)):
            values = of(p, VISITS, bandit.xi, bandit.zeta)
            rows += [
                {"quantity": quantity, "p": p, "n": n, "value": v, "bound": b}
                for n, v, b in zip(counts.tolist(), values.tolist(), bound.tolist(), strict=True)
            ]
    for gap in bandit.gaps:
        for i in IDENTIFIED_AT:
            allowed = i**-2.0 / bandit.arms
            n = int(np.ceil(theory.identification_threshold(i, bandit.arms, gap)))
            for p in (bandit.worst, bandit.worst + gap):
                errors = theory.estimate_errors(p, n, gap / 4)
                too_often = np.flatnonzero(errors > allowed)
                needed = int(too_often[-1]) + 2 if len(too_often) else 1
                about = {"p": p, "gap": gap, "i": i, "n": n}
                rows.append(about | {"quantity": "estimate", "value": errors[-1], "bound": allowed})
                rows.append(about | {"quantity": "needed", "value": float(needed), "bound": float(n)})
    columns = {"quantity": "str", "p": "float64", "gap": "float64", "i": "float64", "n": "int64"}
    return pd.DataFrame(rows)[[*columns, "value", "bound"]].astype(columns)


def _known(tier: str) -> theory.Bandit:
    if tier not in theory.TIERS:
        raise ReproError(f"{NAME} has no tier {tier!r}; it has: {', '.join(theory.TIERS)}")
    return theory.TIERS[tier]


def _joined(records: object) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(record) for record in records], ignore_index=True)
