"""The generated parts of README.md: each stands between a pair of markers and is computed from data/."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.study import STUDIES, bill, claims, runs, smepo_summary, summary, tables, threespo_summary
from repro.study.asympo_async import CONTROLS
from repro.study.cost_rules import ratio
from repro.study.evidence import NOT_RUN, NOTHING, VERDICTS, Evidence, committed, difference, spelled, with_seeds
from repro.study.statistics import t_interval

PAPERS = {"asympo": "ASymPO and SPO", "sgpo": "sGPO", "smepo": "SMEPO", "3spo": "3SPO"}

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


def _end(evidence: Evidence, arm: str) -> str:
    return f"{evidence.points(arm, 'mean_at_k').mean():.0f} %"


def _minus(evidence: Evidence, arm: str, other: str) -> str:
    return with_seeds(difference(evidence, arm, other), 0)


def finding(root: Path) -> str:
    """What the first study found, in a sentence per question, from its tables alone."""
    study = STUDIES["asympo_async"]
    evidence = committed(study, root)
    if evidence is None:
        return NOTHING
    present = set(evidence.tables.runs["arm"])
    end, minus = partial(_end, evidence), partial(_minus, evidence)

    def fell(*arms: str, **labels: str) -> str:
        fallen = {arm: evidence.collapsed(arm) for arm in arms}
        return ", ".join(
            f"{labels.get(arm, study.arms[arm].label)} {collapsed.sum()} of {len(collapsed)}"
            for arm, collapsed in fallen.items()
        )

    lines = []
    if {"naive@ref", "gpg@ref", "naive@lag0", "gpg@lag0", "grpo@ref"} <= present:
        lines.append(
            f"- **Does the naive loss fall, and is it staleness?** With rollouts 8-23 updates old it ends at "
            f"{end('naive@ref')} held-out success and GPG at {end('gpg@ref')}, GRPO at {end('grpo@ref')}. Stale "
            f"against fresh rollouts: naive {minus('naive@ref', 'naive@lag0')}; GPG {minus('gpg@ref', 'gpg@lag0')}. "
            f"Runs that meet the rule for a collapse: {fell('naive@ref', 'gpg@ref')}."
        )
    if {"spo@ref", "asympo@ref", "grpo@ref"} <= present:
        lines.append(
            "- **Are SPO and ASymPO stable without behaviour log-probabilities?** Collapsed: "
            f"{fell('spo@ref', 'asympo@ref', 'grpo@ref')}. Held-out success against GRPO, which reads them: ASymPO "
            f"{minus('asympo@ref', 'grpo@ref')}; SPO {minus('spo@ref', 'grpo@ref')}."
        )
    longer = {"naive-long@ref": "naive", "asympo-long@ref": "ASymPO"}
    if set(longer) <= present:
        lines.append(
            f"- **And in three times as many updates?** Collapsed: {fell(*longer, **longer)}. ASymPO minus naive "
            f"{minus('asympo-long@ref', 'naive-long@ref')}. Added after the first runs."
        )
    controls = [f"{control}@ref" for control in CONTROLS if f"{control}@ref" in present]
    if controls and "asympo@ref" in present:
        gaps = "; ".join(f"{study.arms[arm].label} {minus(arm, 'asympo@ref')}" for arm in controls)
        lines.append(f"- **What in ASymPO does it?** Controls against ASymPO, same staleness, shared seeds: {gaps}.")
    return "\n".join(lines) or "Too few arms are committed yet."


def outcome(root: Path) -> str:
    """The table of core arms at the reference staleness and without any."""
    study = STUDIES["asympo_async"]
    evidence = committed(study, root)
    if evidence is None:
        return NOTHING
    results = evidence.tables
    core = tables.Tables(results.runs[results.runs["core"].fillna(False)], results.curves, results.evals)
    return "".join(
        f"{title}\n\n{summary.outcome(core, study, condition)}\n"
        for title, condition in (
            ("Rollouts 8-23 updates old (`ref`, the paper's set-up):", "ref"),
            ("Fresh rollouts (`lag0`, the control):", "lag0"),
        )
    )


def finding_sgpo(root: Path) -> str:
    """What the sGPO study found, in a sentence per question, from its tables alone."""
    evidence = committed(STUDIES["sgpo_math"], root)
    if evidence is None:
        return NOTHING
    present = set(evidence.tables.runs["arm"])

    end, minus = partial(_end, evidence), partial(_minus, evidence)

    def times(arm: str, other: str, convention: str) -> str:
        return spelled(ratio(evidence, arm, other, convention), "", 2, "")

    lines = []
    if {"sgpo", "uniform"} <= present:
        lines.append(
            f"- **Is it cheaper?** Uniform groups of 8 cost {times('sgpo', 'uniform', 'paper')} times what sGPO costs "
            f"at the paper's prices, {times('sgpo', 'uniform', 'itemised')} times with FLOPs counted and updates "
            "charged where there is a gradient; profiling is on the bill."
        )
        lines.append(
            f"- **Is it as good?** sGPO ends at {end('sgpo')} held-out success, uniform groups at {end('uniform')}: "
            f"{minus('sgpo', 'uniform')}."
        )
    if {"sgpo", "stop"} <= present:
        lines.append(
            "- **Is it better than stopping early?** Uniform groups that stop at sGPO's cost (the paper's prices) end "
            f"at {end('stop')}: sGPO minus them {minus('sgpo', 'stop')}."
        )
    asked = {
        "filtered8": "filter alone",
        "unfiltered": "no filter",
        "oracle": "a profile of 64 draws, not charged,",
        "unordered": "no order",
        "filtered2": "filter with groups of 2",
    }
    if "sgpo" in present and present & set(asked):
        gaps = "; ".join(
            f"{words} {minus(arm, 'sgpo')}, at {times('sgpo', arm, 'itemised')} times its counted bill"
            for arm, words in asked.items()
            if arm in present
        )
        lines.append(f"- **What do its parts do?** Against sGPO: {gaps}.")
    return "\n".join(lines) or "Too few arms are committed yet."


def outcome_sgpo(root: Path) -> str:
    """The table of the sGPO study's core arms."""
    evidence = committed(STUDIES["sgpo_math"], root)
    if evidence is None:
        return NOTHING
    head = "arm, seeds, held-out success %, pass@16 %, bill at the "
    head += "paper's prices, bill with FLOPs counted, updates"
    lines = [f"| {' | '.join(head.split(', '))} |", "|---" * len(head.split(", ")) + "|"]
    for arm in evidence.study.arms.values():
        runs = evidence.runs(arm.name)
        if runs.empty:
            continue
        cells = [f"**{arm.label}**" if arm.core else arm.label, str(len(runs))]
        cells += [
            summary.spelled(t_interval(evidence.points(arm.name, metric)), 1) for metric in ("mean_at_k", "pass_at_k")
        ]
        cells += [f"{bill.total(runs, convention).mean() / 1e12:.2f} TFLOP" for convention in ("paper", "itemised")]
        cells.append(f"{runs['updates'].mean():.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ledger(root: Path) -> str:
    """The ledger of claims, folded by paper; claims that wait for their runs are counted."""
    rows = claims.ledger(root)
    parts = []
    for paper in dict.fromkeys(row["paper"] for row in rows):
        mine = [row for row in rows if row["paper"] == paper]
        verdicts = Counter(row["verdict"] for row in mine)
        counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdicts[verdict])
        title = f"<details><summary><b>{PAPERS[paper]}</b>: {len(mine)} claims and controls: {counts}</summary>"
        judged = claims.render_markdown([row for row in mine if row["verdict"] != NOT_RUN])
        wait = f"\n{verdicts[NOT_RUN]} more wait for runs; `repro claims` lists them.\n" if verdicts[NOT_RUN] else ""
        parts.append(f"{title}\n\n{judged}{wait}\n</details>")
    return "\n\n".join(parts)


