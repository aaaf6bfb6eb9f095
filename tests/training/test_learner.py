"""One update against a slow reference: transformers' forward row by row, plain autograd, torch's AdamW."""

import math
import random
from dataclasses import replace

import pytest
import torch

from repro.algorithms import ALGORITHMS, Recipe
from repro.algorithms.asympo import ASymPO, BatchScaled, BehaviourASymPO, Naive
from repro.algorithms.batch import BehaviourBatch, CurrentPolicyBatch, aggregate
from repro.algorithms.credit import GroupCredit
from repro.algorithms.grpo import GRPO
from repro.algorithms.offpolicy import M2PO, OPMD
from repro.algorithms.reinforce import GPG, AsymRE
from repro.errors import ReproError
from repro.training.checkpoint import load_checkpoint, save_checkpoint
from repro.training.config import TrainingConfig
from repro.training.learner import Diverged, Learner
from repro.training.rollouts import Rollouts
from tests.policy.tiny import ragged, tiny_policy

CONFIG = TrainingConfig(learning_rate=1e-2, clip_norm=0.5, temperature=0.9)
RECIPES = {
    "naive": Recipe(Naive()),
    "asympo, clipped": Recipe(ASymPO(p_low=0.02, p_high=0.9, floor=0.01)),
    "batch scaled": Recipe(BatchScaled(aggregation="token")),  # a statistic of the whole update
    "gpg": Recipe(GPG()),  # another
    "m2po": Recipe(M2PO(), GroupCredit("std")),  # drops tokens by a statistic of the whole update
    "grpo": Recipe(GRPO(), GroupCredit("std")),
    "behaviour asympo": Recipe(BehaviourASymPO()),
    "asymre": Recipe(AsymRE()),  # trains groups whose rewards are all equal
    "opmd": Recipe(OPMD()),  # pulls on every response, whatever its advantage
}


def rollouts_of(seed=0, rewards=None, groups=5, drift=0.5):
    """Ragged groups with random tokens and log-probabilities; the groups of prompt 0 and 1 are all equal."""
    prompts, responses, prompt_B = ragged(seed, groups)
    rng = random.Random(seed)
    reward_B = rewards or [{0: 1.0, 1: 0.0}.get(p, float(rng.random() < 0.5)) for p in prompt_B]
    behaviour = [[-3.7 + drift * rng.gauss(0, 1) for _ in r] for r in responses]
    return Rollouts(
        update=0, version=0, prompts=prompts, prompt_B=prompt_B, group_B=[7 * p for p in prompt_B],
        query_B=[str(p) for p in prompt_B], responses=responses, behaviour_logp=behaviour, reward_B=reward_B,
        finished_B=[True] * len(responses), mismatch_kl=0.0, seconds=0.0,
    )  # fmt: skip


def permuted(rollouts, order):
    rows = ("prompt_B", "group_B", "query_B", "responses", "behaviour_logp", "reward_B", "finished_B")
    return replace(rollouts, **{name: [getattr(rollouts, name)[b] for b in order] for name in rows})


def learner_of(recipe, policy=None, **settings):
    """Adam divides by the gradient's size, which turns the rounding of a tiny gradient into a whole step.

    A large eps makes the step a smooth function of the gradient, so that rounding can be told from error.
    """
    learner = Learner(policy or tiny_policy(), recipe, replace(CONFIG, **settings))
    learner.optimiser.param_groups[0]["eps"] = 1e-2
    return learner


def weights_after(recipe, updates, **settings):
    learner = learner_of(recipe, **settings)
    for rollouts in updates:
        learner.update(rollouts)
    return learner.policy.snapshot()


def assert_close(one, other, tolerance=1e-6):
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=0, atol=tolerance), name


