"""Pretrained checkpoints: families, chat templates, adapters, 16-bit weights, and what is said of broken ones."""

import json

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from repro.config import config_hash, from_dict, to_dict
from repro.errors import ReproError
from repro.policy.logprobs import layout, reference_logprobs, response_logprobs
from repro.policy.model import PolicyConfig, build, parameter_count
from repro.policy.pretrained import CheckpointConfig, LoRA, ServedConfig, fetch, load
from repro.policy.sampler import sample
from repro.training.config import RunConfig
from tests.policy.checkpoints import SPEECH, bpe_tokenizer, save_checkpoint
from tests.policy.tiny import ragged, stir

QUESTION = "Ann has 3 figs.\nHow many figs?"


@pytest.fixture(scope="module", params=SPEECH)
def folder(request, tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("saved") / "checkpoint", request.param, shards=True)


@pytest.fixture
def qwen(tmp_path):
    return save_checkpoint(tmp_path / "qwen")


def built(folder, **settings):
    return build(CheckpointConfig(checkpoint=str(folder), **{"dtype": "float32", **settings}), [], seed=3)


def refused(folder, **settings):
    with pytest.raises(ReproError) as raised:
        built(folder, **settings)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_every_family_computes_what_transformers_computes(folder):
    policy = stir(built(folder), 0.1)
    prompts, responses, prompt_B = ragged(1)
    quick, _ = response_logprobs(policy.decoder(), layout(prompts, responses, prompt_B))
    slow = reference_logprobs(policy.model, prompts, responses, prompt_B)
    assert torch.allclose(quick, slow, rtol=0, atol=1e-5)


def test_weights_of_16_bits_stay_near_those_of_32(folder):
    whole, half = built(folder), built(folder, dtype="bfloat16")
    assert {p.dtype for p in half.parameters.values()} == {torch.bfloat16}
    batch = ragged(1)
    one, other = (response_logprobs(policy.decoder(), layout(*batch))[0] for policy in (whole, half))
    assert 0 < (one - other).abs().max() < 0.1


def test_a_question_is_put_in_the_chat_template(folder):
    policy = built(folder)
    message = [{"role": "user", "content": QUESTION}]
    settings = {"add_generation_prompt": True, "enable_thinking": False, "date_string": "26 Jul 2024"}
    ids = policy.tokenizer.apply_chat_template(message, return_dict=False, **settings)
    assert policy.prompt(QUESTION) == ids
    text = policy.tokenizer.decode(ids)
    assert text.count(QUESTION) == 1 and "26 Jul 2024" in text or "think" in text
    assert built(folder, template="plain").prompt(QUESTION) == policy.encode(QUESTION)
    assert "You are terse." in policy.tokenizer.decode(built(folder, system="You are terse.").prompt(QUESTION))


def test_a_conversation_grows_as_the_template_would_have_it(folder):
    """Prompt, answer with its end token, reply: the tokens of the whole conversation rendered at once."""
    policy = built(folder, thinking=True)
    said = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "7"},
            {"role": "user", "content": "Sure?"}]  # fmt: skip
    whole = policy.tokenizer.apply_chat_template(
        said, add_generation_prompt=True, return_dict=False, enable_thinking=True, date_string="26 Jul 2024"
    )
    assert policy.prompt(QUESTION) + policy.encode("7") + [policy.end_token] + policy.reply("Sure?") == whole


def test_how_long_a_prompt_is_for_guidance(folder):
    """Pieces join back, one a token; with the template's own tokens they are the prompt's length."""
    policy = built(folder)
    text = "Ann has 3 figs."
    cut = policy.measure.split(text)
    assert "".join(cut) == text and len(cut) == len(policy.encode(text)) and policy.measure.split("") == []
    assert policy.measure.around + len(cut) == len(policy.prompt(text)) > len(cut)
    assert built(folder, template="plain").measure.around == 0


def test_thinking_is_a_setting(qwen):
    silent, aloud = (built(qwen, thinking=t).prompt(QUESTION) for t in (False, True))
    assert silent[: len(aloud)] == aloud
    assert bpe_tokenizer("qwen2").decode(silent[len(aloud) :]) == "<think>\n\n</think>\n\n"


