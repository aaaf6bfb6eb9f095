"""The fast shared-prompt log-probabilities equal transformers' own forward, in value and in gradient."""

import random
from dataclasses import replace

import pytest
import torch

from repro.policy import decoder
from repro.policy.decoder import frequencies
from repro.policy.logprobs import hidden_states, layout, reference_logprobs, response_logprobs, token_logprobs
from tests.policy.tiny import ARCHITECTURES, architecture, ragged, tiny_policy


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def policy(request):
    return architecture(request.param)


@pytest.fixture(scope="module")
def qwen():
    return architecture("qwen2 grouped, free head")


def fast(policy, prompts, responses, prompt_B, **settings):
    return response_logprobs(policy.decoder(), layout(prompts, responses, prompt_B), **settings)


def gradient(policy, logp_BT, weights_BT):
    """Of a weighted sum of log-probabilities, by parameter name."""
    names = list(policy.parameters)
    values = torch.autograd.grad((logp_BT * weights_BT).sum(), list(policy.parameters.values()))
    return dict(zip(names, values, strict=True))


def weights_like(logp_BT):
    return torch.randn(logp_BT.shape, generator=torch.Generator().manual_seed(0)).to(logp_BT)


def assert_same_gradient(one, other, tolerance):
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=0, atol=tolerance * (1 + other[name].abs().max())), name


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_transformers_in_value_and_gradient(policy, seed, temperature):
    batch = ragged(seed)
    slow = reference_logprobs(policy.model, *batch, temperature=temperature)
    quick, _ = fast(policy, *batch, temperature=temperature)
    assert quick.shape == slow.shape
    assert torch.allclose(quick, slow, rtol=0, atol=1e-5)
    w = weights_like(slow)
    assert_same_gradient(gradient(policy, quick, w), gradient(policy, slow, w), 1e-5)


def test_equal_to_transformers_row_by_row_without_any_padding(policy):
    prompts, responses, prompt_B = ragged(3)
    quick, _ = fast(policy, prompts, responses, prompt_B)
    for b, (p, response) in enumerate(zip(prompt_B, responses, strict=True)):
        ids = torch.tensor([prompts[p] + response])
        logp = policy.model(ids).logits.log_softmax(-1)[0]
        for t, token in enumerate(response):
            assert abs(logp[len(prompts[p]) + t - 1, token] - quick[b, t]) < 1e-5
        assert (quick[b, len(response) :] == 0).all()


def exact(model, decoder):
    """transformers' model with nothing rounded to float32, as it does in its norms, and the decoder's frequencies.

    (Theirs are 1 / theta^x, ours theta^-x: the last bit may differ, in float32 both.)
    """
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            eps = module.variance_epsilon
            module.forward = lambda x, w=module.weight, eps=eps: w * x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    model.model.rotary_emb.inv_freq = frequencies(decoder, torch.device("cpu"))
    return model.model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equal_to_transformers_in_float64(name):
    """Hidden states, before log-probabilities are rounded to float32; and their gradient."""
    policy = architecture(name, torch.float64)
    prompts, responses, prompt_B = ragged(5)
    quick = hidden_states(policy.decoder(), layout(prompts, responses, prompt_B))
    base = exact(policy.model, policy.decoder())
    rows = [(len(prompts[p]), prompts[p] + r) for p, r in zip(prompt_B, responses, strict=True)]
    slow = torch.cat([base(torch.tensor([row])).last_hidden_state[0, n - 1 : len(row) - 1] for n, row in rows])
    assert quick.dtype == torch.float64
    assert torch.allclose(quick, slow, rtol=0, atol=1e-10)
    w = weights_like(slow)
    body = {name: p for name, p in policy.parameters.items() if name != "lm_head.weight"}
    one, other = (torch.autograd.grad((h * w).sum(), list(body.values())) for h in (quick, slow))
    for n, a, b in zip(body, one, other, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-10 * (1 + b.abs().max())), n


def test_the_reference_of_left_padding_is_the_model_itself(qwen):
    """The reference pads; this holds it to single rows, so that an error of both would show."""
    batch = prompts, responses, prompt_B = ragged(9)
    padded = reference_logprobs(qwen.model, *batch)
    for b, p in enumerate(prompt_B):
        alone = reference_logprobs(qwen.model, [prompts[p]], [responses[b]], [0])
        assert torch.allclose(padded[b, : len(responses[b])], alone[0, : len(responses[b])], atol=1e-5)


