"""What the 3SPO notebooks and the README say in numbers, as Markdown, computed from configs, tables and rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from repro.study import STUDIES, progress, summary, tuning
from repro.study.definition import TIERS, Study
from repro.study.evidence import NOTHING, Evidence, committed, geometric_mean, paired, spelled, with_seeds
from repro.study.statistics import paired_t_interval, t_interval
from repro.study.tables import Tables
from repro.study.threespo import (
    CORE,
    GROUP,
    LABELS,
    PUT_BACK,
    RATES,
    ROWS,
    SHARE,
    TUNING_SEED,
    TUNING_SHARE,
    Setting,
)
from repro.study.threespo_rules import AT, MARGIN, difference, difference_at, final, point

WORLDS = {"threespo_alfworld": "households (ALFWorld)", "threespo_webshop": "the shop (WebShop)"}
LISTS = {
    "threespo_alfworld": {"won_valid_seen": "in distribution", "won_valid_unseen": "out of distribution"},
    "threespo_webshop": {"won": "success", "score": "score"},
}


def setup(study: Study, tier: str) -> str:
    """What every run of a tier shares, from the config itself. Imports torch, as configs name policies."""
    if study.paper_tier(tier):
        return summary.setup(study, tier)
    config = study.config("grpo", 0, tier)
    policy, training, evaluation, warm = config.policy, config.training, config.evaluation, config.warmstart
    from repro import environments

    train, heldout = environments.train_list(config.world, 0), environments.heldout(config.world)
    lists = ", ".join(f"`{name}` {len(items)}" for name, items in heldout.items())
    temperatures = " and ".join(f"{t:g}" for t in (training.temperature, *evaluation.also))
    steps = (
        f"{warm.steps + warm.noisy_steps} steps of {warm.batch} episodes of an expert, {100 * warm.noise:g} % of its"
    )
    rows = {
        "tier": f"{tier}: {TIERS[tier]}",
        "policy": policy.checkpoint or f"Qwen2, {policy.layers} layers of width {policy.hidden}, from scratch",
        "warm start": f"{steps} actions drawn at random; one a seed, for all arms",
        "tasks": f"{len(train)} to train on, {config.recipe.allocation.prompts} an update of GRPO or an epoch of 3SPO; "
        f"held out: {lists}; up to {config.world.max_turns} turns each, {config.world.history} past ones in a prompt",
        "budget": f"{training.generations:,} generations a core arm (a generation is a turn, whatever it was sampled "
        f"for), {100 * SHARE['piece']:g} % of that an ablation or piece",
        "groups": f"{GROUP} episodes a task, or {GROUP} branches a state at most",
        "optimiser": f"AdamW, betas {training.betas}, weight decay {training.weight_decay:g}, gradient norm clipped at "
        f"{training.clip_norm:g}; one step an update; clip 0.2, no KL term",
        "learning rate": f"chosen for each core arm from {', '.join(f'{rate:g}' for rate in RATES)} on seed "
        f"{TUNING_SEED}, with {100 * TUNING_SHARE:g} % of the budget; other arms have that of what they change. In "
        f"*table* and *continuation* a step of fewer than {ROWS} turns is scaled by its size",
        "evaluation": f"whole episodes, no tree, at temperature {temperatures} at both ends, at training's every "
        f"{evaluation.every:,} generations; never the best checkpoint",
    }
    return summary.markdown(["", "fixed before the first run"], rows.items())


def plan(study: Study, tier: str) -> str:
    """Arms and seeds of a tier, by what they are for."""
    rows: dict[str, list[str]] = {}
    for name in dict.fromkeys(cell.arm for cell in study.cells(tier)):
        arm = study.arms[name]
        rows.setdefault(f"{arm.condition}, {study.seeds(name, tier)} seeds", []).append(arm.label)
    return summary.markdown(["arms", "which"], ((kind, "; ".join(labels)) for kind, labels in rows.items()))


def tuned(setting: Setting, root: Path | None = None) -> str:
    """Every tuning run, and what was chosen, from data/tuning."""
    record = tuning.recorded(setting, root)
    if record is None:
        return "Not tuned yet: the learning rates are what a calibration of GRPO suggested.\n"
    found = pd.DataFrame(record["rows"])
    rows = []
    for arm in CORE:
        cells = found[found["arm"] == arm].set_index("learning_rate")
        values = []
        for rate in RATES:
            value = "diverged" if cells.loc[rate, "status"] == "diverged" else f"{100 * cells.loc[rate, 'success']:.0f}"
            values.append(f"**{value}**" if record["chosen"][arm] == rate else value)
        rows.append([LABELS[arm], *values])
    head = ["held-out success, % (tuning seed)", *(f"rate {rate:g}" for rate in RATES)]
    return summary.markdown(head, rows)


# Results --------------------------------------------------------------------------------------------------------------


def outcome(results: Tables, study: Study, core: bool = False) -> str:
    """A row an arm: held-out results at temperature 0.4 and 1, states and cost over GRPO's, steps, seconds."""
    evidence = Evidence(study, results)
    lists = LISTS[study.name]
    first, named = next(iter(lists.items()))
    head = ["arm", "seeds", *(f"{words}, % at 0.4 (at 1)" for words in lists.values())]
    head += [f"warm start, {named}, % at 0.4", "distinct texts over GRPO's", "FLOPs over GRPO's"]
    head += ["optimiser steps", "s a run"]
    rows = []
    for arm in study.arms.values():
        runs = evidence.runs(arm.name)
        if runs.empty or (core and not arm.core):
            continue
        cells = [f"**{arm.label}**" if arm.core else arm.label, len(runs)]
        for metric in lists:
            at, trained = final(evidence, arm.name, metric + AT).dropna(), final(evidence, arm.name, metric).dropna()
            cells.append(f"{_interval(at)} ({trained.mean():.1f})" if len(at) and len(trained) else "-")
        start = final(evidence, arm.name, f"start_{first}{AT}").dropna()
        cells.append(f"{start.mean():.1f}" if len(start) else "-")
        rows.append([
            *cells,
            *(_over_grpo(evidence, arm.name, column) for column in ("states_observation", "flops_needed")),
            f"{runs['updates'].mean():.0f}",
            f"{runs['seconds'].mean():.0f}",
        ])  # fmt: skip
    stamp = summary.NOT_EVIDENCE if (results.runs["tier"] == "smoke").any() else ""
    return stamp + summary.markdown(head, rows)


