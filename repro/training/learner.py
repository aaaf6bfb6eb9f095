"""The learner: log-probabilities, the objective's gradient, one optimiser step.

The objective always sees the whole update at once. Its gradient with respect to the log-probabilities is taken first
(they are a small table); the model's backward pass then runs part by part with that gradient as its seed. So
micro-batches change no number beyond rounding, whatever statistics of the batch an objective uses, and responses that
it gives no gradient (groups with all-equal rewards, for most) cost no backward pass.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repro.algorithms import Recipe
from repro.algorithms.batch import BehaviourBatch, CurrentPolicyBatch, aggregate
from repro.algorithms.gigpo import GiGPO
from repro.algorithms.groups import in_mixed_group
from repro.errors import ReproError
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.memory import free, is_out_of_memory
from repro.policy.model import Policy
from repro.training.config import TrainingConfig
from repro.training.masters import Masters
from repro.training.rollouts import Rollouts


class Diverged(FloatingPointError):
    """A loss or a gradient stopped being finite: the run ends here and is kept as diverged."""


@dataclass
class Part:
    """Some rows of an update that go through the model together."""

    rows: Tensor
    logp_BT: Tensor  # with its graph if `graph`
    entropy_BT: Tensor
    graph: bool


class Learner:
    """AdamW on a policy, one step per update."""

    def __init__(self, policy: Policy, recipe: Recipe, config: TrainingConfig):
        self.policy, self.recipe, self.config = policy, recipe, config
        self.device = next(iter(policy.parameters.values())).device
        self.masters = Masters(policy)
        self.microbatch_tokens = config.microbatch_tokens  # less, once memory has run out
        self.optimiser = torch.optim.AdamW(
            self.masters.parameters.values(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )

    def update(self, rollouts: Rollouts, split_gradients: bool = False) -> tuple[dict[str, float], CurrentPolicyBatch]:
        """One optimiser step on `rollouts`; its metrics, and the batch as a fully informed observer sees it.

        `split_gradients` also measures the gradients of positive and negative responses apart (one more backward).
        Raises Diverged, before anything is changed, if the loss or the gradient is not finite. Where memory runs out,
        the update is done again in smaller parts; ReproError if the smallest does not fit, or the optimiser's step.
        """
        while True:
            try:
                return self._update(rollouts, split_gradients)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self.microbatch_tokens = self._smaller_parts(rollouts)
            free()

    def _update(self, rollouts: Rollouts, split_gradients: bool) -> tuple[dict[str, float], CurrentPolicyBatch]:
        started = time.perf_counter()
        batch, parts = self._score(rollouts)
        objective = self.recipe.objective
        leaf_BT = batch.logp_BT.requires_grad_()
        seen = (
            batch
            if objective.reads_behaviour
            else CurrentPolicyBatch(leaf_BT, batch.mask_BT, batch.advantage_B, batch.reward_B, batch.group_B)
        )
        loss = aggregate(objective.loss_BT(seen), batch.mask_BT, objective.aggregation)
        (grad_BT,) = torch.autograd.grad(loss, leaf_BT) if loss.requires_grad else (torch.zeros_like(leaf_BT),)
        if not (math.isfinite(loss.item()) and grad_BT.isfinite().all()):
            raise Diverged(f"the loss of update {rollouts.update} is {loss.item()}, or its gradient is not finite")

        self.optimiser.zero_grad(set_to_none=False)
        metrics = {"loss": loss.item()}
        if split_gradients:
            positive = (batch.advantage_B > 0)[:, None]
            self._backward(rollouts, parts, grad_BT * positive, keep=True)
            gradient_P = self._gradient()
            self._backward(rollouts, parts, grad_BT * ~positive)
            gradient_N = self._gradient() - gradient_P
            norm_P, norm_N = gradient_P.norm().item(), gradient_N.norm().item()
            cosine = (gradient_P @ gradient_N).item() / (norm_P * norm_N) if norm_P and norm_N else None
            metrics |= {"grad_norm_pos": norm_P, "grad_norm_neg": norm_N, "grad_cosine": cosine}
        else:
            self._backward(rollouts, parts, grad_BT)
        norm = torch.nn.utils.clip_grad_norm_(self.masters.parameters.values(), self.config.clip_norm).item()
        if not math.isfinite(norm):
            raise Diverged(f"the gradient norm of update {rollouts.update} is {norm}")
        trained_B = (grad_BT != 0).any(1)
        if self.config.reference_rows:
            rate = self.config.learning_rate * min(int(trained_B.sum()) / self.config.reference_rows, 1.0)
            self.optimiser.param_groups[0]["lr"] = metrics["learning_rate"] = rate
        try:
            self.optimiser.step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # Moments have moved and weights have not: a second step from here would be another update.
            raise ReproError(
                f"out of memory in the optimiser's step of update {rollouts.update}: start the run again where there "
                "is more memory, it goes on from its last checkpoint"
            ) from error
        self.masters.publish()

        entropy_BT = torch.zeros_like(leaf_BT)
        for part in parts:
            entropy_BT[part.rows, : part.entropy_BT.shape[1]] = part.entropy_BT
        metrics |= {
            "grad_norm": norm,
            "entropy": (entropy_BT.sum() / batch.mask_BT.sum().clamp(min=1)).item(),
            "trained_tokens": int(batch.mask_BT[trained_B].sum()),
            "trained_B": trained_B.tolist(),
            "seconds_update": time.perf_counter() - started,
        }
        return metrics, BehaviourBatch(**{**vars(batch), "logp_BT": leaf_BT.detach()})

    def _score(self, rollouts: Rollouts) -> tuple[BehaviourBatch, list[Part]]:
        """Log-probabilities of every response. One part at most keeps its graph: the first whose groups are mixed."""
        lengths_B = torch.tensor([len(r) for r in rollouts.responses])
        shape = (len(lengths_B), max(int(lengths_B.max()), 1))
        mask_BT = (torch.arange(shape[1]) < lengths_B[:, None]).to(self.device)
        reward_B = torch.tensor(rollouts.reward_B, device=self.device)
        group_B = torch.tensor(rollouts.group_B, device=self.device)
        behaviour_BT = torch.zeros(shape)
        for b, row in enumerate(rollouts.behaviour_logp):
            behaviour_BT[b, : len(row)] = torch.tensor(row)
        advantage_B, mixed_B = self._credit(rollouts)
        chunks = [
            (rows, mixed)
            for mixed in (True, False)
            for rows in self._chunks(rollouts, torch.nonzero(mixed_B == mixed)[:, 0])
        ]
        parts = []
        for i, (rows, mixed) in enumerate(chunks):
            with torch.set_grad_enabled(mixed and i == 0 and sum(m for _, m in chunks) == 1):
                parts.append(Part(rows, *self._forward(rollouts, rows), torch.is_grad_enabled()))
        logp_BT = torch.zeros(shape, device=self.device)
        for part in parts:
            logp_BT[part.rows, : part.logp_BT.shape[1]] = part.logp_BT.detach()
        behaviour_BT = behaviour_BT.to(self.device)
        expert_B = torch.tensor(rollouts.expert_B, device=self.device) if rollouts.expert_B else None
        if expert_B is not None:  # nobody knows what the expert's probabilities were
            behaviour_BT = torch.where(expert_B[:, None], logp_BT, behaviour_BT)
        batch = BehaviourBatch(
            logp_BT=logp_BT,
            mask_BT=mask_BT,
            advantage_B=advantage_B,
            reward_B=reward_B,
            group_B=group_B,
            behaviour_logp_BT=behaviour_BT,
            proximal_logp_BT=logp_BT.clone(),
            expert_B=expert_B,
        )
        return batch, parts

    def _credit(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Advantages, (B,), and whether a row's group has any, (B,) on the CPU."""
        credit = self.recipe.credit
        if rollouts.advantage_B or isinstance(credit, GiGPO):
            advantage_B = self._by_turns(rollouts, credit).to(self.device)
            return advantage_B, (advantage_B != 0).cpu()
        # What is not trained on still belongs to its group's baseline. An episode counts once for all its turns.
        all_reward, all_group, place_B = (torch.tensor(x, device=self.device) for x in rollouts.compared())
        advantage_B = credit.spread(credit.advantage_B(all_reward, all_group), place_B)
        return advantage_B, in_mixed_group(all_reward, all_group)[place_B].cpu()

    def _by_turns(self, rollouts: Rollouts, credit: Any) -> Tensor:
        if rollouts.advantage_B:  # exploration has compared them
            return torch.tensor(rollouts.advantage_B)
        if not rollouts.turn_B:
            raise ReproError(
                "GiGPO compares the turns of episodes, and this world has responses of one turn: choose a world of "
                "several turns, or recipe.credit=GroupCredit"
            )
        if {unused.group for unused in rollouts.unused} & set(rollouts.group_B):
            raise ReproError(
                f"GiGPO compares the turns of all episodes of a task, and {type(self.recipe.allocation).__name__} "
                "trains on some of them only: choose recipe.allocation=Uniform, or recipe.credit=EpisodeCredit"
            )
        turns = map(torch.tensor, (rollouts.turn_reward_B, rollouts.group_B, rollouts.episode_B, rollouts.turn_B))
        return credit.advantage_B(*turns, rollouts.state_B)

    def _chunks(self, rollouts: Rollouts, rows: Tensor) -> Iterator[Tensor]:
        """Split rows where a prompt ends, so that a chunk holds about `microbatch_tokens` tokens.

        A prompt whose responses alone are more than twice that is split as well, and computed once for each part.
        """
        chunk, tokens, last = [], 0, None
        for b in rows.tolist():
            prompt = rollouts.prompt_B[b]
            limit = self.microbatch_tokens if prompt != last else 2 * self.microbatch_tokens
            if chunk and tokens >= limit:
                yield torch.tensor(chunk)
                chunk, tokens, last = [], 0, None
            tokens += len(rollouts.responses[b]) + (len(rollouts.prompts[prompt]) if prompt != last else 0)
            chunk.append(b)
            last = prompt
        if chunk:
            yield torch.tensor(chunk)

    def _smaller_parts(self, rollouts: Rollouts) -> int:
        """Half of the largest part that this update was split into, in tokens; ReproError if that is one response."""

        def tokens(rows: list[int]) -> int:
            prompts = {rollouts.prompt_B[b] for b in rows}
            return sum(len(rollouts.responses[b]) for b in rows) + sum(len(rollouts.prompts[p]) for p in prompts)

        everything = torch.arange(len(rollouts.responses))
        largest = max((rows.tolist() for rows in self._chunks(rollouts, everything)), key=tokens)
        if len(largest) == 1 or self.microbatch_tokens == 1:
            raise ReproError(
                f"out of memory at update {rollouts.update}: not even one response of {tokens(largest)} tokens with "
                "its prompt fits beside the model. Set policy.recompute=true, train adapters (policy.lora), or lower "
                "training.max_new_tokens. This run goes on from its last checkpoint where there is more memory."
            )
        smaller = max(min(tokens(largest), self.microbatch_tokens) // 2, 1)
        warnings.warn(
            f"out of memory at update {rollouts.update} with {tokens(largest)} tokens at once: going on with "
            f"training.microbatch_tokens={smaller}. Set that in later runs; it changes no number beyond rounding.",
            stacklevel=3,
        )
        return smaller

    def _forward(self, rollouts: Rollouts, rows: Tensor) -> tuple[Tensor, Tensor]:
        used = sorted({rollouts.prompt_B[b] for b in rows.tolist()})
        place = {prompt: i for i, prompt in enumerate(used)}
        lay = layout(
            [rollouts.prompts[p] for p in used],
            [rollouts.responses[b] for b in rows.tolist()],
            [place[rollouts.prompt_B[b]] for b in rows.tolist()],
            self.device,
        )
        return response_logprobs(self.policy.decoder(), lay, self.config.temperature)

    def _backward(self, rollouts: Rollouts, parts: list[Part], grad_BT: Tensor, keep: bool = False) -> None:
        """Accumulate the parameters' gradient; a part without a graph that needs one goes forward again."""
        for part in parts:
            seed_BT = grad_BT[part.rows, : part.logp_BT.shape[1]]
            if not seed_BT.any():
                continue
            logp_BT = part.logp_BT if part.graph else self._forward(rollouts, part.rows)[0]
            logp_BT.backward(seed_BT, retain_graph=keep and part.graph)

    def _gradient(self) -> Tensor:
        """The whole gradient as one vector (a copy)."""
        return torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self.masters.parameters.values()]
        )
