"""Sampling with vLLM in the training process: the torch sampler's interface, the trainer's weights, checked.

The engine starts with random weights and is given the trainer's before it samples, and again whenever an optimiser step
has moved them. A sync that does nothing is silent in vLLM (on a CPU its matrices live on in a packed copy), so each one
is verified: the engine's log-probabilities of a fixed text must be the trainer's. A stale engine is an error, not a
curve. What remains, the rounding of other kernels, is in every update's `mismatch_kl`; `algorithms.offpolicy.TIS`
corrects for it.

One process and one GPU: the engine's weights lie beside the trainer's. Larger models belong to an engine of many GPUs.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from repro.errors import ReproError
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.sampler import Completion, check_requests

TESTED = "0.32.0"  # the pin of pyproject.toml; the calls below are not a stable interface
PROBE_TOKENS = 64
BATCHED = 8192  # prompt tokens read at once where there is no GPU; longer prompts still whole
# The largest mean difference of two right engines in log-probability, in nats; by bytes of a weight. Kernels that add
# in another order differ by 1e-6 at 32 bits, and by some hundredths at 16.
TOLERANCE = {8: 1e-3, 4: 1e-3, 2: 0.1}
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: tensors are handed over as they are
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the trainer's threads are not to be moved
}


class StaleEngine(ReproError):
    """The engine does not sample from the trainer's weights."""


@dataclass(frozen=True)
class VLLM:
    """The vLLM sampler and the room it may take."""

    sequences: int = 256  # decoded at once; more wait their turn
    gpu_memory: float = 0.4  # share of the GPU's memory for the engine's weights and cache
    cpu_cache_gib: int = 1  # key-value cache where there is no GPU
    tolerance: float | None = None  # nats; None: by the weights' precision, see TOLERANCE

    def __post_init__(self) -> None:
        if self.sequences < 1 or not 0 < self.gpu_memory < 1 or self.cpu_cache_gib < 1:
            raise ReproError(
                "policy.sampler: sequences and cpu_cache_gib must be 1 or more, gpu_memory between 0 and 1"
            )


def check_installed() -> str:
    """The version of vLLM that is installed; ReproError if there is none, or one that this code was not tested with."""
    for package in ("vllm", "vllm-cpu"):  # the second is a community build for machines without a GPU
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found = importlib.metadata.version(package)
            if found.split("+")[0] == TESTED:
                return found
            raise ReproError(
                f"policy.sampler: {package} {found} is installed, but this code was tested with {TESTED} only, and "
                f"vLLM changes between versions what it calls. Install that one: pip install '.[vllm]'"
            )
    raise ReproError(
        "policy.sampler: vLLM is not installed: pip install '.[vllm]' (NVIDIA GPUs; the README says how on a CPU), or "
        "set policy.sampler=null for the torch sampler"
    )


