"""What a tier would take, by hand on small numbers; and what is missing, said before anything starts."""

import json
from types import SimpleNamespace

import pytest

from repro import doctor
from repro.cli import main
from repro.config import override
from repro.environments.webshop.world import WebShopConfig
from repro.errors import ReproError
from repro.study import STUDIES, estimates
from repro.study.estimates import GIB, PEAK, UTILISATION, expected_work, gpu_hours, memory, rate, shape_of
from repro.study.paper_settings import PAPER
from repro.study.plan import check, missing, plan, render
from repro.study.shapes import SHAPES, Shape, of_folder

TINY = Shape(8, 2, 2, 1, 4, 16, 100, tied=True)
H100 = {"cuda": [{"name": "H100", "memory_gib": 79.6, "capability": "9.0"}], "torch": "2", "note": "CUDA 13"}


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with nothing on it."""
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(doctor, "devices", lambda: {"cuda": [], "torch": "2", "note": "no CUDA device"})
    return tmp_path


def paper(study="asympo_async", arm="asympo@ref", tier="paper", **settings):
    return override(STUDIES[study].config(arm, 0, tier), {key.replace("__", "."): v for key, v in settings.items()})


def test_parameters_are_those_that_are_published():
    # Counts of the weight files on the hub.
    assert SHAPES["Qwen/Qwen2.5-0.5B-Instruct"].parameters == 494_032_768
    assert SHAPES["Qwen/Qwen2.5-Math-1.5B"].parameters == 1_543_714_304
    assert SHAPES["Qwen/Qwen2.5-Math-7B"].parameters == 7_615_616_512
    assert SHAPES["Qwen/Qwen3-0.6B-Base"].parameters == 596_049_920
    assert SHAPES["Qwen/Qwen3-8B-Base"].parameters == 8_190_735_360
    assert SHAPES["meta-llama/Llama-3.2-3B-Instruct"].parameters == 3_212_749_824


def test_parameters_by_hand_and_against_a_model():
    # Embedding 800; a block: q, o 8 x 8, k, v 4 x 8, three of 16 x 8, two norms of 8; a last norm.
    assert TINY.parameters == 800 + 2 * (2 * 64 + 2 * 32 + 3 * 128 + 16) + 8
    # Rank 2 on q (8 + 8) and down (16 + 8), both blocks.
    assert TINY.adapter_parameters(2, ("q_proj", "down_proj")) == 2 * 2 * (16 + 24)
    assert TINY.cache_values == 2 * 2 * 1 * 4
    small = STUDIES["asympo_async"].config("asympo@ref", 0, "small")
    assert shape_of(small).parameters == 500_864  # as every committed run says


def test_the_shape_of_a_folder(tmp_path):
    told = {"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16,
            "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151936,
            "tie_word_embeddings": True}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(told))
    assert of_folder(tmp_path) == SHAPES["Qwen/Qwen3-0.6B-Base"]
    assert shape_of(paper(policy__checkpoint=str(tmp_path))) == SHAPES["Qwen/Qwen3-0.6B-Base"]
    assert shape_of(paper(policy__checkpoint="some/model")) is None


def test_the_shape_of_another_family_is_unknown(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 768, "n_layer": 12}))
    assert of_folder(tmp_path) is None
    found = plan(STUDIES["asympo_async"], "paper", ["asympo@ref"], 1, paper(policy__checkpoint=str(tmp_path)))
    assert json.loads(json.dumps(found))["runs"] == 1 and render(found)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ReproError, match="config.json is damaged .*download or export the checkpoint again"):
        of_folder(tmp_path)


def test_memory_by_hand():
    config = paper(training__microbatch_tokens=64, policy__context=10, recipe__allocation__prompts=3)
    gib = memory(config, TINY)
    p = TINY.parameters
    assert gib["weights"] * GIB == 2 * p and gib["optimiser"] * GIB == 16 * p and gib["sequences"] == 24
    assert gib["cache"] * GIB == 16 * 2 * 10 * 24
    block = 2 * 64 * (4 * 8 + 4 * 8 + 3 * 16)
    assert gib["activations"] * GIB == pytest.approx(2 * 64 * 8 * 2 + block + 6 * 64 * 100)
    one = 2 * 10 * (4 * 8 + 4 * 8 + 3 * 16) + 2 * 10 * 8 * 2 + 6 * 10 * 100
    assert gib["least"] * GIB == pytest.approx(18 * p + 16 * 2 * 10 + one)
    kept = memory(override(config, {"policy.recompute": False}), TINY)
    assert kept["activations"] * GIB == pytest.approx(2 * block + 6 * 64 * 100)


def test_adapters_need_less_and_32_bits_have_no_copies():
    lora = {"kind": "LoRA", "rank": 2, "alpha": 4.0, "matrices": ["q_proj"]}
    gib = memory(paper(policy__lora=lora), TINY)
    trained = 2 * 2 * 16
    assert gib["optimiser"] * GIB == 16 * trained and gib["weights"] * GIB == 2 * (TINY.parameters + trained)
    assert memory(paper(policy__dtype="float32"), TINY)["optimiser"] * GIB == 12 * TINY.parameters


def test_work_by_hand():
    config, entry = paper(), PAPER["asympo_async"]["paper"]
    work = expected_work(config, entry, TINY)
    assert work["generations"] == 375 * 32 * 8 == 96_000 and not work["bound"]
    assert work["generated_tokens"] == 96_000 * entry.response_tokens
    assert work["longest"] == 96_000 * 4096
    n, m = entry.prompt_tokens, entry.response_tokens
    matrices, pair, head = 2 * 2 * (2 * 64 + 2 * 32 + 3 * 128), 4 * 2 * 2 * 4, 2 * 8 * 100
    pairs = n * (n + 1) // 2 + 8 * ((m - 1) * n + (m - 1) * m // 2)
    group = matrices * (n + 8 * (m - 1)) + pair * pairs + head * 8 * m
    assert work["training_flops"] == 4 * 12_000 * group  # forward, once more, and a backward of two
    assert work["evaluation_rollouts"] == 8 * (500 + 1319 + 30 + 30)
    assert work["sampling_flops"] > 12_000 * group


def test_what_an_allocation_decides_is_bounded_and_profiles_are_counted():
    entry = PAPER["sgpo_math"]["paper"]
    work = expected_work(paper("sgpo_math", "sgpo"), entry, None)
    assert work["bound"] and work["updates"] == 441 and work["profile_rollouts"] == 14116 * 8
    assert not expected_work(paper("sgpo_math", "uniform"), entry, None)["bound"]
    assert memory(paper("sgpo_math", "sgpo"), TINY)["sequences"] == 64 * 8
    assert memory(paper("sgpo_math", "uniform16"), TINY)["sequences"] == 64 * 16
    assert expected_work(STUDIES["sgpo_math"].config("sgpo", 0, "smoke"), None, None) is None


def test_rates_are_assumed_unless_a_gpu_was_measured_with_a_model_of_that_size(bare):
    assumed = rate("training", 10**9)
    assert assumed["flops_per_second"] == UTILISATION["training"] * PEAK and "assumed" in assumed["from"]
    row = {"name": "forward_backward_1.5B", "flops": 3e15, "seconds": 10.0, "parameters": 1.5e9}
    (bare / "data").mkdir()
    bench = {"machine": {"gpu": "H200"}, "rows": [row, {**row, "name": "decode", "seconds": 100.0}]}
    (bare / "data" / "bench.json").write_text(json.dumps(bench))
    assert rate("training", 10**9) == {
        "flops_per_second": 3e14, "from": "forward_backward_1.5B on H200, measured"}  # fmt: skip
    assert "assumed" in rate("training", 10**10)["from"]
    shape = SimpleNamespace(parameters=10**9)
    hours = gpu_hours({"sampling_flops": 3e13 * 3600, "training_flops": 3e14 * 7200}, shape)
    assert hours["a_run"] == pytest.approx(3.0)
    assert gpu_hours({"updates": 1}, shape) is None
    (bare / "data" / "bench.json").write_text(json.dumps(bench | {"machine": {"gpu": None}}))
    assert "assumed" in rate("training", 10**9)["from"]


@pytest.mark.parametrize(
    ("study", "tier"), [(study, tier) for study in PAPER if study in STUDIES for tier in PAPER[study]]
)
def test_a_plan_is_complete_and_can_be_told(study, tier, bare):
    found = plan(STUDIES[study], tier, [])
    assert json.loads(json.dumps(found))["runs"] == len(found["arms"])
    assert found["model"]["parameters"] and found["memory_gib"]["least"] > 1
    assert found["gpu_hours"]["a_run"] > 0.1 and found["work"]["generated_tokens"] > 1e6
    text = render(found)
    for words in (found["model"]["name"], "GPU-hours", "not a measurement", "missing here:", "hf download", "GiB"):
        assert words in text
    assert all(setting["key"] in text and setting["source"] in text for setting in found["settings"])
    assert not (bare / "data").exists()


def test_tiers_with_results_go_by_them_and_others_by_their_config():
    small = plan(STUDIES["asympo_async"], "small", ["asympo@ref"])
    assert small["runs"] == 10 and small["work"]["from"] == "10 committed runs" and not small["missing"]
    assert "s a run on the machine of the committed runs" in render(small)
    smoke = expected_work(STUDIES["asympo_async"].config("asympo@ref", 0, "smoke"), None, None)
    assert smoke["generations"] == 24 * 8 * 8 and smoke["longest"] == 24 * 64 * 20


def test_changed_settings_do_not_go_by_the_runs_without_them():
    study = STUDIES["asympo_async"]
    config = override(study.config("spo@ref", 0, "small"), {"training.updates": 300})
    found = plan(study, "small", ["spo@ref"], 1, config)
    assert found["work"]["updates"] == 300 and found["work"]["generations"] == 300 * 64
    assert "seconds" not in found["work"] and "unknown: no committed run has these settings" in render(found)
    assert "1: 1 arm (spo@ref)" in render(found)
    other_seed = plan(study, "small", ["spo@ref"], 1, study.config("spo@ref", 123, "small"))
    assert other_seed["work"]["from"] == "10 committed runs"


def test_all_that_is_missing_is_one_message(bare, capsys):
    with pytest.raises(ReproError) as raised:
        check(paper())
    said = str(raised.value)
    for words in ("it lacks:", "a GPU: no CUDA device", "weights: Qwen/Qwen3-1.7B-Base", "data: math is missing",
                  "data: gsm8k is missing", "hf download openai/gsm8k", "hf download Qwen/Qwen3-1.7B"):  # fmt: skip
        assert words in said
    assert main(["run", "asympo_async", "--arm", "asympo@ref", "--tier", "paper"]) == 2
    assert said in capsys.readouterr().err
    assert not (bare / "data").exists()


def test_what_is_there_is_not_missed(bare, monkeypatch):
    monkeypatch.setattr(doctor, "devices", lambda: H100)
    monkeypatch.setattr(doctor, "package_status", lambda name, pin: {"status": "ok"})
    weights = bare / "hf" / "hub" / "models--Qwen--Qwen3-1.7B-Base" / "snapshots" / "0" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    lacking = missing(paper(), PAPER["asympo_async"]["paper"], SHAPES["Qwen/Qwen3-1.7B-Base"])
    assert {entry["what"].split(":")[0] for entry in lacking} == {"data"}
    assert missing(paper(), None, SHAPES["Qwen/Qwen3-1.7B-Base"]) == []


def test_what_a_world_needs_is_asked_for(bare, monkeypatch):
    monkeypatch.setattr(doctor, "package_status", lambda name, pin: {"status": "missing"})
    shop = SimpleNamespace(world=WebShopConfig(), policy=SimpleNamespace(checkpoint=""), device="cpu")
    fixes = [entry["fix"] for entry in missing(shop)]
    assert [fix.split("'")[1] for fix in fixes] == [".", ".[train]", ".[search]", ".[webshop]"]


def test_a_model_that_does_not_fit_is_said_with_what_would(bare, monkeypatch):
    monkeypatch.setattr(doctor, "devices", lambda: H100)
    config = paper("sgpo_math", "uniform")
    (found,) = [entry for entry in missing(config, None, shape_of(config)) if "GPU memory" in entry["what"]]
    assert "beside vLLM's 40%, the largest here has 80" in found["what"] and "--tier paper-1gpu" in found["fix"]
    for name in PAPER.keys() & STUDIES.keys():
        small = STUDIES[name].cells("paper-1gpu")[0]
        assert not [entry for entry in missing(small, None, shape_of(small)) if "GPU memory" in entry["what"]]


def test_the_command_prints_a_plan(bare, capsys):
    assert main(["run", "asympo_async", "--tier", "paper", "--dry-run", "--seeds", "3"]) == 0
    text = capsys.readouterr().out
    assert "asympo_async at tier paper" in text and "21: 7 arms" in text and "? policy.system" in text
    arguments = ["run", "asympo_async", "--tier", "paper", "--arm", "spo@ref", "--dry-run", "--json"]
    assert main([*arguments, "--set", "policy.checkpoint=Qwen/Qwen3-4B-Base"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["model"]["parameters"] == SHAPES["Qwen/Qwen3-4B-Base"].parameters
    assert found["config"]["arm"].startswith("custom-spo-checkpoint=Qwen_Qwen3-4B-Base-")
    assert found["plan"]["arms"] == ["spo@ref"] and found["plan"]["runs"] == 1
    assert found["folder"].endswith(f"seed0-{found['hash']}")


def test_a_plan_counts_the_runs_that_its_command_would_make(capsys):
    for more, runs in (([], 1), (["--seed", "4"], 1), (["--seeds", "3"], 3)):
        command = ["run", "asympo_async", "--arm", "asympo@ref", "--tier", "small", "--dry-run", "--json", *more]
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["plan"]["runs"] == runs


def test_utilisations_are_shares():
    assert all(0 < share < 1 for share in estimates.UTILISATION.values())
