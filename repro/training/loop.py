"""The loop. Everything that makes one algorithm differ from another is in the five choices of its recipe."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from repro import environments
from repro.algorithms.allocation import Uniform
from repro.algorithms.guidance import Unguided
from repro.algorithms.smepo import ExpertTrace
from repro.algorithms.threespo import ThreeSPO
from repro.environments.query import Query
from repro.errors import ReproError
from repro.policy.model import Policy, parameter_count
from repro.policy.warmstart import WarmStartKey, warm_start
from repro.study.runs import Run, data_folder, open_run
from repro.training import accounting, episodes, probes
from repro.training.asynchronous import AsynchronousSource
from repro.training.checkpoint import load_checkpoint, save_checkpoint
from repro.training.config import Asynchronous, RunConfig, TrainingConfig
from repro.training.counts import Counts, due
from repro.training.diagnostics import measure
from repro.training.evaluation import evaluate
from repro.training.learner import Diverged, Learner
from repro.training.rollouts import Rollouts
from repro.training.sampling import Sampler
from repro.training.schedule import LaggedSource
from repro.training.trees import TreeSource


def train(config: RunConfig, folder: Path, progress: Callable[[dict], None] | None = None) -> dict[str, Any]:
    """Run or resume one run in `folder` and return its result; a finished run is returned as it is.

    Progress is called with {"update", "updates"} after each update; where a budget of generations ends the run,
    "updates" is an estimate by the share of it that is spent. A NaN loss ends the run as "diverged", kept. A run whose
    exploration finds nothing more to sample ends early as "finished", with "exhausted" in its result. Raises ReproError
    for a device that is not there, a locked or damaged folder, or a checkpoint that cannot be loaded.
    """
    check_device(config.device)
    torch.set_num_threads(config.training.threads)
    with open_run(config, folder, device_name(config.device)) as run:
        return run.finished or _train(config, run, progress or (lambda _: None))


def _train(config: RunConfig, run: Run, progress: Callable[[dict], None]) -> dict[str, Any]:
    training, recipe = config.training, config.recipe
    key = WarmStartKey(config.world, config.policy, config.warmstart, config.seed)
    policy = warm_start(key, data_folder() / "cache", config.device, progress)
    started = time.perf_counter()  # the warm start is shared by all arms of a seed: no arm is charged for it
    learner = Learner(policy, recipe, training)
    fresh = {"update": 0, "log": None, "source": None, "sampler": None, "seconds": 0.0}
    state = load_checkpoint(run.folder, learner) or fresh
    run.log.rewind(state["log"])
    heldout = environments.heldout(config.world)
    sampler = Sampler(config, policy, state["sampler"])
    check_context(config, policy, sampler.queries, heldout)
    unit = accounting.cost(policy.model.config, parameter_count(policy))
    status, update, counts = "finished", state["update"], Counts(state.get("counts"))
    counted = training.generations is not None or environments.multi_turn(config.world)
    save_due = False

    def log(records: Iterable[dict]) -> None:
        for entry in records:
            run.log.append(entry)

    def evaluation(update: int, end: bool = False) -> None:
        sizes = config.evaluation
        queries, samples = (sizes.final_queries, sizes.final_samples) if end else (sizes.queries, sizes.samples)
        for temperature in (None, *(sizes.also if end or update == 0 else ())):
            records = evaluate(policy, heldout, config, queries, samples, update, temperature)
            log(entry | ({"generations": counts.generations} if counted else {}) for entry in records)
        log(probes.asked_with_hints(policy, heldout, config, update, end or update == 0))

    def clock() -> int:
        return update if training.generations is None else counts.generations

    def over() -> bool:
        return update >= training.updates or clock() >= (training.generations or training.updates)

    if update == 0:
        log(probes.opening(sampler.queries, policy, config))
        evaluation(0)
    with rollout_source(config, policy, sampler, state["source"]) as source:
        while not over():
            supply = source.next(update)
            log(sampler.profiled() + source.records())
            if supply is None:  # the allocation asks for no more, or exploration finds none
                break
            rollouts, waiting = supply
            split = training.gradient_split_every and (update + 1) % training.gradient_split_every == 0
            try:
                metrics, batch = learner.update(rollouts, bool(split))
            except Diverged as error:
                run.log.append({"kind": "diverged", "update": update + 1, "reason": str(error)})
                status = "diverged"
                break
            before = clock()
            counts.add(rollouts)
            line = record(rollouts, metrics | waiting | measure(batch, recipe), unit)
            run.log.append(line | (counts.metrics() if counted else {}))
            update += 1
            if not over():
                source.updated(update - 1)
            log(source.records())
            if due(config.evaluation.every, before, clock()) and not over():
                evaluation(update)
            save_due |= due(training.checkpoint_every, before, clock())
            if save_due and not over() and (kept := source.state()) is not None:
                save_due = False
                save_checkpoint(
                    run.folder,
                    learner,
                    {
                        "update": update,
                        "log": run.log.mark(),
                        "source": kept,
                        "sampler": sampler.state(),
                        "counts": counts.state(),
                        "seconds": state["seconds"] + time.perf_counter() - started,
                    },
                )
            progress({"update": update, "updates": expected(update, training, sampler, counts)})
        rest = source.rest(update)
        log(source.records())
        if rest:
            counts.add(rest)
            bill = accounting.update_flops(unit, rest, [])
            log([{"kind": "rest", "update": update, "seconds_generate": rest.seconds} | bill | counts.metrics()])
    # A diverged run is evaluated as well: the update that failed has not touched its weights.
    evaluation(update, end=True)
    result = run.finish(
        {
            "status": status,
            "updates": update,
            "parameters": unit.parameters,
            "seconds": state["seconds"] + time.perf_counter() - started,
            **({"exhausted": True} if source.exhausted else {}),
        }
    )
    (run.folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return result


@contextlib.contextmanager
def rollout_source(config: RunConfig, policy: Policy, sampler: Sampler, state: dict | None) -> Iterator[Any]:
    """The source that the config's schedule names; its processes end with the block."""
    if isinstance(config.recipe.exploration, ThreeSPO):
        source = TreeSource(config, policy, sampler.queries, state)
    elif isinstance(config.schedule, Asynchronous):
        for choice in (config.recipe.allocation, config.recipe.guidance):
            if not isinstance(choice, Uniform | Unguided | ExpertTrace):
                raise ReproError(
                    f"{type(choice).__name__} decides by the history of a run, which the asynchronous schedule's "
                    "generator process does not keep: choose schedule=Lagged, or recipe.allocation=Uniform with "
                    "guidance that does not change"
                )
        source = AsynchronousSource(config, policy, state)
    else:
        source = LaggedSource(config.schedule, config.seed, config.training.updates, sampler, state)
    with source:
        yield source


