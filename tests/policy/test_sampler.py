"""Sampling: the right distribution, the trainer's log-probabilities, and randomness that depends on the seed alone.

One suite for both samplers; what only one of them has, such as a cache of its own making, is tested below it.
"""

import contextlib
import random
from importlib.util import find_spec

import pytest
import torch
from scipy import stats

from repro.policy import sampler
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.sampler import Completion, _Batch, draw, prefill, sample, uniforms
from repro.policy.vllm_engine import VLLM, VLLMEngine
from tests.policy.tiny import ARCHITECTURES, architecture, ragged, stir

END = 1


VLLM_ONLY = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed: `make test-vllm` installs a build for CPUs"
)
# vLLM starts slowly: an engine for each family and no more.
SAMPLERS = [("torch", name) for name in ARCHITECTURES] + [
    pytest.param(("vllm", name), marks=[pytest.mark.vllm, VLLM_ONLY])
    for name in ("qwen2 grouped, free head", "llama 3.2", "qwen3")
]


@contextlib.contextmanager
def served(backend, policy, sequences=64):
    """The policy with the sampler of that name; tests under this fixture know nothing else about it."""
    if backend == "vllm":
        policy.engine = VLLMEngine(policy, VLLM(sequences=sequences))
    yield policy
    if backend == "vllm":
        policy.engine.close()


@pytest.fixture(scope="module", params=SAMPLERS, ids=": ".join)
def either(request):
    backend, name = request.param
    with served(backend, architecture(name, head_dim=32 if backend == "vllm" else None)) as policy:
        yield policy


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def policy(request):
    return architecture(request.param)


@pytest.fixture(scope="module")
def qwen():
    return architecture("qwen2 grouped, free head")


def requests(seed=0, groups=5, size=4):
    """(prompts, prompt_B, seeds) of groups in shuffled order."""
    prompts = ragged(seed, groups)[0]
    prompt_B = [p for p in range(groups) for _ in range(size)]
    random.Random(seed).shuffle(prompt_B)
    return prompts, prompt_B, [random.Random(f"{seed}:{b}").getrandbits(64) for b in range(len(prompt_B))]


def run(policy, prompts, prompt_B, seeds, new_tokens=12, **settings):
    return sample(policy.decoder(), prompts, prompt_B, seeds, new_tokens, END, **settings)


def rounding(policy):
    """How far log-probabilities may be from the trainer's: vLLM's kernels add in an order of their own."""
    return 1e-5 if policy.engine is None else 1e-4


def assert_same(one, other, tolerance=1e-5):
    assert [c.tokens for c in one] == [c.tokens for c in other]
    assert [c.finished for c in one] == [c.finished for c in other]
    for a, b in zip(one, other, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=tolerance)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probabilities_are_the_trainers_before_and_after_an_update(either, temperature):
    prompts, prompt_B, seeds = requests()
    start = either.snapshot()
    for step in range(3):
        completions = run(either, prompts, prompt_B, seeds, temperature=temperature)
        assert len({tuple(c.tokens) for c in completions}) > 5
        lay = layout(prompts, [c.tokens for c in completions], prompt_B)
        logp, _ = response_logprobs(either.decoder(), lay, temperature)
        for b, completion in enumerate(completions):
            n = len(completion.tokens)
            assert torch.tensor(completion.logprobs) == pytest.approx(logp[b, :n].detach(), abs=rounding(either))
        stir(either, 0.05, seed=step)
    with torch.no_grad():
        for name, p in either.parameters.items():
            p.copy_(start[name])


def test_each_request_depends_on_its_own_seed_and_prompt_alone(either):
    prompts, prompt_B, seeds = requests()
    whole = run(either, prompts, prompt_B, seeds)
    order = random.Random(5).sample(range(len(seeds)), len(seeds))
    turned = run(either, prompts, [prompt_B[b] for b in order], [seeds[b] for b in order])
    assert_same(turned, [whole[b] for b in order], rounding(either))
    for b in (0, 7, 19):  # alone, without padding
        assert_same(run(either, [prompts[prompt_B[b]]], [0], [seeds[b]]), [whole[b]], rounding(either))
    longer = run(either, [*prompts, [3] * 25], [*prompt_B, len(prompts)], [*seeds, 1])
    assert_same(longer[:-1], whole, rounding(either))


@pytest.mark.parametrize("sampler", [SAMPLERS[0], SAMPLERS[-1]], ids=": ".join)
def test_more_prompt_tokens_than_an_engine_reads_at_once(sampler):
    (backend, name), rng = sampler, random.Random(8)
    prompts = [[rng.randrange(3, 20) for _ in range(58)] for _ in range(200)]
    with served(backend, architecture(name, head_dim=32 if backend == "vllm" else None), sequences=256) as policy:
        whole = run(policy, prompts, range(200), range(200), new_tokens=4)
        for b in (0, 80, 199):
            assert_same(run(policy, [prompts[b]], [0], [b], new_tokens=4), [whole[b]], rounding(policy))