def _interval(values: pd.Series) -> str:
    return summary.spelled(t_interval(values), 1)


def _over_grpo(evidence: Evidence, arm: str, column: str) -> str:
    """States after as many generations, FLOPs a generation."""
    if arm == "grpo" or evidence.runs("grpo").empty:
        return "1" if arm == "grpo" else "-"
    if column == "flops_needed":
        per = [evidence.runs(name)[column] / evidence.runs(name)["generations"].astype(float) for name in (arm, "grpo")]
        a, b = paired(*per)
    else:
        at = point(evidence, arm, "grpo")
        a, b = paired(*(progress.states_at(evidence.tables, name, at, column) for name in (arm, "grpo")))
    return summary.spelled(geometric_mean(np.log(a / b)), 2) if len(a) else "-"


# The README -----------------------------------------------------------------------------------------------------------


def finding(root: Path) -> str:
    """What the 3SPO studies found, a line a question in each world, from their tables alone."""
    parts = []
    for name, words in WORLDS.items():
        evidence = committed(STUDIES[name], root)
        lines = [] if evidence is None else _lines(evidence)
        if lines:
            parts.append(f"*In {words}*\n\n" + "\n".join(lines))
    return "\n\n".join(parts) or NOTHING


def outcomes(root: Path) -> str:
    """The core arms of each study."""
    parts = []
    for name, words in WORLDS.items():
        evidence = committed(STUDIES[name], root)
        if evidence is not None:
            parts.append(f"In {words}:\n\n{outcome(evidence.tables, evidence.study, core=True)}")
    return "\n".join(parts) or NOTHING


def _lines(evidence: Evidence) -> list[str]:
    present, metric = set(evidence.tables.runs["arm"]), next(iter(LISTS[evidence.study.name]))
    readings = [name for name in CORE[2:] if name in present]

    def minus(arm: str, other: str) -> str:
        return with_seeds(difference(evidence, arm, other, metric + AT), 0)

    lines = []
    if readings:
        arms = [name for name in CORE if name in present]
        cooler, trained = ("; ".join(_risen(evidence, arm, at) for arm in arms) for at in (AT, ""))
        mean = "" if metric == "won" else " (mean of both lists)"
        lines.append(
            f"- **Does it learn?** Held-out success{mean}, end minus warm start, in points. At temperature 0.4, as the "
            f"paper evaluates: {cooler}. At temperature 1, as in training, where the ledger judges it: {trained}."
        )
    if readings and "grpo" in present:
        gaps = "; ".join(f"{LABELS[arm]} {minus(arm, 'grpo')}" for arm in readings)
        lines.append(f"- **Is it better than GRPO at the same generations?** Temperature 0.4, against GRPO: {gaps}.")
        states = "; ".join(f"{LABELS[arm]} {_over_grpo(evidence, arm, 'states_observation')}" for arm in readings)
        lines.append(f"- **Does it see more?** Distinct texts over GRPO's at the same generations: {states}.")
    ended = progress.which_ended_early(evidence.tables, {arm: LABELS[arm] for arm in readings})
    if ended:
        lines.append(f"- **Does it go on to the end?** Not where every state to start from is given up. {ended}.")
    broken = _broken(evidence, present)
    if broken:
        lines.append(f"- **Which piece breaks it?** {broken}")
    return lines


def _risen(evidence: Evidence, arm: str, at: str) -> str:
    """Held-out success at a temperature, mean over lists, end minus warm start: one alone may flatter what learned."""
    a, b = paired(final(evidence, arm, f"won{at}"), final(evidence, arm, f"start_won{at}"))
    return f"{LABELS[arm]} {spelled(paired_t_interval(a, b), '', 0)}" if len(a) else f"{LABELS[arm]} not measured"


def _broken(evidence: Evidence, present: set[str]) -> str:
    """The pieces whose whole interval lies below minus the margin; apart, those with one seed, which proves nothing."""
    parts = []
    for reading, pieces in PUT_BACK.items():
        tried = [piece for piece in pieces if f"{reading}-{piece}" in present and reading in present]
        gaps = {piece: difference_at(evidence, f"{reading}-{piece}", reading) for piece in tried}
        judged = {piece: gap for piece, gap in gaps.items() if gap.n > 1}
        worse = [f"{pieces[piece]} {spelled(gap, '', 0)}" for piece, gap in judged.items() if gap.high < -MARGIN]
        if judged:
            parts.append(
                f"Put back into *{reading}* one at a time ({len(judged)}), lower by more than {MARGIN:g} points beyond "
                f"doubt: {'; '.join(worse) or 'none'}."
            )
        single = sorted((gap.estimate, pieces[piece]) for piece, gap in gaps.items() if gap.n == 1)
        if single:
            lowest = "; ".join(f"{name} {estimate:+.0f}" for estimate, name in single[:3])
            parts.append(
                f"Put back into *{reading}*, one seed each so far ({len(single)}), which proves nothing; lowest: "
                f"{lowest}."
            )
    return " ".join(parts)
