"""Supervised warm start on expert traces: what stands in for pretraining where a policy is trained from scratch."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from repro import environments
from repro.algorithms.smepo import HINTS
from repro.config import config_hash, to_dict
from repro.environments import World, arithmetic, guided_arithmetic
from repro.environments.alfworld.world import AlfworldConfig
from repro.environments.arithmetic import ArithmeticConfig
from repro.environments.guided_arithmetic import GuidedArithmeticConfig
from repro.environments.program import ProgramConfig
from repro.environments.query import Query
from repro.environments.search import SearchConfig
from repro.environments.webshop.world import WebShopConfig
from repro.errors import ReproError
from repro.places import whole_folder
from repro.policy import demonstrations
from repro.policy.demonstrations import Lessons, examples
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.model import Policy, PolicyConfig, build
from repro.policy.pretrained import ServedConfig, load
from repro.policy.vllm_engine import VLLMEngine


@dataclass(frozen=True)
class WarmStartConfig:
    """Two phases: perfect traces until facts are looked up, then traces with slips (see `arithmetic.noisy_trace`).

    Muon takes the matrices of the blocks, AdamW all else. The learning rate warms up over `warmup_steps`, is flat until
    `flat_steps` and falls linearly to zero at `steps`; in the noisy phase it falls from `noisy_lr_scale` of its value.
    """

    steps: int = 600
    flat_steps: int = 150
    noisy_steps: int = 100
    slip: arithmetic.Slip = 0.1  # chance of a slip at each leaf value, operation and result of a noisy trace
    batch: int = 32
    muon_lr: float = 0.01
    adam_lr: float = 3e-3
    noisy_lr_scale: float = 0.5
    warmup_steps: int = 50
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.batch < 1 or self.warmup_steps < 1 or not 0 <= self.flat_steps < self.steps or self.noisy_steps < 0:
            raise ReproError(
                "warmstart: batch and warmup_steps must be 1 or more, flat_steps below steps, noisy_steps 0 or more"
            )
        arithmetic.slip_rates(self.slip)


@dataclass(frozen=True)
class GuidedWarmStartConfig(WarmStartConfig):
    """A warm start that also reads hints: `bare` of the problems come without, the others with a hint of any format.

    Every format is as frequent as every other, so that no arm of a study has the advantage of a familiar prompt. In
    the perfect phase a response without a hint is perfect, and one with a hint believes what it shows and computes what
    it hides, though its results are by chance `misled` wrong: were hints always right, the question alone would do and
    they would never be read, and results would be computed rather than copied, which a policy of this size learns late
    and from nothing less. In the noisy phase all responses slip; `slip` is the chance of a wrong result. A hint is cut
    from a trace with slips, and the response is that trace with a few more: `doubt` is the share of all slips that come
    after the hint was cut. At 0 a hint says for certain what follows; at 1 it is always right and no help against
    slips. By chance `copies` a response believes the results of its hint, else it computes them anew; at 0.5, copying
    was lost within 100 steps.
    """

    route_slip: float = 0.3  # chance of a wrong turn at each step of the route
    fact_slip: float = 0.03  # chance that a given value or an operation is misread
    misled: float = 0.9
    copies: float = 1.0
    bare: float = 0.5
    doubt: float = 0.1
    hints: tuple[str, ...] = tuple(HINTS)

    def __post_init__(self) -> None:
        super().__post_init__()
        chances = self.slip, self.route_slip, self.fact_slip, self.misled, self.copies, self.bare, self.doubt
        if not all(isinstance(chance, int | float) and 0 <= chance <= 1 for chance in chances):
            raise ReproError(
                "warmstart: slip, route_slip, fact_slip, misled, copies, bare and doubt are chances between 0 and 1"
            )
        if not self.hints or not set(self.hints) <= set(HINTS):
            raise ReproError(f"warmstart.hints is {self.hints}; choose one or more of {', '.join(HINTS)}")


@dataclass(frozen=True)
class DemonstrationConfig(WarmStartConfig):
    """The warm start of the search and the program world, see `repro.policy.demonstrations`.

    `slip` is the chance of a misreading (at a page; of a statement) and `route_slip` that of a wrong turn (at a search;
    in the plan). `bare` of the problems come without a hint, the others with one of `hints`, each as often; `trust` is
    the share of hints that tell the slips that follow. `misled` is the chance of a misreading in the full traces of the
    perfect phase, which the response follows. Without hints, all are bare.
    """

    slip: float = 0.05
    route_slip: float = 0.2
    bare: float = 0.5
    trust: float = 0.5
    misled: float = 0.3
    hints: tuple[str, ...] = ()  # keys of demonstrations.FORMATS for the world

    def __post_init__(self) -> None:
        super().__post_init__()
        chances = self.slip, self.route_slip, self.bare, self.trust, self.misled
        if not all(isinstance(chance, int | float) and 0 <= chance <= 1 for chance in chances):
            raise ReproError("warmstart: slip, route_slip, bare, trust and misled are chances between 0 and 1")


@dataclass(frozen=True)
class PlayedWarmStartConfig(WarmStartConfig):
    """The warm start of worlds whose experts can play on from any state: `batch` counts episodes.

    Each action is by chance `noise` one of the admissible ones instead of the expert's, and is learned as well, so that
    the policy meets states off the expert's way and its distribution stays wide.
    """

    slip: float = 0.2  # noisy phase: chance of each error of `webshop.expert.mistaken`; of a wrong name in a household
    noise: float = 0.25
    late_noise: float = 0.25  # in the noisy phase

    def __post_init__(self) -> None:
        super().__post_init__()
        chances = self.slip, self.noise, self.late_noise
        if not all(isinstance(chance, int | float) and 0 <= chance <= 1 for chance in chances):
            raise ReproError("warmstart: slip, noise and late_noise are chances between 0 and 1")


WarmStart = WarmStartConfig | GuidedWarmStartConfig | DemonstrationConfig | PlayedWarmStartConfig


@dataclass(frozen=True)
class WarmStartKey:
    """All that a warm start depends on; its hash names the cached folder."""

    world: World
    policy: PolicyConfig
    warmstart: WarmStart
    seed: int


def warm_start(
    key: WarmStartKey, cache: Path, device: str = "cpu", progress: Callable[[dict], None] | None = None
) -> Policy:
    """The warm-started policy of `key`, from `cache` if it is there, else trained and put there.

    A checkpoint named by the policy config is taken as it is: it has been pretrained already. The folder appears in one
    rename, so a killed warm start leaves nothing half-written behind, and two at once give the same weights.
    """
    if isinstance(key.policy, ServedConfig):
        policy = warm_start(dataclasses.replace(key, policy=key.policy.plain()), cache, device, progress)
        policy.engine = VLLMEngine(policy, key.policy.sampler)
        return policy
    if key.policy.checkpoint:
        return build(key.policy, [], key.seed, device)
    words = vocabulary(key)
    folder = cache / f"warmstart-{config_hash(key)}"
    if not (folder / "warmstart.json").is_file():
        policy = build(key.policy, words, key.seed, device)
        losses = train_supervised(policy, key, progress)
        with whole_folder(folder, "the warm start could not be saved") as partial:
            policy.save(partial)
            summary = {"key": to_dict(key), "steps": len(losses), "loss": losses}
            (partial / "warmstart.json").write_text(json.dumps(summary, indent=1))
    try:
        return load(str(folder), device, key.policy.dtype)
    except ReproError as error:
        raise ReproError(f"{folder} is damaged; delete it, and the warm start is trained again ({error})") from error


def vocabulary(key: WarmStartKey) -> list[str]:
    """The words of the key's world. ReproError for one without a vocabulary, or with another world's warm start."""
    wanted, _ = TAUGHT.get(type(key.world), (None, None))
    if wanted is not type(key.warmstart) or getattr(key.world, "style", "symbols") != "symbols":
        raise ReproError(
            f"{type(key.world).__name__} with {type(key.warmstart).__name__}: a policy from scratch can be warmed up "
            "only on the arithmetic world in style 'symbols', whose words make up its vocabulary, with "
            "WarmStartConfig, on the guided arithmetic world with GuidedWarmStartConfig, on the search and the "
            "program world with DemonstrationConfig, or on ALFWorld and WebShop with PlayedWarmStartConfig; for any "
            "other world set policy.checkpoint to a folder or hub id"
        )
    known = demonstrations.FORMATS.get(type(key.world))
    if known is not None and not set(key.warmstart.hints) <= set(known):
        raise ReproError(f"warmstart.hints is {key.warmstart.hints}; this world's are {', '.join(known)}")
    return environments.vocabulary(key.world)


def lessons(key: WarmStartKey) -> Lessons:
    """Fresh problems, and what is taught with each: in the perfect phase, and in the noisy one."""
    _, teach = TAUGHT[type(key.world)]
    return teach(key.world, key.warmstart, key.seed)


def arithmetic_lessons(world: ArithmeticConfig, settings: WarmStartConfig, seed: int) -> Lessons:
    slips = random.Random(f"slips:{seed}")
    return (
        arithmetic.stream(world, seed),
        lambda query: (query.text, query.trace),
        lambda query: (query.text, arithmetic.noisy_trace(world, query, slips, settings.slip)),
    )


def guided_lessons(world: GuidedArithmeticConfig, settings: GuidedWarmStartConfig, seed: int) -> Lessons:
    slips, formats = random.Random(f"slips:{seed}"), random.Random(f"formats:{seed}")
    chances = settings.route_slip, settings.fact_slip, settings.slip

    def hint_of() -> Callable[[Query], str] | None:
        return HINTS[formats.choice(settings.hints)].prompt if formats.random() >= settings.bare else None

    def perfect(query: Query) -> tuple[str, str]:
        if (hint := hint_of()) is None:
            return query.text, query.trace
        shown = guided_arithmetic.slipped(world, query, slips, settings.route_slip, settings.fact_slip, settings.misled)
        return hint(shown), guided_arithmetic.believed(world, shown, hint(shown)).trace

    def noisy(query: Query) -> tuple[str, str]:
        route, fact, result = chances
        late = settings.doubt
        shown = guided_arithmetic.slipped(world, query, slips, *(c * (1 - late) for c in chances))
        hint = hint_of()
        if hint is None or slips.random() < settings.copies:
            solved = guided_arithmetic.slipped(world, shown, slips, *(c * late for c in chances))
        else:
            computed = guided_arithmetic.believed(world, shown, "")
            solved = guided_arithmetic.slipped(world, computed, slips, route * late, fact * late, result)
        return (hint(shown) if hint else query.text), solved.trace

    return guided_arithmetic.stream(world, seed), perfect, noisy


# By world: the warm start that fits it, and what it teaches (world, warm start, seed).
TAUGHT: dict[type, tuple[type, Callable[..., Lessons]]] = {
    ArithmeticConfig: (WarmStartConfig, arithmetic_lessons),
    GuidedArithmeticConfig: (GuidedWarmStartConfig, guided_lessons),
    SearchConfig: (DemonstrationConfig, demonstrations.search_lessons),
    ProgramConfig: (DemonstrationConfig, demonstrations.program_lessons),
    AlfworldConfig: (PlayedWarmStartConfig, demonstrations.household_lessons),
    WebShopConfig: (PlayedWarmStartConfig, demonstrations.shop_lessons),
}


def train_supervised(policy: Policy, key: WarmStartKey, progress: Callable[[dict], None] | None = None) -> list[float]:
    """Minimise the traces' token NLL (mean over the batch's trace tokens, prompts excluded); the loss of every step.

    Of an episode, the tokens of the actions count, observations do not.

    Raises FloatingPointError if the loss stops being finite.
    """
    settings = key.warmstart
    matrices = [p for n, p in policy.parameters.items() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in policy.parameters.items() if not (p.ndim == 2 and "layers" in n)]
    problems, perfect, noisy = lessons(key)
    past = environments.history(key.world)
    losses: list[float] = []

    def phase(lr_scale: float, rates: Iterator[float], lesson: Callable[[Query], tuple[str, ...]]) -> None:
        """Train on the `lesson` of fresh problems, one step per learning-rate factor in `rates`."""
        muon = torch.optim.Muon(matrices, lr=settings.muon_lr, momentum=0.95, weight_decay=0.0)
        adam = torch.optim.AdamW(rest, lr=settings.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
        for factor in rates:
            taught = [lesson(next(problems)) for _ in range(settings.batch)]
            rows = [row for told in taught for row in examples(policy, told, past)]
            prompts, responses, learned = zip(*rows, strict=True)
            lay = layout(prompts, responses, range(len(rows)), matrices[0].device)
            logp_BT = response_logprobs(policy.decoder(), lay)[0]
            ignored_BT = torch.ones_like(logp_BT, dtype=torch.bool)
            for b, which in enumerate(learned):
                ignored_BT[b, : len(which)] = ~torch.tensor(which, device=logp_BT.device)
            loss = -logp_BT.masked_fill(ignored_BT, 0.0).sum() / sum(map(sum, learned))
            if not torch.isfinite(loss):
                raise FloatingPointError(f"warm start: the loss is {loss.item()} at step {len(losses) + 1}")
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*matrices, *rest], settings.clip_norm)
            for optimiser, lr in ((muon, settings.muon_lr), (adam, settings.adam_lr)):
                optimiser.param_groups[0]["lr"] = lr * lr_scale * factor
                optimiser.step()
                optimiser.zero_grad()
            losses.append(loss.item())
            if progress:
                progress(
                    {
                        "phase": "warm start",
                        "step": len(losses),
                        "of": settings.steps + settings.noisy_steps,
                        "loss": losses[-1],
                    }
                )

    def rise_and_fall() -> Iterator[float]:
        for step in range(settings.steps):
            rise = (step + 1) / settings.warmup_steps
            fall = (settings.steps - step) / (settings.steps - settings.flat_steps)
            yield min(1.0, rise, fall)

    phase(1.0, rise_and_fall(), perfect)
    noisy_rates = (1 - step / settings.noisy_steps for step in range(settings.noisy_steps))
    phase(settings.noisy_lr_scale, noisy_rates, noisy)
    return losses
