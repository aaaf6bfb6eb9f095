"""What this machine has, and what it lacks for which tier: `repro doctor`.

Works with the base dependencies alone. torch is imported, where it is installed, only to ask for devices.
"""

import os
import platform
import shlex
import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from repro.errors import ReproError

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
# What each tier installs beyond the base. `repro run` trains without "notebooks"; `repro reproduce` needs it.
TIER_EXTRAS = {
    "results": (),
    "smoke": ("train", "notebooks"),
    "small": ("train", "notebooks"),
    "paper": ("train", "notebooks", "data", "vllm"),
    "paper-1gpu": ("train", "notebooks", "data", "vllm"),
}
# The models of the paper tiers (`repro.study.paper_settings`); a run may name any other folder or hub id.
PAPER_MODELS = (
    "Qwen/Qwen3-0.6B-Base",
    "Qwen/Qwen3-1.7B-Base",
    "Qwen/Qwen3-8B-Base",
    "Qwen/Qwen2.5-Math-1.5B",
    "Qwen/Qwen2.5-Math-7B",
    "Qwen/Qwen2.5-1.5B-Instruct",
)


def pins(pyproject: Path = ROOT / "pyproject.toml") -> dict[str, dict[str, str]]:
    """Pinned version of every package by extra, the base first: {"base": {"numpy": "2.3.5", ...}, ...}.

    Extras that only collect others are left out. Raises ReproError when the file is not there or a
    requirement is not of the form name==version.
    """
    if not pyproject.is_file():
        raise ReproError(f"{pyproject} is missing: it holds the pins; run from a checkout of the repository.")
    project = tomllib.loads(pyproject.read_text())["project"]
    result = {}
    for extra, requirements in {"base": project["dependencies"], **project["optional-dependencies"]}.items():
        own = [r.split("==") for r in requirements if not r.startswith(f"{project['name']}[")]
        for parts in own:
            if len(parts) != 2:
                raise ReproError(f"{pyproject}: {parts[0]!r} in {extra} is not pinned; write name==version.")
        if own:
            result[extra] = dict(own)
    return result


def package_status(name: str, pinned: str) -> dict:
    """The installed version of a package; "status" is "ok", "untested" (another version) or "missing"."""
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return {"name": name, "pinned": pinned, "installed": None, "status": "missing"}
    # The local part, such as +cpu or +cu130, names the build and not the version.
    status = "ok" if installed.split("+")[0] == pinned else "untested"
    return {"name": name, "pinned": pinned, "installed": installed, "status": status}


def devices() -> dict:
    """What torch sees: {"torch": version or None, "cuda": [{"name", "memory_gib", "capability"}], "note"}."""
    driver = shutil.which("nvidia-smi") is not None
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that this build needs is not there
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            note = "torch is not installed, an NVIDIA driver is" if driver else "torch is not installed"
        else:
            note = f"torch does not import: {error}"
        return {"torch": None, "cuda": [], "note": note}
    if not torch.cuda.is_available():
        cpu_build = driver and torch.version.cuda is None
        note = "an NVIDIA driver is there, but this torch is a CPU build" if cpu_build else "no CUDA device"
        return {"torch": torch.__version__, "cuda": [], "note": note}
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    cuda = [
        {"name": p.name, "memory_gib": round(p.total_memory / GIB, 1), "capability": f"{p.major}.{p.minor}"}
        for p in found
    ]
    return {"torch": torch.__version__, "cuda": cuda, "note": f"CUDA {torch.version.cuda}"}


def cached_models() -> list[str]:
    """The PAPER_MODELS whose weights are in the Hugging Face cache."""
    return [name for name in PAPER_MODELS if cached(name)]


def cached(model: str) -> bool:
    """Whether a model's weights are in the Hugging Face cache, found by that library's own variables."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return any(hub.glob(f"models--{model.replace('/', '--')}/snapshots/*/*.safetensors"))


def lacking(tier: str, packages: list[dict], cuda: list[dict], models: list[str]) -> list[dict]:
    """What a tier lacks on this machine: [{"what", "fix"}]. What one run lacks, `repro run --dry-run` says."""
    result = []
    for extra in ("base", *TIER_EXTRAS[tier]):
        absent = [p["name"] for p in packages if p["extra"] == extra and p["status"] == "missing"]
        if absent:
            target = "." if extra == "base" else f".[{extra}]"
            fix = f"{shlex.quote(sys.executable)} -m pip install -e '{target}'"
            what = f"{', '.join(absent)} ({extra})"
            result.append({"what": what, "fix": fix})
    if tier.startswith("paper") and not cuda:
        what, fix = (
            "a CUDA device that torch sees",
            "use a machine with an NVIDIA GPU and PyPI's build of torch",
        )
        result.append({"what": what, "fix": fix})
    if tier.startswith("paper") and not models:
        what = "weights of a model of the papers"
        fix = f"hf download {PAPER_MODELS[0]}   (or name a local folder in the run's config)"
        result.append({"what": what, "fix": fix})
    return result


def report() -> dict:
    """Everything `repro doctor` prints, as plain values that json can hold; memory and disk are in GiB."""
    packages = [
        {"extra": extra, **package_status(name, pinned)}
        for extra, wanted in pins().items()
        for name, pinned in wanted.items()
    ]
    seen = devices()
    models = cached_models()
    # Affinity, not the machine's count: a container or a batch system may have lent only some of the cores.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cores": cores,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "disk_free_gib": round(shutil.disk_usage(ROOT).free / GIB, 1),
        "devices": seen,
        "models": models,
        "packages": packages,
        "tiers": {tier: lacking(tier, packages, seen["cuda"], models) for tier in TIER_EXTRAS},
    }


def render(found: dict) -> str:
    """The text of a report(): the machine, the packages by extra, then each tier with what it lacks."""
    seen = found["devices"]
    gpus = [f"{d['name']}, {d['memory_gib']} GiB, capability {d['capability']}" for d in seen["cuda"]]
    lines = [
        f"python    {found['python']} ({found['executable']})",
        f"machine   {found['platform']}, {found['cores']} cores, {found['memory_gib']} GiB memory, "
        f"{found['disk_free_gib']} GiB free disk",
        *(f"device    {gpu} ({seen['note']})" for gpu in gpus or ["CPU only"]),
        f"weights   {', '.join(found['models']) or 'no model of the papers in the Hugging Face cache'}",
        "",
    ]
    for extra in dict.fromkeys(p["extra"] for p in found["packages"]):
        shown = []
        for p in (p for p in found["packages"] if p["extra"] == extra):
            note = {"ok": "", "missing": "missing", "untested": f"untested, pinned is {p['pinned']}"}[p["status"]]
            shown.append(" ".join(filter(None, (p["name"], p["installed"], note))))
        lines.append(f"{extra:<9} {', '.join(shown)}")
    lines.append("")
    for tier, missing in found["tiers"].items():
        lines.append(f"{tier:<11} {'not ready' if missing else 'ready'}")
        for entry in missing:
            lines += [f"  lacks: {entry['what']}", f"      {entry['fix']}"]
    return "\n".join(lines)