@pytest.mark.parametrize("prompt_B", [[1, 0], [0, 1, 0, 1], [2, 1, 0], [2, 0, 1, 0, 1, 2]])
def test_rows_may_stand_in_any_order(qwen, prompt_B):
    """Also in one that, done twice, is no reordering: two rows change places, and none is left over."""
    prompts, _, _ = requests(groups=3)
    alone = [run(qwen, [prompts[p]], [0], [seed])[0] for seed, p in enumerate(prompt_B)]
    assert_same(run(qwen, prompts[: max(prompt_B) + 1], prompt_B, range(len(prompt_B))), alone)


def test_a_larger_budget_only_goes_on(either):
    prompts, prompt_B, seeds = requests()
    short, long = (run(either, prompts, prompt_B, seeds, n) for n in (4, 12))
    for a, b in zip(short, long, strict=True):
        assert a.tokens == b.tokens[:4]
        assert a.finished == (b.finished and len(b.tokens) <= 4)


def test_the_end_token_ends_a_response_and_belongs_to_it(either):
    completions = run(either, *requests(size=30), new_tokens=12)
    for completion in completions:
        assert len(completion.tokens) == len(completion.logprobs) <= 12
        assert END not in completion.tokens[:-1]
        assert completion.finished == (completion.tokens[-1] == END)
        assert completion.finished or len(completion.tokens) == 12
    assert {c.finished for c in completions} == {True, False}
    assert len({len(c.tokens) for c in completions}) > 5


def test_greedy_decoding_is_that_of_transformers(either):
    prompts, prompt_B, seeds = requests(groups=6, size=1)
    width, n = max(map(len, prompts)), 10
    ids = torch.tensor([[0] * (width - len(prompts[p])) + prompts[p] for p in prompt_B])
    mask = torch.tensor([[0] * (width - len(prompts[p])) + [1] * len(prompts[p]) for p in prompt_B])
    with torch.no_grad():
        theirs = either.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=n, do_sample=False,
                                       pad_token_id=0, eos_token_id=END)[:, width:].tolist()  # fmt: skip
    ours = run(either, prompts, prompt_B, seeds, n, temperature=0.0)
    for completion, row in zip(ours, theirs, strict=True):
        assert completion.tokens == row[: len(completion.tokens)]
        assert not any(row[len(completion.tokens) :])
    logp, _ = response_logprobs(either.decoder(), layout(prompts, [c.tokens for c in ours], prompt_B))
    assert ours[0].logprobs == pytest.approx(logp[0, : len(ours[0].tokens)].tolist(), abs=rounding(either))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_come_with_their_probabilities(either, temperature):
    """Chi-square against the model's distribution: of first tokens, and of second ones after the commonest first."""
    policy = either
    prompt, n = [4, 9, 3], 3000
    completions = run(policy, [prompt], [0] * n, range(n), 2, temperature=temperature)

    def p_value(tokens, context):
        with torch.no_grad():
            logits = policy.model(torch.tensor([context])).logits[0, -1].double()
        expected = (logits / temperature).softmax(-1) * len(tokens)
        observed = torch.bincount(torch.tensor(tokens), minlength=len(expected)).double()
        rare = expected < 5
        pooled = [torch.cat((x[~rare], x[rare].sum()[None])) for x in (observed, expected)]
        return stats.chisquare(*(x[pooled[1] > 0] for x in pooled)).pvalue

    first = [c.tokens[0] for c in completions]
    assert len(set(first)) > 5
    assert p_value(first, prompt) > 1e-3
    commonest = max({*first} - {END}, key=first.count)
    second = [c.tokens[1] for c in completions if c.tokens[0] == commonest]
    assert p_value(second, [*prompt, commonest]) > 1e-3


@pytest.mark.parametrize("share", [0.0, 0.3, 2.0])
def test_packing_the_running_rows_changes_nothing(policy, monkeypatch, share):
    """0: never packed; 2: packed after every token."""
    rows = []
    forward = _Batch._forward
    monkeypatch.setattr(_Batch, "_forward", lambda self, t, *a: rows.append(len(t)) or forward(self, t, *a))
    wanted = run(policy, *requests(size=10), 12)
    rows.clear()
    monkeypatch.setattr(sampler, "COMPACT_BELOW", share)
    assert_same(run(policy, *requests(size=10), 12), wanted)
    ends = [sum(len(c.tokens) > t for c in wanted if not (c.finished and len(c.tokens) == t)) for t in range(1, 12)]
    if share == 0.0:
        assert set(rows) == {50}
    if share == 2.0:
        assert rows == [n for n in ends if n]


def test_nothing_is_decoded_after_the_last_row_has_ended(qwen, monkeypatch):
    prompts, prompt_B, seeds = requests(size=1)
    done = next(c for c in run(qwen, prompts, prompt_B * 20, range(100), 30) if c.finished and 2 < len(c.tokens) < 20)
    b = [c.tokens for c in run(qwen, prompts, prompt_B * 20, range(100), 30)].index(done.tokens)
    steps, step = [], _Batch.step
    monkeypatch.setattr(_Batch, "step", lambda self, *a: steps.append(1) or step(self, *a))
    assert run(qwen, prompts, [(prompt_B * 20)[b]], [b], 30)[0].tokens == done.tokens
    assert len(steps) == len(done.tokens) - 1


