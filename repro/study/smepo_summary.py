"""What the SMEPO notebooks and the README say in numbers, as Markdown, computed from configs, tables and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from repro.study import STUDIES, masking, smepo_code, smepo_math, smepo_search, summary
from repro.study.definition import Study
from repro.study.evidence import NOTHING, Evidence, committed, difference, spelled, with_seeds
from repro.study.smepo_arms import GRPO, Check, profiles
from repro.study.smepo_rules import COPIES, COPYING_RISES, SOONER_UPDATES
from repro.study.statistics import t_interval
from repro.study.tables import Tables

FULL, SMEPO, START = "full@wide", "smepo@wide", "start@wide"
DOMAINS = {"smepo_math": "maths", "smepo_code": "code", "smepo_search": "search"}
TRUST = {"trusting": "One that trusts its hints", "doubting": "One that doubts them"}
CONDITIONS = {"smepo_math": smepo_math.CHECKS, "smepo_code": smepo_code.CHECKS, "smepo_search": smepo_search.CHECKS}


def setup(study: Study, tier: str) -> str:
    """What every run of a tier shares, with what is particular to guidance. Imports torch, as configs name policies."""
    if study.paper_tier(tier):  # one whose plan says the rest
        return summary.setup(study, tier)
    config = study.config(GRPO, 0, tier)
    evaluation, warm, lag = config.evaluation, config.warmstart, config.schedule
    rows = {
        "warm start": f"{warm.steps + warm.noisy_steps} steps of {warm.batch}; a share of {warm.bare:g} of its problems"
        " without a hint, the others with one of any format, each as often",
        "staleness": f"rollouts {lag.low} to {lag.high} updates old, drawn: the paper's four mini-batches a step",
        "guided questions": f"{evaluation.final_probe_queries} held-out ones a level at both ends, "
        f"{evaluation.probe_queries} along the way, one response each; plain ones are counted apart",
        "warm start's profile": f"{evaluation.format_queries} training questions, {evaluation.format_samples} responses"
        " to each under every format of hint, before the first update",
    }
    return summary.setup(study, tier) + "".join(f"| {name} | {words} |\n" for name, words in rows.items())


def leaks(surveys: Mapping[str, Mapping[str, float]]) -> str:
    """What every hint gives away of a whole training list: a row a hint, of `masking.surveys`."""
    head = ["hint", "questions", "shown a trace", "cut for room", "words and numbers hidden, %", "nothing hidden"]
    head += ["still shows the answer or a value SMEPO hides", "such values shown, %", "question prints the answer"]
    rows = [
        [label, *(str(row[key]) for key in ("queries", "guided", "truncated")), f"{100 * row['hidden_share']:.0f}",
         str(row["hides_nothing"]), str(row["leaking"]), f"{100 * row['shown_share']:.0f}", str(row["answer_given"])]
        for label, row in surveys.items()
    ]  # fmt: skip
    return summary.markdown(head, rows)


# The warm start, before any reinforcement -----------------------------------------------------------------------------


def warm_start(results: Tables, checks: Sequence[Check], study: Study, arm: str = GRPO) -> str:
    """How the warm start answers under each format of hint, and which of the conditions it meets, in how many seeds.

    It is profiled by GRPO's runs: those of `arm`, one a condition.
    """
    found, stamp = profiles(results, arm), summary.NOT_EVIDENCE if (results.runs["tier"] == "smoke").any() else ""
    if not found:
        return f"{stamp}No profile of a warm start in these tables: it comes with the runs of `{arm}`.\n"
    labels = {dict(arm.settings).get("guidance"): arm.label for arm in reversed(study.arms.values())} | {"": "no hint"}
    formats = dict.fromkeys(name for profile in found.values() for name in profile)
    kinds = [kind for kind in next(iter(found.values()))[""] if kind not in ("mean", "pass")]
    head = ["shown", "success, %", "pass@8, %", *(f"first error: {kind}, %" for kind in kinds)]
    rows = []
    for name in formats:
        columns = [[100 * profile[name][key] for profile in found.values()] for key in ("mean", "pass", *kinds)]
        rows.append([labels.get(name, name), *(f"{np.mean(values):.1f}" for values in columns)])
    table = summary.markdown(head, rows)
    lines = []
    for check in checks:
        held = sum(check.holds(profile) for profile in found.values())
        verdict = "**yes**" if held == len(found) else f"**no**: {held} of {len(found)}" if held else "**no**"
        lines.append([check.name, check.words, verdict])
    asked = f"Means over {len(found)} warm start{'s' * (len(found) != 1)}, one a seed, before the first update.\n\n"
    return f"{stamp}{asked}{table}\n{summary.markdown(['condition', 'in words', 'holds in every seed'], lines)}"


# Results --------------------------------------------------------------------------------------------------------------


def outcome(results: Tables, study: Study, core: bool = False) -> str:
    """A row an arm: held-out success, its difference to GRPO's under the same condition, reward, what is copied."""
    evidence = Evidence(study, results)
    head = ["arm", "condition", "seeds", "held-out success, %", "minus GRPO, points", "pass@k, %", "last reward, %"]
    head += ["planted answers given, % (warm start)", "shown the arm's own hint, %", "s a run"]
    rows = []
    for arm in study.arms.values():
        runs = evidence.runs(arm.name)
        if runs.empty or (core and not arm.core):
            continue
        reference = f"grpo@{arm.condition}"
        gap = difference(evidence, arm.name, reference) if reference in study.arms else None
        rows.append([
            f"**{arm.label}**" if arm.core else arm.label,
            arm.condition,
            len(runs),
            summary.spelled(t_interval(evidence.points(arm.name, "mean_at_k")), 1),
            "" if arm.name == reference or gap is None else spelled(gap),
            summary.spelled(t_interval(evidence.points(arm.name, "pass_at_k")), 1),
            _percent(runs["reward_last"]),
            _copied(runs),
            _percent(runs.get("copied_own")),
            f"{runs['seconds'].mean():.0f}",
        ])  # fmt: skip
    stamp = summary.NOT_EVIDENCE if (results.runs["tier"] == "smoke").any() else ""
    return stamp + summary.markdown(head, rows)


