"""Truly asynchronous rollouts: a generator process with weights of its own runs ahead of the learner.

The generator samples whole update batches in order: batch b is what learner update b consumes, with the queries and the
request seeds that every other schedule gives it. So nothing can be lost or doubled, and the staleness rule of
verl's fully asynchronous trainer becomes a bound on one number. verl lets the generator hold at most
(1 + s) * sync_every batches between two syncs, counting the left-overs (queued or running) at the first. A sync after
v updates finds (batches started so far - v) left over, so the rule reads: start batch b only if

    b < v + (1 + s) * sync_every.

The bounds follow: at most (1 + s) * sync_every batches in the queue, and a lag below that number of updates. A fast
generator at s = 0.5 and 16 updates a sync gives lags of 0-15 first, then 16-23 and 8-15 in turn; a slow one 0-15.

New weights are taken up between batches: there are no partial rollouts, and every response has one version. What a
batch's version is depends on who was faster, so two runs of one config agree in law, not bit for bit (at s = 0
they do agree: there the generator always waits for the sync).
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import safetensors.torch
import torch

from repro.algorithms.guidance import Measure
from repro.errors import ReproError
from repro.policy.decoder import Decoder, decoder
from repro.policy.model import Policy, PolicyConfig, pieces
from repro.policy.pretrained import CheckpointConfig, chat_of, fetch, load_tokenizer
from repro.training.config import Asynchronous, RunConfig
from repro.training.rollouts import Rollouts
from repro.training.sampling import Sampler
from repro.training.schedule import Source

LAST_WORDS_SECONDS = 5.0  # between a generator's broken pipe and its exit code


def batch_limit(schedule: Asynchronous, update: int) -> int:
    """The generator may start batches below this number until the sync that follows `update` learner updates.

    It counts from the last multiple of `sync_every`, so that a run resumed within a period has that period's bound.
    Source: max_required_samples in verl/experimental/fully_async_policy/fully_async_rollouter.py, in batches.
    """
    last_sync = update // schedule.sync_every * schedule.sync_every
    return last_sync + int((1 + schedule.staleness_threshold) * schedule.sync_every + 1e-9)


class AsynchronousSource(Source):
    """The learner's end: starts the generator on entry, ends it on exit, whatever the reason of either.

    The generator ends with this process too, even if that is killed. It may raise, die or fall silent for
    `schedule.timeout_seconds`; each is a ReproError from `next`, at once or after that time, never a hang.
    """

    def __init__(self, config: RunConfig, policy: Policy, state: dict[str, Any] | None = None):
        """`policy` holds the weights that the learner has now; `state` is what `state()` gave when they were saved.

        Raises ReproError for a schedule that cannot work.
        """
        schedule = config.schedule
        if schedule.sync_every < 1 or not schedule.staleness_threshold >= 0 or not schedule.timeout_seconds > 0:
            raise ReproError(
                f"schedule: sync_every={schedule.sync_every}, staleness_threshold={schedule.staleness_threshold}, "
                f"timeout_seconds={schedule.timeout_seconds}; they must be at least 1, at least 0 and above 0"
            )
        if policy.engine is not None:
            raise ReproError(
                "vLLM samples in the training process, the asynchronous schedule in another one: choose "
                "schedule=Lagged, or set policy.sampler=null for the torch sampler"
            )
        self.config, self.policy = config, policy
        self.done = state["update"] if state else 0  # learner updates
        self.timeout = schedule.timeout_seconds
        self.ready: queue.SimpleQueue = queue.SimpleQueue()  # what the generator sent and nobody took yet
        self.failure: str | None = None  # what the generator said of its end; empty if it had no time to

    def __enter__(self) -> AsynchronousSource:
        context = multiprocessing.get_context("spawn")  # a fork would share CUDA's state, and locks held by threads
        syncs, self.outbox = context.Pipe(duplex=False)
        self.inbox, batches = context.Pipe(duplex=False)
        model_config = self.policy.model.config.to_dict()
        tokenizer = self.policy.tokenizer.backend_tokenizer.to_str()
        self.process = context.Process(
            target=_generate,
            args=(self.config, model_config, tokenizer, self.policy.end_token, self.done, syncs, batches),
            name="generator",
            daemon=True,
        )
        # Pushing weights must not block the learner while the generator is slow to read, or stopped.
        self.sender = ThreadPoolExecutor(1, thread_name_prefix="generator-sender")
        self.receiver = threading.Thread(target=self._receive, name="generator-receiver", daemon=True)
        self.process.start()
        try:
            syncs.close()  # this process's copies: with them open, neither end would notice the other's death
            batches.close()
            self.receiver.start()
            self._push()
            self._take()  # the generator says that it stands, so that its start is no part of any update's waiting
        except BaseException:
            self.__exit__()
            raise
        self.taken_at = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # it holds nothing that is worth a farewell
        self.process.join()
        self.sender.shutdown()
        if self.receiver.ident is not None:
            self.receiver.join()
        self.inbox.close()
        self.outbox.close()

    @property
    def depth(self) -> int:
        """Batches sampled and not taken yet."""
        return self.ready.qsize()

    def next(self, update: int) -> tuple[Rollouts, dict[str, float]]:
        """The batch of `update`, as soon as it is there, with measurements:

        `queue_depth` when asked for (0: the learner had to wait), `idle_learner` the seconds it waited,
        `idle_generator` the seconds the generator waited for weights just before it sampled this batch, and
        `rollouts_per_second` since the batch before was taken (all that happened in between included).
        Raises ReproError if the generator raised, died or fell silent, even while batches are left.
        """
        asked_at, depth = time.perf_counter(), self.depth
        rollouts, idle_generator = self._take()
        if rollouts.update != update:
            raise RuntimeError(f"update {update} asked for its batch, but that of update {rollouts.update} is due")
        before, self.taken_at = self.taken_at, time.perf_counter()
        return rollouts, {
            "queue_depth": depth,
            "idle_learner": self.taken_at - asked_at,
            "idle_generator": idle_generator,
            "rollouts_per_second": (len(rollouts.episodes) or len(rollouts.responses)) / (self.taken_at - before),
        }

    def updated(self, update: int) -> None:
        """Push the weights to the generator if a sync is due."""
        self.done = update + 1
        if self.done % self.config.schedule.sync_every == 0 and self.done < self.config.training.updates:
            self._push()

    def state(self) -> dict[str, Any]:
        """The number of the next update. Rollouts in flight are not kept: a resumed source samples them again,
        from the same queries and seeds but with the weights at hand, so a resumed run repeats in law only."""
        return {"update": self.done}

    def _push(self) -> None:
        tensors = self.policy.weights()
        weights = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors})
        # A send can fail only if the generator is dead, which the receiver notices.
        self.sender.submit(self.outbox.send, (self.done, batch_limit(self.config.schedule, self.done), weights))

    def _receive(self) -> None:
        """Empty the pipe as the generator fills it, so that the generator never waits for the learner to read."""
        try:
            while True:
                kind, content = self.inbox.recv()
                if kind == "error":
                    break
                self.ready.put(content)
        except (EOFError, OSError):  # OSError: the end came within a message
            content = ""
        self.failure = content
        self.ready.put(None)  # wakes a learner that waits

    def _take(self) -> Any:
        if self.failure is None:
            try:
                content = self.ready.get(timeout=self.timeout)
            except queue.Empty:
                raise ReproError(
                    f"the generator process (pid {self.process.pid}) has sent nothing for {self.timeout:g} s at update "
                    f"{self.done}. If a batch may take so long, raise schedule.timeout_seconds; else the process hangs"
                ) from None
            if self.failure is None:
                return content
        reason = self.failure
        if not reason:
            self.process.join(LAST_WORDS_SECONDS)
            code = self.process.exitcode
            how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with status {code}"
            reason = f"it {how}; is there enough memory? The run can be resumed"
        raise ReproError(f"the generator process failed at update {self.done}: {reason}")


class GeneratorPolicy:
    """What sampling asks of a policy, without transformers, whose import would dominate the generator's start.

    Only a chat template needs it.
    """

    def __init__(
        self,
        model_config: dict[str, Any],
        tokenizer: str,
        end_token: int,
        device: str,
        config: PolicyConfig | None = None,
    ):
        """`tokenizer` is the JSON of a fast tokenizer's backend. There are no weights until `load`."""
        from tokenizers import Tokenizer

        self.model_config, self.device = SimpleNamespace(**model_config), device
        self.tokenizer, self.end_token = Tokenizer.from_str(tokenizer), end_token
        self.context, self.talk = self.model_config.max_position_embeddings, None
        if isinstance(config, CheckpointConfig):
            self.context = min(self.context, config.context or self.context)
            self.talk = chat_of(config, load_tokenizer(fetch(config.checkpoint, config.revision)))

    @cached_property
    def measure(self) -> Measure:
        return Measure(partial(pieces, self.tokenizer), len(self.prompt("")))

    def prompt(self, text: str) -> list[int]:
        return self.talk.prompt(text) if self.talk else self.encode(text)

    def reply(self, text: str) -> list[int]:
        return self.talk.reply(text) if self.talk else self.encode(text)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True)

    def load(self, weights: bytes) -> None:
        """Take weights in safetensors format."""
        parameters = {name: p.to(self.device) for name, p in safetensors.torch.load(weights).items()}
        self.weights = decoder(parameters, self.model_config)

    def decoder(self) -> Decoder:
        return self.weights