def test_a_step_over_the_whole_cache_is_a_step_over_its_filled_part(policy):
    """What a CUDA graph records has one shape: the columns that are not filled yet must not count."""
    prompts, prompt_B, _ = requests()
    rows, new_tokens, dec = torch.tensor(prompt_B), 6, policy.decoder()
    with torch.no_grad():
        keys, values, real, _ = prefill(dec, prompts)
        growing, whole = (_Batch(dec, keys, values, real, rows, new_tokens, graphs) for graphs in (False, True))
        tokens = torch.randint(2, 20, (new_tokens, len(rows)), generator=torch.Generator().manual_seed(0))
        for t in range(new_tokens):
            at = torch.tensor([t])
            one = growing._forward(tokens[t], at, t + 1)
            other = whole._forward(tokens[t], at, new_tokens)
            assert torch.allclose(one, other, atol=1e-5)
            ids = [prompts[p] + tokens[: t + 1, b].tolist() for b, p in enumerate(prompt_B)]
            assert torch.allclose(one[0], policy.model(torch.tensor([ids[0]])).logits[0, -1], atol=1e-5)
        assert torch.equal(growing.position, whole.position)


def splitmix(state, steps):
    """SplitMix64 (Steele, Lea, Flood 2014; Vigna's splitmix64.c), in plain integers."""
    out, top = [], 2**64
    for _ in range(steps):
        state = (state + 0x9E3779B97F4A7C15) % top
        out.append(finalise(state))
    return out


def finalise(z):
    top = 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % top
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % top
    return z ^ (z >> 31)


def test_uniforms_are_splitmix():
    # The published first outputs for the seed 1234567 hold the slow loop to the algorithm.
    assert splitmix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    seeds = [0, 1, 2**63, 2**64 - 1, 123456789]
    got = uniforms(seeds, 7)
    assert got.shape == (5, 7)
    for i, seed in enumerate(seeds):
        assert got[i].tolist() == [(z >> 11) / 2**53 for z in splitmix(finalise(seed), 7)]
    assert uniforms([-1], 3).tolist() == uniforms([2**64 - 1], 3).tolist()


def test_uniforms_are_uniform_and_independent_of_the_batch():
    many = uniforms(range(3000), 8)
    assert (uniforms([17, 4], 5) == many[[17, 4], :5]).all()
    assert ((many >= 0) & (many < 1)).all() and len(set(many.ravel().tolist())) == many.size
    assert stats.kstest(many.ravel(), "uniform").pvalue > 1e-3
    assert abs(stats.pearsonr(many[:, 0], many[:, 1]).statistic) < 0.1
    assert abs(stats.pearsonr(many[:-1, 0], many[1:, 0]).statistic) < 0.1  # neighbouring seeds


def test_draw_by_hand():
    logits = torch.tensor([[0.1, 0.2, 0.7]]).log().repeat(6, 1)
    uniform = torch.tensor([0.0, 0.0999, 0.1001, 0.2999, 0.3001, 1 - 2**-53], dtype=torch.float64)
    token, logp = draw(logits, uniform, 1.0)
    assert token.tolist() == [0, 0, 1, 1, 2, 2]
    assert logp.exp().tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.7, 0.7])
    # Temperature 1/2 squares the weights: 1, 4 and 49 of 54.
    token, logp = draw(logits, uniform, 0.5)
    assert token.tolist() == [0, 2, 2, 2, 2, 2]
    assert logp.exp().tolist() == pytest.approx([1 / 54] + [49 / 54] * 5)
    assert draw(logits, uniform, 0.0)[0].tolist() == [2] * 6
    assert draw(logits, uniform, 0.0)[1].exp().tolist() == pytest.approx([0.7] * 6)


def test_a_word_that_cannot_occur_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).repeat(3, 1)
    uniform = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert draw(logits, uniform, 1.0)[0].tolist() == [1, 1, 1]


def test_nothing_asked_nothing_done(either):
    assert run(either, [[2, 3]], [], []) == []
    assert run(either, [[2, 3]], [0, 0], [1, 2], new_tokens=0) == [Completion([], [], False)] * 2


def test_bad_requests_are_refused(either):
    with pytest.raises(ValueError, match="2 requests but 1 seeds"):
        run(either, [[2]], [0, 0], [1])
    with pytest.raises(ValueError, match="a prompt without tokens"):
        run(either, [[2], []], [0], [1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cuda_graphs_decode_as_eager_steps_do(name):
    policy = architecture(name)
    policy.model.cuda()
    prompts, prompt_B, seeds = requests(size=20)
    eager, graphs = (run(policy, prompts, prompt_B, seeds, 30, cuda_graphs=on) for on in (False, True))
    assert_same(graphs, eager, tolerance=1e-4)
    with torch.no_grad():
        logp, _ = response_logprobs(policy.decoder(), layout(prompts, [c.tokens for c in graphs], prompt_B, "cuda"))
    for b, completion in enumerate(graphs):
        assert completion.logprobs == pytest.approx(logp[b, : len(completion.tokens)].tolist(), abs=1e-4)
