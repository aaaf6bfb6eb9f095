"""Pretrained policies: a hub id or a folder becomes a policy, or a sentence that says why it cannot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from repro.errors import ReproError
from repro.policy.chat import Chat
from repro.policy.decoder import check_supported
from repro.policy.model import Policy, PolicyConfig
from repro.policy.vllm_engine import VLLM, VLLMEngine

FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "merges.txt", "vocab.txt", "*.model")
SPARE_ROWS = 1024  # by so many an embedding may outgrow its tokenizer: Qwen2.5-7B pads 151,665 tokens to 152,064
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoRA:
    """Adapters of low rank on the matrices of all blocks; they alone are trained (arXiv 2106.09685)."""

    rank: int = 32
    alpha: float = 64.0  # the adapter's product is scaled by alpha / rank
    matrices: tuple[str, ...] = MATRICES

    def __post_init__(self) -> None:
        unknown = set(self.matrices) - set(MATRICES)
        if self.rank < 1 or unknown or not self.matrices:
            raise ReproError(
                f"policy.lora: rank {self.rank} on {sorted(self.matrices)}; give a rank of 1 or more and some of "
                f"{', '.join(MATRICES)}"
            )


@dataclass(frozen=True)
class CheckpointConfig(PolicyConfig):
    """A pretrained model: `checkpoint` names a folder or a hub id, whose shape replaces that of the base class.

    Weights of 16 bits are trained through float32 copies (see `repro.training.masters`).
    """

    dtype: str = "bfloat16"
    context: int = 0  # longest sequence, in tokens; 0: what the model was made for
    revision: str = ""  # a commit or branch of the hub; empty: what is in the cache, else the newest
    template: str = "chat"  # or "plain": the question alone, with nothing around it
    system: str = ""  # see `repro.policy.chat.Chat`
    thinking: bool = False
    end: str = ""  # the token that ends a response; empty: the tokenizer's end token
    recompute: bool = True  # gradient checkpointing: one block's activations at a time, for a third more compute
    lora: LoRA | None = None  # None: all weights are trained
    sampler: VLLM | None = None  # None: the torch sampler

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.checkpoint:
            raise ReproError("policy.checkpoint is empty; name a folder or a hub id")
        if self.template not in ("chat", "plain"):
            raise ReproError(f"policy.template is {self.template!r}; choose chat or plain")
        if self.context < 0:
            raise ReproError(f"policy.context is {self.context}; give 0 (the model's own) or more")


@dataclass(frozen=True)
class ServedConfig(PolicyConfig):
    """A policy from scratch whose responses vLLM samples; its warm start is that of the plain config."""

    sampler: VLLM = VLLM()

    def plain(self) -> PolicyConfig:
        return PolicyConfig(**{name: getattr(self, name) for name in PolicyConfig.__dataclass_fields__})


def load_policy(config: CheckpointConfig, seed: int, device: str = "cpu") -> Policy:
    """The policy of a config; `seed` draws the adapters' initial weights. Raises ReproError as `load` does."""
    policy = load(config.checkpoint, device, config.dtype, config.revision)
    tokenizer = policy.tokenizer
    if config.end and tokenizer.convert_tokens_to_ids(config.end) in (None, tokenizer.unk_token_id):
        raise ReproError(f"policy.end: {config.end!r} is no token of {config.checkpoint!r}")
    policy.end = config.end
    policy.chat = chat_of(config, tokenizer)
    policy.longest = config.context
    policy.recompute = config.recompute
    if config.lora:
        add_adapters(policy, config.lora, seed)
    if config.sampler:
        policy.engine = VLLMEngine(policy, config.sampler)
    return policy


def chat_of(config: CheckpointConfig, tokenizer: Any) -> Chat | None:
    """The conversation that a config asks for; ReproError if its tokenizer has no template for it."""
    if config.template == "plain":
        return None
    if not tokenizer.chat_template:
        raise ReproError(
            f"policy.template: the tokenizer of {config.checkpoint!r} has no chat template; set policy.template=plain"
        )
    return Chat(tokenizer, config.system, config.thinking, config.end or tokenizer.eos_token)


