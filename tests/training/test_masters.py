"""Weights of 16 bits are trained through copies of 32; where memory runs out, work is done in smaller parts."""

import warnings

import pytest
import torch

from repro.algorithms import Recipe
from repro.algorithms.asympo import Naive
from repro.errors import ReproError
from repro.policy import sampler
from repro.policy.model import Policy
from repro.policy.pretrained import CheckpointConfig, LoRA, load_policy
from repro.policy.sampler import sample
from repro.training import learner as learning
from repro.training.checkpoint import load_checkpoint, save_checkpoint
from repro.training.config import TrainingConfig
from repro.training.learner import Learner
from repro.training.masters import Masters
from tests.policy import checkpoints
from tests.policy.tiny import stir, tiny_policy
from tests.training.test_learner import rollouts_of

RECIPE = Recipe(Naive())


def half(policy: Policy) -> Policy:
    policy.model.to(torch.bfloat16)
    return policy


def learner_of(policy, **settings):
    return Learner(policy, RECIPE, TrainingConfig(**{"learning_rate": 1e-2, **settings}))


def test_weights_of_32_bits_are_stepped_themselves():
    policy = tiny_policy()
    masters = Masters(policy)
    assert all(masters.parameters[name] is p for name, p in policy.parameters.items())


def test_steps_below_the_rounding_of_16_bits_add_up():
    """Adam's first steps move every weight by the learning rate: 2e-5, where neighbours of 1 are 4e-3 to 8e-3 apart."""
    policy = half(tiny_policy())
    with torch.no_grad():
        norm = policy.parameters["model.norm.weight"].fill_(1.0)
    learner = learner_of(policy, learning_rate=2e-5, weight_decay=0.0)
    for step in range(300):
        learner.masters.parameters["model.norm.weight"].grad = torch.ones(norm.shape)
        learner.optimiser.step()
        learner.masters.publish()
        if step == 20:
            assert (norm == 1).all()
    # 300 steps of 2e-5 are 6e-3: the copy has gone all the way, the weight to the neighbour it rounds to.
    assert learner.masters.parameters["model.norm.weight"].tolist() == pytest.approx([1 - 6e-3] * len(norm), abs=1e-5)
    assert norm.dtype == torch.bfloat16 and (norm == torch.tensor(1 - 6e-3).bfloat16()).all() and (norm < 1).all()


def test_gradients_of_parts_are_summed_in_32_bits():
    """1 + 64 * 2^-9 by parts: in bfloat16 every summand would be lost."""
    policy = half(tiny_policy())
    masters = Masters(policy)
    name, p = "model.norm.weight", policy.parameters["model.norm.weight"]
    for part in [1.0] + [2.0**-9] * 64:
        (p * torch.full_like(p, part)).sum().backward()
    assert p.grad is None
    assert masters.parameters[name].grad.tolist() == [1 + 64 * 2.0**-9] * len(p)


def test_an_update_moves_16_bit_weights_as_it_moves_32_bit_ones():
    whole, rounded = tiny_policy(scale=0.05), half(tiny_policy(scale=0.05))
    before = whole.snapshot()
    metrics = [learner_of(policy).update(rollouts_of(1))[0] for policy in (whole, rounded)]
    assert metrics[1]["loss"] == pytest.approx(metrics[0]["loss"], rel=0.05)
    assert metrics[1]["grad_norm"] == pytest.approx(metrics[0]["grad_norm"], rel=0.1)
    moved, moved_too = (
        torch.cat([(policy.parameters[n].float() - before[n]).flatten() for n in before]) for policy in (whole, rounded)
    )
    assert torch.nn.functional.cosine_similarity(moved, moved_too, dim=0) > 0.8


def test_a_checkpoint_keeps_the_copies(tmp_path):
    one, other = (learner_of(half(tiny_policy()), learning_rate=1e-5) for _ in range(2))
    one.update(rollouts_of(1))
    save_checkpoint(tmp_path, one, {"update": 1})
    assert load_checkpoint(tmp_path, other) == {"update": 1}
    for learner in (one, other):
        learner.update(rollouts_of(2))
    for name, master in one.masters.parameters.items():
        assert master.dtype == torch.float32 and torch.equal(master, other.masters.parameters[name])
        assert torch.equal(one.policy.parameters[name], other.policy.parameters[name])


def test_adapters_alone_are_trained_and_kept(tmp_path):
    pytest.importorskip("peft")
    folder = checkpoints.save_checkpoint(tmp_path / "checkpoint")
    config = CheckpointConfig(checkpoint=str(folder), lora=LoRA(rank=2))
    policies = [load_policy(config, seed=0) for _ in range(2)]
    before = {name: p.detach().clone() for name, p in policies[0].tensors().items()}
    learners = [learner_of(policy) for policy in policies]
    learners[0].update(rollouts_of(1))
    moved = {name for name, p in policies[0].tensors().items() if not torch.equal(p, before[name])}
    assert moved and all(".lora_" in name for name in moved)
    save_checkpoint(tmp_path, learners[0], {"update": 1})
    assert (tmp_path / "checkpoint.safetensors").stat().st_size < (folder / "model.safetensors").stat().st_size
    load_checkpoint(tmp_path, learners[1])
    assert all(torch.equal(p, policies[1].parameters[name]) for name, p in policies[0].parameters.items())


