"""3SPO in the loop: trees grown by `algorithms.threespo_tree` under the weights as they are, an update whenever due.

Where an update's rollouts come from, here:

- the tasks of epoch e are those that Uniform would draw for update e, so that all arms meet the same tasks in the same
  order. `allocation.prompts` and `exploration.tasks` must agree; `allocation.group_size` is not asked;
- a node's prompt is what an episode with the same past would see, in tokens: each node continues the transcript of the
  response that led to it first, and nothing is tokenised anew (see `policy.transcript`). A response that does not end
  is an action without words, as in episodes. Where the next prompt and a response may not fit the context, nothing is
  sampled: an action without words and without tokens, until the world's turns are over (`overflow` in the epoch's
  record). It counts as a generation;
- each response's request seed depends on the run's seed, the epoch, its node and its number there;
- rows of an update are the branches of its groups, with the advantages that exploration gave them; `group_B` counts the
  groups, each the branches of one state, and `reward_B` are step rewards (Eq. 2). All that was sampled since the
  update before is on its bill: plain rollouts, single actions, continuations, dropped groups. What is sampled after
  the run's last update has a log line of its own ("rest").

The released scripts train with a KL penalty to the warm start (k3, 0.01) and an entropy bonus (0.001); no objective
here has either.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from repro import environments
from repro.algorithms.allocation import History
from repro.algorithms.threespo import StateTable
from repro.algorithms.threespo_nodes import Group, Node, Proposal, Task
from repro.algorithms.threespo_tree import Epoch
from repro.config import config_hash
from repro.environments.query import Query
from repro.policy.sampler import Completion, sample
from repro.policy.transcript import Transcript
from repro.training.accounting import Requests
from repro.training.config import RunConfig
from repro.training.counts import Met
from repro.training.episodes import followed, present
from repro.training.rollouts import Rollouts, mismatch, request_seed
from repro.training.schedule import Source


class Sample(NamedTuple):
    """What the learner keeps of a proposal."""

    transcript: Transcript  # of the node
    prompt: list[int]
    completion: Completion
    version: int  # learner updates that the sampling weights had seen


class Watched:
    """An episode that notes the state behind every observation it returns."""

    def __init__(self, episode: environments.Episode, goal: str, met: Met):
        self.episode, self.goal, self.met = episode, goal, met

    def reset(self) -> str:
        observation = self.episode.reset()
        self.met.note(self.episode, self.goal, observation)
        return observation

    def step(self, action: str) -> tuple[str, float, bool]:
        result = self.episode.step(action)
        self.met.note(self.episode, self.goal, result[0])
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.episode, name)


class Proposer:
    """`propose(nodes, counts)` for an `Epoch`: one batch of the sampler for all nodes, equal prompts computed once."""

    def __init__(self, config: RunConfig, policy: Any):
        self.config, self.policy = config, policy
        self.met = Met()
        self.requests: list[Requests] = []  # since they were last taken
        self.first: dict[str, list[int]] = {}  # the first prompt of each task
        self.start(0)
        self.renew(0)

    def task(self, query: Query) -> Task:
        """A query as a task; `goal` is the query's own text."""
        world = self.config.world
        shown = self.config.recipe.guidance.prompt(environments.asked(world, query), measure=self.policy.measure)
        self.first[query.id] = self.policy.prompt(shown)
        return Task(query.id, Watched(environments.episode(world, query), query.text, self.met), query.text)

    def start(self, epoch: int) -> None:
        """Begin an epoch: the numbers of nodes begin anew."""
        self.epoch, self.overflow, self.drawn = epoch, 0, Counter()

    @torch.no_grad()
    def renew(self, version: int) -> None:
        """Take up the weights as they are, after so many updates."""
        self.decoder, self.version = self.policy.decoder(), version

    def __call__(self, nodes: Sequence[Node], counts: Sequence[int]) -> list[list[Proposal]]:
        policy, training = self.policy, self.config.training
        longest = policy.context - training.max_new_tokens
        seen = [self._seen(node) for node in nodes]
        places: dict[tuple[int, ...], int] = {}
        rows = [  # (node, place of its prompt; None if that is too long)
            (k, places.setdefault(tuple(prompt), len(places)) if len(prompt) <= longest else None)
            for k, (_, prompt) in enumerate(seen)
            for _ in range(counts[k])
        ]
        seeds = [self._seed(nodes[k]) for k, _ in rows]
        fitting = [i for i, (_, place) in enumerate(rows) if place is not None]
        drawn = sample(
            self.decoder, list(places), [rows[i][1] for i in fitting], [seeds[i] for i in fitting],
            training.max_new_tokens, policy.end_token, training.temperature,
        ) if fitting else []  # fmt: skip
        completions = [Completion([], [], False)] * len(rows)
        for i, completion in zip(fitting, drawn, strict=True):
            completions[i] = completion
        # A prompt that is not computed has no tokens.
        prompt_B = [len(places) if place is None else place for _, place in rows]
        self.requests.append(Requests([*map(len, places), 0], prompt_B, [len(c.tokens) for c in completions]))
        self.overflow += len(rows) - len(fitting)
        proposals: list[list[Proposal]] = [[] for _ in nodes]
        for (k, _), completion in zip(rows, completions, strict=True):
            command = policy.decode(completion.tokens) if completion.finished else ""
            kept = Sample(*seen[k], completion, self.version)
            proposals[k].append(Proposal(command, command in nodes[k].admissible, kept))
        return proposals

    def _seed(self, node: Node) -> int:
        number = self.drawn[node.id]
        self.drawn[node.id] += 1
        return request_seed(self.config.seed, self.epoch, node.id, number)

    def _seen(self, node: Node) -> tuple[Transcript, list[int]]:
        """A node's transcript and prompt, in tokens."""
        world, environment, led = self.config.world, node.task.environment, node.sample
        if led is None:
            transcript = Transcript.start(self.first[node.task.id])
        else:
            transcript = followed(self.policy, environment, led.transcript, led.completion, node.observation)
        if hasattr(environment, "prompt"):  # its own words for where it stands
            environment.restore(node.snapshot)
        return transcript, present(self.policy, environment, transcript, environments.history(world))


