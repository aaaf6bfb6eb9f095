"""A policy: a causal language model and its tokenizer, built from a config or loaded from a folder or hub id."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.algorithms.guidance import Measure
from repro.config import at_least_one
from repro.errors import ReproError
from repro.policy.chat import Chat
from repro.policy.decoder import Decoder, decoder, projection

PAD, END = "<pad>", "<end>"


@dataclass(frozen=True)
class PolicyConfig:
    """A Qwen2 built from scratch, or a checkpoint. The default is the small tier's policy: 0.5 M parameters.

    `checkpoint` names a folder or a hub id and overrides the shape; `dtype` is that of the weights.
    """

    checkpoint: str = ""
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 4
    feed_forward: int = 256
    context: int = 256
    rope_theta: float = 1e4
    lookback: float = 6.0  # see `lookup_init`; 0 keeps transformers' own initialisation
    sharpness: float = 10.0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float64", "bfloat16", "float16"):
            raise ReproError(f"policy.dtype is {self.dtype!r}; choose float32, bfloat16, float16 or float64")
        at_least_one("policy.", self, "hidden", "layers", "heads", "kv_heads", "feed_forward")
        if self.hidden % self.heads or self.heads % self.kv_heads or (self.hidden // self.heads) % 2:
            raise ReproError(
                f"policy: {self.hidden} does not divide into {self.heads} heads of even width, or these into "
                f"{self.kv_heads} key-value heads"
            )


@dataclass
class Policy:
    """A model with the tokenizer that belongs to it, and how texts are put to it.

    Policies from scratch read texts as they are; a pretrained one may wrap them in its chat template.
    """

    model: torch.nn.Module
    tokenizer: Any  # a transformers PreTrainedTokenizerFast
    chat: Chat | None = None  # None: texts as they are
    end: str = ""  # the token that ends a response; empty: the tokenizer's end token
    longest: int = 0  # a limit below the model's own context, in tokens; 0: none
    recompute: bool = False  # see `Decoder.recompute`
    adapters: Any = None  # peft's model around `model`, where adapters are trained instead of the weights
    adapter_scale: float = 1.0
    engine: Any = None  # samples in the torch sampler's place

    @property
    def end_token(self) -> int:
        return self.tokenizer.convert_tokens_to_ids(self.end) if self.end else self.tokenizer.eos_token_id

    @cached_property
    def measure(self) -> Measure:
        """How long texts are for it, for guidance that has to fit a prompt."""
        return Measure(partial(pieces, self.tokenizer.backend_tokenizer), len(self.prompt("")))

    @property
    def context(self) -> int:
        """The longest sequence that the model is made for, or may be used for, in tokens."""
        own = self.model.config.max_position_embeddings
        return min(own, self.longest) if self.longest else own

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The trainable tensors by their transformers names (a tied head is not listed twice)."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, trainable or not, by the names that `decoder` wants."""
        own = dict(self.model.named_parameters())
        if self.adapters is None:
            return own
        return {name.replace(".base_layer.", ".").replace(".default.", "."): p for name, p in own.items()}

    @torch.no_grad()
    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of a model of this shape that computes the same without adapters; a tied head comes once."""
        tensors = self.tensors()
        for name, tensor in tensors.items():
            if ".lora_" not in name:
                matrix = name.removesuffix(".weight")
                adapted = f"{matrix}.lora_A.weight" in tensors
                yield name, projection(tensors, matrix, self.adapter_scale).merged() if adapted else tensor

    def encode(self, text: str) -> list[int]:
        """The tokens of a text; ReproError for a word that is not in a from-scratch policy's vocabulary."""
        try:
            return self.tokenizer.encode(text, add_special_tokens=False)
        except Exception as error:
            _name_unknown_words(error, self.tokenizer, text)
            raise

    def prompt(self, text: str) -> list[int]:
        """The tokens that put a question, or the first observation of an episode, to the policy."""
        return self.chat.prompt(text) if self.chat else self.encode(text)

    def reply(self, text: str) -> list[int]:
        """The tokens of a later observation, which follow the end token of the action that brought it about."""
        return self.chat.reply(text) if self.chat else self.encode(text)

    def decode(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True)

    def decoder(self) -> Decoder:
        """The weights as the functional decoder sees them; gradients flow to the model's parameters."""
        return decoder(self.tensors(), self.model.config, self.recompute, self.adapter_scale, self.engine)

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the trainable weights that later updates do not touch."""
        return {name: p.detach().clone() for name, p in self.parameters.items()}

    def save(self, folder: Path) -> None:
        """Write the model, or its adapters alone (safetensors), and the tokenizer as transformers and peft do."""
        from transformers.utils import logging

        logging.disable_progress_bar()  # a bar for writing one file would break the display of the runs
        (self.adapters or self.model).save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def pieces(tokenizer: Any, text: str) -> list[str]:
    """The text cut where tokens begin: a piece a token, and they join back to it. `tokenizer`: a fast one's backend."""
    try:
        starts = [start for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets]
    except Exception as error:
        _name_unknown_words(error, tokenizer, text)
        raise
    bounds = [0, *starts[1:], len(text)] if starts else []
    return [text[a:b] for a, b in pairwise(bounds)]


