"""The shapes of the models that papers train, from their published config.json, so that a plan needs no download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.study.runs import read_json


@dataclass(frozen=True)
class Shape:
    """A decoder of the Qwen2, Qwen3 or Llama family, under transformers' names."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tied: bool
    attention_bias: bool = False  # Qwen2: of query, key and value
    head_norms: bool = False  # Qwen3: of each head's query and key

    @property
    def parameters(self) -> int:
        """All tensors, a tied head counted once."""
        h, heads, kv, width = self.hidden_size, self.num_attention_heads, self.num_key_value_heads, self.head_dim
        block = sum(rows * columns for rows, columns in self.matrices.values()) + 2 * h
        block += (heads + 2 * kv) * width * self.attention_bias + 2 * width * self.head_norms
        return self.vocab_size * h * (1 if self.tied else 2) + self.num_hidden_layers * block + h

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """(out, in) of the matrices of a block, by transformers' names."""
        h, f = self.hidden_size, self.intermediate_size
        q, kv = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        return {"q_proj": (q, h), "k_proj": (kv, h), "v_proj": (kv, h), "o_proj": (h, q),
                "gate_proj": (f, h), "up_proj": (f, h), "down_proj": (h, f)}  # fmt: skip

    def adapter_parameters(self, rank: int, matrices: tuple[str, ...]) -> int:
        """Trained parameters of adapters of that rank on those matrices of every block."""
        return self.num_hidden_layers * sum(rank * sum(self.matrices[name]) for name in matrices)

    @property
    def cache_values(self) -> int:
        """Numbers that the key-value cache holds for a token."""
        return 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


_QWEN2_05B = Shape(896, 24, 14, 2, 64, 4864, 151936, tied=True, attention_bias=True)
_QWEN2_15B = Shape(1536, 28, 12, 2, 128, 8960, 151936, tied=True, attention_bias=True)
_QWEN2_7B = Shape(3584, 28, 28, 4, 128, 18944, 152064, tied=False, attention_bias=True)
SHAPES: dict[str, Shape] = {
    "Qwen/Qwen2.5-0.5B-Instruct": _QWEN2_05B,
    "Qwen/Qwen2.5-1.5B-Instruct": _QWEN2_15B,
    "Qwen/Qwen2.5-7B-Instruct": _QWEN2_7B,
    "Qwen/Qwen2.5-7B": _QWEN2_7B,
    "Qwen/Qwen2.5-Math-1.5B": _QWEN2_15B,
    "Qwen/Qwen2.5-Math-7B": _QWEN2_7B,
    "Qwen/Qwen3-0.6B-Base": Shape(1024, 28, 16, 8, 128, 3072, 151936, tied=True, head_norms=True),
    "Qwen/Qwen3-1.7B-Base": Shape(2048, 28, 16, 8, 128, 6144, 151936, tied=True, head_norms=True),
    "Qwen/Qwen3-4B-Base": Shape(2560, 36, 32, 8, 128, 9728, 151936, tied=True, head_norms=True),
    "Qwen/Qwen3-8B-Base": Shape(4096, 36, 32, 8, 128, 12288, 151936, tied=False, head_norms=True),
    "meta-llama/Llama-3.2-3B-Instruct": Shape(3072, 28, 24, 8, 128, 8192, 128256, tied=True),
}


def of_folder(folder: Path) -> Shape | None:
    """The shape that a checkpoint's config.json states; None if it is of a family that is not computed here."""
    from repro.policy.decoder import FAMILIES  # needs torch

    told = read_json(folder / "config.json", "download or export the checkpoint again")
    if told.get("model_type") not in FAMILIES:
        return None
    heads = told["num_attention_heads"]
    return Shape(
        hidden_size=told["hidden_size"],
        num_hidden_layers=told["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=told.get("num_key_value_heads", heads),
        head_dim=told.get("head_dim") or told["hidden_size"] // heads,
        intermediate_size=told["intermediate_size"],
        vocab_size=told["vocab_size"],
        tied=told.get("tie_word_embeddings", False),
        attention_bias=told["model_type"] == "qwen2",
        head_norms=told["model_type"] == "qwen3",
    )


def from_scratch(policy: Any, words: int) -> Shape:
    """The shape of a policy built from its config (a PolicyConfig) with a vocabulary of `words` tokens."""
    return Shape(
        hidden_size=policy.hidden,
        num_hidden_layers=policy.layers,
        num_attention_heads=policy.heads,
        num_key_value_heads=policy.kv_heads,
        head_dim=policy.hidden // policy.heads,
        intermediate_size=policy.feed_forward,
        vocab_size=words,
        tied=True,
        attention_bias=True,
    )