def studies(root: Path) -> str:
    """The studies that exist, and how much of each plan is committed."""
    head = ["study", "paper", "arms (core)", "small-tier runs committed, of those planned", "notebook"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for study in STUDIES.values():
        core, evidence = sum(arm.core for arm in study.arms.values()), committed(study, root)
        planned = sum(study.seeds(arm, "small") for arm in study.arms)
        lines.append(
            f"| `{study.name}` | {study.title} | {len(study.arms)} ({core}) | "
            f"{0 if evidence is None else len(evidence.tables.runs)} of {planned} | "
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


def worlds(root: Path) -> str:
    """Speed of the worlds' engines, from data/bench_worlds.json."""
    record = _json(root / "bench_worlds.json")
    if record is None:
        return "No benchmark is committed yet."
    lines = ["| what | here | peer | ratio |", "|---|---|---|---|"]
    for world, part in record.items():
        for row in part["rows"]:
            what = ", ".join(part for part in (row["name"].removeprefix(f"{world}_"), row.get("settings")) if part)
            peer = "-" if row["peer"] is None else f"{row['peer']:,.0f} ({row['peer_name']})"
            ratio = "-" if row["ratio"] is None else f"**{row['ratio']:,.1f}x**"
            lines.append(f"| {world}: {what} | {row['ours']:,.0f} {row['unit']} | {peer} | {ratio} |")
    machines = {", ".join(f"{key} {value}" for key, value in part["machine"].items()) for part in record.values()}
    return "\n".join([*lines, "", f"CPU time of one core. Measured on: {'; '.join(sorted(machines))}."])


def timings(root: Path) -> str:
    """How long the commands take from a fresh clone, from data/timings.json."""
    record = _json(root / "timings.json")
    if record is None:
        return "Not measured yet."
    lines = ["| command | time | what to expect |", "|---|---|---|"]
    lines += [f"| `{row['command']}` | {row['time']} | {row['expect']} |" for row in record["rows"]]
    return "\n".join([*lines, "", record["machine"]])


def _json(path: Path) -> dict[str, Any] | None:
    return runs.read_json(path) if path.exists() else None


SECTIONS = {
    "finding": finding,
    "finding_sgpo": finding_sgpo,
    "finding_smepo": smepo_summary.finding,
    "finding_threespo": threespo_summary.finding,
    "outcome": outcome,
    "outcome_sgpo": outcome_sgpo,
    "outcome_smepo": smepo_summary.outcomes,
    "outcome_threespo": threespo_summary.outcomes,
    "ledger": ledger,
    "studies": studies,
    "bench": bench,
    "worlds": worlds,
    "timings": timings,
}
