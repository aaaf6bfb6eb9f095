"""The study of SMEPO on code: is an algorithm in words a better teacher than the program that does it?

A trace is a plan in words and the program; the mask hides the program and keeps the plan. The arms, and what they
share, are those of `repro.study.smepo_arms`. The program is most of a trace and one piece, so that a mask matched to it
hides much of it too: `words` hides as many words, each by itself.
"""

from __future__ import annotations

from typing import Any

from repro.study.smepo_arms import FULL, PREFIXES, arms, checks, study

GUIDANCE = {
    **FULL,
    "smepo": ("SMEPO, code block", "code"),
    "random": ("random mask, matched", "random"),
    "words": ("random words, as many", "random_words"),
    **PREFIXES,
}
CHECKS = checks(own="code", route="plan")


def sizes(tier: str) -> dict[str, Any]:
    """World, warm start, training and evaluation of all arms."""
    from repro.environments.program import ProgramConfig
    from repro.policy.model import PolicyConfig
    from repro.policy.warmstart import DemonstrationConfig
    from repro.training.config import ProbedEvaluation, TrainingConfig

    hints = tuple(hint for _, hint in GUIDANCE.values() if hint)
    if tier == "smoke":
        return {
            "world": ProgramConfig(names=4, min_statements=1, max_statements=2, max_distractors=1,
                                   warm_statements=(1, 2), train_queries=64, heldout_queries=8,
                                   levels=(("easy", 1, 1), ("hard", 2, 2))),
            "policy": PolicyConfig(hidden=48, layers=2, heads=2, kv_heads=2, feed_forward=96),
            "warmstart": DemonstrationConfig(steps=100, flat_steps=50, noisy_steps=20, warmup_steps=20, batch=16,
                                             hints=hints),
            "training": TrainingConfig(updates=24, max_new_tokens=24, checkpoint_every=10, gradient_split_every=0),
            "evaluation": ProbedEvaluation(every=12, queries=8, final_queries=8, probe_queries=4, final_probe_queries=8,
                                           format_queries=8),
        }  # fmt: skip
    return {
        "world": ProgramConfig(min_statements=4, max_distractors=3, heldout_queries=128),
        # That a hint's code is to be copied is learned late (700 to 900 steps), and then all at once.
        "warmstart": DemonstrationConfig(steps=1000, noisy_steps=120, route_slip=0.55, bare=0.4, trust=0.9, misled=1.0,
                                         hints=hints),
        "training": TrainingConfig(updates=160, max_new_tokens=48, gradient_split_every=0),
        "evaluation": ProbedEvaluation(every=10, queries=24, samples=4, final_queries=128, final_samples=4,
                                       probe_queries=8),
    }  # fmt: skip


SMEPO_CODE = study(
    "smepo_code",
    "SMEPO on code: is a plan without its program better than both, or nothing?",
    arms(GUIDANCE),
    sizes,
)
