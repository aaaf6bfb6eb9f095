"""Tiny pretrained checkpoints in the form of the real ones: config.json, safetensors, tokenizer.json, chat template."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.policy.tiny import architecture

CORPUS = [
    "Ann has 3 figs and buys 4 more. How many figs does she have? She has 3 + 4 = 7 figs.",
    "user assistant system",
]
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ date_string }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# By family: the special tokens, that which ends a response, and the chat template.
SPEECH = {
    "qwen2": (("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", CHATML),
    "qwen3": (("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", CHATML),
    "llama 3.2": (
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        HEADERS,
    ),
}
SPARE = 5  # rows of the embedding that no token uses, as in Qwen's


def bpe_tokenizer(family: str):
    """A byte-level BPE tokenizer: any text can be written in it."""
    special, end, template = SPEECH[family]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=list(special), initial_alphabet=alphabet,
                                  show_progress=False)  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, pad_token=special[0], bos_token=special[0]
    )
    fast.chat_template = template
    return fast


def save_checkpoint(folder: Path, family: str = "qwen2", shards: bool = False, **settings) -> Path:
    """A random checkpoint of a family. Positions: 256, so that a conversation fits."""
    tokenizer = bpe_tokenizer(family)
    pattern = architecture("qwen2 grouped, free head" if family == "qwen2" else family).model.config
    config = type(pattern).from_dict(
        pattern.to_dict()
        | {"vocab_size": len(tokenizer) + SPARE, "max_position_embeddings": 256, "eos_token_id": tokenizer.eos_token_id}
        | settings
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, max_shard_size="60KB" if shards else "1GB")
    tokenizer.save_pretrained(folder)
    return folder
