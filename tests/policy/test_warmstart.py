"""The warm start: it learns from traces alone, is the same every time, and is computed once."""

import json
import shutil

import pytest
import torch

from repro.config import config_hash
from repro.environments import arithmetic
from repro.policy import warmstart
from repro.policy.logprobs import reference_logprobs
from repro.policy.model import Policy, PolicyConfig, build
from repro.policy.warmstart import WarmStartConfig, WarmStartKey, train_supervised, warm_start
from tests.policy.tiny import SHAPE, VOCABULARY, WORLD

KEY = WarmStartKey(
    WORLD, SHAPE, WarmStartConfig(steps=30, flat_steps=10, noisy_steps=5, warmup_steps=5, batch=8), seed=3
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(cache, policy, progress reports) of one warm start."""
    cache, reports = tmp_path_factory.mktemp("cache"), []
    return cache, warm_start(KEY, cache, progress=reports.append), reports


def fresh(key=KEY):
    return build(key.policy, VOCABULARY, key.seed)


def same(one, other):
    return all(torch.equal(p, other.parameters[name]) for name, p in one.parameters.items())


def test_it_lowers_the_loss_and_says_so(trained):
    cache, policy, reports = trained
    assert [r["step"] for r in reports] == list(range(1, 36))
    assert {r["of"] for r in reports} == {35} and {r["phase"] for r in reports} == {"warm start"}
    losses = [r["loss"] for r in reports]
    assert losses[0] == pytest.approx(torch.tensor(float(len(VOCABULARY) + 2)).log().item(), rel=0.1)  # knows nothing
    assert losses[29] < losses[0] - 0.4
    stored = json.loads((cache / f"warmstart-{config_hash(KEY)}" / "warmstart.json").read_text())
    assert stored["loss"] == losses and stored["steps"] == 35 and stored["key"]["seed"] == 3
    assert not same(policy, fresh())


def test_it_is_computed_once(trained, monkeypatch):
    cache, policy, _ = trained
    monkeypatch.setattr(warmstart, "train_supervised", None)  # would fail if it were called
    assert same(warm_start(KEY, cache), policy)
    assert [p.name for p in cache.iterdir()] == [f"warmstart-{config_hash(KEY)}"]


def test_it_depends_on_its_key_alone(trained, tmp_path):
    _, policy, _ = trained
    torch.manual_seed(99)
    assert same(warm_start(KEY, tmp_path), policy)
    other = WarmStartKey(WORLD, SHAPE, KEY.warmstart, seed=4)
    assert not same(warm_start(other, tmp_path), policy)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_checkpoint_is_taken_as_it_is(trained, tmp_path):
    cache, policy, _ = trained
    (folder,) = cache.iterdir()
    key = WarmStartKey(WORLD, PolicyConfig(checkpoint=str(folder)), KEY.warmstart, 0)
    assert same(warm_start(key, tmp_path / "unused"), policy)
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("step", [1, 20, 35])
def test_interrupted_while_it_trains_it_leaves_nothing(tmp_path, step):
    def interrupt(report):
        if report["step"] == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warm_start(KEY, tmp_path, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_killed_while_it_saves_it_is_computed_again(trained, tmp_path, monkeypatch):
    _, policy, _ = trained
    save = Policy.save

    def die(self, folder):
        save(self, folder)
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Policy, "save", die)
        warm_start(KEY, tmp_path)
    assert not (tmp_path / f"warmstart-{config_hash(KEY)}").exists()
    assert same(warm_start(KEY, tmp_path), policy)


def test_two_at_once_end_with_one_folder(trained, tmp_path):
    """The other one appears just before this one's rename."""
    cache, policy, _ = trained
    name = f"warmstart-{config_hash(KEY)}"

    def other(report):
        if report["step"] == 35:
            shutil.copytree(cache / name, tmp_path / name)

    assert same(warm_start(KEY, tmp_path, progress=other), policy)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_gradient_is_that_of_the_mean_over_trace_tokens(monkeypatch):
    """First step against transformers' forward and plain autograd; prompts are not trained on."""
    problems = arithmetic.stream(WORLD, KEY.seed)
    queries = [next(problems) for _ in range(KEY.warmstart.batch)]
    policy = fresh()
    prompts = [policy.encode(q.text) for q in queries]
    responses = [policy.encode(q.trace) + [policy.end_token] for q in queries]
    logp = reference_logprobs(policy.model, prompts, responses, range(len(prompts)))
    loss = -logp.sum() / sum(map(len, responses))
    slow = torch.autograd.grad(loss, list(policy.parameters.values()))

    gradients, clip = [], torch.nn.utils.clip_grad_norm_

    def spy(parameters, norm):
        gradients.append({id(p): p.grad.clone() for p in parameters})
        return clip(parameters, norm)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    key = WarmStartKey(WORLD, SHAPE, WarmStartConfig(steps=1, flat_steps=0, noisy_steps=0, batch=8), KEY.seed)
    losses = train_supervised(policy, key)
    assert losses == [pytest.approx(loss.item(), abs=1e-5)]
    assert set(gradients[0]) == {id(p) for p in policy.parameters.values()}  # Muon and AdamW: every one, none twice
    for p, wanted in zip(policy.parameters.values(), slow, strict=True):
        assert torch.allclose(gradients[0][id(p)], wanted, atol=1e-6)


def test_learning_rates_rise_stay_and_fall(monkeypatch):
    rates = []
    for name in ("Muon", "AdamW"):
        optimiser = getattr(torch.optim, name)
        step = optimiser.step
        monkeypatch.setattr(
            optimiser, "step", lambda self, step=step: rates.append(self.param_groups[0]["lr"]) or step(self)
        )
    settings = WarmStartConfig(steps=10, flat_steps=6, noisy_steps=2, warmup_steps=4, batch=1, muon_lr=0.8, adam_lr=0.1)
    train_supervised(fresh(), WarmStartKey(WORLD, SHAPE, settings, 0))
    # Up over 4 steps, flat until 6, then 4/4, 3/4, 2/4, 1/4 of the way down; the noisy phase falls from one half.
    shape = [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0.5, 0.25]
    assert rates[0::2] == pytest.approx([0.8 * x for x in shape])
    assert rates[1::2] == pytest.approx([0.1 * x for x in shape])


def test_slips_only_in_the_second_phase(monkeypatch):
    seen = []
    monkeypatch.setattr(warmstart.arithmetic, "noisy_trace", lambda w, q, rng, slip: seen.append(slip) or q.trace)
    settings = WarmStartConfig(steps=3, flat_steps=1, noisy_steps=2, warmup_steps=1, batch=4, slip=0.25)
    train_supervised(fresh(), WarmStartKey(WORLD, SHAPE, settings, 0))
    assert seen == [0.25] * 8


def test_a_loss_that_is_not_finite_is_an_error():
    policy = fresh()
    with torch.no_grad():
        policy.parameters["model.norm.weight"].fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="warm start: the loss is nan at step 1"):
        train_supervised(policy, KEY)
