"""The generated parts of README.md: each stands between a pair of markers and is computed from data/."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.study import STUDIES, claims, runs, summary, tables

_SECTION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def refresh(path: Path, write: bool = True, root: Path | None = None) -> list[str]:
    """Regenerate every marked section; the names of those that were not current.

    A section is `<!-- generated: NAME -->` ... `<!-- end -->`. Raises ReproError for an unknown name or a missing file.
    """
    if not path.is_file():
        raise ReproError(f"{path} is not there; run this in the repository's root")
    root = Path(root or runs.data_folder())
    stale = []

    def section(match: re.Match) -> str:
        name = match[2]
        if name not in SECTIONS:
            raise ReproError(f"{path}: there is no generated section {name!r}; there are: {', '.join(SECTIONS)}")
        text = f"{match[1]}{SECTIONS[name](root).strip()}\n{match[3]}"
        if text != match[0]:
            stale.append(name)
        return text

    old = path.read_text()
    new = _SECTION.sub(section, old)
    if write and new != old:
        runs.atomic_write(path, new)
    return stale


def finding(root: Path) -> str:
    """What the first study found, in a sentence per question, from its tables alone."""
    study, results = STUDIES["asympo_async"], _results("asympo_async", root)
    if results is None:
        return "No small-tier results are committed yet."
    collapsed = results.runs.groupby("arm")["collapsed"].agg(["sum", "count"])
    success = results.runs.groupby("arm")["mean_at_8"].mean() * 100
    rows = {row["id"]: row for row in claims.ledger(root)}

    def fell(arm: str) -> str:
        return f"{int(collapsed.loc[arm, 'sum'])} of {int(collapsed.loc[arm, 'count'])}"

    def against(claim: str) -> str:
        row = rows[claim]
        return f"{row['value']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}]"

    present = set(collapsed.index)
    lines = []
    if {"naive@ref", "gpg@ref", "naive@lag0", "grpo@ref"} <= present:
        lines.append(
            f"- **Does the naive loss fall, and is it staleness?** Trained on rollouts 8-23 updates old, it ends at "
            f"{success['naive@ref']:.0f} % held-out success (GPG {success['gpg@ref']:.0f} %), GRPO at "
            f"{success['grpo@ref']:.0f} %; on fresh rollouts the naive loss ends at {success['naive@lag0']:.0f} %. "
            f"Runs that meet the rule for a collapse: naive {fell('naive@ref')}, GPG {fell('gpg@ref')}, "
            f"naive with fresh rollouts {fell('naive@lag0')}."
        )
    if {"spo@ref", "asympo@ref", "grpo@ref"} <= present:
        lines.append(
            f"- **Are SPO and ASymPO stable without behaviour log-probabilities?** Collapsed: SPO {fell('spo@ref')}, "
            f"ASymPO {fell('asympo@ref')}, GRPO (which reads them) {fell('grpo@ref')}. Held-out success against GRPO: "
            f"ASymPO {against('asympo-parity-grpo')}, SPO {against('spo-parity-grpo')}."
        )
    controls = [arm for arm in ("batch_scaled@ref", "asympo_shuffled@ref", "naive_p_low@ref") if arm in present]
    if controls and "asympo@ref" in present:
        others = ", ".join(f"{study.arms[arm].label} {success[arm]:.0f} %" for arm in controls)
        lines.append(
            "- **Is it the balance of each response that does it?** Held-out success over the shared setting: ASymPO "
            f"{success['asympo@ref']:.0f} %; controls: {others}."
        )
    return "\n".join(lines) or "Too few arms are committed yet."


def outcome(root: Path) -> str:
    """The table of core arms at the reference staleness and without any."""
    results = _results("asympo_async", root)
    if results is None:
        return "No small-tier results are committed yet."
    study = STUDIES["asympo_async"]
    core = tables.Tables(results.runs[results.runs["core"].fillna(False)], results.curves, results.evals)
    return "".join(
        f"{title}\n\n{summary.outcome(core, study, condition)}\n"
        for title, condition in (
            ("Rollouts 8-23 updates old (`ref`, the paper's set-up):", "ref"),
            ("Fresh rollouts (`lag0`, the control):", "lag0"),
        )
    )


def ledger(root: Path) -> str:
    """The ledger of claims."""
    return claims.render_markdown(claims.ledger(root))


def studies(root: Path) -> str:
    """The studies that exist."""
    lines = ["| study | paper | arms (core) | runs at the small tier | notebook |", "|---|---|---|---|---|"]
    for study in STUDIES.values():
        core = sum(arm.core for arm in study.arms.values())
        lines.append(
            f"| `{study.name}` | {study.title} | {len(study.arms)} ({core}) | {len(study.cells('small'))} | "
            f"[{study.notebook}](notebooks/{study.notebook}) |"
        )
    return "\n".join(lines)


def bench(root: Path) -> str:
    """Speed beside the peers, from data/bench.json."""
    record = _json(root / "bench.json")
    if record is None:
        return "No benchmark is committed yet."
    lines = ["| what | here | peer | ratio |", "|---|---|---|---|"]
    for row in record["rows"]:
        peer = "-" if row["peer"] is None else f"{row['peer']:,.0f} {row['unit']} ({row['peer_name']})"
        ratio = "-" if row["ratio"] is None else f"**{row['ratio']:.1f}x**"
        lines.append(f"| {row['name']} | {row['ours']:,.0f} {row['unit']} | {peer} | {ratio} |")
    machine = ", ".join(f"{key} {value}" for key, value in record["machine"].items())
    return "\n".join([*lines, "", f"Measured on: {machine}."])


def timings(root: Path) -> str:
    """How long the commands take from a fresh clone, from data/timings.json."""
    record = _json(root / "timings.json")
    if record is None:
        return "Not measured yet."
    lines = ["| command | time | what to expect |", "|---|---|---|"]
    lines += [f"| `{row['command']}` | {row['time']} | {row['expect']} |" for row in record["rows"]]
    return "\n".join([*lines, "", record["machine"]])


def _results(study: str, root: Path) -> tables.Tables | None:
    return tables.load(study, "small", root) if tables.results_folder(study, "small", root).exists() else None


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.is_file() else None


SECTIONS = {
    "finding": finding, "outcome": outcome, "ledger": ledger, "studies": studies, "bench": bench, "timings": timings,
}  # fmt: skip
