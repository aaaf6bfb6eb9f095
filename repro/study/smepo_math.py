"""The study of SMEPO on maths: does hiding what is rewarded teach more than showing all of it, or nothing?

The arms, and what they share, are those of `repro.study.smepo_arms`. Here there are three more conditions. `trusting`
and `doubting` change what the warm start learned of hints (see `GuidedWarmStartConfig`): how far copying is a matter of
course before any reinforcement is the one thing in this set-up that no source settles. `sparse` is the case for which
masked traces are meant: training questions of the greatest length alone and a warm start that loses the way at most
turns, set on one more seed so that plain GRPO finds next to nothing to learn from (it ended where it began).
"""

from __future__ import annotations

from typing import Any

from repro.study.smepo_arms import CORE, FULL, PREFIXES, arm, arms, checks, study, untrained

GUIDANCE = {
    **FULL,
    "smepo": ("SMEPO, critical path", "critical_path"),
    "random": ("random mask, matched", "random"),
    "numerals": ("SMEPO, all numerals", "numerals"),
    "defects": ("SMEPO, all numerals, as released", "numerals_defects"),
    **PREFIXES,
}
MORE: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {  # condition: in words, arms, settings
    "trusting": ("a warm start whose hints always told what followed", CORE[:3], {"warmstart__doubt": 0.0}),
    "doubting": (
        "a warm start whose hints told only half of the slips that followed",
        CORE[:3],
        {"warmstart__doubt": 0.5},
    ),
    "sparse": (
        "long training questions, and a warm start that mostly loses the way",
        CORE,
        {"longest": True, "warmstart__route_slip": 0.6},
    ),
}
CHECKS = checks(own="critical_path", route="route")


def sizes(tier: str) -> dict[str, Any]:
    """World, warm start, training and evaluation of all arms."""
    from repro.environments.guided_arithmetic import GuidedArithmeticConfig
    from repro.policy.model import PolicyConfig
    from repro.policy.warmstart import GuidedWarmStartConfig
    from repro.training.config import ProbedEvaluation, TrainingConfig

    if tier == "smoke":
        return {
            "world": GuidedArithmeticConfig(
                names=6, min_length=1, max_length=2, min_distractors=0, max_distractors=1, warm_lengths=(1, 2),
                train_queries=64, heldout_queries=8, levels=(("easy", 1, 1), ("hard", 2, 2)),
            ),
            "policy": PolicyConfig(hidden=48, layers=2, heads=2, kv_heads=2, feed_forward=96),
            "warmstart": GuidedWarmStartConfig(steps=100, flat_steps=50, noisy_steps=20, warmup_steps=20, batch=16),
            "training": TrainingConfig(updates=24, max_new_tokens=26, checkpoint_every=10, gradient_split_every=0),
            "evaluation": ProbedEvaluation(every=12, queries=8, final_queries=8, probe_queries=4, final_probe_queries=8,
                                           format_queries=8),
        }  # fmt: skip
    return {
        "world": GuidedArithmeticConfig(),
        # That what a hint shows is to be copied is learned late, by some seeds after 700 steps, and then all at once.
        "warmstart": GuidedWarmStartConfig(steps=1000, noisy_steps=120, bare=0.4, misled=1.0),
        "training": TrainingConfig(updates=160, max_new_tokens=62, gradient_split_every=0),
        "evaluation": ProbedEvaluation(every=10, queries=24, samples=4, final_queries=128, final_samples=4,
                                       probe_queries=8),
    }  # fmt: skip


SMEPO_MATH = study(
    "smepo_math",
    "SMEPO on maths: is hiding what is rewarded better than showing all of it, or nothing?",
    arms(
        GUIDANCE,
        *(
            arm(GUIDANCE, name, condition, 5, words=words, **settings)
            for condition, (words, names, settings) in MORE.items()
            for name in names
        ),
        untrained("sparse", 5, **MORE["sparse"][2]),
    ),
    sizes,
)