class VLLMEngine:
    """vLLM under a policy's weights, started when it is first asked for a sample.

    There is one at a time in a process, for it takes its share of the memory whole: the next one to start ends it.
    """

    running: ClassVar[VLLMEngine | None] = None

    def __init__(self, policy: Any, settings: VLLM):
        """Raises ReproError if vLLM is missing or untested; nothing is started yet."""
        check_installed()
        self.policy, self.settings = policy, settings
        self.llm: Any = None
        self.synced: tuple | None = None  # the version of the weights that the engine has
        self.probed: tuple[list[float], list[float]] | None = None  # trainer's and engine's log-probabilities then

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        prompt_B: Sequence[int],
        seeds: Sequence[int],
        max_new_tokens: int,
        end_token: int,
        temperature: float = 1.0,
    ) -> list[Completion]:
        """As `repro.policy.sampler.sample` does, under the policy's weights as they are now.

        Raises StaleEngine if the engine does not follow the weights, and what `sampler.check_requests` raises.
        """
        check_requests(prompts, prompt_B, seeds)
        if not len(prompt_B) or max_new_tokens < 1:
            return [Completion([], [], False) for _ in prompt_B]
        from vllm import SamplingParams

        self.sync()
        settings = [
            SamplingParams(
                temperature=temperature,
                seed=seed % 2**63,
                max_tokens=max_new_tokens,
                stop_token_ids=[end_token],
                ignore_eos=True,
                logprobs=0,
                detokenize=False,
            )
            for seed in seeds
        ]
        requests = [{"prompt_token_ids": list(prompts[p])} for p in prompt_B]
        answers = self.llm.generate(requests, settings, use_tqdm=False)
        return [_completion(answer.outputs[0]) for answer in answers]

    def sync(self) -> None:
        """Give the engine the trainer's weights if they have moved since it got them, and verify that it has them."""
        version = tuple((id(p), p._version) for p in self.policy.tensors().values())
        if version == self.synced:
            return
        if self.llm is None:
            self.llm = self._start()
        self.llm.apply_model(lambda model: model.load_weights(self.policy.weights()) and None)
        if not self.llm.reset_prefix_cache():
            raise StaleEngine("vLLM kept prompts of the weights before this update in its cache")
        self._verify()
        self.synced = version

    def close(self) -> None:
        """End the engine and free its memory."""
        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
            self.llm = self.synced = self.probed = VLLMEngine.running = None

    def _start(self) -> Any:
        model = self.policy.model
        device = next(model.parameters()).device
        if VLLMEngine.running is not None:
            VLLMEngine.running.close()
        if device.type == "cuda" and device.index:
            raise ReproError(
                f"vLLM samples on the first visible GPU, not on {device}: set CUDA_VISIBLE_DEVICES instead"
            )
        os.environ |= {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()}
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(self.settings.cpu_cache_gib)
        from vllm import LLM

        whole: dict[str, Any] = {}
        if device.type == "cpu":
            import vllm._custom_ops
            from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

            width, possible = self.policy.decoder().head_dim, CPUAttentionBackend.get_supported_head_sizes()
            if width not in possible:
                raise ReproError(
                    f"vLLM has no attention for heads of {width} on a CPU, only for {', '.join(map(str, possible))}: "
                    "choose policy.hidden and policy.heads accordingly, or the torch sampler"
                )
            # Packed copies of the matrices would keep the old weights through every sync.
            vllm._custom_ops._supports_onednn = False
            # A prompt that is read in parts draws too early and turns its generator back, which those of a CPU cannot.
            whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(self.policy.context, BATCHED)}
        threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder:
            config = type(model.config).from_dict(model.config.to_dict() | {"architectures": [type(model).__name__]})
            config.save_pretrained(folder)
            llm = LLM(
                model=folder,
                load_format="dummy",  # random weights: nothing but the first sync can make them the trainer's
                skip_tokenizer_init=True,
                dtype=next(model.parameters()).dtype,
                max_model_len=self.policy.context,
                max_num_seqs=self.settings.sequences,
                gpu_memory_utilization=self.settings.gpu_memory,
                enforce_eager=device.type == "cpu",
                enable_prefix_caching=True,
                generation_config="vllm",
                logprobs_mode="processed_logprobs",  # at the sampling temperature
                distributed_executor_backend="uni",
                disable_log_stats=True,
                **whole,
            )
        torch.set_num_threads(threads)
        VLLMEngine.running = self
        return llm

    def _verify(self) -> None:
        """StaleEngine unless the engine's log-probabilities of the probe are the trainer's, and moved if those did."""
        probe = self._probe()
        trainer, engine = self._trainer_logprobs(probe), self._engine_logprobs(probe)
        gap = sum(abs(a - b) for a, b in zip(trainer, engine, strict=True)) / len(trainer)
        size = next(self.policy.model.parameters()).element_size()
        allowed = TOLERANCE[size] if self.settings.tolerance is None else self.settings.tolerance
        if not gap <= allowed:
            raise StaleEngine(
                f"after the weights were handed over, vLLM's log-probabilities differ from the trainer's by {gap:.2g} "
                f"nats a token (allowed: {allowed:g}): it samples from other weights. Use the torch sampler "
                "(policy.sampler=null), or vLLM " + TESTED
            )
        # A small step moves 16-bit log-probabilities by less than what two kernels differ by: look whether they moved.
        before, self.probed = self.probed, (trainer, engine)
        if before and before[1] == engine:
            moved = sum(a != b for a, b in zip(before[0], trainer, strict=True)) / len(trainer)
            if moved > 0.5:
                raise StaleEngine(
                    f"the update moved {moved:.0%} of the trainer's log-probabilities, but not one of vLLM's: it "
                    "samples from the weights before it"
                )

    def _probe(self) -> list[int]:
        rng, tokens = random.Random("engine probe"), min(PROBE_TOKENS, self.policy.context - 1)
        return [rng.randrange(self.policy.model.config.vocab_size) for _ in range(tokens)]

    @torch.no_grad()
    def _trainer_logprobs(self, probe: list[int]) -> list[float]:
        dec = self.policy.decoder()
        return response_logprobs(dec, layout([probe[:1]], [probe[1:]], [0], dec.embedding.device))[0][0].tolist()

    def _engine_logprobs(self, probe: list[int]) -> list[float]:
        from vllm import SamplingParams

        asked = SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=1.0, detokenize=False)
        (answer,) = self.llm.generate([{"prompt_token_ids": probe}], asked, use_tqdm=False)
        return [entry[t].logprob for t, entry in zip(probe[1:], answer.prompt_logprobs[1:], strict=True)]


def _completion(output: Any) -> Completion:
    tokens = list(output.token_ids)
    logprobs = [entry[token].logprob for token, entry in zip(tokens, output.logprobs, strict=True)]
    return Completion(tokens, logprobs, output.finish_reason == "stop")
