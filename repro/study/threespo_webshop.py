"""The study of 3SPO in a shop with partial credit: the second half of the paper's claims.

WebShop's own rules on a small generated catalogue whose pages have few words; the paper's has thousands of products.
Training rewards a purchase that meets the goal in full, as the paper's does, and evaluation reports both that success
and the score, the partial credit. Arms, budget and tuning rule are those of `repro.study.threespo`.
"""

from __future__ import annotations

from typing import Any

from repro.study.threespo import Setting, study


def parts(tier: str) -> dict[str, Any]:
    """World, policy, warm start, training and evaluation of a tier."""
    from repro.environments.webshop.compact import CompactConfig
    from repro.environments.webshop.world import WebShopConfig
    from repro.policy.model import PolicyConfig
    from repro.policy.warmstart import PlayedWarmStartConfig
    from repro.training.config import BudgetedTraining, EpisodeEvaluation

    every = {"betas": (0.9, 0.95), "max_new_tokens": 10, "gradient_split_every": 0, "microbatch_tokens": 1 << 14}
    if tier == "smoke":
        return {
            "world": WebShopConfig(CompactConfig(goals=60), max_turns=6, heldout_goals=8, reward="success"),
            "policy": PolicyConfig(hidden=48, layers=2, heads=2, kv_heads=2, feed_forward=96),
            "warmstart": PlayedWarmStartConfig(steps=60, flat_steps=30, noisy_steps=10, warmup_steps=20, batch=8),
            "training": BudgetedTraining(generations=600, checkpoint_every=200, **every),
            "evaluation": EpisodeEvaluation(every=200, queries=4, samples=1, final_queries=4, final_samples=1),
        }
    return {
        "world": WebShopConfig(reward="success"),
        "policy": PolicyConfig(hidden=96, layers=2),
        "warmstart": PlayedWarmStartConfig(
            steps=300, flat_steps=100, noisy_steps=80, warmup_steps=20, slip=0.3, batch=8
        ),
        "training": BudgetedTraining(generations=40_000, checkpoint_every=10_000, **every),
        "evaluation": EpisodeEvaluation(every=5_000, queries=100, samples=1, final_queries=400, final_samples=1),
    }


WEBSHOP = Setting(
    name="threespo_webshop",
    parts=parts,
    tasks={"smoke": 2, "small": 8},
    rates={"grpo": 4e-4, "gigpo": 4e-4, "literal": 3e-5, "table": 2e-4, "continuation": 4e-4},
)
THREESPO_WEBSHOP = study(WEBSHOP, "3SPO in a shop (WebShop): score and success")