def _percent(shares: pd.Series | None) -> str:
    """Their mean; none where nothing was measured, as the reward of what only reads traces."""
    return "-" if shares is None or shares.isna().all() else f"{100 * shares.mean():.1f}"


def _copied(runs: pd.DataFrame) -> str:
    if "copied_full" not in runs or runs["copied_full"].isna().all():
        return "-"
    start = runs.get("start_copied_full", pd.Series(np.nan, runs.index)).mean()
    return f"{100 * runs['copied_full'].mean():.1f} ({100 * start:.1f})"


# The README -----------------------------------------------------------------------------------------------------------


def finding(root: Path) -> str:
    """What the SMEPO studies found, a line a question in each domain, from their tables alone."""
    parts = []
    for name, domain in DOMAINS.items():
        evidence = committed(STUDIES[name], root)
        lines = [] if evidence is None else _lines(evidence)
        if lines:
            lines[1:1] = _leaks(evidence.study, root)
        if lines:
            parts.append(f"*{domain.capitalize()}*\n\n" + "\n".join(lines))
    return "\n\n".join(parts) or NOTHING


def _lines(evidence: Evidence) -> list[str]:
    present = set(evidence.tables.runs["arm"])

    def minus(arm: str, other: str) -> str:
        return with_seeds(difference(evidence, arm, other))

    def each(arms: dict[str, str], other: str) -> str:
        """What the arms of {name: words} that have runs differ by from another."""
        return "; ".join(f"{words} {minus(arm, other)}" for arm, words in arms.items() if arm in present)

    lines = _conditions(evidence)
    if {SMEPO, GRPO} <= present:
        ends = {arm: f"{evidence.points(arm, 'mean_at_k').mean():.1f} %" for arm in (SMEPO, GRPO)}
        sooner = SOONER_UPDATES.judge(evidence, SMEPO, GRPO).note.replace(SMEPO, "SMEPO").replace(GRPO, "GRPO")
        lines.append(
            f"- **Does hiding what is rewarded teach more than no hint?** SMEPO ends at {ends[SMEPO]} held-out success,"
            f" GRPO at {ends[GRPO]}: {minus(SMEPO, GRPO)}. Sooner? {sooner[0].upper()}{sooner[1:]}."
        )
    if {START, SMEPO, GRPO} <= present:
        arms = {GRPO: "GRPO", SMEPO: "SMEPO", FULL: "full trace", "random@wide": "random mask"}
        start = evidence.points(START, "mean_at_k").mean()
        lines.append(f"- **What is learned at all?** Against the warm start's {start:.1f} %: {each(arms, START)}.")
    if {FULL, GRPO} <= present:
        lines.append(f"- **Does the full trace hurt?** Full trace against GRPO: {minus(FULL, GRPO)}.")
    if {FULL, SMEPO} <= present:
        lines += _copying(evidence)
    controls = {"random@wide": "a matched random mask", "prefix25@wide": "a prefix of 25 %", "prefix50@wide": "of 50 %",
                "prefix75@wide": "of 75 %", "full_cut@wide": "all but the last line shown",
                "numerals@wide": "all numerals hidden"}  # fmt: skip
    shown = [f"{words} {minus(SMEPO, arm)}" for arm, words in controls.items() if {arm, SMEPO} <= present]
    if shown:
        lines.append(f"- **Does it matter what is hidden?** SMEPO against {'; '.join(shown)}.")
    others = {"ghpo@wide": "GHPO", "ghpo_smepo@wide": "GHPO with masked traces", "sft@wide": "SFT on traces",
              "sft_rl@wide": "SFT, then GRPO", "luffy@wide": "LUFFY"}  # fmt: skip
    if GRPO in present and present & set(others):
        lines.append(f"- **And other ways to use a trace?** Against GRPO: {each(others, GRPO)}.")
    if warm := [words for condition in TRUST if (words := _after(evidence, condition))]:
        lines.append(f"- **And after another warm start?** {' '.join(warm)}")
    arms = {"smepo@sparse": "SMEPO", "full@sparse": "full trace", "random@sparse": "random mask"}
    if "grpo@sparse" in present and present & set(arms):
        end = f"GRPO ends at {evidence.points('grpo@sparse', 'mean_at_k').mean():.1f} % held-out success"
        if "start@sparse" in present:
            start = evidence.points("start@sparse", "mean_at_k").mean()
            end += f", {minus('grpo@sparse', 'start@sparse')} from the warm start's {start:.1f} %"
        lines.append(
            f"- **And where plain questions are hardly ever solved?** {end}. Against it: {each(arms, 'grpo@sparse')}."
        )
        if levels := _by_level(evidence, "smepo@sparse", "grpo@sparse"):
            lines[-1] += f" By level, SMEPO's: {levels}."
    return lines


