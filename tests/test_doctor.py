import builtins
import json
import sys

import pytest

from repro import doctor
from repro.errors import ReproError


def test_pins_are_read_from_pyproject(tmp_path):
    file = tmp_path / "pyproject.toml"
    file.write_text(
        '[project]\nname = "repro"\ndependencies = ["numpy==2.3.5"]\n'
        '[project.optional-dependencies]\ntrain = ["torch==2.13.0"]\ndev = ["repro[train]"]\n'
    )
    assert doctor.pins(file) == {"base": {"numpy": "2.3.5"}, "train": {"torch": "2.13.0"}}
    file.write_text(file.read_text().replace("torch==2.13.0", "torch>=2.11"))
    with pytest.raises(ReproError, match="'torch>=2.11' in train is not pinned"):
        doctor.pins(file)
    with pytest.raises(ReproError, match="checkout"):
        doctor.pins(tmp_path / "elsewhere.toml")


@pytest.mark.parametrize(
    ("installed", "status"),
    [
        ("2.13.0", "ok"),
        ("2.13.0+cpu", "ok"),
        ("2.13.0+cu130", "ok"),
        ("2.11.0", "untested"),
        ("2.13", "untested"),
    ],
)
def test_a_version_is_compared_without_its_build(monkeypatch, installed, status):
    monkeypatch.setattr(doctor.metadata, "version", lambda name: installed)
    assert doctor.package_status("torch", "2.13.0") == {
        "name": "torch",
        "pinned": "2.13.0",
        "installed": installed,
        "status": status,
    }


def test_a_package_that_is_not_there_is_missing():
    assert doctor.package_status("no-such-package-at-all", "1.0")["status"] == "missing"


def import_failing_with(monkeypatch, error):
    """Make `import torch` raise, as on a machine with the base dependencies alone."""
    real = builtins.__import__

    def fake(name, *args, **kwargs):
        if name == "torch":
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(builtins, "__import__", fake)


def test_devices_without_torch(monkeypatch):
    import_failing_with(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch"))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.devices() == {"torch": None, "cuda": [], "note": "torch is not installed"}
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert "NVIDIA driver" in doctor.devices()["note"]


@pytest.mark.parametrize(
    "error",
    [OSError("libcudart.so.13: cannot open"), ModuleNotFoundError("No module named 'sympy'", name="sympy")],
)
def test_a_torch_that_does_not_import_is_told_apart_from_none(monkeypatch, error):
    import_failing_with(monkeypatch, error)
    assert doctor.devices()["note"] == f"torch does not import: {error}"


def test_weights_are_found_where_the_hub_library_puts_them(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    snapshot = tmp_path / "hub" / "models--Qwen--Qwen3-8B-Base" / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert doctor.cached_models() == []  # a config without weights trains nothing
    (snapshot / "model-00001-of-00002.safetensors").write_bytes(b"")
    assert doctor.cached_models() == ["Qwen/Qwen3-8B-Base"]


def packages(*missing):
    return [
        {"extra": extra, "name": name, "status": "missing" if name in missing else "ok"}
        for extra, wanted in doctor.pins().items()
        for name in wanted
    ]


def blockers(tier, *, missing=(), cuda=(), models=()):
    found = doctor.lacking(tier, packages(*missing), list(cuda), list(models))
    return [entry["what"] for entry in found]


def test_each_tier_lacks_only_what_it_uses():
    gpu, weights = [{"name": "GPU"}], ["Qwen/Qwen3-1.7B-Base"]
    assert blockers("results", missing=("torch", "papermill", "datasets", "vllm")) == []
    assert blockers("small", missing=("torch", "transformers")) == ["torch, transformers (train)"]
    assert blockers("smoke", missing=("papermill", "numpy")) == ["numpy (base)", "papermill (notebooks)"]
    assert blockers("smoke", missing=("datasets", "trl", "vllm")) == []
    assert blockers("paper", missing=("datasets",), cuda=gpu, models=weights) == ["datasets (data)"]
    assert len(blockers("paper")) == 2  # device and weights
    for tier in ("paper", "paper-1gpu"):  # whose runs sample with vLLM, as their plans say
        assert blockers(tier, cuda=gpu, models=weights, missing=("vllm",)) == ["vllm (vllm)"]
        assert blockers(tier, cuda=gpu, models=weights) == []


def test_the_fix_installs_the_extra_that_is_named():
    (entry,) = doctor.lacking("small", packages("torch"), [], [])
    assert entry["fix"].endswith("-m pip install -e '.[train]'")
    (entry,) = doctor.lacking("results", packages("scipy"), [], [])
    assert entry["fix"].endswith("-m pip install -e '.'")
    (entry,) = doctor.lacking("paper", packages("vllm"), [{}], ["m"])
    assert entry["fix"].endswith("'.[vllm]'")


def test_the_report_is_json_and_its_text_names_every_package_and_tier():
    found = doctor.report()
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= 1 and found["memory_gib"] > 0
    text = doctor.render(found)
    assert all(p["name"] in text for p in found["packages"])
    assert all(f"\n{tier}" in text for tier in doctor.TIER_EXTRAS)


def test_the_text_marks_what_differs():
    found = doctor.report()
    found["packages"] = [
        {"extra": "train", "name": "torch", "pinned": "2.13.0", "installed": "2.11.0", "status": "untested"},
        {"extra": "train", "name": "tqdm", "pinned": "4.70.1", "installed": None, "status": "missing"},
    ]
    found["tiers"] = {"small": doctor.lacking("small", found["packages"], [], [])}
    text = doctor.render(found)
    assert "torch 2.11.0 untested, pinned is 2.13.0, tqdm missing" in text
    assert "small       not ready\n  lacks: tqdm (train)\n" in text