def test_order_and_composition_of_the_batch_change_nothing(qwen):
    prompts, responses, prompt_B = ragged(4)
    whole, entropy = fast(qwen, prompts, responses, prompt_B)
    order = random.Random(0).sample(range(len(responses)), len(responses))
    turned = random.Random(1).sample(range(len(prompts)), len(prompts))
    mixed, mixed_entropy = fast(
        qwen, [prompts[p] for p in turned], [responses[b] for b in order], [turned.index(prompt_B[b]) for b in order]
    )
    assert torch.allclose(mixed, whole[order], atol=1e-5) and torch.allclose(mixed_entropy, entropy[order], atol=1e-5)
    for b, p in enumerate(prompt_B):  # alone: no padding at all
        alone, _ = fast(qwen, [prompts[p]], [responses[b]], [0])
        assert torch.allclose(alone[0, : len(responses[b])], whole[b, : len(responses[b])], atol=1e-5)


def test_a_longer_neighbour_changes_nothing(qwen):
    prompts, responses, prompt_B = ragged(6)
    whole, _ = fast(qwen, prompts, responses, prompt_B)
    wider, _ = fast(qwen, [*prompts, [3] * 30], [*responses, [4] * 20], [*prompt_B, len(prompts)])
    assert torch.allclose(wider[:-1, : whole.shape[1]], whole, atol=1e-5)
    assert not wider[:-1, whole.shape[1] :].any()


def test_the_gradient_of_micro_batches_adds_up(qwen):
    prompts, responses, prompt_B = ragged(7)
    whole, _ = fast(qwen, prompts, responses, prompt_B)
    w = weights_like(whole)
    total = gradient(qwen, whole, w)
    parts = [gradient(qwen, fast(qwen, [prompts[p]], [r], [0])[0], w[b : b + 1, : max(len(r), 1)])
             for b, (p, r) in enumerate(zip(prompt_B, responses, strict=True))]  # fmt: skip
    assert_same_gradient({name: sum(part[name] for part in parts) for name in total}, total, 1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_chunks_change_neither_values_nor_gradients(qwen, rows):
    batch = ragged(8)
    vocabulary = qwen.model.config.vocab_size
    whole, entropy = fast(qwen, *batch)
    chunked, chunked_entropy = fast(qwen, *batch, chunk_logits=rows * vocabulary)
    assert torch.allclose(chunked, whole, atol=1e-6) and torch.allclose(chunked_entropy, entropy, atol=1e-6)
    w = weights_like(whole)
    assert_same_gradient(gradient(qwen, chunked, w), gradient(qwen, whole, w), 1e-6)


def test_chunks_bound_the_logits_that_exist_at_once(qwen, monkeypatch):
    seen = []
    softmax = torch.nn.functional.log_softmax
    monkeypatch.setattr(torch.nn.functional, "log_softmax", lambda x, dim: seen.append(x.numel()) or softmax(x, dim))
    limit = 2 * qwen.model.config.vocab_size
    logp, _ = fast(qwen, *ragged(8), chunk_logits=limit)
    logp.sum().backward()
    assert len(seen) > 4 and max(seen) <= limit


def test_entropy_is_that_of_every_distribution(qwen):
    prompts, responses, prompt_B = ragged(2)
    _, entropy = fast(qwen, prompts, responses, prompt_B, temperature=0.8)
    assert not entropy.requires_grad
    for b, p in enumerate(prompt_B):
        probabilities = (qwen.model(torch.tensor([prompts[p] + responses[b]])).logits[0].double() / 0.8).softmax(-1)
        for t in range(len(responses[b])):
            at = probabilities[len(prompts[p]) + t - 1]
            assert abs(sum(-q * q.log() for q in at) - entropy[b, t]) < 1e-4
        assert not entropy[b, len(responses[b]) :].any()


def test_log_probabilities_by_hand():
    # Two words; logits 0 and ln 3 at temperature 1: 1/4 and 3/4. At temperature 1/2 they are 0 and 2 ln 3: 1/10, 9/10.
    head = torch.tensor([[0.0], [3.0]]).log1p().mul(torch.log(torch.tensor(3.0)) / torch.log(torch.tensor(4.0)))
    hidden, target = torch.ones(2, 1), torch.tensor([0, 1])
    logp, entropy = token_logprobs(hidden, head, target)
    assert torch.allclose(logp.exp(), torch.tensor([0.25, 0.75]))
    assert torch.allclose(entropy, torch.full((2,), 0.25 * 1.3862944 + 0.75 * 0.2876821))
    assert torch.allclose(token_logprobs(hidden, head, target, 0.5)[0].exp(), torch.tensor([0.1, 0.9]))


def test_a_prompt_is_computed_once_and_a_last_token_never():
    lay = layout([[5, 6, 7], [8]], [[1, 2], [3], [], [4, 4, 4]], [0, 1, 0, 0])
    assert lay.token_N.tolist() == [5, 6, 7, 8, 1, 4, 4]
    assert lay.position_N.tolist() == [0, 1, 2, 0, 3, 3, 4]
    assert lay.target_M.tolist() == [1, 2, 3, 4, 4, 4]
    assert lay.predictor_M.tolist() == [2, 4, 3, 2, 5, 6]
    assert lay.shape == (4, 3) and lay.prompts == 4


def test_a_batch_without_any_token_reads_zero(qwen):
    logp, entropy = fast(qwen, [[3, 4]], [[], []], [0, 0])
    assert logp.shape == entropy.shape == (2, 1) and not logp.any() and not entropy.any()


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="a prompt without tokens"):
        layout([[1], []], [[1]], [0])