def expected(update: int, training: TrainingConfig, sampler: Sampler, counts: Counts) -> int:
    """How many updates there will be, as far as that is known: from the allocation, or the share of a budget spent."""
    known = min(training.updates, sampler.expected() or training.updates)
    if training.generations is not None:
        known = min(known, update * training.generations // counts.generations)
    return max(known, update)


def record(rollouts: Rollouts, metrics: dict, unit: accounting.Cost) -> dict:
    """The log line of an update; `reward` and `mixed` are of all that was drawn, trained on or not, `reward` without
    an expert's rows."""
    rewards: dict[int, list[float]] = {}
    all_reward, all_group, place_B = rollouts.compared()
    experts = {place_B[b] for b, expert in enumerate(rollouts.expert_B) if expert}
    for group, reward in zip(all_group, all_reward, strict=True):
        rewards.setdefault(group, []).append(reward)
    mixed = {group for group, values in rewards.items() if min(values) < max(values)}
    tokens = list(zip(rollouts.group_B, map(len, rollouts.responses), strict=True))
    tokens += [(unused.group, unused.length) for unused in rollouts.unused]
    if rollouts.unused or rollouts.episodes or experts:
        drawn = [reward for place, reward in enumerate(all_reward) if place not in experts]
        metrics |= {"reward": sum(drawn) / len(drawn) if drawn else None, "mixed": len(mixed) / len(rewards)}
    sampled = [episode for place, episode in enumerate(rollouts.episodes) if place not in experts]
    return {
        "kind": "update",
        "update": rollouts.update + 1,
        "lag": rollouts.update - rollouts.version,
        "mismatch_kl": rollouts.mismatch_kl,
        "finished": sum(rollouts.finished_B) / len(rollouts.finished_B),
        "groups": len(rewards),
        "informative_tokens": sum(length for group, length in tokens if group in mixed),
        "seconds_generate": rollouts.seconds,
        **accounting.update_flops(unit, rollouts, metrics.pop("trained_B")),
        **({"rollouts": len(sampled)} if rollouts.episodes else {}),
        **metrics,
        **episodes.summary(sampled),
    }


def check_context(config: RunConfig, policy: Policy, train: list[Query], heldout: dict[str, list[Query]]) -> None:
    """ReproError if a (first) prompt and a response may not fit the model's context."""
    queries = [environments.asked(config.world, q) for q in train + [q for level in heldout.values() for q in level]]
    texts = (text for query in queries for text in probes.prompts(query, config, policy.measure))
    longest = max(len(policy.prompt(text)) for text in texts)
    context = policy.context
    if longest + config.training.max_new_tokens > context:
        raise ReproError(
            f"a prompt of {longest} tokens with training.max_new_tokens={config.training.max_new_tokens} does not "
            f"fit the model's context of {context}: allow fewer new tokens or choose another policy"
        )


def check_device(device: str) -> None:
    """ReproError if `device` cannot be used here."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ReproError(
            f"device={device}: this machine has no usable CUDA GPU. Set device=cpu, or install a CUDA build "
            "of torch and a driver (`repro doctor` shows what is there)."
        )
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ReproError(f"device={device!r}: torch cannot use it ({str(error).splitlines()[0]})") from error
    if kind not in ("cpu", "cuda"):
        raise ReproError(f"device={device!r} is not supported; choose cpu or cuda")


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