def _generate(
    config: RunConfig,
    model_config: dict[str, Any],
    tokenizer: str,
    end_token: int,
    first: int,
    syncs: Connection,
    batches: Connection,
) -> None:
    """The generator's life: sample batches from number `first` on, as far as the last sync allows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes; the learner answers it
    torch.set_num_threads(config.training.threads)
    arrived: queue.SimpleQueue = queue.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(syncs, arrived), daemon=True)
    listener.start()
    try:
        policy = GeneratorPolicy(model_config, tokenizer, end_token, config.device, config.policy)
        sample = Sampler(config, policy)
        version = limit = 0
        batches.send(("started", None))
        for update in range(first, config.training.updates):
            asked_at = time.perf_counter()
            while update >= limit or not arrived.empty():
                version, limit, weights = arrived.get()
                policy.load(weights)
            idle = time.perf_counter() - asked_at
            batches.send(("batch", (sample(update, version), idle)))
        listener.join()  # stay until the learner ends this process: an end of its own accord would look like a fault
    except Exception as error:
        batches.send(("error", str(error) if isinstance(error, ReproError) else traceback.format_exc()))


def _listen(syncs: Connection, arrived: queue.SimpleQueue) -> None:
    """Read weights whenever they come. A broken pipe means that the learner is gone: end at once, even amid a batch."""
    try:
        while True:
            arrived.put(syncs.recv())
    except (EOFError, OSError):
        os._exit(1)
