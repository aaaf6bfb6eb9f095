"""The study of 3SPO in households: does it find more and learn faster than GRPO, and if so by which of its parts?

ALFWorld's own text world, on small households of six task types; the paper's are full-size, its policies have 1.5 and 7
billion parameters. Arms, budget and tuning rule are those of `repro.study.threespo`.
"""

from __future__ import annotations

from typing import Any

from repro.study.threespo import Setting, study


def parts(tier: str) -> dict[str, Any]:
    """World, policy, warm start, training and evaluation of a tier."""
    from repro.environments.alfworld.games import HouseholdConfig
    from repro.environments.alfworld.world import AlfworldConfig
    from repro.policy.model import PolicyConfig
    from repro.policy.warmstart import PlayedWarmStartConfig
    from repro.training.config import BudgetedTraining, EpisodeEvaluation

    every = {"betas": (0.9, 0.95), "max_new_tokens": 8, "gradient_split_every": 0, "microbatch_tokens": 1 << 14}
    if tier == "smoke":
        return {
            "world": AlfworldConfig(HouseholdConfig(train_games=16, heldout_games=4), max_turns=6),
            "policy": PolicyConfig(hidden=48, layers=2, heads=2, kv_heads=2, feed_forward=96),
            "warmstart": PlayedWarmStartConfig(steps=60, flat_steps=30, noisy_steps=10, warmup_steps=20, batch=8),
            "training": BudgetedTraining(generations=600, checkpoint_every=200, **every),
            "evaluation": EpisodeEvaluation(every=200, queries=4, samples=1, final_queries=4, final_samples=1),
        }
    return {
        "world": AlfworldConfig(),
        "policy": PolicyConfig(hidden=96, layers=2),
        "warmstart": PlayedWarmStartConfig(
            steps=60, flat_steps=50, noisy_steps=240, noisy_lr_scale=1.0, slip=0.3, batch=8
        ),
        "training": BudgetedTraining(generations=60_000, checkpoint_every=10_000, **every),
        "evaluation": EpisodeEvaluation(every=10_000, queries=100, samples=1, final_queries=200, final_samples=1),
    }


ALFWORLD = Setting(
    name="threespo_alfworld",
    parts=parts,
    tasks={"smoke": 2, "small": 8},
    rates={"grpo": 2e-4, "gigpo": 2e-4, "literal": 3e-5, "table": 1e-4, "continuation": 4e-4},
)
THREESPO_ALFWORLD = study(ALFWORLD, "3SPO in households (ALFWorld): more states, faster, better?")
