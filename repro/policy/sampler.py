"""Sampling responses with the torch backend: batched decoding over a key-value cache.

A prompt is prefilled once for its whole group, finished rows leave the batch, and every token comes with the
log-probability under exactly the weights that drew it. Randomness is counter-based: token t of a request depends on
the request's seed and on t alone, so neither the batch's order nor its composition changes what a request draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from repro.errors import ReproError
from repro.policy.decoder import Decoder, attend, final_hidden, finish_layer, qkv, rotary
from repro.policy.memory import free, is_out_of_memory

COMPACT_BELOW = 0.75  # the batch is packed when fewer than this share of its rows still run


@dataclass(frozen=True)
class Completion:
    """One sampled response: its tokens (the end token included), their log-probabilities, and whether it ended."""

    tokens: list[int]
    logprobs: list[float]
    finished: bool


def uniforms(seeds: Sequence[int], steps: int) -> np.ndarray:
    """(len(seeds), steps) numbers in [0, 1): entry (i, t) is a hash (SplitMix64) of seeds[i] and t alone."""
    seed = np.asarray([s % 2**64 for s in seeds], dtype=np.uint64)[:, None]
    with np.errstate(over="ignore"):
        z = _mix(seed) + np.arange(1, steps + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return (_mix(z) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw(logits_BV: Tensor, uniform_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tokens (B,) by inverse transform of the full distribution, and their log-probabilities (B,).

    Temperature 0 takes the most likely token (log-probabilities are then those at temperature 1).
    """
    logits_BV = logits_BV.float() if temperature in (0, 1) else logits_BV.float() / temperature
    logp_BV = F.log_softmax(logits_BV, -1)
    if temperature == 0:
        token_B = logp_BV.argmax(-1)
    else:
        cdf_BV = logp_BV.exp().double().cumsum(-1)
        token_B = torch.searchsorted(cdf_BV, (uniform_B * cdf_BV[:, -1])[:, None], right=True)[:, 0]
        token_B = token_B.clamp(max=logits_BV.shape[-1] - 1)
    return token_B, logp_BV.gather(-1, token_B[:, None])[:, 0]


