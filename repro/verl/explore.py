"""3SPO in verl: a task's exploration as an agent loop, and whole episodes for evaluation.

verl samples a step's rollouts under one policy and then updates. So the readings whose updates come after exploration
fit ("table", "continuation": `update_every=None`); an update after each round of an episode, as in "literal", does not.
That would need a trainer whose step is a round: a subclass of `verl.trainer.ppo.v1.PPOTrainer` that keeps the trees
between steps and pushes the weights to the engines after each of them.

A task is one row of the file and one agent loop (`rollout.n=1`); a branch is one row of training, with the advantage
that exploration gave it where verl expects a reward (`algorithm.adv_estimator=repro_given`). The state table belongs
to the worker process: `rollout.agent.num_workers=1`. verl's checkpoints do not hold it, so a resumed run begins with an
empty one; "continuation" reads none.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput, register

from repro import environments
from repro.algorithms.threespo import StateTable, ThreeSPO, reading
from repro.algorithms.threespo_nodes import Node, Proposal, Task
from repro.algorithms.threespo_tree import Epoch
from repro.environments.query import Query
from repro.errors import ReproError
from repro.verl.data import published

_TABLES: dict[str, StepTable] = {}  # of this process, by reading
_TURN = threading.Lock()  # held by whichever task is not waiting for responses: tables and episodes see no races
_THREADS = ThreadPoolExecutor(256)  # own ones: the loop's default executor serves what these wait for


@dataclass
class StepTable(StateTable):
    """The table of a process, whose epochs are the trainer's steps: the first task of a step begins it."""

    step: int | None = None
    begun: int | None = None

    def begin_epoch(self, half_life: float | None = None) -> None:
        if self.begun != self.step:
            super().begin_epoch(half_life)
        self.begun = self.step


class Sampled(NamedTuple):
    """A prompt and the engine's answer, in tokens."""

    prompt: list[int]
    answer: Any  # verl's TokenOutput


class BranchOutput(AgentLoopOutput):
    """A row with a reward of its own: verl gives all rows of an agent loop the last one's score."""

    advantage: float

    def as_dict(self) -> dict[str, Any]:
        fields = super().as_dict()
        fields["rm_scores"] = fields["response_mask"].float() * 0
        fields["rm_scores"][-1] = fields.pop("advantage")
        return fields


@lru_cache(maxsize=4)
def _queries(study: str, seed: int, split: str, level: str) -> tuple[Any, list[Query]]:
    world = published(study)[0]
    return world, environments.train_list(world, seed) if split == "train" else environments.heldout(world)[level]


def find(row: dict[str, Any]) -> tuple[Any, Query]:
    """The world and the query that a row of the file stands for. ReproError if the file is of another list."""
    about = row["extra_info"]
    world, queries = _queries(about["study"], about["seed"], about["split"], row["data_source"])
    query = queries[about["index"]] if about["index"] < len(queries) else None
    if query is None or query.id != about["id"]:
        raise ReproError(f"task {about['id']} is not number {about['index']} of {about['study']}: write the file again")
    return world, query


class _Player(AgentLoopBase):
    """What both agent loops share: a prompt of the world's own words, and the engine's answer to it."""

    async def ask(self, prompt: list[int], sampling_params: dict[str, Any]) -> Sampled:
        if len(prompt) > self.rollout_config.prompt_length:
            raise ReproError(
                f"a prompt has {len(prompt)} tokens and data.max_prompt_length is {self.rollout_config.prompt_length}"
            )
        answer = await self.server_manager.generate(uuid4().hex, prompt_ids=prompt, sampling_params=sampling_params)
        return Sampled(prompt, answer)

    def tokens(self, text: str) -> list[int]:
        chat = [{"role": "user", "content": text}]
        shown = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=False, **self.apply_chat_template_kwargs
        )
        return self.tokenizer(shown, add_special_tokens=False)["input_ids"]

    def action(self, answer: Any) -> str:
        """The response as text; one that does not end is an action without words, as everywhere here."""
        tokens = answer.token_ids
        ended = tokens and (
            tokens[-1] == self.tokenizer.eos_token_id or len(tokens) < self.rollout_config.response_length
        )
        return self.tokenizer.decode(tokens, skip_special_tokens=True) if ended else ""

    def row(self, kind: type[AgentLoopOutput], sampled: Sampled, turns: int, won: bool, **fields: Any) -> Any:
        answer = sampled.answer
        tokens = answer.token_ids[: self.rollout_config.response_length]
        return kind(
            prompt_ids=sampled.prompt,
            response_ids=tokens,
            response_mask=[1] * len(tokens),
            response_logprobs=answer.log_probs[: len(tokens)] if answer.log_probs else None,
            num_turns=turns,
            metrics={},
            extra_fields=dict(answer.extra_fields)
            | {"turn_scores": [], "tool_rewards": [], "reward_extra_info": {"won": float(won)}},
            **fields,
        )