def _name_unknown_words(error: Exception, tokenizer: Any, text: str) -> None:
    """ReproError if encoding failed for words without a token: tokenizers says so in its error's text alone."""
    if "[UNK]" not in str(error):
        return
    known = tokenizer.get_vocab()
    unknown = dict.fromkeys(word for word in text.split() if word not in known)
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    raise ReproError(
        f"the world's vocabulary cannot write this prompt: it lacks {' '.join(list(unknown)[:5])}{more}. Choose "
        "another recipe.guidance, a world that has the words of its hints, or a pretrained policy by policy.checkpoint"
    ) from error


def word_tokenizer(words: list[str]):
    """A tokenizer with one token per whitespace-separated word. An unknown word raises when it is encoded."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate(dict.fromkeys([PAD, END, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocab))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)


def build(config: PolicyConfig, words: list[str], seed: int, device: str = "cpu") -> Policy:
    """A fresh policy whose initial weights depend on `seed` alone, or the checkpoint that the config names."""
    from repro.policy import pretrained

    if isinstance(config, pretrained.CheckpointConfig):
        return pretrained.load_policy(config, seed, device)
    if config.checkpoint:
        return pretrained.load(config.checkpoint, device, config.dtype)
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = word_tokenizer(words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=len(tokenizer),
                hidden_size=config.hidden,
                intermediate_size=config.feed_forward,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.kv_heads,
                max_position_embeddings=config.context,
                rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
                tie_word_embeddings=True,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
        if config.lookback:
            if config.heads != config.kv_heads:
                raise ReproError("policy.lookback needs as many key-value heads as heads; set policy.lookback=0")
            lookup_init(model, config.lookback, config.sharpness)
    return Policy(model.to(device=device, dtype=getattr(torch, config.dtype)), tokenizer)


@torch.no_grad()
def lookup_init(model: torch.nn.Module, amplitude: float, sharpness: float) -> None:
    """Start the first two layers as a head that looks facts up; nothing is frozen and the model class is untouched.

    Layer 0: head i looks i + 1 tokens back. k_bias is q_bias rotated by i + 1 positions, so that the rotary score of a
    pair peaks at that distance; the three fastest frequencies alone carry it (`amplitude` each), for only they tell
    neighbours apart. All heads read by one value map V and write into orthogonal subspaces O_i.
    Layer 1: head i compares what stands i back with what stood i + 1 back (q = sharpness O_{i-1}^T x,
    k = sharpness O_i^T x), so it finds what followed an earlier occurrence. From transformers' own initialisation
    (biases zero, where a head that looks a fixed distance back has no gradient) the same is learned far later.
    """
    config = model.config
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    frequency = config.rope_parameters["rope_theta"] ** (-torch.arange(0, width, 2).float() / width)
    back = model.model.layers[0].self_attn
    q_bias = torch.zeros(heads, width)
    q_bias[:, :3] = q_bias[:, width // 2 : width // 2 + 3] = amplitude
    angle = (torch.arange(1, heads + 1)[:, None] * frequency).repeat(1, 2)
    rotated = torch.cat((-q_bias[:, width // 2 :], q_bias[:, : width // 2]), 1)
    back.q_proj.bias.copy_(q_bias.flatten())
    back.k_proj.bias.copy_((q_bias * angle.cos() + rotated * angle.sin()).flatten())
    back.v_proj.weight.copy_(back.v_proj.weight[:width].repeat(heads, 1))
    torch.nn.init.orthogonal_(back.o_proj.weight, gain=config.initializer_range * config.hidden_size**0.5)
    if len(model.model.layers) > 1:
        match = model.model.layers[1].self_attn
        written = back.o_proj.weight.T  # rows i * width .. (i + 1) * width: O_i^T
        match.k_proj.weight.copy_(sharpness * written)
        match.q_proj.weight.copy_(sharpness * torch.cat((back.v_proj.weight[:width], written[:-width])))


def parameter_count(policy: Policy) -> int:
    """Weights of the model, adapters left out."""
    return sum(math.prod(p.shape) for name, p in policy.tensors().items() if ".lora_" not in name)
