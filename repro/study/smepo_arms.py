"""What the three studies of SMEPO share: their arms, how a run is built, and what must hold of the warm start.

All arms start from one warm start that has read every hint format equally often, go through the same queries with the
same number of rollouts and updates, and differ in what the prompt shows besides the question. Reward, objective and
evaluation are the same, and evaluation never shows a hint.

Conditions: `wide` is the paper's clip (0, 5, dual 3), `usual` is 0.2/0.2. Both need samples that are not on-policy to
differ at all: lags drawn from 0..3 stand for the paper's four mini-batches a step, whose ratios are to weights of 0 to
3 updates before. Other conditions change the training questions, or what the warm start learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from repro.study.definition import Arm, Study
from repro.study.paper_tier import PAPER_TIERS

WIDE, USUAL = "wide", "usual"
CLIPS = {WIDE: "the paper's clip: 0, 5, dual 3", USUAL: "the usual clip: 0.2, 0.2, dual 3"}
GRPO = f"grpo@{WIDE}"  # the arm of which every seed's warm start is profiled
Guidance = Mapping[str, tuple[str, str]]  # name -> (label, format of the hint: a key of demonstrations.FORMATS, or "")
CORE = ("grpo", "full", "smepo", "random")
START = "start"
FULL = {
    "grpo": ("GRPO", ""),
    "full": ("full trace", "full"),
    "full_cut": ("full trace without its last line", "full_cut"),
}
SECOND = {  # name -> (label, algorithm): the paper's other baselines
    "sft": ("SFT on traces", "sft"),
    "sft_rl": ("SFT, then GRPO", "sft_rl"),
    "luffy": ("LUFFY", "luffy"),
    "ghpo": ("GHPO", "smepo_loss"),
    "ghpo_smepo": ("GHPO with SMEPO", "smepo_loss"),
}
PREFIXES = {f"prefix{share}": (f"prefix of {share} %", f"prefix_{share}") for share in (25, 50, 75)}


def arm(
    guidance: Guidance, name: str, condition: str, seeds: int, core: bool = False, words: str = "", **settings: Any
) -> Arm:
    """An arm of one kind of guidance; `settings` are dotted fields of its config, with "__" for the dot.

    `longest=True` is none of them: of the training questions only those of the greatest length remain.
    """
    label, hint = guidance[name]
    settings = {key.replace("__", "."): value for key, value in settings.items()}
    if name == "grpo" and condition != USUAL:  # with whose warm start the condition begins
        settings["evaluation.formats"] = ("", *dict.fromkeys(hint for _, hint in guidance.values() if hint))
    return Arm(
        name=f"{name}@{condition}",
        label=label,
        algorithm="grpo" if condition == USUAL else "smepo_loss",
        condition=condition,
        seeds=seeds,
        core=core,
        description=f"{label}; {words or CLIPS[condition]}",
        settings=(("guidance", hint), *settings.items()),
    )


def untrained(condition: str, seeds: int, **settings: Any) -> Arm:
    """The warm start under a condition, examined as every arm is at its end: on more questions than along the way."""
    nothing = {"training__updates": 1, "training__learning_rate": 0.0}
    words = "one update with learning rate 0"
    return arm({START: ("warm start", "")}, START, condition, seeds, words=words, **nothing, **settings)


def arms(guidance: Guidance, *more: Arm) -> dict[str, Arm]:
    """The arms that every domain has: ten seeds for the core ones, five for the others."""
    found = [arm(guidance, name, WIDE, 10, core=True) for name in CORE]
    found.append(untrained(WIDE, 10))
    found += [arm(guidance, name, WIDE, 5) for name in guidance if name not in CORE]
    found += [arm(guidance, name, USUAL, 5) for name in CORE]
    for name, (label, algorithm) in SECOND.items():
        helped = {"ghpo": "full", "ghpo_smepo": "smepo"}.get(name)  # after failures, by that arm's hint
        settings = ("guidance", guidance[helped][1] if helped else ""), ("after_failures", helped is not None)
        words = f"{label}; {CLIPS[WIDE]}"
        found.append(Arm(f"{name}@{WIDE}", label, algorithm, WIDE, 5, description=words, settings=settings))
    return {one.name: one for one in (*found, *more)}


def builder(study: str, sizes: Callable[[str], dict[str, Any]]) -> Callable[[Arm, int, str], Any]:
    """What makes the RunConfig of a cell; `sizes(tier)` are the parts of it that all arms share."""

    def build(arm: Arm, seed: int, tier: str) -> Any:
        from dataclasses import replace

        from repro.algorithms import ALGORITHMS
        from repro.algorithms.guidance import Unguided
        from repro.algorithms.luffy import ExpertRows
        from repro.algorithms.smepo import GHPO_STAGES, EscalatingTrace
        from repro.config import override
        from repro.policy.demonstrations import FORMATS
        from repro.training.config import Lagged, RunConfig

        parts, settings = sizes(tier), dict(arm.settings)
        hint, after_failures = settings.pop("guidance"), settings.pop("after_failures", False)
        if settings.pop("longest", False):
            parts["world"] = replace(parts["world"], min_length=parts["world"].max_length)
        guidance = FORMATS[type(parts["world"])][hint] if hint else Unguided()
        if after_failures:  # a masked trace is shown whole, for the warm start has read no part of one
            guidance = EscalatingTrace(guidance, GHPO_STAGES if hint == "full" else (1.0,))
        recipe = replace(ALGORITHMS[arm.algorithm], guidance=guidance)
        if arm.algorithm == "sft_rl":
            share = ExpertRows(mixed=0, supervised=parts["training"].updates // 4)
            recipe = replace(recipe, exploration=share)
        return override(RunConfig(study, arm.name, tier, seed, recipe, Lagged(0, 3), **parts), settings)

    return build


# What must hold of the warm start before any reinforcement, or the comparison tests nothing ---------------------------

Profile = Mapping[str, Mapping[str, float]]
"""By format ("" without a hint), of sampled responses to training queries: `mean` and `pass` (mean reward and pass@8),
and the shares of all responses whose first error is of a kind (`environments.hinted`)."""


@dataclass(frozen=True)
class Check:
    """A condition on the warm start's profile, in words and as a rule."""

    name: str
    words: str
    holds: Callable[[Profile], bool]


