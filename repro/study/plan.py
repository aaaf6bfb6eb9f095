"""What a tier would take, worked out before anything starts: `repro run STUDY --tier TIER --dry-run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from repro import doctor
from repro.errors import ReproError
from repro.study.definition import Study
from repro.study.estimates import expected_work, gpu_hours, measured_work, memory, shape_of
from repro.study.paper_tier import OPEN, PaperTier
from repro.study.shapes import Shape

NAMED = 12  # arms that a plan names
WORLDS = {  # what a world needs beyond the base, by extra
    "MathsConfig": ("data",),
    "BenchmarkedMathsConfig": ("data",),
    "SearchConfig": ("search",),
    "WebShopConfig": ("search", "webshop"),
}


def plan(study: Study, tier: str, arms: list[str], seeds: int | None = None, config: Any = None) -> dict[str, Any]:
    """All that `render` shows, as plain values that json can hold.

    `config` is the run that stands for the others (default: the first arm's, seed 0); `arms` empty means the tier's.
    """
    cells = study.cells(tier, arms or None, seeds)
    config = config or cells[0]
    entry = study.paper_tier(tier)
    shape = shape_of(config)
    work = measured_work(study, tier, config) or expected_work(config, entry, shape)
    hours = gpu_hours(work, shape) if config.device != "cpu" else None
    return {
        "study": study.name,
        "tier": tier,
        "arms": sorted({cell.arm for cell in cells}, key=list(study.arms).index),
        "runs": len(cells),
        "model": {
            "name": config.policy.checkpoint or "from scratch",
            "parameters": shape and shape.parameters,
            "others": list(entry.other_models) if entry else [],
        },
        "data": list(entry.data) if entry else [],
        "hardware_of_the_paper": entry and entry.hardware,
        "work": work,
        "memory_gib": memory(config, shape) if shape else None,
        "gpu_hours": hours,
        "settings": [{"key": s.key, "value": s.value, "source": s.source} for s in entry.values()] if entry else [],
        "departures": list(entry.departures) if entry else [],
        "missing": missing(config, entry, shape),
    }


# What is missing -----------------------------------------------------------------------------------------------------


def missing(config: Any, entry: PaperTier | None = None, shape: Shape | None = None) -> list[dict[str, str]]:
    """What a run lacks on this machine: [{"what", "fix"}]. Nothing is loaded or downloaded to find out."""
    blocked = [{"what": entry.blocked, "fix": "none: this is a plan only"}] if entry and entry.blocked else []
    return [*blocked, *_packages(config), *_devices(config, shape), *_weights(config), *_data(entry)]


def check(config: Any) -> None:
    """ReproError, naming all that is missing for a run at once."""
    from repro.study import study_named

    entry = study_named(config.study).paper_tier(config.tier)
    lacking = missing(config, entry, shape_of(config))
    if lacking:
        lines = "".join(f"\n  - {entry['what']}\n      {entry['fix']}" for entry in lacking)
        raise ReproError(f"this run cannot start here, it lacks:{lines}")


def _packages(config: Any) -> list[dict[str, str]]:
    pins = doctor.pins()
    wanted = ["base", "train", *WORLDS.get(type(config.world).__name__, ())]
    wanted += ["vllm"] if getattr(config.policy, "sampler", None) else []
    wanted += ["lora"] if getattr(config.policy, "lora", None) else []
    found = []
    for extra in wanted:
        absent = [n for n, pin in pins.get(extra, {}).items() if doctor.package_status(n, pin)["status"] == "missing"]
        if absent:
            place = "." if extra == "base" else f".[{extra}]"
            found.append({"what": f"packages: {', '.join(absent)}", "fix": f"pip install -e '{place}'"})
    return found


def _devices(config: Any, shape: Shape | None) -> list[dict[str, str]]:
    if config.device == "cpu":
        return []
    seen = doctor.devices()
    if not seen["cuda"]:
        return [{"what": f"a GPU: {seen['note']}", "fix": "use a machine with an NVIDIA GPU and PyPI's build of torch"}]
    if shape is None:
        return []
    needed, largest = memory(config, shape), max(gpu["memory_gib"] for gpu in seen["cuda"])
    if needed["least"] <= largest * (1 - needed["engine_share"]):
        return []
    beside = f" beside vLLM's {needed['engine_share']:.0%}" if needed["engine_share"] else ""
    what = f"GPU memory: {needed['least']:.0f} GiB at least on one GPU{beside}, the largest here has {largest:.0f}"
    fix = "--tier paper-1gpu, a smaller model (--set policy.checkpoint=...), or adapters (policy.lora)"
    return [{"what": what, "fix": fix}]


def _weights(config: Any) -> list[dict[str, str]]:
    source = config.policy.checkpoint
    if not source or Path(source).is_dir() or doctor.cached(source):
        return []
    what = f"weights: {source} is no folder and not in the Hugging Face cache"
    return [{"what": what, "fix": f"hf download {source}   (HF_HOME says where to; or name a folder)"}]


def _data(entry: PaperTier | None) -> list[dict[str, str]]:
    from repro.study import dataset_checks

    reports = [dataset_checks.check(name) for name in (entry.data if entry else ())]
    return [
        {"what": f"data: {report.name} is {report.status} in {report.folder}", "fix": report.advice}
        for report in reports
        if report.status != "whole"
    ]


# Text ----------------------------------------------------------------------------------------------------------------


def render(found: dict[str, Any]) -> str:
    """The text of a plan."""
    model, work = found["model"], found["work"]
    more = ", ..." if len(found["arms"]) > NAMED else ""
    size = f"{model['parameters']:,} parameters" if model["parameters"] else "shape unknown until it is downloaded"
    rows = [
        ("runs", f"{found['runs']}: {_count(found['arms'], 'arm')} ({', '.join(found['arms'][:NAMED])}{more})"),
        ("model", f"{model['name']}, {size}"),
        (
            "",
            f"the paper also has {', '.join(model['others'])} (--set policy.checkpoint=...)" if model["others"] else "",
        ),
        ("data", f"{', '.join(found['data'])} (`repro data list`)" if found["data"] else ""),
        ("a run", _work(work) if work else "ended by its budget; no committed run to go by"),
        ("", f"lengths and counts: {work['from']}" if work else ""),
        ("memory", _memory(found["memory_gib"]) if found["memory_gib"] else "unknown"),
        ("time", _time(found)),
        ("hardware", f"the paper's: {found['hardware_of_the_paper']}" if found["hardware_of_the_paper"] else ""),
    ]
    lines = [f"{found['study']} at tier {found['tier']}"]
    lines += [f"  {head:12}{text}" for head, text in rows if text]
    if found["settings"]:
        lines += ["", "settings, and where they stand in the paper ('open': it does not say)"]
        keys = max(len(entry["key"]) for entry in found["settings"])
        for entry in found["settings"]:
            mark = "?" if entry["source"].startswith(OPEN) else " "
            lines.append(f" {mark} {entry['key']:{keys}} = {entry['value']!r}    {entry['source']}")
    if found["departures"]:
        lines += ["", "departures from the paper", *(f"  - {text}" for text in found["departures"])]
    lines += ["", "missing here:" if found["missing"] else "nothing is missing here"]
    lines += [line for entry in found["missing"] for line in (f"  - {entry['what']}", f"      {entry['fix']}")]
    return "\n".join(lines)


def _count(things: list[str], name: str) -> str:
    return f"{len(things)} {name}" + ("s" if len(things) != 1 else "")


def _work(work: dict[str, Any]) -> str:
    most = "at most " if work["bound"] else ""
    if "prompts" not in work:
        return (
            f"{work['updates']:,.0f} updates, {work['rollouts']:,.0f} rollouts, "
            f"{work['generated_tokens']:,.0f} tokens sampled, {_flop(work['flops'])}"
        )
    if work["updates"] is None:
        text = f"a budget of {work['generations']:,} generations"
    else:
        turns = f" of up to {work['turns']} turns" if work["turns"] > 1 else ""
        text = f"{most}{work['updates']:,} updates of {work['prompts']} x {work['group_size']} rollouts{turns}: "
        text += f"{work['generations'] // work['turns']:,} rollouts"
    text += (
        f"; {work['generated_tokens'] / 1e6:,.1f} M tokens sampled (at their longest {work['longest'] / 1e6:,.1f} M)"
    )
    text += f"; {work['profile_rollouts']:,} rollouts for profiles" if work["profile_rollouts"] else ""
    text += f"; {work['evaluation_rollouts']:,} for the last evaluation" if work["evaluation_rollouts"] else ""
    if "sampling_flops" in work:
        both = work["sampling_flops"], work["training_flops"]
        text += f"; {_flop(both[0])} for sampling, {_flop(both[1])} for training"
    return text


def _flop(count: float) -> str:
    scale, unit = next(((s, u) for s, u in ((1e18, "EFLOP"), (1e15, "PFLOP")) if count >= s), (1e12, "TFLOP"))
    return f"{count / scale:,.3g} {unit}"


def _memory(gib: dict[str, float]) -> str:
    engine = f"; vLLM takes {gib['engine_share']:.0%} of the GPU beside it" if gib["engine_share"] else ""
    return (
        f"{gib['least']:,.3g} GiB at least on one device{engine}; weights {gib['weights']:,.3g}, optimiser "
        f"{gib['optimiser']:,.3g}, activations {gib['activations']:,.3g} for the parts of an update, key-value cache "
        f"{gib['cache']:,.3g} if all {gib['sequences']} sequences were alive at full length"
    )


def _time(found: dict[str, Any]) -> str:
    work, hours = found["work"], found["gpu_hours"]
    if work and "seconds" in work:
        cores = found["runs"] * work["seconds"] / 3600
        return (
            f"{work['seconds']:,.0f} s a run on the machine of the committed runs; {cores:,.1f} h for all, one by one"
        )
    if not hours:
        return "unknown: no committed run has these settings"
    told = "; ".join(f"{kind} at {entry['from']}" for kind, entry in hours["rates"].items())
    total = hours["a_run"] * found["runs"]
    return f"estimate: {hours['a_run']:,.3g} GPU-hours a run, {total:,.3g} for all ({told}); not a measurement"
