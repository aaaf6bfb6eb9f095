"""From an allocation to an update's rollouts: queries are chosen, dressed, sampled in rounds, scored, kept or not."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import torch

from repro import environments
from repro.algorithms.allocation import Drawn, History, Profile, Visit
from repro.algorithms.luffy import ExpertRows
from repro.algorithms.smepo import failures
from repro.environments.query import Query
from repro.errors import ReproError
from repro.training.config import RunConfig
from repro.training.counts import Met
from repro.training.experts import demonstrated
from repro.training.profiling import take_profile
from repro.training.rollouts import Group, Rollouts, batch, draw


class Sampler:
    """`sampler(update, version)` draws an update's rollouts under the weights as they are; None when training is over.

    It keeps the history that allocations look at; `state()` is JSON-able, and a sampler made from it goes on as before.
    What was profiled since the last call of `profiled()` is handed out by that, for the log.
    """

    def __init__(self, config: RunConfig, policy: Any, state: dict[str, Any] | None = None):
        self.config, self.policy = config, policy
        self.queries: list[Query] = environments.train_list(config.world, config.seed)
        self.history = History(len(self.queries), config.seed)
        self.records: list[dict[str, Any]] = []
        if state is not None:
            entries = [Profile(p["update"], p["samples"], tuple(p["solved"])) for p in state["profiles"]]
            self.history.profiles = entries
            self.history.visits = [Visit(*visit) for visit in state["visits"]]
            self.records = state["records"]

    def state(self) -> dict[str, Any]:
        return {
            "profiles": [dataclasses.asdict(profile) for profile in self.history.profiles],
            "visits": [dataclasses.astuple(visit) for visit in self.history.visits],
            "records": self.records,
        }

    def expected(self) -> int | None:
        """How many updates there will be, as far as the allocation knows."""
        return self.config.recipe.allocation.updates(self.history)

    def profiled(self) -> list[dict[str, Any]]:
        """The log lines of the profiles taken since this was last asked."""
        records, self.records = self.records, []
        return records

    @torch.no_grad()
    def __call__(self, update: int, version: int) -> Rollouts | None:
        config, allocation = self.config, self.config.recipe.allocation
        if samples := allocation.profile_due(update, self.history):
            self._profile(update, samples)
        started = time.perf_counter()
        dec, groups, looked = self.policy.decoder(), {}, {}
        met = Met() if environments.multi_turn(config.world) else None

        def play(allotment: list[tuple[int, int]]) -> None:
            sizes: dict[int, int] = {}
            for index, size in allotment:
                looked.setdefault(index, Drawn(index, ()))
                if size:
                    sizes[index] = sizes.get(index, 0) + size
                    if index not in groups:
                        groups[index] = self._group(len(groups), index)
            if sizes:
                some = [groups[i] for i in sizes]
                counts = self._with_experts(update, some, list(sizes.values()))
                if any(counts):
                    draw(dec, self.policy, some, counts, config=config, update=update, met=met)
            looked.update({index: Drawn(index, tuple(groups[index].rewards)) for index in sizes})

        while wanted := self._allot(update, list(looked.values())):
            for _ in config.recipe.exploration.explore(play, wanted):
                pass
        if not groups:
            return None
        drawn = list(looked.values())
        kept = dict(zip(looked, allocation.keep(update, self.history, drawn), strict=True))
        self.history.visits += [
            Visit(update, entry.query, len(entry.rewards), sum(r > 0 for r in entry.rewards)) for entry in drawn
        ]
        return batch(
            dec,
            list(groups.values()),
            [kept[index] for index in groups],
            config=config,
            update=update,
            version=version,
            seconds=time.perf_counter() - started,
            met=met,
        )

    def _group(self, number: int, index: int) -> Group:
        query = self.queries[index]
        shown = environments.asked(self.config.world, query)
        prompt = self.config.recipe.guidance.prompt(shown, failures(self.history.visits, index), self.policy.measure)
        return Group(number, index, query, self.policy.prompt(prompt))

    def _with_experts(self, update: int, groups: list[Group], sizes: list[int]) -> list[int]:
        """How many responses of each group are left to be sampled once its expert's rows are in it."""
        exploration = self.config.recipe.exploration
        if not isinstance(exploration, ExpertRows):
            return sizes
        left = []
        for group, size in zip(groups, sizes, strict=True):
            sampled, experts = exploration.sizes(update, size)
            group.played += [demonstrated(self.policy, group.query, group.prompt, self.config) for _ in range(experts)]
            left.append(sampled)
        return left

    def _allot(self, update: int, drawn: list[Drawn]) -> list[tuple[int, int]]:
        try:
            return self.config.recipe.allocation.allot(update, self.history, drawn)
        except ValueError as error:  # an allocation that cannot work on what was profiled
            raise ReproError(f"{self.config.arm}: {error}") from error

    def _profile(self, update: int, samples: int) -> None:
        profile, record = take_profile(self.policy, self.queries, self.config, samples, update)
        self.history.profiles.append(profile)
        self.records.append(record | {"charged": self.config.recipe.allocation.charge_profile})
