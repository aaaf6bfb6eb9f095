"""The study of SMEPO on maths: does hiding what is rewarded teach more than showing all of it, or nothing?

All arms start from one warm start that has read every hint format equally often, go through the same queries with the
same number of rollouts and updates, and differ in what the prompt shows besides the question. Reward, objective and
evaluation are the same, and evaluation never shows a hint.

Conditions: `wide` is the paper's clip (0, 5, dual 3), `usual` is 0.2/0.2. Both need samples that are not on-policy to
differ at all: lags drawn from 0..3 stand for the paper's four mini-batches a step, whose ratios are to weights of 0 to
3 updates before. `trusting` and `doubting` change what the warm start learned of hints (see `GuidedWarmStartConfig`):
how far copying is a matter of course before any reinforcement is the one thing in this set-up that no source settles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from repro.study.definition import Arm, Study

CONDITIONS = {
    "wide": "the paper's clip: 0, 5, dual 3",
    "usual": "the usual clip: 0.2, 0.2, dual 3",
    "trusting": "a warm start whose hints always told what followed",
    "doubting": "a warm start whose hints told only half of the slips that followed",
}
# name -> (label, format of the hint: a key of smepo.HINTS, "" for none)
GUIDANCE = {
    "grpo": ("GRPO", ""),
    "full": ("full trace", "full"),
    "smepo": ("SMEPO, critical path", "critical_path"),
    "random": ("random mask, matched", "random"),
    "full_cut": ("full trace without its last line", "full_cut"),
    "numerals": ("SMEPO, all numerals", "numerals"),
    "defects": ("SMEPO, all numerals, as released", "numerals_defects"),
    "prefix25": ("prefix of 25 %", "prefix_25"),
    "prefix50": ("prefix of 50 %", "prefix_50"),
    "prefix75": ("prefix of 75 %", "prefix_75"),
}
CORE = ("grpo", "full", "smepo", "random")
EXTENDED = ("full_cut", "numerals", "prefix25", "prefix50", "prefix75")


def _arm(guidance: str, condition: str, seeds: int, core: bool = False, variant: str = "", **settings: Any) -> Arm:
    label = GUIDANCE[guidance][0] + (f", {variant}" if variant else "")
    return Arm(
        name=f"{guidance}{'-' + variant if variant else ''}@{condition}",
        label=label,
        algorithm="grpo" if condition == "usual" else "smepo_loss",
        condition=condition,
        seeds=seeds,
        core=core,
        description=f"{label}; {CONDITIONS[condition]}",
        settings=(("guidance", GUIDANCE[guidance][1]), *((k.replace("__", "."), v) for k, v in settings.items())),
    )


def _arms() -> dict[str, Arm]:
    arms = [_arm(guidance, "wide", 10, core=True) for guidance in CORE]
    arms += [_arm(guidance, "wide", 5) for guidance in EXTENDED]
    arms += [_arm("defects", "wide", 3)]
    arms += [_arm(guidance, "usual", 5) for guidance in CORE]
    arms += [_arm(guidance, "trusting", 5, warmstart__doubt=0.0) for guidance in CORE[:3]]
    arms += [_arm(guidance, "doubting", 5, warmstart__doubt=0.5) for guidance in CORE[:3]]
    return {arm.name: arm for arm in arms}


def build(arm: Arm, seed: int, tier: str) -> Any:
    """The RunConfig of a cell."""
    from dataclasses import replace

    from repro.algorithms import ALGORITHMS
    from repro.algorithms.guidance import Unguided
    from repro.algorithms.smepo import HINTS
    from repro.config import override
    from repro.environments.guided_arithmetic import GuidedArithmeticConfig
    from repro.policy.model import PolicyConfig
    from repro.policy.warmstart import GuidedWarmStartConfig
    from repro.training.config import EvaluationConfig, Lagged, RunConfig, TrainingConfig

    settings = dict(arm.settings)
    hint = settings.pop("guidance")
    recipe = replace(ALGORITHMS[arm.algorithm], guidance=HINTS[hint] if hint else Unguided())
    sizes = {
        "world": GuidedArithmeticConfig(),
        "warmstart": GuidedWarmStartConfig(),
        "training": TrainingConfig(updates=240, max_new_tokens=56, gradient_split_every=0),
        "evaluation": EvaluationConfig(every=20, queries=32, samples=4, final_queries=128, final_samples=8),
    }
    if tier == "smoke":
        sizes = {
            "world": GuidedArithmeticConfig(
                names=6, min_length=1, max_length=2, min_distractors=0, max_distractors=1, warm_lengths=(1, 2),
                train_queries=64, heldout_queries=8, levels=(("easy", 1, 1), ("hard", 2, 2)),
            ),
            "policy": PolicyConfig(hidden=48, layers=2, heads=2, kv_heads=2, feed_forward=96),
            "warmstart": GuidedWarmStartConfig(steps=100, flat_steps=50, noisy_steps=20, warmup_steps=20, batch=16),
            "training": TrainingConfig(updates=24, max_new_tokens=24, checkpoint_every=10, gradient_split_every=0),
            "evaluation": EvaluationConfig(every=12, queries=8, final_queries=8),
        }  # fmt: skip
    config = RunConfig(SMEPO_MATH.name, arm.name, tier, seed, recipe, Lagged(0, 3), **sizes)
    return override(config, settings)


# What must hold of the warm start before any reinforcement, or the comparison tests nothing ---------------------------

Profile = Mapping[str, Mapping[str, float]]
"""By format ("" without a hint, else a key of smepo.HINTS), of sampled responses to training queries: `mean` and `pass`
(mean reward and pass@8), and the shares of all responses whose first error is of a kind: `route`, `fact`, `value`,
`form` (`guided_arithmetic.first_error`)."""


@dataclass(frozen=True)
class Check:
    """A condition on the warm start's profile, in words and as a rule."""

    name: str
    words: str
    holds: Callable[[Profile], bool]


