"""What a run costs: FLOPs from counted tokens, itemised, beside the 2P/6P rule of thumb.

A multiply-add is two FLOPs. Itemised: the matrices of the blocks for every token that passes through, the scores and
weighted sums of attention for every (query, visible key) pair, and the head wherever a logit is made. Looking an
embedding up costs nothing; norms, rotations and activations are left out (about 2 % at these sizes). A backward pass
costs twice its forward pass. The count follows what this engine does: a prompt passes once for its group, a response's
last token passes never, and responses without gradient have no backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from repro.training.rollouts import Rollouts


class Requests(NamedTuple):
    """Some sampling: tokens of the distinct prompts, the prompt of each response, and tokens of the responses."""

    prompts: list[int]
    prompt_B: list[int]
    lengths: list[int]


@dataclass(frozen=True)
class Cost:
    """FLOPs per unit of work of one model."""

    per_token: int  # matrices of all blocks
    per_pair: int  # a query and a visible key, all layers and heads
    per_logits: int  # one row of the head
    parameters: int  # as the 2P/6P rule counts them: all, embeddings included


def cost(config: Any, parameters: int) -> Cost:
    """The costs of a Qwen2-like model from its transformers config and its number of parameters."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = config.hidden_size * width * (2 * config.num_attention_heads + 2 * config.num_key_value_heads)
    feed_forward = 3 * config.hidden_size * config.intermediate_size
    return Cost(
        per_token=2 * config.num_hidden_layers * (attention + feed_forward),
        per_pair=4 * config.num_hidden_layers * config.num_attention_heads * width,
        per_logits=2 * config.hidden_size * config.vocab_size,
        parameters=parameters,
    )


def forward_flops(unit: Cost, prompts: Sequence[int], prompt_B: Sequence[int], responses: Sequence[int]) -> int:
    """One forward pass over groups that share their prompts; lengths in tokens, `prompt_B` as in Rollouts.

    Generating the same tokens one by one over a cache costs the same: every token passes once and sees the same keys.
    """
    inputs = [max(m - 1, 0) for m in responses]
    tokens = sum(prompts) + sum(inputs)
    pairs = sum(n * (n + 1) // 2 for n in prompts)
    pairs += sum(m * prompts[p] + m * (m + 1) // 2 for m, p in zip(inputs, prompt_B, strict=True))
    return unit.per_token * tokens + unit.per_pair * pairs + unit.per_logits * sum(responses)


def update_flops(unit: Cost, rollouts: Rollouts, trained_B: Sequence[bool]) -> dict[str, int]:
    """Cost of one update: token counts of all that was drawn, and FLOPs by three conventions.

    In a world of several turns `rollouts` counts episodes, and every turn's prompt, the whole transcript so far, is
    computed anew; it counts once for the rows of a group and turn that share it.

    - `flops`: itemised, what this engine does: sampling, scoring of what is trained on or could be, backward passes;
    - `flops_needed`: itemised, sampling, then forward and backward passes only where there is a gradient;
    - `flops_2p6p`: 2P for every prompt and generated token once per response in sampling, and 6P for each again in
      training, as an engine does that repeats the prompt for each response and trains on everything.

    Where `rollouts.requests` says how sampling went, it is charged by that; training, by any rule, is of the rows.
    """
    prompts, lengths = [len(p) for p in rollouts.prompts], [len(r) for r in rollouts.responses]
    drawn_prompt = rollouts.prompt_B + [unused.prompt for unused in rollouts.unused]
    drawn_lengths = lengths + [unused.length for unused in rollouts.unused]
    requests = rollouts.requests or [Requests(prompts, drawn_prompt, drawn_lengths)]

    def forward(rows: Sequence[bool]) -> int:
        used = sorted({p for p, row in zip(rollouts.prompt_B, rows, strict=True) if row})
        place = {p: i for i, p in enumerate(used)}
        kept = [(place[p], m) for p, m, row in zip(rollouts.prompt_B, lengths, rows, strict=True) if row]
        return forward_flops(unit, [prompts[p] for p in used], [p for p, _ in kept], [m for _, m in kept])

    def repeated(rows: Requests) -> int:
        return sum(rows.prompts[p] for p in rows.prompt_B) + sum(rows.lengths)

    sampling, trained = sum(forward_flops(unit, *batch) for batch in requests), forward(trained_B)
    passed = Requests(prompts, drawn_prompt, drawn_lengths)
    return {
        "rollouts": len(rollouts.episodes) or rollouts.generations,
        "prompt_tokens": sum(sum(batch.prompts) for batch in requests),
        "generated_tokens": sum(sum(batch.lengths) for batch in requests),
        "flops": sampling + forward([True] * len(lengths)) + 2 * trained,
        "flops_needed": sampling + 3 * trained,
        "flops_2p6p": unit.parameters * (2 * sum(map(repeated, requests)) + 6 * repeated(passed)),
    }
