"""The tiers "paper" and "paper-1gpu": a study's arms with the paper's own model, data and settings.

A study's `build` makes the config of an arm as at the small tier; here everything that belongs to size is replaced by
the entry that `paper_settings.PAPER` has for it. Each value says where in the paper it stands; what a paper leaves open
says so with `OPEN` and names where the value is from instead. `repro run STUDY --tier paper --dry-run` prints them all.

Importable without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

OPEN = "open: "  # begins the source of a value that the paper does not give
PAPER_TIERS = ("paper", "paper-1gpu")


@dataclass(frozen=True)
class Setting:
    """A dotted field of a run's config, its value, and where that stands in the paper."""

    key: str
    value: Any
    source: str


@dataclass(frozen=True)
class PaperTier:
    """One study at one of the PAPER_TIERS.

    `world` is the config of the paper's data, `policy` the base fields of a CheckpointConfig; `settings` come on top of
    both. `arms` are those that the paper compares, with `seeds` each. Lengths, in tokens, are expectations for the
    plan's estimates and nothing else; `turns` are of an episode (None: a world of single turns).
    """

    model: Setting  # policy.checkpoint
    world: Any
    settings: tuple[Setting, ...]
    arms: tuple[str, ...]
    seeds: int
    data: tuple[str, ...]  # as `repro data` names them: trained on, then evaluated on
    queries: int  # in the training list
    passes: float | None  # over it, where the config's `updates` alone ends a run; None: `settings` say how many
    prompt_tokens: int
    response_tokens: int
    lengths: str  # where these two are from
    hardware: str  # the paper's
    evaluated: int  # held-out queries
    turns: int | None = None
    other_models: tuple[str, ...] = ()
    departures: tuple[str, ...] = ()  # from the paper, that this engine makes

    def reduced(self, *settings: Setting, **changes: Any) -> PaperTier:
        """The entry with some settings replaced, by key, and fields changed."""
        new = {setting.key: setting for setting in settings}
        kept = tuple(new.pop(setting.key, setting) for setting in self.settings)
        return replace(self, settings=kept + tuple(new.values()), **changes)

    def values(self) -> tuple[Setting, ...]:
        return (self.model, *self.settings)


def scaled(config: Any, tier: PaperTier) -> Any:
    """A study's RunConfig with a paper tier's world, policy, training and evaluation.

    Recipe and schedule stay what makes the arm, but for the fields that `settings` name. Where the allocation does not
    count its passes itself, the number of updates follows from the tier's.
    """
    from repro.algorithms.allocation import Uniform
    from repro.config import override
    from repro.policy.pretrained import CheckpointConfig, LoRA
    from repro.policy.vllm_engine import VLLM
    from repro.training.config import EvaluationConfig, TrainingConfig

    changes = {setting.key: setting.value for setting in tier.settings}
    adapters = LoRA() if any(key.startswith("policy.lora.") for key in changes) else None
    config = replace(
        config,
        world=tier.world,
        policy=CheckpointConfig(checkpoint=tier.model.value, lora=adapters, sampler=VLLM()),
        training=TrainingConfig(updates=config.training.updates, gradient_split_every=0),
        evaluation=EvaluationConfig(),
        device="cuda",
    )
    config = override(config, changes)
    if tier.passes is not None and isinstance(config.recipe.allocation, Uniform):
        updates = round(tier.passes * tier.queries / config.recipe.allocation.prompts)
        config = override(config, {"training.updates": updates})
    return config
