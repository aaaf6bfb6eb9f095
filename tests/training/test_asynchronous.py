"""The asynchronous schedule: order, staleness rule, weights, and every way a generator or its learner can end."""

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from repro.algorithms import Recipe
from repro.algorithms.allocation import Uniform
from repro.algorithms.asympo import Naive
from repro.environments import arithmetic
from repro.environments.arithmetic import ArithmeticConfig
from repro.errors import ReproError
from repro.policy.logprobs import reference_logprobs
from repro.policy.model import PolicyConfig, build
from repro.policy.warmstart import WarmStartConfig
from repro.study.runs import read_metrics, run_folder
from repro.training.asynchronous import AsynchronousSource, GeneratorPolicy, batch_limit
from repro.training.config import Asynchronous, EvaluationConfig, RunConfig, TrainingConfig
from repro.training.loop import train
from repro.training.sampling import Sampler
from tests.training.stand_ins import learn

PATIENCE = 300  # seconds: only what hangs takes as long, however busy the machine
WORLD = ArithmeticConfig(
    names=6, max_length=2, max_distractors=0, train_queries=8, heldout_queries=2, levels=(("easy", 1, 2),)
)
CONFIG = RunConfig(
    study="test",
    arm="test",
    tier="smoke",
    seed=3,
    recipe=Recipe(Naive(), allocation=Uniform(prompts=2, group_size=2)),
    schedule=Asynchronous(sync_every=4, staleness_threshold=0.5, timeout_seconds=120),
    world=WORLD,
    # Wide enough that its weights exceed what a pipe holds unread (64 KiB).
    policy=PolicyConfig(hidden=16, layers=1, heads=2, kv_heads=2, feed_forward=512),
    warmstart=WarmStartConfig(steps=2, flat_steps=1, noisy_steps=1, warmup_steps=1, batch=2),
    training=TrainingConfig(updates=40, max_new_tokens=6, checkpoint_every=4, gradient_split_every=0),
    evaluation=EvaluationConfig(every=0, queries=1, samples=1, final_queries=1, final_samples=1),
)


@pytest.fixture
def policy():
    torch.set_num_threads(1)
    return build(CONFIG.policy, arithmetic.vocabulary(WORLD), seed=0)


@torch.no_grad()
def put(policy, weights):
    for name, p in policy.parameters.items():
        p.copy_(weights[name])


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def states(pid):
    """The states of a process's threads: T stopped, Z or X dead (or none at all), anything else alive."""
    found = set()
    for path in Path("/proc").glob(f"{pid}/task/*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.add(path.read_text().rpartition(")")[2].split()[0])
    return found


def alive(pid):
    return not states(pid) <= {"Z", "X"}


def assert_nothing_left():
    assert not multiprocessing.active_children()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("generator")]


def content(rollouts):
    return {key: value for key, value in rollouts.to_json().items() if key != "seconds"}


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0, 0.15])
@pytest.mark.parametrize("sync_every", [1, 4, 20])
def test_the_limit_is_verls_counter(threshold, sync_every):
    """Random interleavings of a generator and a learner, with the counter that verl keeps."""
    schedule, rng = Asynchronous(sync_every, threshold), random.Random(0)
    capacity = {(0.15, 20): 23, (0.15, 4): 4, (0.15, 1): 1}.get((threshold, sync_every), (1 + threshold) * sync_every)
    started = finished = consumed = held = 0
    for _ in range(3000):
        may_start = held < int(capacity)
        assert may_start == (started < batch_limit(schedule, consumed))
        event = rng.choice(["start", "finish", "consume"])
        if event == "start" and may_start:
            started, held = started + 1, held + 1
        elif event == "finish" and finished < started:
            finished += 1
        elif event == "consume" and consumed < finished:
            consumed += 1
            if consumed % sync_every == 0:
                held = started - consumed  # what is queued or running at a sync
    assert consumed > 5 * sync_every


@pytest.mark.parametrize("wrong", [{"sync_every": 0}, {"staleness_threshold": -0.5}, {"timeout_seconds": 0.0}])
def test_a_schedule_that_cannot_work_is_refused(policy, wrong):
    with pytest.raises(ReproError, match=next(iter(wrong))):
        AsynchronousSource(replace(CONFIG, schedule=replace(CONFIG.schedule, **wrong)), policy)


def test_the_generators_tokenizer_is_the_policys(policy):
    backend = policy.tokenizer.backend_tokenizer.to_str()
    theirs = GeneratorPolicy(policy.model.config.to_dict(), backend, policy.end_token, "cpu")
    for query in arithmetic.train_list(WORLD, 0):
        tokens = policy.encode(f"{query.text} {query.trace}")
        assert theirs.encode(f"{query.text} {query.trace}") == tokens
        assert theirs.decode([*tokens, theirs.end_token]) == policy.decode([*tokens, policy.end_token])