@pytest.fixture
def memory(monkeypatch):
    """A machine on which parts of more than `memory["tokens"]` tokens do not fit."""
    limit, forward = {"tokens": 1 << 30, "tried": []}, learning.response_logprobs

    def within(dec, lay, *args):
        limit["tried"].append(len(lay.token_N))
        if len(lay.token_N) > limit["tokens"]:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(dec, lay, *args)

    monkeypatch.setattr(learning, "response_logprobs", within)
    return limit


def test_an_update_that_does_not_fit_is_done_in_smaller_parts(memory):
    rollouts, wanted, learner = rollouts_of(3), learner_of(tiny_policy()), learner_of(tiny_policy())
    wanted.update(rollouts)
    whole = max(memory["tried"])
    memory["tokens"] = 16  # the longest response with its prompt
    with pytest.warns(UserWarning, match="going on with training.microbatch_tokens="):
        learner.update(rollouts)
    assert learner.microbatch_tokens < whole
    for name, p in wanted.policy.parameters.items():
        assert torch.allclose(p, learner.policy.parameters[name], rtol=0, atol=1e-5), name
    with warnings.catch_warnings():  # what fits is remembered
        warnings.simplefilter("error")
        learner.update(rollouts)


def test_a_single_response_that_does_not_fit_is_an_error_and_changes_nothing(memory):
    learner = learner_of(tiny_policy())
    before = learner.policy.snapshot()
    memory["tokens"] = 2
    with pytest.warns(UserWarning), pytest.raises(ReproError, match="not even one response .* policy.recompute=true"):
        learner.update(rollouts_of(3))
    assert all(torch.equal(p, before[name]) for name, p in learner.policy.parameters.items())


def test_a_step_that_does_not_fit_is_not_taken_twice(monkeypatch):
    """Moments have moved where the weights' turn fails: done again, the update would be another."""
    learner, steps = learner_of(tiny_policy()), []

    def full(*_):
        steps.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(learner.optimiser, "step", full)
    with pytest.raises(ReproError, match="optimiser's step of update 0: start the run again .* last checkpoint"):
        learner.update(rollouts_of(3))
    assert steps == [1]


def test_a_checkpoint_for_which_there_is_no_memory_is_not_called_damaged(tmp_path, monkeypatch):
    learner = learner_of(tiny_policy())
    save_checkpoint(tmp_path, learner, {"update": 1})
    monkeypatch.setattr(learner.masters, "publish", lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA")))
    with pytest.raises(ReproError, match="out of memory loading .*checkpoint.safetensors, which is whole"):
        load_checkpoint(tmp_path, learner)


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    monkeypatch.setattr(learning, "response_logprobs", lambda *a: (_ for _ in ()).throw(RuntimeError("shapes")))
    with pytest.raises(RuntimeError, match="shapes"):
        learner_of(tiny_policy()).update(rollouts_of(3))


def test_groups_larger_than_a_part_are_split(memory):
    one = rollouts_of(3, groups=1)
    learner = learner_of(tiny_policy(), microbatch_tokens=1)
    chunks = list(learner._chunks(one, torch.arange(len(one.responses))))
    assert len(chunks) > 1 and torch.cat(chunks).tolist() == list(range(len(one.responses)))


def test_sampling_that_does_not_fit_is_done_in_halves(monkeypatch):
    policy, rows, made = stir(tiny_policy(), 0.1), [], sampler._Batch

    class Small(made):
        def __init__(self, dec, keys, values, real, prompt_B, *rest):
            rows.append(len(prompt_B))
            if len(prompt_B) > 5:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
            super().__init__(dec, keys, values, real, prompt_B, *rest)

    def run():
        return sample(policy.decoder(), [[3, 4], [5], [6, 7, 8]], [0, 2, 1] * 6, range(18), 8, 1)

    wanted = run()
    monkeypatch.setattr(sampler, "_Batch", Small)
    got = run()
    assert rows[0] == 18 and max(r for r in rows if r <= 5) in (4, 5)
    assert [c.tokens for c in got] == [c.tokens for c in wanted]
    for a, b in zip(got, wanted, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)


def test_one_response_that_does_not_fit_is_an_error(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(sampler, "prefill", full)
    with pytest.raises(ReproError, match="one response of up to 8 tokens after a prompt of 2 does not fit"):
        sample(tiny_policy().decoder(), [[3, 4]], [0, 0], [1, 2], 8, 1)
