"""The config of one run: everything its numbers depend on, and nothing else. Its hash is the run's identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from repro.algorithms import Recipe
from repro.algorithms.gigpo import GiGPO
from repro.algorithms.threespo import ThreeSPO
from repro.config import at_least_one
from repro.environments import World, multi_turn
from repro.environments.arithmetic import ArithmeticConfig
from repro.errors import ReproError
from repro.policy.model import PolicyConfig
from repro.policy.pretrained import CheckpointConfig, ServedConfig
from repro.policy.warmstart import WarmStart, WarmStartConfig


@dataclass(frozen=True)
class Lagged:
    """Rollouts of update t come from the weights of max(t - K, 0): lag K in learner updates, drawn from [low, high].

    low = high = 0 is synchronous training. The law is drawn per update from the run's seed. The defaults are the
    paper's reference point: 16 updates a sync at staleness threshold 0.5, with a generator that keeps the queue full.
    """

    low: int = 8
    high: int = 23

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ReproError(
                f"schedule: a lag between {self.low} and {self.high} updates is not possible; give 0 <= low <= high"
            )


@dataclass(frozen=True)
class Asynchronous:
    """A generator process with weights of its own, a bounded queue, and a sync every `sync_every` updates.

    `staleness_threshold` s is verl's: between two syncs the generator may hold at most (1 + s) * sync_every updates'
    worth of groups, left-overs of the last period included. s = 0 is synchronous per period.
    """

    sync_every: int = 16  # train_batch_size 512 / ppo_mini_batch_size 32 (ASymPO section 5)
    staleness_threshold: float = 0.5  # ASymPO section 5
    timeout_seconds: float = 300.0  # without a rollout for so long, the generator is declared dead


Schedule = Lagged | Asynchronous


@dataclass(frozen=True)
class TrainingConfig:
    """The learner. Defaults are verl's, which the ASymPO paper refers to, but for size and learning rate."""

    generations: ClassVar[int | None] = None  # no budget but `updates`
    reference_rows: ClassVar[int | None] = None

    updates: int = 150  # 2.3 epochs of 512 queries (ASymPO section 5: 3 epochs of 4k)
    learning_rate: float = (
        1e-4  # of 5e-5, 1e-4, 2e-4: GRPO's best on a seed that is not reported (paper: 2e-6 at 1.7-4 B)
    )
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    max_new_tokens: int = 48
    temperature: float = 1.0
    microbatch_tokens: int = 1 << 16  # trained tokens per forward and backward; changes no number beyond rounding
    gradient_split_every: int = 10  # updates between measurements of per-sign gradients; 0: never
    checkpoint_every: int = 50
    threads: int = 1

    def __post_init__(self) -> None:
        at_least_one("training.", self, "updates", "max_new_tokens", "microbatch_tokens", "threads")
        if self.temperature <= 0 or self.clip_norm <= 0 or self.learning_rate < 0:
            raise ReproError("training: temperature and clip_norm must be positive, and learning_rate not negative")
        if self.weight_decay < 0 or not all(0 <= beta < 1 for beta in self.betas):
            raise ReproError(
                f"training: weight_decay {self.weight_decay} must not be negative, and betas {list(self.betas)} must "
                "each be 0 or more and below 1"
            )


@dataclass(frozen=True)
class BudgetedTraining(TrainingConfig):
    """Training until so many generations have been sampled, for arms whose updates are of different sizes.

    A generation is one sampled response (in a world of several turns: one turn), whoever sampled it: plain rollouts,
    branches of a tree, continuations, what is left out of an update. Evaluation and profiles are not counted. The run
    ends with the first update after which `generations` or more have been sampled, or, where a tree is grown, when the
    rest of the budget is less than one state's branches; `updates` is an upper bound. `checkpoint_every` and
    `evaluation.every` count generations here: the first update at or past each multiple.

    `reference_rows` keeps the learning rate per sample: an update in which fewer rows than that (responses; turns)
    have a gradient takes `learning_rate` times their number / reference_rows. Without it a tree's many small updates
    each take a whole step, whatever their number, which is as published.
    """

    updates: int = 1_000_000
    generations: int = 100_000
    reference_rows: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one("training.", self, "generations")
        if self.reference_rows is not None:
            at_least_one("training.", self, "reference_rows")


@dataclass(frozen=True)
class EvaluationConfig:
    """Held-out evaluation: a small one at the start and along the way, the full one at the end."""

    also: ClassVar[tuple[float, ...]] = ()  # further temperatures

    every: int = 50  # updates
    queries: int = 32  # per level, along the way
    samples: int = 4
    final_queries: int = 64
    final_samples: int = 8  # mean@8 and pass@8 (ASymPO section 5)

    def __post_init__(self) -> None:
        at_least_one("evaluation.", self, "queries", "samples", "final_queries", "final_samples")


@dataclass(frozen=True)
class EpisodeEvaluation(EvaluationConfig):
    """Evaluation at the training's temperature and, at the start and at the end, at those of `also` too."""

    also: tuple[float, ...] = (0.4,)  # 3SPO's released scripts

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.also, default=0) < 0:
            raise ReproError(f"evaluation.also is {self.also}; a temperature is 0 or more")


@dataclass(frozen=True)
class ProbedEvaluation(EvaluationConfig):
    """Evaluation with the probes of `repro.training.probes` beside it, one response a question.

    `formats` are hints (keys of `demonstrations.FORMATS` of the world, "" for none) with which the warm start is asked
    training questions before the first update: what must hold of it for a comparison of hints to mean anything.
    """

    probe_queries: int = 16  # held-out, per level, along the way
    final_probe_queries: int = 64  # at the start and at the end
    formats: tuple[str, ...] = ()
    format_queries: int = 48
    format_samples: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one("evaluation.", self, "probe_queries", "final_probe_queries", "format_queries", "format_samples")


@dataclass(frozen=True)
class RunConfig:
    """One cell of a study's grid."""

    study: str
    arm: str
    tier: str
    seed: int
    recipe: Recipe
    schedule: Schedule = Lagged()
    world: World = ArithmeticConfig()
    policy: PolicyConfig | ServedConfig | CheckpointConfig = PolicyConfig()
    warmstart: WarmStart = WarmStartConfig()
    training: TrainingConfig | BudgetedTraining = TrainingConfig()
    evaluation: ProbedEvaluation | EvaluationConfig | EpisodeEvaluation = EvaluationConfig()
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in (self.study, self.arm, self.tier):  # they name the run's folder
            if not name or name.startswith(".") or "/" in name or "\0" in name:
                raise ReproError(f"{name!r} cannot name a study, an arm or a tier")
        if self.seed < 0:
            raise ReproError(f"seed {self.seed} is negative")
        _check_turns(self)


def _check_turns(config: RunConfig) -> None:
    """ReproError for choices that need a world of several turns, or something else, and do not have it."""
    recipe, turns = config.recipe, [ThreeSPO, GiGPO]
    for choice in (recipe.exploration, recipe.credit):
        if type(choice) in turns and not multi_turn(config.world):
            raise ReproError(
                f"{type(choice).__name__} needs a world of several turns; {type(config.world).__name__} has single ones"
            )
    if not isinstance(recipe.exploration, ThreeSPO):
        return
    if config.schedule != Lagged(0, 0):
        raise ReproError(
            f"recipe.exploration=ThreeSPO samples a state after the update of the one before: {config.schedule} "
            "cannot be; choose schedule=Lagged(0, 0)"
        )
    if config.training.generations is None:
        raise ReproError(
            "recipe.exploration=ThreeSPO may sample for ever without an update: choose training=BudgetedTraining"
        )
