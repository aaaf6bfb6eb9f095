"""The study of SMEPO on agentic search: is it better to be told how to search than what will be found?

A trace is a line for every search with what it finds, and the answer; the mask hides the entities and keeps the
relations. Observations are never trained on. The arms, and what they share, are those of `repro.study.smepo_arms`.
"""

from __future__ import annotations

from typing import Any

from repro.study.smepo_arms import FULL, PREFIXES, arms, checks, study

GUIDANCE = {
    **FULL,
    "smepo": ("SMEPO, entities", "entities"),
    "random": ("random mask, matched", "random"),
    "found": ("SMEPO, found entities", "entities_found"),
    **PREFIXES,
}
CHECKS = checks(own="entities", route="route")


def sizes(tier: str) -> dict[str, Any]:
    """World, warm start, training and evaluation of all arms."""
    from repro.environments.search import SearchConfig
    from repro.policy.model import PolicyConfig
    from repro.policy.warmstart import DemonstrationConfig
    from repro.training.config import ProbedEvaluation, TrainingConfig

    hints = tuple(hint for _, hint in GUIDANCE.values() if hint)
    if tier == "smoke":
        return {
            "world": SearchConfig(entities=6, max_hops=2, warm_hops=(1, 2), knowledge_bases=2, train_queries=32,
                                  heldout_queries=8, levels=(("1 hop", 1, 1), ("2 hops", 2, 2)), max_turns=4),
            "policy": PolicyConfig(hidden=48, layers=2, heads=2, kv_heads=2, feed_forward=96),
            "warmstart": DemonstrationConfig(steps=60, flat_steps=30, noisy_steps=20, warmup_steps=20, batch=16,
                                             hints=hints),
            "training": TrainingConfig(updates=12, max_new_tokens=8, checkpoint_every=5, gradient_split_every=0),
            "evaluation": ProbedEvaluation(every=6, queries=4, samples=2, final_queries=8, final_samples=4,
                                           probe_queries=4, final_probe_queries=8, format_queries=4, format_samples=4),
        }  # fmt: skip
    return {
        "world": SearchConfig(min_hops=3, max_hops=4, warm_hops=(1, 4), heldout_queries=128,
                              levels=(("1-2 hops", 1, 2), ("3 hops", 3, 3), ("4 hops", 4, 4))),
        # That what a hint shows is to be copied is learned late, and then all at once: after 350 steps it was not.
        "warmstart": DemonstrationConfig(steps=800, noisy_steps=100, route_slip=0.57, bare=0.4, trust=0.9, misled=1.0,
                                         hints=hints),
        "training": TrainingConfig(updates=160, max_new_tokens=8, gradient_split_every=0),
        "evaluation": ProbedEvaluation(every=10, queries=16, samples=2, final_queries=128, final_samples=4,
                                       probe_queries=8),
    }  # fmt: skip


SMEPO_SEARCH = study(
    "smepo_search",
    "SMEPO on agentic search: is it better to be told how to search, what is found, or nothing?",
    arms(GUIDANCE),
    sizes,
)
