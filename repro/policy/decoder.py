"""A decoder-only transformer as pure functions over a checkpoint's own tensors: one code for training and for sampling.

The parameters are those of transformers' Qwen2ForCausalLM (Llama's and Qwen3's names fit too); that class stays the
holder, the file format and the reference that the tests compare with. These functions exist for what it cannot do:
share a prompt among the responses of its group in prefill, forward *and* backward, and compute no padding in the
matrix products. Adapters of low rank (peft's names) are applied beside the matrices they belong to, never merged.

Axis suffixes: N tokens laid end to end without padding, P prompts, B responses, R padded prompt length,
T padded response length, S keys, H heads, K key-value heads, E head width, D hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.errors import ReproError

FAMILIES = ("qwen2", "qwen3", "llama")  # model types whose blocks are the ones computed here
FUSE_BELOW = 1024  # hidden width: from here on a fused copy of the weights costs more than a second product saves


class Projection(NamedTuple):
    """A matrix with its bias and its adapter: x W^T + b + scale (x A^T) B^T."""

    weight: Tensor
    bias: Tensor | None = None
    a: Tensor | None = None
    b: Tensor | None = None
    scale: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight, self.bias)
        return y if self.a is None else y + F.linear(F.linear(x, self.a), self.b) * self.scale

    def merged(self) -> Tensor:
        """The one matrix that does the same, (out, in)."""
        return self.weight if self.a is None else self.weight + self.scale * self.b @ self.a


@dataclass(frozen=True)
class Layer:
    """One block; query, key and value are one projection if they are fused, else three; gate and up likewise."""

    input_norm: Tensor
    qkv: tuple[Projection, ...]
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: Projection
    post_norm: Tensor
    gate_up: tuple[Projection, ...]
    down: Projection


@dataclass(frozen=True)
class Decoder:
    """The weights in the order they are used, and the few numbers that their shapes do not tell."""

    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Tensor
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    rope: dict[str, Any]  # transformers' rope_parameters
    recompute: bool = False  # activations of a block are made again in the backward pass instead of kept
    engine: Any = None  # samples in this decoder's place (see `repro.policy.vllm_engine`)

    @property
    def scale(self) -> float:
        return self.head_dim**-0.5


def projection(params: dict[str, Tensor], name: str, scale: float = 1.0) -> Projection:
    """The projection of that name, with its adapter if `params` holds one. Raises KeyError for a missing matrix."""
    return Projection(
        params[f"{name}.weight"],
        params.get(f"{name}.bias"),
        params.get(f"{name}.lora_A.weight"),
        params.get(f"{name}.lora_B.weight"),
        scale,
    )


def decoder(
    params: dict[str, Tensor], config: Any, recompute: bool = False, adapter_scale: float = 1.0, engine: Any = None
) -> Decoder:
    """View a state dict as a Decoder; gradients flow to `params`, through the fused weights where they are fused.

    `params` maps the names of a Qwen2ForCausalLM (or Llama, Qwen3) to tensors, adapters as `<matrix>.lora_A.weight`
    and `.lora_B.weight`; `config` is its transformers config. Raises KeyError for a missing tensor.
    """

    def side_by_side(prefix: str, names: tuple[str, ...]) -> tuple[Projection, ...]:
        parts = tuple(projection(params, f"{prefix}.{name}", adapter_scale) for name in names)
        if config.hidden_size >= FUSE_BELOW or any(part.a is not None for part in parts):
            return parts
        bias = None if parts[0].bias is None else torch.cat([part.bias for part in parts])
        return (Projection(torch.cat([part.weight for part in parts]), bias),)

    layers = []
    for i in range(config.num_hidden_layers):
        at = f"model.layers.{i}"
        layers.append(
            Layer(
                input_norm=params[f"{at}.input_layernorm.weight"],
                qkv=side_by_side(f"{at}.self_attn", ("q_proj", "k_proj", "v_proj")),
                q_norm=params.get(f"{at}.self_attn.q_norm.weight"),
                k_norm=params.get(f"{at}.self_attn.k_norm.weight"),
                o=projection(params, f"{at}.self_attn.o_proj", adapter_scale),
                post_norm=params[f"{at}.post_attention_layernorm.weight"],
                gate_up=side_by_side(f"{at}.mlp", ("gate_proj", "up_proj")),
                down=projection(params, f"{at}.mlp.down_proj", adapter_scale),
            )
        )
    embedding = params["model.embed_tokens.weight"]
    return Decoder(
        embedding=embedding,
        layers=tuple(layers),
        norm=params["model.norm.weight"],
        head=embedding if config.tie_word_embeddings else params["lm_head.weight"],
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        eps=config.rms_norm_eps,
        rope=config.rope_parameters,
        recompute=recompute,
        engine=engine,
    )


def check_supported(config: Any, source: str) -> None:
    """ReproError if the model of a transformers config computes what these functions do not."""
    if config.model_type not in FAMILIES:
        reason = f"its model type is {config.model_type!r}; choose one of the families {', '.join(FAMILIES)}"
    elif config.rope_parameters.get("rope_type", "default") not in ("default", "llama3"):
        reason = f"its rotary embedding is of the type {config.rope_parameters['rope_type']!r}; choose one without"
    elif "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        reason = "some of its layers see a sliding window only; set use_sliding_window to false in its config.json"
    elif getattr(config, "hidden_act", "silu") != "silu":
        reason = f"its activation is {config.hidden_act!r}, not silu"
    else:
        return
    raise ReproError(f"policy.checkpoint: {source!r} is not supported: {reason}")


def frequencies(dec: Decoder, device: torch.device) -> Tensor:
    """Angle per position of each pair of channels, (E / 2,).

    The type "llama3" slows down what turns less than once in the context of pretraining (Llama 3.1 and 3.2): by
    `factor` below `low_freq_factor` turns, not at all above `high_freq_factor`, linearly in the turns in between.
    """
    steps = torch.arange(0, dec.head_dim, 2, dtype=torch.float32, device=device)
    frequency = dec.rope["rope_theta"] ** (-steps / dec.head_dim)
    if dec.rope.get("rope_type") != "llama3":
        return frequency
    low, high = dec.rope["low_freq_factor"], dec.rope["high_freq_factor"]
    turns = dec.rope["original_max_position_embeddings"] * frequency / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequency * (kept + (1 - kept) / dec.rope["factor"])


def rotary(dec: Decoder, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of the rotary embedding, each (*positions, 1, E), in the weights' dtype."""
    frequency = frequencies(dec, positions.device)
    angle = (positions.to(torch.float32)[..., None] * frequency).repeat(*(1,) * positions.dim(), 2)[..., None, :]
    return angle.cos().to(dec.embedding.dtype), angle.sin().to(dec.embedding.dtype)