def fetch(source: str, revision: str = "") -> Path:
    """The folder of a checkpoint: `source` itself, or the cached files of a hub id, downloaded if need be.

    Pickled weights are never fetched. Raises ReproError if there is no such folder and the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if Path(source).is_dir():
        return Path(source)
    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(FILES)}
    try:
        try:
            folder = Path(snapshot_download(source, local_files_only=True, **wanted))
            if any(folder.glob("*.safetensors")):
                return folder
        except OSError:
            pass  # not in the cache
        return Path(snapshot_download(source, **wanted))
    except HFValidationError as error:
        raise unreadable(source, "no such folder, and not a hub id") from error
    except OSError as error:  # what the hub's client raises when it is cut off, refused, or does not know the id
        raise unreadable(
            source,
            f"no such folder, not in the Hugging Face cache, and the hub did not give it: {first_line(error)}",
        ) from error


def unreadable(source: str, reason: str) -> ReproError:
    return ReproError(
        f"policy.checkpoint: {source!r} could not be loaded ({reason}). Give a folder that holds config.json, "
        f"*.safetensors and a tokenizer, or a hub id while the hub can be reached; `hf download {source}` on a machine "
        "that reaches it fills the cache that HF_HOME names."
    )


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def load_tokenizer(folder: Path):
    """The tokenizer saved in a folder, giving the ids it gave when it was saved.

    A word-level tokenizer is loaded by the class that saved it: AutoTokenizer would take the model's type (qwen2)
    for the tokenizer's and put Qwen's own splitting of digits in front of it.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    settings = Path(folder) / "tokenizer_config.json"
    if settings.is_file():
        saved_by = json.loads(settings.read_text()).get("tokenizer_class", "")
        if saved_by in ("PreTrainedTokenizerFast", "TokenizersBackend"):
            return PreTrainedTokenizerFast.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def load(source: str, device: str = "cpu", dtype: str = "float32", revision: str = "") -> Policy:
    """A policy from a folder or hub id; weights from safetensors only.

    Raises ReproError if the checkpoint cannot be found or fetched, is of a family that is not supported, lacks tensors
    or has some that its model does not know, or if its tokenizer belongs to another model.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for reading one file would break the display of the runs
    folder = fetch(source, revision)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        check_supported(config, source)
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told below, by name
            trust_remote_code=False,
        )
        tokenizer = load_tokenizer(folder)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise unreadable(source, first_line(error)) from error
    check_tensors(found, source)
    check_tokenizer(tokenizer, model.config.vocab_size, source)
    return Policy(model.to(device), tokenizer)


def check_tensors(found: dict[str, Any], source: str) -> None:
    """ReproError if weights were missing (they would be random numbers now), unknown, or of another shape."""
    kinds = {
        "missing": found["missing_keys"],
        "unknown to its model": found["unexpected_keys"],
        "of another shape than its config.json says": found["mismatched_keys"],
    }
    said = []
    for kind, entries in kinds.items():
        names = sorted(entry if isinstance(entry, str) else entry[0] for entry in entries)
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            said.append(f"{kind}: {', '.join(names[:3])}{more}")
    if said:
        raise ReproError(
            f"policy.checkpoint: the weight files of {source!r} and its config.json do not belong together (tensors "
            f"{'; '.join(said)}). Download or export the checkpoint again."
        )


def check_tokenizer(tokenizer: Any, rows: int, source: str) -> None:
    """ReproError if a tokenizer cannot belong to a model with so many rows in its embedding, or names no end token."""
    if not rows - SPARE_ROWS <= len(tokenizer) <= rows:
        fewer = "only " if len(tokenizer) > rows else ""
        raise ReproError(
            f"policy.checkpoint: the tokenizer of {source!r} has {len(tokenizer)} tokens, its model {fewer}{rows}; "
            "they do not belong together"
        )
    if tokenizer.eos_token_id is None:
        raise ReproError(f"policy.checkpoint: the tokenizer of {source!r} names no end token (eos_token)")


def add_adapters(policy: Policy, lora: LoRA, seed: int) -> None:
    """Freeze a policy's weights and put peft's adapters beside them; they start as doing nothing.

    Raises ReproError if peft is not installed.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ReproError("policy.lora needs the package peft: pip install '.[lora]'") from error
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=list(lora.matrices), task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Adapters in the dtype of the weights: the learner keeps float32 copies of what it trains.
        policy.adapters = peft.get_peft_model(policy.model, settings, autocast_adapter_dtype=False)
    policy.adapter_scale = lora.alpha / lora.rank