def _by_level(evidence: Evidence, arm: str, other: str) -> str:
    columns = [name for name in evidence.runs(arm) if name.startswith("mean_at_k_")]
    gaps = {name.removeprefix("mean_at_k_"): difference(evidence, arm, other, name) for name in columns}
    return ", ".join(f"{level} {spelled(gap)}" for level, gap in gaps.items())


def _after(evidence: Evidence, condition: str) -> str:
    """What comes out after a warm start that learned something else of hints: ends, and what is taught of copying."""
    grpo, full, smepo = (f"{name}@{condition}" for name in ("grpo", "full", "smepo"))
    if not {grpo, full, smepo} <= set(evidence.tables.runs["arm"]):
        return ""
    gaps = [difference(evidence, smepo, other) for other in (grpo, full)]
    taught = [COPYING_RISES.judge(evidence, arm) for arm in (full, smepo)]
    return (
        f"{TRUST[condition]}: SMEPO against GRPO {spelled(gaps[0], 'points')}, against the full trace "
        f"{with_seeds(gaps[1])}; planted answers given {taught[0].note} with full traces, "
        f"{taught[1].note} with masked ones."
    )


def _copying(evidence: Evidence) -> list[str]:
    """How often planted answers are given, from seed to seed, and what training with either trace does to that."""
    starts = evidence.runs(FULL).get("start_copied_full", pd.Series(dtype=float)).dropna() * 100
    if starts.empty:
        return []
    shown = {FULL: "full traces", "random@wide": "random masks", SMEPO: "masked ones"}
    taught = {words: COPYING_RISES.judge(evidence, arm).interval for arm, words in shown.items()}
    changes = [f"{spelled(change, 'points')} with {words}" for words, change in taught.items() if change.n]
    gap = COPIES.judge(evidence, FULL, SMEPO).interval
    line = (
        "- **Is it copied?** Shown full traces with a wrong answer planted, warm starts gave that answer in "
        f"{starts.mean():.0f} % of responses ({starts.min():.0f} to {starts.max():.0f} from seed to seed). Training "
        f"changed it by {'; '.join(changes)}. At the end, full trace minus SMEPO {spelled(gap, 'points')}."
    )
    masked = evidence.runs(SMEPO).get("copied_own")
    if masked is not None and masked.notna().any():
        line += (
            f" From masked traces, which do not show it, policies trained with them gave it in {_percent(masked)} %."
        )
    return [line]


