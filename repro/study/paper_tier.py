"""The tiers "paper" and "paper-1gpu": a study's arms with the paper's own model, data and settings.

A study's `build` makes the config of an arm at the small tier; here everything that belongs to size is replaced by the
entry that `paper_settings.PAPER` has for it, so that builders know nothing of these tiers. Each value says where in the
paper it stands; what a paper leaves open says so with `OPEN` and names where the value is from instead.
`repro run STUDY --tier paper --dry-run` prints them all.

Importable without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

OPEN = "open: "  # begins the source of a value that the paper does not give
PAPER_TIERS = ("paper", "paper-1gpu")


@dataclass(frozen=True)
class Setting:
    """A dotted field of a run's config, its value, and where that stands in the paper.

    A field of the recipe is set in the arms whose choices have it: `recipe.guidance.intro` in those with guidance.
    """

    key: str
    value: Any
    source: str


@dataclass(frozen=True)
class PaperTier:
    """One study at one of the PAPER_TIERS.

    `world` is the config of the paper's data; `settings` come on top of it. `arms` are those that the paper compares
    and that this data allows, with `seeds` each. A run ends after `passes` over the training list or `updates`, unless
    its allocation or exploration ends it by a rule of its own. Lengths, in tokens, are expectations for the plan's
    estimates and nothing else; `turns` are the most that an episode has (None: a world of single turns).
    """

    model: Setting  # policy.checkpoint
    world: Any
    settings: tuple[Setting, ...]
    arms: tuple[str, ...]
    seeds: int
    data: tuple[str, ...]  # as `repro data` names them: trained on, then evaluated on
    queries: int  # in the training list
    prompt_tokens: int
    response_tokens: int
    lengths: str  # where these two are from
    hardware: str  # the paper's
    evaluated: int  # held-out queries
    passes: float | None = None
    updates: int | None = None
    turns: int | None = None
    other_models: tuple[str, ...] = ()
    departures: tuple[str, ...] = ()  # from the paper, that this engine makes
    blocked: str = ""  # what no machine can mend; then `world` stands in for the paper's, for the plan alone

    def reduced(self, *settings: Setting, **changes: Any) -> PaperTier:
        """The entry with some settings replaced, by key, and fields changed."""
        new = {setting.key: setting for setting in settings}
        kept = tuple(new.pop(setting.key, setting) for setting in self.settings)
        return replace(self, settings=kept + tuple(new.values()), **changes)

    def without(self, *keys: str) -> PaperTier:
        """The entry without some settings."""
        return replace(self, settings=tuple(setting for setting in self.settings if setting.key not in keys))

    def values(self) -> tuple[Setting, ...]:
        return (self.model, *self.settings)


def scaled(config: Any, name: str, tier: PaperTier) -> Any:
    """A study's RunConfig of the small tier with the world, policy, training and evaluation of the paper tier `name`.

    Recipe and schedule stay what makes the arm, but for the fields that `settings` name.
    """
    from repro.algorithms.allocation import Uniform
    from repro.algorithms.exploration import Episodes
    from repro.config import override
    from repro.policy.pretrained import CheckpointConfig, LoRA
    from repro.policy.vllm_engine import VLLM
    from repro.training.config import BudgetedTraining, EpisodeEvaluation, EvaluationConfig, TrainingConfig

    changes = {setting.key: setting.value for setting in tier.settings if applies(setting, config)}
    uniform = isinstance(config.recipe.allocation, Uniform) and isinstance(config.recipe.exploration, Episodes)
    updates = tier.updates
    if tier.passes is not None:
        prompts = changes.get("recipe.allocation.prompts", config.recipe.allocation.prompts)
        updates = round(tier.passes * tier.queries / prompts)
    updates = {"updates": updates} if uniform else {"updates": config.training.updates}
    budget = isinstance(config.training, BudgetedTraining)
    if budget:
        updates["reference_rows"] = config.training.reference_rows
    adapters = LoRA() if any(key.startswith("policy.lora.") for key in changes) else None
    config = replace(
        config,
        tier=name,
        world=tier.world,
        policy=CheckpointConfig(checkpoint=tier.model.value, lora=adapters, sampler=VLLM()),
        training=(BudgetedTraining if budget else TrainingConfig)(gradient_split_every=0, **updates),
        evaluation=EpisodeEvaluation() if budget else EvaluationConfig(),
        device="cuda",
    )
    return override(config, changes)


def applies(setting: Setting, config: Any) -> bool:
    """Whether a run's config has the field: another choice of a recipe may not."""
    holder = config
    for name in setting.key.split(".") if setting.key.startswith("recipe.") else ():
        if not hasattr(holder, name):
            return False
        holder = getattr(holder, name)
    return not callable(holder)
