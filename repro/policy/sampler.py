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

from repro.policy.decoder import Decoder, attend, final_hidden, finish_layer, qkv, rotary

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
    logp_BV = F.log_softmax(logits_BV.float() / (temperature or 1.0), -1)
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
    Raises ValueError for an empty prompt, or if prompt_B and seeds differ in length.
    """
    if len(prompt_B) != len(seeds):
        raise ValueError(f"{len(prompt_B)} requests but {len(seeds)} seeds")
    if not all(len(p) for p in prompts):
        raise ValueError("a prompt without tokens cannot be continued")
    if not len(prompt_B) or max_new_tokens < 1:
        return [Completion([], [], False) for _ in prompt_B]
    device = dec.embedding.device
    rows = torch.as_tensor(prompt_B, device=device)
    keys_P, values_P, real_PR, last_PD = prefill(dec, prompts)
    R = real_PR.shape[1]
    graphs = device.type == "cuda" and cuda_graphs
    batch = _Batch(dec, keys_P[:, rows], values_P[:, rows], real_PR[rows], max_new_tokens, graphs)
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
        token_B, logp_B = draw(batch.step(token_B, R + t), uniform[request, t + 1], temperature)
    tokens, logps, lengths, finished = tokens.T.tolist(), logps.T.tolist(), lengths.tolist(), finished.tolist()
    return [Completion(tokens[b][: lengths[b]], logps[b][: lengths[b]], finished[b]) for b in range(len(rows))]


class _Batch:
    """The running rows and their key-value cache, allocated once at full length.

    Keys lie as (layers, B, K, E, S) and values as (layers, B, K, S, E): the order in which one query per row
    multiplies them fastest, and in which query heads that share a key head need no copies.
    """

    def __init__(self, dec: Decoder, keys: Tensor, values: Tensor, real_BR: Tensor, new_tokens: int, graphs: bool):
        self.dec = dec
        layers, B, R, K, E = keys.shape
        S = R + new_tokens
        self.keys = keys.new_zeros(layers, B, K, E, S)
        self.values = keys.new_zeros(layers, B, K, S, E)
        self.keys[..., :R] = keys.permute(0, 1, 3, 4, 2)
        self.values[:, :, :, :R] = values.transpose(2, 3)
        self.bias = keys.new_full((B, 1, 1, S), -torch.inf)  # added to the scores: 0 where a key is visible
        self.bias[:, 0, 0, :R].masked_fill_(real_BR, 0.0)
        self.position = real_BR.sum(1)  # of the next token
        self.graphs = graphs
        self.captured: tuple | None = None

    def keep(self, rows: Tensor) -> None:
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.bias, self.position = self.bias[rows], self.position[rows]
        self.captured = None

    def step(self, token_B: Tensor, column: int) -> Tensor:
        """Feed one token per row at cache column `column`; logits (B, V) of the next token."""
        at = torch.tensor([column], device=token_B.device)
        if not self.graphs:
            return self._forward(token_B, at, column + 1)
        if self.captured is None:
            self._capture(token_B, at)
        graph, token_in, at_in, logits = self.captured
        token_in.copy_(token_B)
        at_in.copy_(at)
        graph.replay()
        return logits

    def _forward(self, token_B: Tensor, at: Tensor, upto: int) -> Tensor:
        dec, bias = self.dec, self.bias[..., :upto]
        self.bias.index_fill_(3, at, 0.0)
        cos, sin = rotary(dec, self.position)
        x = F.embedding(token_B, dec.embedding)
        for i, layer in enumerate(dec.layers):
            q, k, v = qkv(dec, layer, x, cos, sin)
            self.keys[i].index_copy_(3, at, k[..., None])
            self.values[i].index_copy_(2, at, v[:, :, None])
            q = q.unflatten(1, (dec.kv_heads, -1)) * dec.scale
            weights = torch.softmax(q @ self.keys[i, ..., :upto] + bias, -1)
            x = finish_layer(dec, layer, x, (weights @ self.values[i, :, :, :upto]).flatten(1, 2))
        self.position.add_(1)
        return F.linear(final_hidden(dec, x), dec.head)

    def _capture(self, token_B: Tensor, at: Tensor) -> None:
        """Record one step over the whole cache (shapes must not change) as a CUDA graph.

        Warm-up and capture run the step for real, so the state that a step advances is put back afterwards; the
        column they write is the one the first replay writes again.
        """
        token_in, at_in, position = token_B.clone(), at.clone(), self.position.clone()
        whole = self.bias.shape[-1]
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