def prefill(dec: Decoder, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the prompts, right-aligned: (keys, values) each (layers, P, R, K, E), real_PR, last hidden state (P, D)."""
    device = dec.embedding.device
    R = max(map(len, prompts))
    ids_PR = torch.tensor([[0] * (R - len(p)) + list(p) for p in prompts], device=device)
    real_PR = torch.tensor([[False] * (R - len(p)) + [True] * len(p) for p in prompts], device=device)
    cos, sin = rotary(dec, (real_PR.cumsum(1) - 1).clamp(min=0))
    causal_RR = torch.ones(R, R, dtype=torch.bool, device=device).tril()
    visible = (causal_RR & real_PR[:, None, :] | torch.eye(R, dtype=torch.bool, device=device))[:, None]
    x = F.embedding(ids_PR, dec.embedding)
    keys, values = [], []
    for layer in dec.layers:
        q, k, v = qkv(dec, layer, x, cos, sin)
        keys.append(k)
        values.append(v)
        x = finish_layer(dec, layer, x, attend(dec, q, k, v, visible))
    return torch.stack(keys), torch.stack(values), real_PR, final_hidden(dec, x[:, -1])


def check_requests(prompts: Sequence[Sequence[int]], prompt_B: Sequence[int], seeds: Sequence[int]) -> None:
    """ValueError for an empty prompt, or if there are not as many seeds as requests."""
    if len(prompt_B) != len(seeds):
        raise ValueError(f"{len(prompt_B)} requests but {len(seeds)} seeds")
    if not all(len(p) for p in prompts):
        raise ValueError("a prompt without tokens cannot be continued")


@torch.no_grad()
def sample(
    dec: Decoder,
    prompts: Sequence[Sequence[int]],
    prompt_B: Sequence[int],
    seeds: Sequence[int],
    max_new_tokens: int,
    end_token: int,
    temperature: float = 1.0,
    cuda_graphs: bool = True,
) -> list[Completion]:
    """Sample one response per request: request b continues prompts[prompt_B[b]] with its own seeds[b].

    On a GPU each batch shape's decoding step is captured once as a CUDA graph (`cuda_graphs=False` decodes eagerly).
    A decoder that has an engine leaves the sampling to it. Where memory runs out, half of the requests go first; what
    is drawn does not depend on it. Raises ValueError for an empty prompt, or if prompt_B and seeds differ in length;
    ReproError if there is no memory for one request.
    """
    if dec.engine is not None:
        return dec.engine.sample(prompts, prompt_B, seeds, max_new_tokens, end_token, temperature)
    check_requests(prompts, prompt_B, seeds)
    if not len(prompt_B) or max_new_tokens < 1:
        return [Completion([], [], False) for _ in prompt_B]
    try:
        return _sample(dec, prompts, prompt_B, seeds, max_new_tokens, end_token, temperature, cuda_graphs)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    if len(prompt_B) == 1:
        raise ReproError(
            f"out of memory: one response of up to {max_new_tokens} tokens after a prompt of "
            f"{len(prompts[prompt_B[0]])} does not fit beside the model. Lower training.max_new_tokens. This run goes "
            "on from its last checkpoint where there is more memory."
        )
    free()
    half, completions = len(prompt_B) // 2, []
    for part in (slice(half), slice(half, None)):
        used = sorted(set(prompt_B[part]))
        rows = [used.index(p) for p in prompt_B[part]]
        completions += sample(
            dec, [prompts[p] for p in used], rows, seeds[part], max_new_tokens, end_token, temperature, cuda_graphs
        )
    return completions


def _sample(
    dec: Decoder,
    prompts: Sequence[Sequence[int]],
    prompt_B: Sequence[int],
    seeds: Sequence[int],
    max_new_tokens: int,
    end_token: int,
    temperature: float,
    cuda_graphs: bool,
) -> list[Completion]:
    device = dec.embedding.device
    rows = torch.as_tensor(prompt_B, device=device)
    keys_P, values_P, real_PR, last_PD = prefill(dec, prompts)
    graphs = device.type == "cuda" and cuda_graphs
    batch = _Batch(dec, keys_P, values_P, real_PR, rows, max_new_tokens, graphs)
    uniform = torch.from_numpy(uniforms(seeds, max_new_tokens)).to(device)
    token_B, logp_B = draw(F.linear(last_PD, dec.head)[rows], uniform[:, 0], temperature)

    # Rows of the batch map to requests through `request`; results are collected on the device, step by step.
    tokens = torch.full((max_new_tokens, len(rows)), end_token, device=device)
    logps = torch.zeros(max_new_tokens, len(rows), device=device)
    request = torch.arange(len(rows), device=device)
    lengths = torch.full((len(rows),), max_new_tokens, device=device)
    finished = torch.zeros(len(rows), dtype=torch.bool, device=device)
    running = torch.ones(len(rows), dtype=torch.bool, device=device)
    for t in range(max_new_tokens):
        live = request[running]
        tokens[t, live], logps[t, live] = token_B[running], logp_B[running]
        ended = running & (token_B == end_token)
        lengths[request[ended]] = t + 1
        finished[request[ended]] = True
        running = running & ~ended
        left = int(running.sum())
        if left == 0 or t + 1 == max_new_tokens:
            break
        if left < (COMPACT_BELOW if not graphs else COMPACT_BELOW / 2) * len(running):
            batch.keep(running)
            request, token_B, running = request[running], token_B[running], running[running]
        token_B, logp_B = draw(batch.step(token_B, t), uniform[request, t + 1], temperature)
    tokens, logps, lengths, finished = tokens.T.tolist(), logps.T.tolist(), lengths.tolist(), finished.tolist()
    return [Completion(tokens[b][: lengths[b]], logps[b][: lengths[b]], finished[b]) for b in range(len(rows))]


class _Batch:
    """The running rows and their key-value cache; a prompt's keys and values lie there once for its whole group.

    Keys lie as (layers, rows, K, E, S) and values as (layers, rows, K, S, E): the order in which few queries per row
    multiply them fastest, and in which query heads that share a key head need no copies.
    """

    def __init__(
        self, dec: Decoder, keys_P: Tensor, values_P: Tensor, real_PR: Tensor, prompt_B: Tensor, new_tokens: int,
        graphs: bool,
    ):  # fmt: skip
        self.dec = dec
        layers, _, R, K, E = keys_P.shape
        self.prompt_keys = keys_P.permute(0, 1, 3, 4, 2).contiguous()
        self.prompt_values = values_P.transpose(2, 3).contiguous()
        # Biases are added to the scores: 0 where a key is visible. All rows are at the same step of their responses.
        self.prompt_bias = keys_P.new_zeros(real_PR.shape).masked_fill_(~real_PR, -torch.inf)[:, None, None]
        self.keys = keys_P.new_zeros(layers, len(prompt_B), K, E, new_tokens)
        self.values = keys_P.new_zeros(layers, len(prompt_B), K, new_tokens, E)
        self.bias = keys_P.new_full((new_tokens,), -torch.inf)
        self.cos, self.sin = rotary(dec, torch.arange(R + new_tokens, device=keys_P.device))
        self.position = real_PR.sum(1)[prompt_B]  # of the next token
        self.graphs = graphs
        self.captured: tuple | None = None
        self._group(prompt_B)

    def keep(self, rows: Tensor) -> None:
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.position = self.position[rows]
        used, prompt_B = self.prompt_B[rows].unique(return_inverse=True)
        if len(used) < len(self.prompt_bias):
            self.prompt_keys, self.prompt_values = self.prompt_keys[:, used], self.prompt_values[:, used]
            self.prompt_bias = self.prompt_bias[used]
        self.captured = None
        self._group(prompt_B)

    def _group(self, prompt_B: Tensor) -> None:
        """Find each row's slot in (P, G), G the largest group: rows of one prompt meet its keys in one product."""
        self.prompt_B = prompt_B
        order = prompt_B.argsort(stable=True)
        size_P = prompt_B.bincount(minlength=len(self.prompt_bias))
        sorted_B = prompt_B[order]
        member = torch.arange(len(order), device=order.device) - (size_P.cumsum(0) - size_P)[sorted_B]
        G = int(size_P.max())
        self.slot_B = torch.empty_like(prompt_B)
        self.slot_B[order] = sorted_B * G + member
        self.row_PG = torch.zeros(len(size_P) * G, dtype=prompt_B.dtype, device=order.device)  # spare slots: row 0
        self.row_PG[self.slot_B] = torch.arange(len(prompt_B), device=order.device)
        in_place = torch.arange(len(prompt_B), device=order.device)
        self.in_order = len(self.row_PG) == len(prompt_B) and bool((self.slot_B == in_place).all())

    def _by_prompt(self, x: Tensor) -> Tensor:
        """(B, K, g, n) to (P, K, G g, n)."""
        grouped = (x if self.in_order else x[self.row_PG]).unflatten(0, (len(self.prompt_bias), -1))
        return grouped.transpose(1, 2).flatten(2, 3)

    def _by_row(self, x: Tensor, g: int) -> Tensor:
        """(P, K, G g, n) to (B, K, g, n)."""
        rows = x.unflatten(2, (-1, g)).transpose(1, 2).flatten(0, 1)
        return rows if self.in_order else rows[self.slot_B]

    def step(self, token_B: Tensor, t: int) -> Tensor:
        """Feed token t of each row's response; logits (B, V) of the next token."""
        at = torch.tensor([t], device=token_B.device)
        if not self.graphs:
            return self._forward(token_B, at, t + 1)
        if self.captured is None:
            self._capture(token_B, at)
        graph, token_in, at_in, logits = self.captured
        token_in.copy_(token_B)
        at_in.copy_(at)
        graph.replay()
        return logits

    def _forward(self, token_B: Tensor, at: Tensor, upto: int) -> Tensor:
        dec = self.dec
        R, g = self.prompt_keys.shape[-1], dec.heads // dec.kv_heads
        self.bias.index_fill_(0, at, 0.0)
        cos, sin = self.cos[self.position], self.sin[self.position]
        x = F.embedding(token_B, dec.embedding)
        for i, layer in enumerate(dec.layers):
            q, k, v = qkv(dec, layer, x, cos, sin)
            if self.graphs:  # the column is read on the device at each replay
                self.keys[i].index_copy_(3, at, k[..., None])
                self.values[i].index_copy_(2, at, v[:, :, None])
            else:
                self.keys[i, ..., upto - 1], self.values[i, :, :, upto - 1] = k, v
            q = q.unflatten(1, (dec.kv_heads, -1)) * dec.scale
            prompt = self._by_row(self._by_prompt(q) @ self.prompt_keys[i] + self.prompt_bias, g)
            response = q @ self.keys[i, ..., :upto] + self.bias[:upto]
            weights = torch.softmax(torch.cat((prompt, response), -1), -1)
            attended = self._by_row(self._by_prompt(weights[..., :R]) @ self.prompt_values[i], g)
            attended = attended + weights[..., R:] @ self.values[i, :, :, :upto]
            x = finish_layer(dec, layer, x, attended.flatten(1, 2))
        self.position.add_(1)
        return F.linear(final_hidden(dec, x), dec.head)

    def _capture(self, token_B: Tensor, at: Tensor) -> None:
        """Record one step over the whole cache (shapes must not change) as a CUDA graph.

        Warm-up and capture run the step for real, so the state that a step advances is put back afterwards; the
        column they write is the one the first replay writes again.
        """
        token_in, at_in, position = token_B.clone(), at.clone(), self.position.clone()
        whole = len(self.bias)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._forward(token_in, at_in, whole)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._forward(token_in, at_in, whole)
        self.position.copy_(position)
        self.captured = (graph, token_in, at_in, logits)