def _all(projections: Sequence[Projection], x: Tensor) -> Tensor:
    """What several projections make of x, side by side."""
    return projections[0](x) if len(projections) == 1 else torch.cat([one(x) for one in projections], -1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def qkv(dec: Decoder, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (N, H, E), keys and values (N, K, E) of hidden states (N, D), rotated."""
    h = F.rms_norm(x, x.shape[-1:], layer.input_norm, dec.eps)
    y = _all(layer.qkv, h).view(*x.shape[:-1], -1, dec.head_dim)
    qk, v = y.split((dec.heads + dec.kv_heads, dec.kv_heads), -2)
    if layer.q_norm is not None:
        q, k = qk.split((dec.heads, dec.kv_heads), -2)
        q = F.rms_norm(q, q.shape[-1:], layer.q_norm, dec.eps)
        k = F.rms_norm(k, k.shape[-1:], layer.k_norm, dec.eps)
        qk = torch.cat((q, k), -2)
    q, k = _rotate(qk, cos, sin).split((dec.heads, dec.kv_heads), -2)
    return q, k, v


def finish_layer(dec: Decoder, layer: Layer, x: Tensor, attended: Tensor) -> Tensor:
    """Residual stream (N, D) after the attention output (N, H, E) and the feed-forward block."""
    x = x + layer.o(attended.reshape(*x.shape[:-1], -1))
    h = F.rms_norm(x, x.shape[-1:], layer.post_norm, dec.eps)
    gate, up = _all(layer.gate_up, h).chunk(2, -1)
    return x + layer.down(F.silu(gate) * up)


def attend(dec: Decoder, q_BTHE: Tensor, k_BSKE: Tensor, v_BSKE: Tensor, visible: Tensor) -> Tensor:
    """Attention of padded queries over padded keys; `visible` is bool, broadcastable to (B, H, T, S)."""
    shared = dec.heads != dec.kv_heads
    if shared and q_BTHE.is_cuda:
        # With a mask and shared key heads CUDA has only the kernel that writes out all scores; copies are smaller.
        k_BSKE, v_BSKE = (x.repeat_interleave(dec.heads // dec.kv_heads, 2) for x in (k_BSKE, v_BSKE))
        shared = False
    out = F.scaled_dot_product_attention(
        q_BTHE.transpose(1, 2),
        k_BSKE.transpose(1, 2),
        v_BSKE.transpose(1, 2),
        attn_mask=visible,
        scale=dec.scale,
        enable_gqa=shared,
    )
    return out.transpose(1, 2)


def final_hidden(dec: Decoder, x: Tensor) -> Tensor:
    """Normalised hidden states, ready for the head."""
    return F.rms_norm(x, x.shape[-1:], dec.norm, dec.eps)