def test_a_response_ends_with_the_token_that_is_named(qwen):
    policy = built(qwen, end="<|endoftext|>")
    assert policy.end_token == 0 and built(qwen).end_token == 2
    with pytest.raises(ReproError, match="policy.end: a response ends with '<|endoftext|>'"):
        policy.reply("Sure?")
    assert "'<stop>' is no token of" in refused(qwen, end="<stop>")


def test_a_template_that_is_not_there(qwen):
    (qwen / "chat_template.jinja").unlink()
    assert "has no chat template; set policy.template=plain" in refused(qwen)
    assert built(qwen, template="plain").prompt("3") == built(qwen, template="plain").encode("3")


def test_the_context_may_be_cut(qwen):
    assert built(qwen).context == 256 and built(qwen, context=64).context == 64
    assert built(qwen, context=512).context == 256


def test_configs_are_told_apart_and_old_ones_keep_their_hash():
    old, run = PolicyConfig(checkpoint="x"), RunConfig.__annotations__["policy"]
    for policy in (old, CheckpointConfig(checkpoint="x", lora=LoRA(rank=4)), ServedConfig()):
        assert from_dict(PolicyConfig | ServedConfig | CheckpointConfig, to_dict(policy)) == policy
    assert run == "PolicyConfig | ServedConfig | CheckpointConfig"
    assert config_hash(PolicyConfig()) == "1ba9a62f4f94"
    assert ServedConfig(hidden=64).plain() == PolicyConfig(hidden=64)
    for wrong in ({}, {"checkpoint": "x", "template": "jinja"}, {"checkpoint": "x", "context": -1}):
        with pytest.raises(ReproError, match="policy."):
            CheckpointConfig(**wrong)


def peft_logprobs(policy, batch):
    policy.adapters.eval()
    return reference_logprobs(policy.adapters, *batch)


def test_adapters_start_as_nothing_and_compute_what_peft_computes(folder):
    pytest.importorskip("peft")
    policy, plain, batch = built(folder, lora=LoRA(rank=4, alpha=12.0)), built(folder), ragged(1)
    logprobs = lambda p: response_logprobs(p.decoder(), layout(*batch))[0]  # noqa: E731
    assert torch.allclose(logprobs(policy), logprobs(plain), rtol=0, atol=1e-5)
    assert all("lora_" in name for name in policy.parameters) and len(policy.parameters) == 2 * 2 * 7
    assert parameter_count(policy) == parameter_count(plain)
    frozen = {name: p.clone() for name, p in policy.tensors().items() if ".lora_" not in name}
    stir(policy, 0.2)
    assert (logprobs(policy) - logprobs(plain)).abs().max() > 0.1
    slow = peft_logprobs(policy, batch)
    assert torch.allclose(logprobs(policy), slow, rtol=0, atol=1e-5)
    w = torch.randn(slow.shape, generator=torch.Generator().manual_seed(0))
    mine, theirs = (
        torch.autograd.grad((logp * w).sum(), list(policy.parameters.values())) for logp in (logprobs(policy), slow)
    )
    assert all(torch.allclose(a, b, atol=1e-4 * (1 + b.abs().max())) for a, b in zip(mine, theirs, strict=True))
    assert all(torch.equal(p, policy.tensors()[name]) for name, p in frozen.items())


def test_merged_weights_compute_the_same_without_adapters(folder):
    pytest.importorskip("peft")
    policy, plain, batch = stir(built(folder, lora=LoRA(rank=4)), 0.2), built(folder), ragged(1)
    missing, unknown = plain.model.load_state_dict(dict(policy.weights()), strict=False)
    assert not unknown and set(missing) <= {"lm_head.weight"}
    one, other = (response_logprobs(p.decoder(), layout(*batch))[0] for p in (policy, plain))
    assert torch.allclose(one, other, rtol=0, atol=1e-5)


def test_adapters_depend_on_the_seed_alone_and_are_saved_alone(qwen, tmp_path):
    pytest.importorskip("peft")
    torch.manual_seed(5)
    one, other = built(qwen, lora=LoRA(rank=2)), built(qwen, lora=LoRA(rank=2))
    assert all(torch.equal(p, other.parameters[name]) for name, p in one.parameters.items())
    one.save(tmp_path / "adapters")
    assert (tmp_path / "adapters" / "adapter_model.safetensors").is_file()
    assert not list((tmp_path / "adapters").glob("model*"))
    for wrong in ({"rank": 0}, {"matrices": ("lm_head",)}, {"matrices": ()}):
        with pytest.raises(ReproError, match="policy.lora: rank"):
            LoRA(**wrong)


