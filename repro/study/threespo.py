"""What the two studies of 3SPO (ALFWorld, WebShop) share: arms, budget, tuning rule, and the config of a cell.

The paper compares methods after 400 epochs, whatever an epoch of each costs. Here every arm samples until it has had
the same number of generations (a generation is one response, in these worlds one turn; branches, plain rollouts and
continuations alike), so that "GRPO at matched generations" is simply GRPO. Core arms take the whole budget. Ablations
and pieces take the share `SHARE` of it and are compared with their reading at that point of its own run, by seed.

Learning rates. Every core arm gets the same tuning: each rate of `RATES`, once, on the seed `TUNING_SEED` that no
result uses, with `TUNING_SHARE` of the budget. The rate with the highest held-out success at the training temperature,
mean of the last two evaluations, on the first held-out list alone (in households `valid_seen`; the other is never
looked at), is taken; of equals the smaller. Every other arm has the rate of the core arm that it changes.

The optimiser takes one step an update, and 3SPO's updates differ in size by a factor of a hundred. The literal reading
takes a whole step for each, as published; "table", "continuation" and what is made of them scale the step of an update
of fewer than `ROWS` turns by its size. The loss is GRPO's clipped one without a KL term in every arm, the mean over
tokens; GRPO's advantage is that of the released code, relative to all turns of a task's episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repro.study.definition import Arm, Study
from repro.study.paper_tier import PAPER_TIERS

RATES = (3e-5, 1e-4, 2e-4, 4e-4)
TUNING_SEED = 1000
TUNING_SHARE = 0.5  # of the budget
SHARE = {"core": 1.0, "control": 1.0, "ablation": 0.5, "piece": 0.5}  # of the budget, by condition
ROWS = 256  # turns with a gradient from which on an update is a whole step
GROUP = 8  # episodes a task, branches a state (the paper's group size and G_max)
CORE = ("grpo", "gigpo", "literal", "table", "continuation")
ALGORITHMS = {
    "grpo": "grpo_episodes",
    "gigpo": "gigpo",
    **{reading: f"threespo_{reading}" for reading in ("literal", "table", "continuation")},
}
CONDITIONS = {
    "core": "whole budget",
    "control": "whole budget; a comparison that the paper lacks",
    "ablation": "half of the budget; the literal reading without a part, or with another constant",
    "piece": "half of the budget; a piece of the paper put back",
}
LABELS = {
    "grpo": "GRPO",
    "gigpo": "GiGPO",
    "literal": "3SPO, literal",
    "table": "3SPO, table",
    "continuation": "3SPO, continuation",
}
# Changes to the literal reading: the paper's five ablations, then what it does not compare.
ABLATED = {
    "no_novelty": "no novelty",
    "no_score_difference": "no score difference",
    "fixed_omega": "fixed omega",
    "fixed_n": "fixed n",
    "no_backtracking": "no backtracking",
    "figure_alpha": "alpha 1, t = epoch",
    "post_trajectory": "one update an epoch",
    "per_sample": "step by update size",
    "goal_key": "goal in the key",
    "unpruned": "no pruning",
}
# Pieces of the paper that "table" lacks, then those that change anything in "continuation".
PUT_BACK = {
    "table": {
        "raw_key": "raw text as key",
        "no_turn": "no turn in the key",
        "indicator_in_reward": "pruned S = 0 in reward",
        "unseen_one": "unseen S = 1",
        "novelty": "novelty",
        "depth_first": "depth-first tree",
        "depth_first_recorded": "tree, its leaves recorded",
        "scores_before_recording": "scores before recording",
        "adaptive_n": "adaptive n",
        "alpha_50": "alpha 50, t = paths",
        "mean": "MEAN advantage",
        "all_groups": "flat groups kept",
        "update_every_step": "update every step",
        "recency": "recency (not the paper's)",
    },
    "continuation": {
        "novelty": "novelty",
        "alpha_50": "alpha 50, t = paths",
        "adaptive_n": "adaptive n",
        "mean": "MEAN advantage",
        "depth_first": "depth-first tree",
        "update_every_step": "update every step",
        "table_estimate": "estimates from the table",
    },
}
LARGE = 4  # times as many tasks an epoch
OWN = {  # ablations that are not in threespo.ABLATIONS: dotted settings
    "goal_key": (("recipe.exploration.key", "goal_observation"),),
    "unpruned": (("recipe.exploration.prune", "nowhere"),),
    "per_sample": (("training.reference_rows", ROWS),),
}


@dataclass(frozen=True)
class Setting:
    """What differs between the two studies. `parts(tier)` gives the fields of the RunConfig (world, policy, warmstart,
    training, evaluation), and `tasks(tier)` how many tasks an epoch, or an update of GRPO, takes."""

    name: str
    parts: Callable[[str], dict[str, Any]]
    tasks: dict[str, int]  # by tier
    rates: dict[str, float]  # by core arm: what tuning chose


def reading_of(arm: str) -> str:
    """The core arm that an arm is a change of: of "table-novelty", "table"."""
    return arm.partition("-")[0]


def arms(seeds: int = 5, extended: int = 3) -> dict[str, Arm]:
    """Every arm of either study; `seeds` for core ones."""
    found = [_arm(name, "core", LABELS[name], seeds, core=True) for name in CORE]
    found += [
        _arm(f"{name}-large", "control", f"{LABELS[name]}, {LARGE} x tasks", extended, tasks=LARGE)
        for name in ("grpo", "table", "continuation")
    ]
    found += [_ablation(name, label, extended) for name, label in ABLATED.items()]
    found += [
        _arm(f"{reading}-{piece}", "piece", f"{reading} + {label}", extended, pieces=(piece,))
        for reading, pieces in PUT_BACK.items()
        for piece, label in pieces.items()
    ]
    return {arm.name: arm for arm in found}


def _ablation(name: str, label: str, seeds: int) -> Arm:
    pieces = () if name in OWN else (name,)
    return _arm(f"literal-{name}", "ablation", f"literal, {label}", seeds, pieces=pieces, dotted=OWN.get(name, ()))


def _arm(
    name: str, condition: str, label: str, seeds: int, *, core: bool = False, tasks: int = 1,
    pieces: tuple[str, ...] = (), dotted: tuple[tuple[str, Any], ...] = (),
) -> Arm:  # fmt: skip
    return Arm(
        name=name,
        label=label,
        algorithm=ALGORITHMS[reading_of(name)],
        condition=condition,
        seeds=seeds,
        core=core,
        description=f"{label}; {CONDITIONS[condition]}",
        settings=(("pieces", pieces), ("tasks", tasks), *dotted),
    )


def build(setting: Setting, arm: Arm, seed: int, tier: str) -> Any:
    """The RunConfig of a cell."""
    from dataclasses import replace

    from repro.algorithms import ALGORITHMS as RECIPES
    from repro.algorithms.allocation import Uniform
    from repro.algorithms.grpo import GRPO
    from repro.algorithms.threespo import reading
    from repro.config import override
    from repro.training.config import Lagged, RunConfig

    settings = dict(arm.settings)
    pieces, factor = settings.pop("pieces"), settings.pop("tasks")
    base, parts = reading_of(arm.name), setting.parts(tier)
    tasks, training = setting.tasks[tier] * factor, parts.pop("training")
    changes: dict[str, Any] = {
        "objective": GRPO("token"),  # as released; a mean over responses learned more slowly (GRPO, tuning seed)
        "allocation": Uniform(prompts=tasks, group_size=GROUP),  # the same tasks in every arm
    }
    if base not in ("grpo", "gigpo"):
        grown = replace(reading(base, *pieces), tasks=tasks, turns=parts["world"].max_turns, g_max=GROUP)
        changes["exploration"] = grown
    recipe = replace(RECIPES[arm.algorithm], **changes)
    training = replace(
        training,
        learning_rate=setting.rates[base],
        generations=round(SHARE[arm.condition] * training.generations),
        reference_rows=ROWS if base in ("table", "continuation") else None,
    )
    config = RunConfig(setting.name, arm.name, tier, seed, recipe, Lagged(0, 0), training=training, **parts)
    return override(config, settings)


def study(setting: Setting, title: str, seeds: int = 5, extended: int = 3) -> Study:
    """The study of a setting."""
    return Study(
        name=setting.name,
        title=title,
        paper="3spo",
        notebook=f"{setting.name}.ipynb",
        arms=arms(seeds, extended),
        tiers=("smoke", "small", *PAPER_TIERS),
        build=lambda arm, seed, tier: build(setting, arm, seed, tier),
        smoke_seeds=1,  # a notebook within a minute of one core
    )
