"""Tiny policies and ragged batches for the tests of what stands on a policy."""

import random

import torch
import transformers

from repro.environments import arithmetic
from repro.environments.arithmetic import ArithmeticConfig
from repro.policy.model import Policy, PolicyConfig, build, word_tokenizer

torch.set_num_threads(1)

WORLD = ArithmeticConfig(
    names=6, max_length=2, max_distractors=1, train_queries=32, heldout_queries=4,
    levels=(("easy", 1, 1), ("hard", 2, 2)),
)  # fmt: skip
VOCABULARY = arithmetic.vocabulary(WORLD)
SHAPE = PolicyConfig(hidden=16, layers=2, heads=2, kv_heads=2, feed_forward=32)


@torch.no_grad()
def stir(policy: Policy, scale: float = 0.2, seed: int = 0) -> Policy:
    """Move every weight at random, so that no distribution is near uniform and no bias is zero."""
    generator = torch.Generator().manual_seed(seed)
    for p in policy.parameters.values():
        p.add_(torch.randn(p.shape, generator=generator).to(p) * scale)
    return policy


def tiny_policy(seed: int = 0, scale: float = 0.2, **shape) -> Policy:
    return stir(build(PolicyConfig(**{**vars(SHAPE), **shape}), VOCABULARY, seed), scale, seed)


# What the decoder must compute exactly: many heads and grouped ones, tied heads and free ones, three families.
ARCHITECTURES = {
    "qwen2": ("Qwen2", {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    "qwen2 grouped, free head": ("Qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": False}),
    "qwen2 one key head": ("Qwen2", {"num_key_value_heads": 1, "tie_word_embeddings": True, "rope_theta": 1e6}),
    "llama": ("Llama", {"num_key_value_heads": 2, "tie_word_embeddings": False}),
    "llama 3.2": ("Llama", {"num_key_value_heads": 2, "tie_word_embeddings": True, "rope_type": "llama3", "factor": 4.0,
                            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": False}),
}  # fmt: skip
LLAMA3_ROPE = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def architecture(name: str, dtype: torch.dtype = torch.float32, head_dim: int | None = None) -> Policy:
    """A policy of one of the families, with weights of a size at which everything matters.

    Its heads are 8 wide (Qwen3's 16) unless `head_dim` says otherwise: vLLM has no kernel for heads below 32.
    """
    family, settings = ARCHITECTURES[name]
    settings = dict(settings) | ({"head_dim": head_dim} if head_dim else {})
    rope = {"rope_type": "default", "rope_theta": 1e4}
    rope |= {name: settings.pop(name) for name in list(settings) if name in (*rope, *LLAMA3_ROPE)}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(VOCABULARY) + 2, hidden_size=4 * (head_dim or 8), intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, rope_parameters=rope, pad_token_id=0, eos_token_id=1,
        bos_token_id=None, **settings,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{family}ForCausalLM")(config)
    return stir(Policy(model.to(dtype), word_tokenizer(VOCABULARY)), 0.1)


def ragged(seed: int, groups: int = 4, longest: int = 7) -> tuple[list, list, list]:
    """(prompts, responses, prompt_B): unequal prompts and groups; responses of 0, 1 and more tokens; rows shuffled."""
    rng = random.Random(seed)

    def tokens(n):
        return [rng.randrange(2, len(VOCABULARY) + 2) for _ in range(n)]

    prompts = [tokens(rng.randint(1, 9)) for _ in range(groups)]
    prompt_B = [p for p in range(groups) for _ in range(rng.randint(1, 4))] + [0, 0]
    rng.shuffle(prompt_B)
    responses = [tokens(rng.randint(1, longest)) for _ in prompt_B]
    responses[0], responses[1] = tokens(1), []
    return prompts, responses, prompt_B
