"""The ledger: every claim of every paper beside what the committed results say about it.

A verdict is computed, never written down: claims and rules are in `<paper>_claims` and `*rules`, fixed before the runs,
and the numbers come from the tables in `data/results/<study>/small/`. Needs no torch.
"""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import Any

from repro.study import STUDIES, runs, theory_results
from repro.study.asympo_claims import ASYMPO_CLAIMS
from repro.study.evidence import INTERIM, NOT_RUN, NOT_TESTABLE, TIER, Claim, Evidence, Judgement, committed, marks
from repro.study.sgpo_claims import SGPO_CLAIMS
from repro.study.smepo_claims import SMEPO_CLAIMS
from repro.study.statistics import Interval
from repro.study.theory_claims import THEORY_CLAIMS
from repro.study.threespo_claims import THREESPO_CLAIMS

CLAIMS: tuple[Claim, ...] = (*ASYMPO_CLAIMS, *SGPO_CLAIMS, *SMEPO_CLAIMS, *THREESPO_CLAIMS, *THEORY_CLAIMS)


def ledger(root: Path | None = None) -> list[dict[str, Any]]:
    """One JSON-safe row a claim, in a fixed order; `root` is the data folder.

    `value`, `low`, `high` (in `unit`) are null where there is none or it is unbounded; `seeds` counts the seeds behind
    them. Raises ReproError for damaged tables; where an arm has no run its claims are "not run yet".
    """
    evidence = {name: _evidence(name, root) for name in dict.fromkeys(claim.study for claim in CLAIMS)}
    return [row(claim, evidence[claim.study]) for claim in CLAIMS]


def row(claim: Claim, evidence: Evidence | None) -> dict[str, Any]:
    """The claim's line of the ledger; `evidence` is None where its study has no results."""
    verdict, interval, remarks = _judged(claim, evidence)
    numbers = (interval.estimate, interval.low, interval.high) if interval else (None, None, None)
    value, low, high = (round(x, 6) if x is not None and isfinite(x) else None for x in numbers)
    return {
        "id": claim.id,
        "paper": claim.paper,
        "study": claim.study,
        "tier": TIER,
        "statement": claim.statement,
        "paper_value": claim.paper_value,
        "paper_number": claim.paper_number,
        "source": claim.source,
        "metric": claim.rule.metric,
        "arms": list(claim.arms),
        "value": value,
        "low": low,
        "high": high,
        "unit": claim.rule.unit,
        "seeds": interval.n if interval else 0,
        "verdict": verdict,
        "rule": claim.rule.words,
        "figure": claim.figure,
        "note": ". ".join(part for part in (*remarks, claim.remark) if part),
    }


def render_markdown(rows: list[dict[str, Any]]) -> str:
    """The ledger as a table: claim, paper, here with its interval and seeds, verdict with its `marks`."""
    lines = ["| claim | paper | here: value [95 % interval], seeds | verdict |", "|---|---|---|---|"]
    for entry in rows:
        paper = f"{entry['paper_value']} ({entry['source']})"
        lines.append(f"| {entry['statement']} | {paper} | {_measured(entry)} | **{entry['verdict']}**{marks(entry)} |")
    return "\n".join(lines) + "\n"


def write(root: Path | None = None, rows: list[dict[str, Any]] | None = None) -> Path:
    """Write the ledger (`rows`, else computed) to `<root>/claims.json`; the same tables give the same bytes."""
    path = Path(root or runs.data_folder()) / "claims.json"
    text = json.dumps(ledger(root) if rows is None else rows, indent=1, allow_nan=False)
    runs.atomic_write(path, f"{text}\n")
    return path


def _evidence(study: str, root: Path | None) -> Evidence | theory_results.Theory | None:
    if study == theory_results.NAME:  # a simulation of its own: no policies, no arms
        return theory_results.load(TIER, root) if theory_results.folder(TIER, root).exists() else None
    return committed(STUDIES[study], root)


def _judged(claim: Claim, evidence: Evidence | None) -> tuple[str, Interval | None, list[str]]:
    """Verdict, interval if any, and remarks."""
    if claim.rule.judge is None:
        return NOT_TESTABLE, None, []
    if evidence is None:
        return NOT_RUN, None, [f"no {TIER}-tier results"]
    present = {arm: len(evidence.runs(arm)) for arm in claim.arms}
    missing = [arm for arm, seeds in present.items() if not seeds]
    if missing:
        return NOT_RUN, None, [f"no {TIER}-tier results of {', '.join(missing)}"]
    judgement: Judgement = claim.rule.judge(evidence, *claim.arms)
    planned = {arm: evidence.study.seeds(arm, TIER) for arm in claim.arms}
    short = [f"{arm} {present[arm]} of {planned[arm]}" for arm in claim.arms if present[arm] < planned[arm]]
    remarks = [judgement.note] + ([f"{INTERIM}{', '.join(short)}"] if short else [])
    return judgement.verdict, judgement.interval, remarks


def _measured(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return "-"
    sign, digits = ("+", 1) if entry["unit"].startswith("points") else ("", 2)
    low, high = ("?" if x is None else f"{x:{sign}.{digits}f}" for x in (entry["low"], entry["high"]))
    return f"{entry['value']:{sign}.{digits}f} [{low}, {high}] {entry['unit']}, {entry['seeds']}"