def _wrong(profile: Profile, hint: str) -> float:
    return sum(profile[hint][kind] for kind in ("route", "fact", "value", "form"))


CHECKS = (
    Check(
        "sparse, not zero",
        "without a hint, pass@8 on training queries lies between 5 and 30 %",
        lambda profile: 0.05 <= profile[""]["pass"] <= 0.30,
    ),
    Check(
        "the route is the bottleneck",
        "without a hint, at least half of the wrong responses lose the route first",
        lambda profile: profile[""]["route"] >= 0.5 * _wrong(profile, ""),
    ),
    Check(
        "a route that is shown can be followed",
        "with the critical path masked, pass@8 is at least 50 %, and mean success at least three times that without",
        lambda profile: (
            profile["critical_path"]["pass"] >= 0.5 and profile["critical_path"]["mean"] >= 3 * profile[""]["mean"]
        ),
    ),
    Check(
        "every format is read",
        "with each hint, mean success is above that without",
        lambda profile: all(profile[hint]["mean"] > profile[""]["mean"] for hint in profile if hint),
    ),
    Check(
        "copying pays",
        "with the full trace, mean success is above that with any mask or prefix",
        lambda profile: all(
            profile["full"]["mean"] >= profile[hint]["mean"] for hint in profile if hint not in ("", "full", "full_cut")
        ),
    ),
    Check(
        "there is something left to learn",
        "with the full trace, mean success is below 95 %, so that reinforcement still tells its responses apart",
        lambda profile: profile["full"]["mean"] < 0.95,
    ),
)

SMEPO_MATH = Study(
    name="smepo_math",
    title="SMEPO on maths: is hiding what is rewarded better than showing all of it, or nothing?",
    paper="smepo",
    notebook="smepo_math.ipynb",
    arms=_arms(),
    tiers=("smoke", "small"),
    build=build,
)