COPYING_PAYS = Check(
    "copying pays",
    "with the full trace, mean success is at least that with any mask or prefix",
    lambda profile: all(
        profile["full"]["mean"] >= row["mean"] for hint, row in profile.items() if not hint.startswith("full")
    ),
)


def checks(own: str, route: str) -> tuple[Check, ...]:
    """The conditions of a domain: `own` is the format of its mask, `route` the error of losing the way."""

    def wrong(row: Mapping[str, float]) -> float:
        return sum(share for kind, share in row.items() if kind not in ("mean", "pass"))

    return (
        Check(
            "sparse, not zero",
            "without a hint, pass@8 on training queries lies between 5 and 30 %",
            lambda profile: 0.05 <= profile[""]["pass"] <= 0.30,
        ),
        Check(
            "the route is the bottleneck",
            "without a hint, at least half of the wrong responses lose the route first",
            lambda profile: profile[""][route] >= 0.5 * wrong(profile[""]),
        ),
        Check(
            "a route that is shown can be followed",
            "with the mask, pass@8 is at least 50 %, and mean success at least three times that without a hint",
            lambda profile: profile[own]["pass"] >= 0.5 and profile[own]["mean"] >= 3 * profile[""]["mean"],
        ),
        Check(
            "every hint helps",
            "with each hint, mean success is above that without",
            lambda profile: all(profile[hint]["mean"] > profile[""]["mean"] for hint in profile if hint),
        ),
        COPYING_PAYS,
        Check(
            "there is something left to learn",
            "with the full trace, mean success is below 95 %, so that reinforcement still tells its responses apart",
            lambda profile: profile["full"]["mean"] < 0.95,
        ),
    )


def profiles(tables: Any, arm: str = GRPO) -> dict[int, Profile]:
    """Each seed's warm start as the committed tables have it: what `checks` judges."""
    asked = tables.probes[(tables.probes["arm"] == arm) & (tables.probes["probe"] == "format")]
    errors = [column for column in asked.columns if column.startswith("error_") and asked[column].notna().any()]
    found: dict[int, dict[str, dict[str, float]]] = {}
    for row in asked.to_dict("records"):
        shares = {column.removeprefix("error_"): float(row[column]) for column in errors}
        found.setdefault(row["seed"], {})[row["format"]] = {"mean": row["mean_at_k"], "pass": row["pass_at_k"]} | shares
    return found


def study(name: str, title: str, arms: dict[str, Arm], sizes: Callable[[str], dict[str, Any]]) -> Study:
    """A study of SMEPO in one domain."""
    return Study(
        name=name,
        title=title,
        paper="smepo",
        notebook=f"{name}.ipynb",
        arms=arms,
        tiers=("smoke", "small", *PAPER_TIERS),
        build=builder(name, sizes),
    )