class TreeSource(Source):
    """Groups of branches as rollouts, epoch after epoch; see `schedule` for what a source is.

    Its state is the table of states between two epochs. In the middle of one there is none: a resumed run repeats the
    epoch, and with the same weights, table and seeds comes to the same.
    """

    def __init__(self, config: RunConfig, policy: Any, queries: list[Query], state: dict[str, Any] | None = None):
        """`state` is what `state()` gave; ReproError if its table is of another run."""
        self.config, self.queries, identity = config, queries, config_hash(config)
        self.proposer = Proposer(config, policy)
        self.table, self.idle = StateTable(identity), 0
        if state is not None:
            self.table, self.idle = StateTable.from_dict(state["table"], identity), state["idle"]
            self.proposer.requests = [Requests(*batch) for batch in state["requests"]]
            self.proposer.met = Met(state["met"])
        self.epoch: Epoch | None = None  # the one that is being explored
        self.running: Iterator[list[Group]] = iter(())
        self.groups: list[Group] | None = None  # that wait for their update
        self.waiting: list[dict[str, Any]] = []
        self.seconds = 0.0  # of sampling, since the last update's groups were handed out

    def next(self, update: int) -> tuple[Rollouts, dict[str, float]] | None:
        """The next groups; None when the budget is spent, or a pass over all tasks gave no generation."""
        while self.groups is None and self._open():
            self._begin()
            self._advance(update)
        if self.groups is None:
            return None
        groups, self.groups = self.groups, None
        return self._batch(groups, update), {"epoch": self.table.epoch}

    def updated(self, update: int) -> None:
        """Explore on under the new weights, to the next groups or the end of the epoch."""
        if self.epoch is not None:
            self._advance(update + 1)

    def state(self) -> dict[str, Any] | None:
        if self.epoch is not None:
            return None
        proposer = self.proposer
        requests, met = [list(batch) for batch in proposer.requests], proposer.met.hashes()
        return {"table": self.table.to_dict(), "idle": self.idle, "requests": requests, "met": met or None}

    def records(self) -> list[dict[str, Any]]:
        """A line for each epoch that has ended."""
        records, self.waiting = self.waiting, []
        return records

    def rest(self, update: int) -> Rollouts | None:
        if self.epoch is not None:  # the run is over in the middle of it
            self._end(update)
        return self._batch([], update) if self.proposer.requests else None

    @property
    def exhausted(self) -> bool:
        return self.idle >= len(self.queries)

    def _open(self) -> bool:
        """Whether another epoch may begin: with less left than one state's branches it could end before its groups."""
        left = self.config.training.generations - self.table.generations
        return left >= self.config.recipe.exploration.g_max and not self.exhausted

    def _begin(self) -> None:
        recipe, seed = self.config.recipe, self.config.seed
        self.proposer.start(self.table.epoch + 1)
        drawn = recipe.allocation.allot(self.table.epoch, History(len(self.queries), seed), [])
        tasks = [self.proposer.task(self.queries[index]) for index in dict(drawn)]
        budget = self.config.training.generations
        self.epoch = Epoch(recipe.exploration, self.table, tasks, self.proposer, seed, budget)
        self.running = self.epoch.explore()

    @torch.no_grad()
    def _advance(self, version: int) -> None:
        """Explore until groups are due or the epoch is over."""
        started = time.perf_counter()
        self.proposer.renew(version)
        self.groups = next(self.running, None)
        self.seconds += time.perf_counter() - started
        if self.groups is None:
            self._end(version)

    def _end(self, update: int) -> None:
        tally = self.epoch.tally
        self.idle = 0 if tally.count["generations"] else self.idle + len(self.epoch.tasks)
        about = {"kind": "epoch", "epoch": self.table.epoch, "update": update}
        # The epoch's own count of generations gives way to that of the run.
        counts = tally.metrics() | {"epoch_generations": tally.count["generations"], "overflow": self.proposer.overflow}
        self.waiting.append(about | counts | {"generations": self.table.generations})
        self.epoch = None

    def _batch(self, groups: list[Group], update: int) -> Rollouts:
        places: dict[tuple[int, ...], int] = {}
        temperature = self.config.training.temperature
        rows = [
            (places.setdefault(tuple(branch.proposal.sample.prompt), len(places)), g, branch)
            for g, group in enumerate(groups)
            for branch in group.branches
        ]
        rows.sort(key=lambda row: row[0])  # side by side if they share a prompt
        prompts, samples = [list(prompt) for prompt in places], [branch.proposal.sample for _, _, branch in rows]
        # A rollout's own action may be from before the last update, and is not what these weights would sample.
        fresh = [(place, s.completion) for (place, _, _), s in zip(rows, samples, strict=True) if s.version == update]
        kl = mismatch(self.proposer.decoder, prompts, *zip(*fresh, strict=True), update, temperature) if fresh else 0.0
        requests, self.proposer.requests = self.proposer.requests, []
        seconds, self.seconds = self.seconds, 0.0
        return Rollouts(
            update=update,
            version=update,
            prompts=prompts,
            prompt_B=[place for place, _, _ in rows],
            group_B=[g for _, g, _ in rows],
            query_B=[groups[g].node.task.id for _, g, _ in rows],
            responses=[s.completion.tokens for s in samples],
            behaviour_logp=[s.completion.logprobs for s in samples],
            reward_B=[branch.reward for _, _, branch in rows],
            finished_B=[s.completion.finished for s in samples],
            mismatch_kl=kl,
            seconds=seconds,
            advantage_B=[branch.advantage for _, _, branch in rows],
            requests=requests,
            met=self.proposer.met.take(),
        )