def slow_batch(policy, rollouts, recipe):
    """The whole update as an objective may see it, the log-probabilities with their graph, one row at a time."""
    B, T = len(rollouts.responses), max(map(len, rollouts.responses))
    rows, behaviour = [], torch.zeros(B, T)
    for b, (p, response) in enumerate(zip(rollouts.prompt_B, rollouts.responses, strict=True)):
        prompt = rollouts.prompts[p]
        logits = policy.model(torch.tensor([prompt + response])).logits[0] / CONFIG.temperature
        logp = logits.log_softmax(-1)[range(len(prompt) - 1, len(prompt) + len(response) - 1), response]
        rows.append(torch.cat((logp, torch.zeros(T - len(response)))))
        behaviour[b, : len(response)] = torch.tensor(rollouts.behaviour_logp[b])
    logp_BT = torch.stack(rows)
    reward_B, group_B = torch.tensor(rollouts.reward_B), torch.tensor(rollouts.group_B)
    return BehaviourBatch(
        logp_BT=logp_BT,
        mask_BT=torch.tensor([[t < len(r) for t in range(T)] for r in rollouts.responses]),
        advantage_B=recipe.credit.advantage_B(reward_B, group_B),
        reward_B=reward_B,
        group_B=group_B,
        behaviour_logp_BT=behaviour,
        proximal_logp_BT=logp_BT.detach(),
    )


def slow_loss(batch, recipe, chosen_B=None):
    loss_BT = recipe.objective.loss_BT(batch)
    if chosen_B is not None:
        loss_BT = loss_BT * chosen_B[:, None]
    return aggregate(loss_BT, batch.mask_BT, recipe.objective.aggregation)


@pytest.mark.parametrize("name", RECIPES)
def test_updates_equal_the_slow_reference(name):
    recipe, learner, slow = RECIPES[name], learner_of(RECIPES[name]), tiny_policy()
    settings = {"lr": CONFIG.learning_rate, "betas": CONFIG.betas, "weight_decay": CONFIG.weight_decay, "eps": 1e-2}
    optimiser = torch.optim.AdamW(slow.parameters.values(), **settings)
    for seed in range(3):
        rollouts = rollouts_of(seed)
        metrics, seen = learner.update(rollouts)
        batch = slow_batch(slow, rollouts, recipe)
        loss = slow_loss(batch, recipe)
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(slow.parameters.values(), CONFIG.clip_norm)
        optimiser.step()
        assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-5)
        assert metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
        assert torch.allclose(seen.logp_BT, batch.logp_BT, atol=1e-5) and not seen.logp_BT.requires_grad
        assert torch.equal(seen.mask_BT, batch.mask_BT) and torch.equal(seen.behaviour_logp_BT, batch.behaviour_logp_BT)
        assert_close(learner.policy.snapshot(), slow.snapshot())


@pytest.mark.parametrize("name", RECIPES)
def test_micro_batches_change_nothing(name):
    updates = [rollouts_of(seed) for seed in range(3)]
    whole = weights_after(RECIPES[name], updates)
    for tokens in (1, 20):
        assert_close(weights_after(RECIPES[name], updates, microbatch_tokens=tokens), whole)


@pytest.mark.parametrize("name", RECIPES)
def test_the_order_of_responses_changes_nothing(name):
    updates = [rollouts_of(seed) for seed in range(3)]
    orders = [random.Random(9).sample(range(len(u.responses)), len(u.responses)) for u in updates]
    turned = [permuted(u, order) for u, order in zip(updates, orders, strict=True)]
    assert_close(weights_after(RECIPES[name], turned), weights_after(RECIPES[name], updates))
    assert_close(weights_after(RECIPES[name], turned, microbatch_tokens=1), weights_after(RECIPES[name], updates))