def test_gradients_reach_every_parameter_and_the_prompt():
    policy = tiny_policy()
    logp, _ = fast(policy, [[2, 3, 4]], [[5, 6]], [0])
    logp.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in policy.parameters.values())
    decoder = policy.decoder()
    leaf = decoder.embedding.detach().clone().requires_grad_()
    logp, _ = response_logprobs(replace(decoder, embedding=leaf), layout([[2, 3, 4]], [[5, 6]], [0]))
    logp.sum().backward()
    assert leaf.grad[[2, 3, 4, 5]].any(1).all()
    assert not leaf.grad[6].any()  # a last token is predicted, never read


@pytest.mark.parametrize("name", ["qwen2", "llama 3.2"])
def test_matrices_side_by_side_do_what_fused_ones_do(name, monkeypatch):
    """Wide models keep their matrices apart, for a fused copy would cost as much memory as they do."""
    policy, batch = architecture(name, torch.float64), ragged(2)
    fused = fast(policy, *batch)[0]
    monkeypatch.setattr(decoder, "FUSE_BELOW", 0)
    assert len(policy.decoder().layers[0].qkv) == 3 and len(policy.decoder().layers[0].gate_up) == 2
    apart = fast(policy, *batch)[0]
    assert torch.allclose(apart, fused, rtol=0, atol=1e-6)
    w = weights_like(fused)
    assert_same_gradient(gradient(policy, apart, w), gradient(policy, fused, w), 1e-6)


def test_blocks_made_again_in_the_backward_pass_have_the_same_gradient(qwen):
    batch = ragged(2)
    kept = fast(qwen, *batch)[0]
    again = response_logprobs(replace(qwen.decoder(), recompute=True), layout(*batch))[0]
    assert torch.equal(kept, again)
    w = weights_like(kept)
    one, other = gradient(qwen, again, w), gradient(qwen, kept, w)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_recomputing_keeps_fewer_activations(qwen):
    batch = layout(*ragged(2))

    def kept(dec):
        """How many numbers the graph holds on to."""
        held = {}
        keep = lambda x: held.setdefault(x.data_ptr(), x.numel()) and x  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            hidden_states(dec, batch)
        return sum(held.values())

    assert kept(replace(qwen.decoder(), recompute=True)) < kept(qwen.decoder()) / 2


def test_llama3_slows_down_the_slow_channels_by_hand():
    # Pretrained on 32 positions; channels turn 32 / 2 pi * (1, 0.1, 0.01, 0.001) = 5.09, 0.509, 0.05, 0.005 times.
    # Above 4 turns nothing changes, below 1 the speed is divided by 4.
    slowed = frequencies(architecture("llama 3.2").decoder(), torch.device("cpu"))
    assert slowed.tolist() == pytest.approx([1, 0.1 / 4, 0.01 / 4, 0.001 / 4], rel=1e-6)
    # 2.5 turns are half-way from 1 to 4: half the speed is kept, half is divided by 4.
    dec = architecture("llama 3.2").decoder()
    between = replace(dec, rope={**dec.rope, "original_max_position_embeddings": 25 * 2 * torch.pi})
    assert frequencies(between, torch.device("cpu"))[1].item() == pytest.approx(0.1 * (0.5 + 0.5 / 4))
