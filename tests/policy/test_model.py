"""Building, saving and loading policies."""

import json
import random
import shutil
from functools import partial

import pytest
import torch
from transformers import AutoTokenizer

from repro.environments import arithmetic
from repro.environments.arithmetic import ArithmeticConfig
from repro.errors import ReproError
from repro.policy.model import PolicyConfig, build, parameter_count, pieces, word_tokenizer
from repro.policy.pretrained import load
from tests.policy.tiny import SHAPE, VOCABULARY, WORLD, tiny_policy


@pytest.fixture(scope="module")
def policy():
    return tiny_policy()


@pytest.fixture(scope="module")
def saved(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    policy.save(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def texts():
    source = arithmetic.stream(WORLD, 0)
    return [f"{q.text} {q.trace}" for q in (next(source) for _ in range(50))]


def test_one_token_a_word(policy):
    for text in texts():
        tokens = policy.encode(text)
        assert len(tokens) == len(text.split())
        assert policy.decode([*tokens, policy.end_token]) == " ".join(text.split())
    assert policy.encode("apple =7 apple") == [2 + VOCABULARY.index(w) for w in ("apple", "=7", "apple")]
    assert policy.end_token == 1 and len(policy.tokenizer) == len(VOCABULARY) + 2


def test_an_unknown_word_raises(policy):
    told = r"the world's vocabulary cannot write this prompt: it lacks banana pear\. Choose another recipe.guidance"
    for encode in (policy.encode, partial(pieces, policy.tokenizer.backend_tokenizer)):
        with pytest.raises(ReproError, match=told):
            encode("apple = banana +1 pear banana")


def test_other_failures_of_a_tokenizer_stay_what_they_are(policy):
    with pytest.raises(TypeError):
        pieces(policy.tokenizer.backend_tokenizer, None)


def test_a_saved_policy_loads_to_the_same_weights_and_ids(policy, saved):
    back = load(str(saved))
    assert {name: p.dtype for name, p in back.parameters.items()} == {
        name: p.dtype for name, p in policy.parameters.items()
    }
    assert all(torch.equal(p, back.parameters[name]) for name, p in policy.parameters.items())
    assert [back.encode(text) for text in texts()] == [policy.encode(text) for text in texts()]
    assert back.end_token == policy.end_token and back.tokenizer.pad_token_id == 0
    with pytest.raises(ReproError, match="it lacks banana"):
        back.encode("banana")
    ids = torch.tensor([policy.encode(texts()[0])])
    assert torch.equal(back.model(ids).logits, policy.model(ids).logits)


def test_saved_twice_is_saved_the_same(policy, saved, tmp_path):
    load(str(saved)).save(tmp_path)
    assert [load(str(tmp_path)).encode(text) for text in texts()] == [policy.encode(text) for text in texts()]


def test_what_auto_tokenizer_would_have_done(policy, saved, tmp_path):
    """The trap that load_tokenizer avoids. Should this fail one day, AutoTokenizer can be trusted again."""
    wide = build(PolicyConfig(**{**vars(SHAPE)}), arithmetic.vocabulary(ArithmeticConfig(modulus=23)), 0)
    wide.save(tmp_path)
    text = "apple =7 kiwi = apple *6 =19"

    def ids(tokenizer):
        try:
            return tokenizer.encode(text, add_special_tokens=False)
        except Exception as error:  # the words that Qwen's splitting makes are not in the vocabulary
            return str(error)

    assert load(str(tmp_path)).encode(text) == wide.encode(text)
    assert ids(AutoTokenizer.from_pretrained(tmp_path)) != wide.encode(text)


def test_only_safetensors_are_written(saved):
    assert {p.suffix for p in saved.iterdir()} <= {".safetensors", ".json", ".jinja"}


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(123)
    random.seed(123)
    before = torch.get_rng_state()
    first = build(SHAPE, VOCABULARY, 7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    second, other = build(SHAPE, VOCABULARY, 7), build(SHAPE, VOCABULARY, 8)
    assert all(torch.equal(p, second.parameters[name]) for name, p in first.parameters.items())
    assert any(not torch.equal(p, other.parameters[name]) for name, p in first.parameters.items())


def test_parameters_counted_by_hand():
    # Embedding (head tied) 2 + V; a block: q, k, v with biases, o without; gate, up, down; two norms; one norm last.
    V, D, F = len(VOCABULARY) + 2, 16, 32
    block = 3 * (D * D + D) + D * D + 3 * D * F + 2 * D
    assert parameter_count(tiny_policy()) == V * D + 2 * block + D
    small = build(PolicyConfig(), arithmetic.vocabulary(ArithmeticConfig()), 0)
    assert 480_000 < parameter_count(small) < 520_000  # what its docstring says: 0.5 M


def test_a_snapshot_is_a_copy():
    policy = tiny_policy()
    snapshot = policy.snapshot()
    with torch.no_grad():
        for p in policy.parameters.values():
            p.add_(1)
    assert all(torch.allclose(p - 1, snapshot[name], atol=1e-6) for name, p in policy.parameters.items())
    assert all(not p.requires_grad for p in snapshot.values())


def attentions(policy, ids):
    """(layers, H, T, T) by transformers' own eager attention."""
    policy.model.set_attn_implementation("eager")
    with torch.no_grad():
        return torch.stack(policy.model(ids, output_attentions=True).attentions)[:, 0]


@pytest.mark.parametrize("heads", [2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_head_i_of_the_first_layer_looks_i_plus_one_back(seed, heads):
    words = arithmetic.vocabulary(ArithmeticConfig())
    policy = build(PolicyConfig(hidden=32 * heads, layers=2, heads=heads, kv_heads=heads), words, seed)
    ids = torch.randint(2, len(words), (1, 60), generator=torch.Generator().manual_seed(seed))
    weights = attentions(policy, ids)[0]
    for head in range(heads):
        back = head + 1
        assert (weights[head, back:].argmax(-1) == torch.arange(60 - back)).all()


def test_the_second_layer_finds_what_followed_an_earlier_occurrence():
    words = arithmetic.vocabulary(ArithmeticConfig())
    ranks = []
    for seed in range(10):
        policy = build(PolicyConfig(layers=2), words, seed)
        line = torch.randperm(len(words), generator=torch.Generator().manual_seed(seed))[:30] + 2
        end = 5 + 2 * seed
        ids = torch.cat((line, line[end - 3 : end + 1]))[None]  # the words up to place `end` again, at the end
        weights = attentions(policy, ids)[1]
        ranks += [(weights[head, -1] > weights[head, -1, end + 1]).sum().item() for head in (1, 2, 3)]
    # Of 34 places, what followed is among the first; by chance its rank would be 16.
    assert sum(ranks) / len(ranks) < 4


def test_without_lookback_it_is_transformers_own_initialisation():
    plain = build(PolicyConfig(**{**vars(SHAPE), "lookback": 0.0}), VOCABULARY, 0)
    assert all(not p.any() for name, p in plain.parameters.items() if name.endswith("bias"))
    grouped = build(PolicyConfig(**{**vars(SHAPE), "lookback": 0.0, "kv_heads": 1}), VOCABULARY, 0)
    assert grouped.model.config.num_key_value_heads == 1
    with pytest.raises(ReproError, match="set policy.lookback=0"):
        build(PolicyConfig(**{**vars(SHAPE), "kv_heads": 1}), VOCABULARY, 0)


def test_a_checkpoint_overrides_the_shape(policy, saved):
    back = build(PolicyConfig(checkpoint=str(saved), hidden=1000), [], seed=5)
    assert all(torch.equal(p, back.parameters[name]) for name, p in policy.parameters.items())
    half = build(PolicyConfig(checkpoint=str(saved), dtype="bfloat16"), [], seed=5)
    assert {p.dtype for p in half.parameters.values()} == {torch.bfloat16}


def refused(folder):
    with pytest.raises(ReproError) as raised:
        load(str(folder))
    assert str(raised.value).startswith("policy.checkpoint: ") and repr(str(folder)) in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_missing_folder(tmp_path):
    assert "Give a folder that holds config.json" in refused(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "Give a folder" in refused(tmp_path / "empty")


def test_pickled_weights_are_refused(copy, policy):
    (copy / "model.safetensors").unlink()
    torch.save(policy.model.state_dict(), copy / "pytorch_model.bin")
    assert "Give a folder that holds config.json, *.safetensors" in refused(copy)


def test_a_truncated_weight_file(copy):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(copy)
    file.write_bytes(b"")
    refused(copy)


def test_a_damaged_model_config(copy):
    (copy / "config.json").write_text("{")
    refused(copy)


def test_a_tokenizer_of_another_model(copy):
    word_tokenizer([*VOCABULARY, "surplus"]).save_pretrained(copy)
    n = len(VOCABULARY)
    assert f"has {n + 3} tokens, its model only {n + 2}; they do not belong together" in refused(copy)


def test_a_tokenizer_without_an_end_token(copy):
    path = copy / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    assert settings.pop("eos_token") == "<end>"
    path.write_text(json.dumps(settings))
    assert "names no end token" in refused(copy)