@register("repro_threespo")
class Explore(_Player):
    """One epoch of 3SPO over one task; the reading is the config's `threespo.reading`, its pieces `threespo.pieces`."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:
        chosen = self.config.get("threespo") or {}
        name, pieces = chosen.get("reading", "continuation"), tuple(chosen.get("pieces") or ())
        config = replace(reading(name, *pieces), tasks=1, generations=None)
        if config.update_every is not None:
            raise ReproError(
                f"3SPO's reading {name!r} updates the policy within an episode, which verl's trainer cannot: choose "
                "threespo.reading=table or continuation, add the piece post_trajectory, or train with `repro run`"
            )
        if self.rollout_config.agent.num_workers != 1:
            raise ReproError("3SPO's tasks share a state table: set actor_rollout_ref.rollout.agent.num_workers=1")
        world, query = find(row)
        config = replace(config, turns=world.max_turns)
        loop, step = asyncio.get_running_loop(), row["global_steps"]
        table = _TABLES.setdefault("/".join([name, *pieces]), StepTable())
        given = loop, config, table, step, world, query, sampling_params
        return await loop.run_in_executor(_THREADS, self._explore, *given)

    def _explore(
        self, loop: Any, config: ThreeSPO, table: StepTable, step: int, world: Any, query: Query,
        sampling_params: dict[str, Any],
    ) -> list[AgentLoopOutput]:  # fmt: skip
        def propose(nodes: Sequence[Node], counts: Sequence[int]) -> list[list[Proposal]]:
            asked = []
            for node, count in zip(nodes, counts, strict=True):
                environment = node.task.environment
                environment.restore(node.snapshot)
                prompt = self.tokens(environment.prompt())
                asked += [self.ask(prompt, sampling_params) for _ in range(count)]
            _TURN.release()
            try:
                answers = iter(asyncio.run_coroutine_threadsafe(_gather(asked), loop).result())
            finally:
                _TURN.acquire()
            return [
                [self._proposal(node, next(answers)) for _ in range(n)] for node, n in zip(nodes, counts, strict=True)
            ]

        with _TURN:
            table.step = step
            task = Task(query.id, environments.episode(world, query), query.text)
            epoch = Epoch(config, table, [task], propose, seed=self.rollout_config.get("seed", 0))
            groups = [group for ready in epoch.explore() for group in ready]
        return [
            self.row(
                BranchOutput, branch.proposal.sample, group.node.turn + 1, branch.child.won,
                reward_score=branch.reward, advantage=branch.advantage,
            )
            for group in groups
            for branch in group.branches
        ]  # fmt: skip

    def _proposal(self, node: Node, sampled: Sampled) -> Proposal:
        command = self.action(sampled.answer)
        return Proposal(command, command in node.admissible, sampled)


async def _gather(asked: list[Any]) -> list[Sampled]:
    return list(await asyncio.gather(*asked))


@register("repro_episode")
class PlayEpisode(_Player):
    """One whole episode; every turn is a row, and all get the episode's reward. For evaluation, and for GRPO."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:
        world, query = find(row)
        episode = environments.episode(world, query)
        episode.reset()
        turns, earned, done = [], 0.0, False
        while not done:
            sampled = await self.ask(self.tokens(episode.prompt()), sampling_params)
            _, reward, done = episode.step(self.action(sampled.answer))
            turns.append(sampled)
            earned += reward
        facts = len(turns), episode.won
        return [self.row(AgentLoopOutput, sampled, *facts, reward_score=earned) for sampled in turns]
