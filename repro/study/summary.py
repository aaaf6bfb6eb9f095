"""What a notebook or a README says in numbers, as Markdown, computed from configs, tables and the ledger.

Prose beside these carries no number of its own: it could only go stale, or be wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from repro.study import bill
from repro.study.definition import COLLAPSE, TIERS, Study
from repro.study.evidence import marks
from repro.study.statistics import Interval, t_interval
from repro.study.tables import Tables

NOT_EVIDENCE = "**Smoke tier: this proves that it runs. It is no evidence for or against anything.**\n\n"


def setup(study: Study, tier: str) -> str:
    """What every run of a tier shares, from the config itself. Imports torch, as configs name policies."""
    if entry := study.paper_tier(tier):
        values = [(f"`{s.key}`", f"`{s.value!r}`", s.source) for s in entry.values()]
        return markdown(["setting", "value", "where it stands in the paper (open: it does not say)"], values)
    config = study.config(next(iter(study.arms)), 0, tier)
    world, policy, training, evaluation = config.world, config.policy, config.training, config.evaluation
    levels = ", ".join(f"{n} {a}-{b}" for n, a, b in world.levels)
    unit, lengths = _lengths(world)
    model = f"Qwen2, {policy.layers} layers of width {policy.hidden}, from scratch, supervised warm start"
    rows = {
        "tier": f"{tier}: {TIERS[tier]}",
        "policy": policy.checkpoint or model,
        "train queries": f"{world.train_queries}, fixed and finite: {lengths}",
        "held-out queries": f"{world.heldout_queries} a level, disjoint from training; {unit} by level: {levels}",
        "updates": f"{_updates(study, tier)} of up to {training.max_new_tokens} tokens at temperature "
        f"{training.temperature:g}",
        "optimiser": f"AdamW, learning rate {training.learning_rate:g}, betas {training.betas}, weight decay "
        f"{training.weight_decay:g}, gradient norm clipped at {training.clip_norm:g}; the same for every arm",
        "final evaluation": f"{evaluation.final_queries} queries a level, {evaluation.final_samples} samples each, of "
        "the last policy; never the best checkpoint",
        "collapse": f"{COLLAPSE.window}-update running mean of training reward below {COLLAPSE.fraction:g} of its own "
        f"maximum for {COLLAPSE.stretch} consecutive updates, or a non-finite loss",
    }
    return markdown(["", "fixed before the first run"], rows.items())


def _lengths(world: Any) -> tuple[str, str]:
    """In what a world counts how long its problems are, and how long the training ones are."""
    units = {"length": "operations", "statements": "statements", "hops": "hops"}
    name, unit = next((name, unit) for name, unit in units.items() if hasattr(world, f"min_{name}"))
    words = f"{getattr(world, f'min_{name}')} to {getattr(world, f'max_{name}')} {unit}"
    return unit, words + (f", up to {world.max_distractors} distractors" if hasattr(world, "max_distractors") else "")


def _updates(study: Study, tier: str) -> str:
    """How many updates of what; of arms that differ in their allocation only what they share."""
    configs = [study.config(arm, 0, tier) for arm in study.arms]
    allocations = {config.recipe.allocation for config in configs}
    prompts = ", ".join(str(n) for n in sorted({allocation.prompts for allocation in allocations}))
    if len(allocations) == 1:
        (allocation,), updates = allocations, configs[0].training.updates
        return f"{updates}, each on {prompts} prompts x {allocation.group_size} responses"
    return f"about {prompts} prompts each; an arm's allocation says how many updates, and how many responses a prompt,"


def plan(study: Study, tier: str) -> str:
    """What a tier runs unless told otherwise: conditions, paired seeds, and arms with core ones bold."""
    rows: dict[str, dict[int, list[str]]] = {}
    for name in dict.fromkeys(cell.arm for cell in study.cells(tier)):
        arm, (algorithm, at, _) = study.arms[name], name.partition("@")
        label = algorithm if at else arm.label  # with "@" the rest of the name is the condition
        by_seeds = rows.setdefault(arm.condition, {}).setdefault(study.seeds(name, tier), [])
        by_seeds.append(f"**{label}**" if arm.core else label)
    lines = [(f"`{c}`", n, "; ".join(names)) for c, by_seeds in rows.items() for n, names in by_seeds.items()]
    return markdown(["condition", "seeds", "arms (core in bold)"], lines)


def outcome(tables: Tables, study: Study, condition: str) -> str:
    """A row an arm at a condition: collapses, reward, held-out success with t intervals, cost."""
    rows = []
    for name, arm in study.arms.items():
        runs = tables.runs[tables.runs["arm"] == name]
        if arm.condition != condition or runs.empty:
            continue
        fallen = runs.loc[runs["collapsed"], "collapse_update"].dropna()
        when = f", median update {fallen.median():.0f}" if len(fallen) else ""
        values = [
            f"**{arm.label}**" if arm.core else arm.label,
            len(runs),
            f"{int(runs['collapsed'].sum())} of {len(runs)}{when}",
            spelled(_interval(runs["reward_last"], 1), 2),
            spelled(_interval(runs["mean_at_k"], 100), 1),
            spelled(_interval(runs["pass_at_k"], 100), 1),
            f"{runs['lag_mean'].mean():.1f}",
            f"{runs['seconds'].mean():.0f}",
        ]
        rows.append(values)
    stamp = NOT_EVIDENCE if (tables.runs["tier"] == "smoke").any() else ""
    if not rows:
        return f"{stamp}No runs at `{condition}` in these tables."
    k = _samples(tables.runs)
    head = ["arm", "seeds", "collapsed", "last reward", f"mean@{k}, %", f"pass@{k}, %", "lag, updates", "s a run"]
    return stamp + markdown(head, rows)


def costs(tables: Tables, study: Study, reference: str) -> str:
    """A row an arm: final held-out success over all and by level, and its bill over the reference's, paired by seed.

    Success in percent with t intervals, levels without; bills as geometric means of ratios with their t intervals, in
    every convention of `bill`; updates and rollouts as means over seeds.
    """
    runs, rows = tables.runs, []
    levels = [name.removeprefix("mean_at_k_") for name in runs.columns if name.startswith("mean_at_k_")]
    base = runs[runs["arm"] == reference].set_index("seed")
    for name, arm in study.arms.items():
        own = runs[runs["arm"] == name].set_index("seed")
        if own.empty:
            continue
        ratios = [spelled(_ratio(bill.total(own, c), bill.total(base, c)), 2) for c in bill.CONVENTIONS]
        rows.append([
            f"**{arm.label}**" if arm.core else arm.label,
            len(own),
            spelled(_interval(own["mean_at_k"], 100), 1),
            *(f"{100 * own[f'mean_at_k_{level}'].mean():.1f}" for level in levels),
            spelled(_interval(own["pass_at_k"], 100), 1),
            *(["1"] * len(ratios) if name == reference else ratios),
            f"{own['updates'].mean():.0f}",
            f"{own['rollouts'].mean():.0f}",
        ])  # fmt: skip
    stamp = NOT_EVIDENCE if (runs["tier"] == "smoke").any() else ""
    k, prices = _samples(runs), [f"bill over {reference}'s, {name}" for name in bill.CONVENTIONS]
    head = ["arm", "seeds", f"avg@{k}, %", *levels, f"pass@{k}, %", *prices, "updates", "rollouts"]
    return stamp + markdown(head, rows)


def _ratio(own: pd.Series, base: pd.Series) -> Interval | None:
    """Geometric mean of own / base over the seeds of both."""
    logs = np.log((own / base).dropna().astype(float))
    if logs.empty:
        return None
    mean = t_interval(logs)
    with np.errstate(over="ignore"):
        ends = [float(np.exp(value)) for value in (mean.estimate, mean.low, mean.high)]
    return Interval(*ends, mean.n)


def _samples(runs: pd.DataFrame) -> str:
    """Samples a query in final evaluations: "8", or "4/8" where runs differ."""
    return "/".join(str(n) for n in sorted(runs["eval_samples"].dropna().unique())) or "k"


def count(tables: Tables) -> str:
    """A sentence on how much was run, and by which code."""
    runs = tables.runs
    commits = sorted({str(commit)[:7] for commit in runs["commit"].dropna()})
    hours, rollouts = runs["seconds"].sum() / 3600, runs["rollouts"].sum() / 1e6
    diverged = int((runs["status"] == "diverged").sum())
    changed = ", with local changes" if runs["dirty"].fillna(False).any() else ""
    return (
        f"{len(runs)} runs of {runs['arm'].nunique()} arms, {runs['collapsed'].sum()} collapsed (of which {diverged} "
        f"with a non-finite loss): {rollouts:.2f} million rollouts, {hours:.1f} hours of one process each, by code of "
        f"commit {', '.join(commits) or 'unknown'}{changed}."
    )


def ledger(rows: Sequence[dict[str, Any]], detail: bool = True) -> str:
    """The ledger's rows as Markdown: counts, a table, and with `detail` each row's rule and remarks below it."""
    if not rows:
        return "No claims."
    verdicts = Counter(row["verdict"] for row in rows)
    counts = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
    lines = [
        (
            f"`{row['id']}`",
            row["statement"],
            f"{row['paper_value']} ({row['source']})",
            _measured(row),
            row["seeds"],
            f"**{row['verdict']}**{marks(row)}",
            f"`{row['figure']}`" if row["figure"] else "-",
        )
        for row in rows
    ]
    head = ["id", "claim", "paper (source)", "here [95 %]", "seeds", "verdict", "figure"]
    text = f"{len(rows)} claims: {counts}.\n\n{markdown(head, lines)}"
    if detail:
        rules: dict[str, list[str]] = {}
        for row in rows:
            rules.setdefault(f"{row['metric']}. {row['rule']}", []).append(f"`{row['id']}`")
        text += "\n**Rules**, fixed before the runs but for rows marked †; ‡: not all planned seeds are in yet.\n\n"
        text += "".join(f"- {', '.join(ids)}: {rule}\n" for rule, ids in rules.items())
        notes = [f"- `{row['id']}`: {row['note']}\n" for row in rows if row["note"]]
        text += "\n**Remarks**\n\n" + "".join(notes) if notes else ""
    return text


def spelled(interval: Interval | None, digits: int) -> str:
    """`12.3 [10.1, 14.5]`; a single run has no interval, and nothing measured is a dash."""
    if interval is None:
        return "-"
    if interval.n == 1:
        return f"{interval.estimate:.{digits}f} (one seed)"
    return f"{interval.estimate:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _interval(values: pd.Series, scale: float) -> Interval | None:
    known = values.dropna()
    return t_interval(scale * known) if len(known) else None


def _measured(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    ends = ("-" if end is None else f"{end:.3g}" for end in (row["low"], row["high"]))
    return f"{row['value']:.3g} [{', '.join(ends)}] {row['unit']}"


def code(text: str) -> str:
    """Text as it stands, within a paragraph or a table's cell."""
    # A bar would end a table's cell, and what stands between two prices would be set as a formula.
    return f"<code>{escape(text).replace('|', '&#124;').replace('$', '&#36;') or ' '}</code>"


def markdown(head: Sequence[str], rows: Any) -> str:
    """A table; a cell's own bars would end it early."""
    lines = [list(head), ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |\n" for line in lines)