def test_order_lags_and_weights_of_a_fast_generator(policy):
    updates, schedule = 12, CONFIG.schedule
    snapshots, taken, idle = [policy.snapshot()], [], []
    with AsynchronousSource(CONFIG, policy) as source:
        for update in range(updates):
            full = batch_limit(schedule, update) - update  # a slow learner: it waits until the generator must
            wait_for(lambda full=full: source.depth >= full)
            time.sleep(0.05)
            assert source.depth == full <= 6
            rollouts, measured = source.next(update)
            assert measured["queue_depth"] == full
            assert measured["idle_learner"] >= 0 and measured["rollouts_per_second"] > 0
            taken.append(rollouts)
            idle.append(measured["idle_generator"])
            learn(policy, update)
            snapshots.append(policy.snapshot())
            source.updated(update)
        assert source.state() == {"update": updates}

        # Weights that are no weights: the generator raises, which is reported although batches are left.
        norm = "model.norm.weight"
        source.policy = SimpleNamespace(weights=lambda: [(n, p) for n, p in policy.weights() if n != norm])
        source.updated(15)
        wait_for(lambda: source.failure is not None)
        assert source.depth > 1
        with pytest.raises(ReproError, match=rf"(?s)generator process failed.*Traceback.*KeyError: '{norm}'"):
            source.next(updates)

    assert [r.update for r in taken] == list(range(updates))
    # Capacity 6 at 4 updates a sync: 2 batches are left over at each sync.
    assert [r.update - r.version for r in taken] == [0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 2, 3]
    # It waited for the syncs before batches 6 and 10, through four naps of the learner each time.
    assert min(idle[6], idle[10]) > 0.04
    sample = Sampler(CONFIG, policy)
    for rollouts in taken:
        put(policy, snapshots[rollouts.version])
        assert content(rollouts) == content(sample(rollouts.update, rollouts.version))  # what other schedules sample
        trainer_BT = logprobs(policy, rollouts)
        behaviour_BT = torch.zeros_like(trainer_BT)
        for b, row in enumerate(rollouts.behaviour_logp):
            behaviour_BT[b, : len(row)] = torch.tensor(row)
        torch.testing.assert_close(behaviour_BT, trainer_BT, atol=1e-5, rtol=0)
        put(policy, snapshots[rollouts.version + 4])
        assert (logprobs(policy, rollouts) - behaviour_BT).abs().max() > 1e-2


@torch.no_grad()
def logprobs(policy, rollouts):
    return reference_logprobs(policy.model, rollouts.prompts, rollouts.responses, rollouts.prompt_B)


def test_a_slow_generator_takes_new_weights_up_between_batches(policy):
    """It never reaches its limit of 4, where it would have to take them up: lags would then be 2 and 3 in turn."""
    config = replace(
        CONFIG,
        schedule=Asynchronous(sync_every=2, staleness_threshold=1.0),
        recipe=replace(CONFIG.recipe, allocation=Uniform(prompts=8, group_size=8)),
        training=replace(CONFIG.training, max_new_tokens=40),
    )
    lags, depths = [], []
    with AsynchronousSource(config, policy) as source:
        for update in range(16):
            rollouts, measured = source.next(update)
            lags.append(rollouts.update - rollouts.version)
            depths.append(measured["queue_depth"])
            source.updated(update)
    assert max(lags) < 4 and max(depths) <= 4
    assert lags[:2] == [0, 1] and min(lags[2:]) < 2 and min(depths) == 0


def test_resumed_then_stopped_then_killed(policy):
    """Threshold 0: synchronous per period. Taken up at update 5 of the period that ends at 8."""
    config = replace(CONFIG, schedule=replace(CONFIG.schedule, staleness_threshold=0.0))
    with AsynchronousSource(config, policy, {"update": 5}) as source:
        pid = source.process.pid
        for update in (5, 6, 7):
            rollouts, _ = source.next(update)
            assert (rollouts.update, rollouts.version) == (update, 5)
            learn(policy, update)
            if update == 7:
                assert source.depth == 0
                os.kill(pid, signal.SIGSTOP)
                wait_for(lambda: states(pid) == {"T"})
            source.updated(update)  # the sync at 8 blocks nobody, though nobody reads
        source.timeout = 0.2
        with pytest.raises(ReproError, match=f"pid {pid}.*sent nothing for 0.2 s at update 8"):
            source.next(8)
        os.kill(pid, signal.SIGCONT)
        source.timeout = 120
        rollouts, measured = source.next(8)
        assert (rollouts.update, rollouts.version, measured["queue_depth"]) == (8, 8, 0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ReproError, match="generator process failed at update 8: it was killed by SIGKILL"):
            for update in (9, 10, 11, 12):
                source.next(update)
    assert not alive(pid)
    assert_nothing_left()


def test_training_is_interrupted_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    config = replace(
        CONFIG,
        schedule=replace(CONFIG.schedule, sync_every=3, staleness_threshold=0.0),
        training=replace(CONFIG.training, updates=8),
    )
    folder = run_folder(config)

    def interrupt(state):
        if state.get("update") == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, folder, interrupt)
    assert_nothing_left()

    assert train(config, folder)["status"] == "finished"
    assert_nothing_left()
    updates = [record for record in read_metrics(folder) if record["kind"] == "update"]
    assert [record["update"] for record in updates] == list(range(1, 9))
    # Syncs after 3 and 6 updates, and a checkpoint after 4, whose weights the resumed generator starts with.
    assert [record["lag"] for record in updates] == [0, 1, 2, 0, 0, 1, 0, 1]
    assert all(record["mismatch_kl"] < 1e-9 and record["rollouts"] == 4 for record in updates)
    for name in ("queue_depth", "idle_learner", "idle_generator", "rollouts_per_second"):
        assert all(record[name] >= 0 for record in updates)


def test_the_generator_does_not_outlive_a_killed_learner(policy):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    learner = context.Process(target=hold_a_source, args=(policy, there))
    learner.start()
    there.close()
    pid = here.recv()
    assert alive(pid)
    learner.kill()
    learner.join()
    wait_for(lambda: not alive(pid))


def hold_a_source(policy, pipe):
    with AsynchronousSource(CONFIG, policy) as source:
        wait_for(lambda: source.depth == 6)  # from here on the generator writes nothing that could fail
        pipe.send(source.process.pid)
        time.sleep(600)
