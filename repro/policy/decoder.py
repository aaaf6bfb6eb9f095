"""A decoder-only transformer as pure functions over a checkpoint's own tensors: one code for training and for sampling.

The parameters are those of transformers' Qwen2ForCausalLM (Llama's and Qwen3's names fit too); that class stays the
holder, the file format and the reference that the tests compare with. These functions exist for what it cannot do:
share a prompt among the responses of its group in prefill, forward *and* backward, and compute no padding in the
matrix products.

Axis suffixes: N tokens laid end to end without padding, P prompts, B responses, R padded prompt length,
T padded response length, S keys, H heads, K key-value heads, E head width, D hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """One block; query, key and value projections are fused, as are gate and up."""

    input_norm: Tensor
    qkv_weight: Tensor
    qkv_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    o_weight: Tensor
    post_norm: Tensor
    gate_up_weight: Tensor
    down_weight: Tensor


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
    rope_theta: float

    @property
    def scale(self) -> float:
        return self.head_dim**-0.5


def decoder(params: dict[str, Tensor], config: Any) -> Decoder:
    """View a state dict as a Decoder; gradients flow to `params` through the fused weights.

    `params` maps the names of a Qwen2ForCausalLM (or Llama, Qwen3) to tensors and `config` is its transformers config.
    Raises KeyError for a missing tensor.
    """

    def fuse(prefix: str, names: tuple[str, ...], kind: str) -> Tensor | None:
        parts = [params.get(f"{prefix}.{name}.{kind}") for name in names]
        if kind == "bias" and parts[0] is None:
            return None
        return torch.cat(parts)

    layers = []
    for i in range(config.num_hidden_layers):
        at = f"model.layers.{i}"
        layers.append(
            Layer(
                input_norm=params[f"{at}.input_layernorm.weight"],
                qkv_weight=fuse(f"{at}.self_attn", ("q_proj", "k_proj", "v_proj"), "weight"),
                qkv_bias=fuse(f"{at}.self_attn", ("q_proj", "k_proj", "v_proj"), "bias"),
                q_norm=params.get(f"{at}.self_attn.q_norm.weight"),
                k_norm=params.get(f"{at}.self_attn.k_norm.weight"),
                o_weight=params[f"{at}.self_attn.o_proj.weight"],
                post_norm=params[f"{at}.post_attention_layernorm.weight"],
                gate_up_weight=fuse(f"{at}.mlp", ("gate_proj", "up_proj"), "weight"),
                down_weight=params[f"{at}.mlp.down_proj.weight"],
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
        rope_theta=config.rope_parameters["rope_theta"],
    )


def rotary(dec: Decoder, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of the rotary embedding, each (*positions, 1, E), in the weights' dtype."""
    frequency = dec.rope_theta ** (
        -torch.arange(0, dec.head_dim, 2, dtype=torch.float32, device=positions.device) / dec.head_dim
    )
    angle = (positions.to(torch.float32)[..., None] * frequency).repeat(*(1,) * positions.dim(), 2)[..., None, :]
    return angle.cos().to(dec.embedding.dtype), angle.sin().to(dec.embedding.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def qkv(dec: Decoder, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (N, H, E), keys and values (N, K, E) of hidden states (N, D), rotated."""
    h = F.rms_norm(x, x.shape[-1:], layer.input_norm, dec.eps)
    y = F.linear(h, layer.qkv_weight, layer.qkv_bias).view(*x.shape[:-1], -1, dec.head_dim)
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
    x = x + F.linear(attended.reshape(*x.shape[:-1], -1), layer.o_weight)
    h = F.rms_norm(x, x.shape[-1:], layer.post_norm, dec.eps)
    gate, up = F.linear(h, layer.gate_up_weight).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, layer.down_weight)


def attend(dec: Decoder, q_BTHE: Tensor, k_BSKE: Tensor, v_BSKE: Tensor, visible: Tensor) -> Tensor:
    """Attention of padded queries over padded keys; `visible` is bool, broadcastable to (B, H, T, S)."""
    out = F.scaled_dot_product_attention(
        q_BTHE.transpose(1, 2),
        k_BSKE.transpose(1, 2),
        v_BSKE.transpose(1, 2),
        attn_mask=visible,
        scale=dec.scale,
        enable_gqa=dec.heads != dec.kv_heads,
    )
    return out.transpose(1, 2)


def final_hidden(dec: Decoder, x: Tensor) -> Tensor:
    """Normalised hidden states, ready for the head."""
    return F.rms_norm(x, x.shape[-1:], dec.norm, dec.eps)