def watched(recipe, seen):
    """The recipe, with every batch that its objective receives put into `seen`."""

    class Watched(type(recipe.objective)):
        def loss_BT(self, batch):
            seen.append(batch)
            return super().loss_BT(batch)

    return replace(recipe, objective=Watched(**vars(recipe.objective)))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_behaviour_log_probabilities_reach_those_who_declare_it_and_nobody_else(name):
    recipe, seen = replace(ALGORITHMS[name], credit=GroupCredit("std")), []  # the rollouts are of one turn each
    plain = rollouts_of(1)
    # Finite, but of no policy: an objective that reads them would notice.
    other = replace(plain, behaviour_logp=[[x * 2 - 1 for x in row] for row in plain.behaviour_logp])
    blank = replace(plain, behaviour_logp=[[math.nan] * len(row) for row in plain.behaviour_logp])
    if recipe.objective.reads_behaviour:
        learner_of(watched(recipe, seen)).update(plain)
        assert [type(batch) for batch in seen] == [BehaviourBatch]
        on_plain, on_other = weights_after(recipe, [plain]), weights_after(recipe, [other])
        assert any(not torch.equal(on_plain[n], on_other[n]) for n in on_plain)
        return
    learner = learner_of(watched(recipe, seen))
    learner.update(blank, split_gradients=True)
    learner.update(blank)
    assert [type(batch) for batch in seen] == [CurrentPolicyBatch, CurrentPolicyBatch]
    assert not hasattr(seen[0], "behaviour_logp_BT") and not hasattr(seen[0], "proximal_logp_BT")
    with_values, without = weights_after(recipe, [plain, plain]), weights_after(recipe, [blank, blank])
    assert all(torch.equal(with_values[n], without[n]) for n in with_values)  # bit for bit


def test_gigpo_refuses_responses_of_one_turn():
    with pytest.raises(ReproError, match="several turns"):
        learner_of(ALGORITHMS["gigpo"]).update(rollouts_of(1))


def backwards(monkeypatch):
    """How many responses each backward pass went through, as they happen."""
    rows, backward = [], torch.Tensor.backward
    monkeypatch.setattr(
        torch.Tensor, "backward", lambda self, seed, **kw: rows.append(len(self)) or backward(self, seed, **kw)
    )
    return rows


def test_groups_without_signal_cost_no_backward_pass(monkeypatch):
    rows, rollouts = backwards(monkeypatch), rollouts_of(0)
    learner = learner_of(Recipe(Naive()))
    metrics, batch = learner.update(rollouts)
    mixed = batch.advantage_B != 0
    assert 0 < mixed.sum() < len(mixed)
    assert rows == [int(mixed.sum())]
    with_tokens = torch.tensor([len(r) > 0 for r in rollouts.responses])
    assert metrics["trained_B"] == (mixed & with_tokens).tolist()
    assert metrics["trained_tokens"] == sum(len(rollouts.responses[b]) for b in mixed.nonzero()[:, 0])
    rows.clear()
    learner_of(Recipe(AsymRE())).update(rollouts)
    assert sum(rows) == len(mixed)  # it trains every group


def test_an_update_without_any_signal_leaves_fresh_weights_as_they_are(monkeypatch):
    rows, learner = backwards(monkeypatch), learner_of(Recipe(Naive()))
    before = learner.policy.snapshot()
    metrics, _ = learner.update(rollouts_of(0, rewards=[1.0] * len(rollouts_of(0).responses)), split_gradients=True)
    assert rows == [] and metrics["grad_norm"] == 0 and metrics["trained_tokens"] == 0
    assert (metrics["grad_norm_pos"], metrics["grad_norm_neg"], metrics["grad_cosine"]) == (0, 0, None)
    assert all(torch.equal(before[n], p) for n, p in learner.policy.snapshot().items())