def test_without_peft_the_extra_is_named(qwen, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    assert "pip install '.[lora]'" in refused(qwen, lora=LoRA())


def test_a_hub_that_cannot_be_reached(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    said = refused("someone/some-model")
    assert said.startswith("policy.checkpoint: 'someone/some-model' could not be loaded (no such folder, not in the")
    assert "`hf download someone/some-model` on a machine that reaches it" in said
    assert "no such folder, and not a hub id" in refused("no/such/folder")


def test_what_the_cache_holds_needs_no_hub(qwen, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    cached = tmp_path / "hub" / "models--someone--some-model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    (cached / "snapshots").mkdir()
    qwen.rename(cached / "snapshots" / ("a" * 40))
    assert fetch("someone/some-model").name == "a" * 40
    assert built("someone/some-model").context == 256
    assert "did not give it" in refused("someone/some-model", revision="other")


def rewritten(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_missing_and_unknown_tensors(qwen):
    rewritten(qwen, lambda t: (t.pop("model.layers.1.mlp.up_proj.weight"), t.update(spare=torch.zeros(2))))
    said = refused(qwen)
    assert "missing: model.layers.1.mlp.up_proj.weight" in said and "unknown to its model: spare" in said
    assert "Download or export the checkpoint again" in said


def test_many_missing_tensors_are_counted(qwen):
    rewritten(qwen, lambda t: [t.pop(name) for name in list(t) if "layers.1." in name])
    assert "model.layers.1.mlp.down_proj.weight" in (said := refused(qwen)) and "and 9 more" in said


def test_a_tensor_of_another_shape(qwen):
    rewritten(qwen, lambda t: t.update({"model.norm.weight": torch.ones(7)}))
    assert "of another shape than its config.json says: model.norm.weight" in refused(qwen)


def test_a_missing_shard(tmp_path):
    folder = save_checkpoint(tmp_path / "sharded", shards=True)
    next(folder.glob("model-00002*")).unlink()
    assert "could not be loaded" in refused(folder) and "00002" in refused(folder)


def test_a_tokenizer_of_another_model(tmp_path):
    wide = save_checkpoint(tmp_path / "wide", vocab_size=5000)
    n = len(bpe_tokenizer("qwen2"))
    assert f"has {n} tokens, its model 5000; they do not belong together" in refused(wide)
    narrow = save_checkpoint(tmp_path / "narrow", vocab_size=n - 1)
    assert f"has {n} tokens, its model only {n - 1}" in refused(narrow)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "its model type is 'gpt2'"),
        ({"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0, "layer_types": None}, "a sliding"),
        ({"hidden_act": "gelu"}, "its activation is 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, "of the type 'yarn'"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_not_miscomputed(qwen, change, reason):
    path = qwen / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    said = refused(qwen)
    assert "is not supported: " in said and reason in said


def test_loading_never_unpickles(qwen):
    rewritten(qwen, lambda t: None)
    torch.save(load_file(qwen / "model.safetensors"), qwen / "pytorch_model.bin")
    (qwen / "model.safetensors").unlink()
    assert "could not be loaded" in refused(qwen)


def test_sampling_ends_with_the_templates_own_token(qwen):
    policy = built(qwen)
    with torch.no_grad():  # the end token is likely at every place
        policy.model.lm_head.weight.zero_()
        policy.model.lm_head.weight[policy.end_token] = policy.decoder().norm.new_ones(32)
        policy.model.model.norm.weight.fill_(1.0)
    completions = sample(policy.decoder(), [policy.prompt("3")], [0] * 20, range(20), 50, policy.end_token)
    assert any(c.finished and c.tokens[-1] == 2 for c in completions)


def test_a_policy_config_still_names_a_checkpoint(qwen):
    policy = build(PolicyConfig(checkpoint=str(qwen)), [], 0)
    assert policy.prompt(QUESTION) == policy.encode(QUESTION) and load(str(qwen)).chat is None