def _leaks(study: Study, root: Path) -> list[str]:
    """In how many training questions what SMEPO's mask hides, or the answer, can still be read, and how much of it."""
    found = masking.load_surveys(study.name, root)
    labels = {arm: study.arms[arm].label for arm in (SMEPO, "random@wide", FULL)}
    if not all(label in found for label in labels.values()):
        return []
    mask, random, full = (found[label] for label in labels.values())
    return [
        f"- **Does the mask leak?** Of {mask['guided']} training questions it leaves the answer, or a value that it is "
        f"to hide, to be read in {mask['leaking']}; the random mask in {random['leaking']} "
        f"({100 * random['shown_share']:.0f} % of those values), the full trace in {full['leaking']}."
    ]


def _conditions(evidence: Evidence) -> list[str]:
    """What the warm starts have of that without which the comparison tests nothing."""
    found, checks = profiles(evidence.tables), CONDITIONS[evidence.study.name]
    if not found:
        return []
    held = {check.name: sum(check.holds(profile) for profile in found.values()) for check in checks}
    missed = [f'"{name}" holds in {count} of {len(found)}' for name, count in held.items() if count < len(found)]
    words = "; ".join([f"{len(checks) - len(missed)} of {len(checks)} hold in every seed", *missed])
    line = f"- **Does the setting test it?** Conditions on the warm start, set beforehand: {words}."
    meets = [seed for seed, profile in found.items() if all(check.holds(profile) for check in checks)]
    if missed and len(meets) > 1:
        runs = evidence.tables.runs
        good = Evidence(evidence.study, replace(evidence.tables, runs=runs[runs["seed"].isin(meets)]))
        others = {GRPO: "GRPO", FULL: "the full trace", "random@wide": "a random mask"}
        gaps = [f"{words} {spelled(difference(good, SMEPO, arm))}" for arm, words in others.items()]
        line += f" In the {len(meets)} seeds in which all hold, SMEPO ends against {', '.join(gaps)} points."
    return [line]


def outcomes(root: Path) -> str:
    """The table of the core arms in each domain."""
    parts = []
    for name, domain in DOMAINS.items():
        evidence = committed(STUDIES[name], root)
        if evidence is not None:
            parts.append(f"{domain.capitalize()}:\n\n{outcome(evidence.tables, evidence.study, core=True)}")
    return "\n".join(parts) or NOTHING