@pytest.mark.parametrize("tokens", [1, 1 << 16])
@pytest.mark.parametrize("name", ["naive", "asympo, clipped", "grpo", "asymre"])
def test_gradients_by_sign_equal_separate_backward_passes(name, tokens):
    recipe, policy, rollouts = RECIPES[name], tiny_policy(), rollouts_of(2)
    batch = slow_batch(policy, rollouts, recipe)
    parameters = list(policy.parameters.values())
    gradients = []
    for chosen_B in (batch.advantage_B > 0, batch.advantage_B <= 0):
        parts = torch.autograd.grad(slow_loss(batch, recipe, chosen_B), parameters, retain_graph=True)
        gradients.append(torch.cat([p.flatten() for p in parts]).double())
    positive, negative = gradients
    measured, plain = learner_of(recipe, microbatch_tokens=tokens), learner_of(recipe, microbatch_tokens=tokens)
    metrics, _ = measured.update(rollouts, split_gradients=True)
    assert metrics["grad_norm_pos"] == pytest.approx(positive.norm().item(), rel=1e-4)
    assert metrics["grad_norm_neg"] == pytest.approx(negative.norm().item(), rel=1e-4)
    cosine = (positive @ negative / positive.norm() / negative.norm()).item()
    assert metrics["grad_cosine"] == pytest.approx(cosine, abs=1e-4)
    without, _ = plain.update(rollouts)
    assert not {"grad_norm_pos", "grad_norm_neg", "grad_cosine"} & set(without)
    assert without["grad_norm"] == pytest.approx(metrics["grad_norm"], rel=1e-5)
    assert_close(measured.policy.snapshot(), plain.policy.snapshot())


def test_entropy_is_the_mean_over_tokens():
    policy, rollouts = tiny_policy(), rollouts_of(3)
    total, count = 0.0, 0
    for p, response in zip(rollouts.prompt_B, rollouts.responses, strict=True):
        prompt = rollouts.prompts[p]
        with torch.no_grad():
            logits = policy.model(torch.tensor([prompt + response])).logits[0] / CONFIG.temperature
        for t in range(len(response)):
            q = logits[len(prompt) + t - 1].softmax(-1)
            total, count = total - (q * q.log()).sum().item(), count + 1
    for tokens in (1, 1 << 16):
        metrics, _ = learner_of(Recipe(Naive()), microbatch_tokens=tokens).update(rollouts)
        assert metrics["entropy"] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("fault", ["loss", "gradient norm"])
def test_a_diverged_update_changes_no_weight(fault):
    recipe = Recipe(GRPO())
    learner = learner_of(recipe)
    learner.update(rollouts_of(0))
    before = learner.policy.snapshot()
    moments = {name: {k: v.clone() for k, v in learner.optimiser.state[p].items()}
               for name, p in learner.policy.parameters.items()}  # fmt: skip
    if fault == "loss":
        bad = rollouts_of(1)
        bad.behaviour_logp = [[math.nan] * len(row) for row in bad.behaviour_logp]
    else:  # the loss is finite, the sum of the gradient's squares is not
        bad = rollouts_of(1, rewards=[1e30 * (b % 2) for b in range(len(rollouts_of(1).responses))], drift=0.0)
    with pytest.raises(Diverged, match="update 0"):
        learner.update(bad)
    for name, p in learner.policy.parameters.items():
        assert torch.equal(p, before[name])
        assert all(torch.equal(moments[name][key], value) for key, value in learner.optimiser.state[p].items())
    learner.update(rollouts_of(2))  # and it can go on
    assert all(p.isfinite().all() for p in learner.policy.parameters.values())


@pytest.mark.parametrize("signal", [True, False])
def test_a_restored_learner_goes_on_bit_for_bit(tmp_path, signal):
    """Also where the next update has no gradient: the moments still move the weights."""
    kept = learner_of(Recipe(Naive()))
    kept.update(rollouts_of(0))
    kept.update(rollouts_of(1))
    save_checkpoint(tmp_path, kept, {"update": 2, "log": {"bytes": 3}})
    back = learner_of(Recipe(Naive()), tiny_policy(seed=5))
    assert load_checkpoint(tmp_path, back) == {"update": 2, "log": {"bytes": 3}}
    rollouts = rollouts_of(2) if signal else rollouts_of(2, rewards=[1.0] * len(rollouts_of(2).responses))
    before = kept.policy.snapshot()
    for learner in (kept, back):
        learner.update(rollouts)
        learner.update(rollouts_of(3))
    assert any(not torch.equal(before[n], p) for n, p in kept.policy.snapshot().items())
    assert all(torch.equal(p, back.policy.snapshot()[n]) for n, p in kept.policy.snapshot().items())
