"""What numbers were measured on; importable without torch."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
from pathlib import Path
from typing import Any


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version(package: str) -> str:
    return importlib.metadata.version(package)


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the numbers were measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    packages = [p for p in ("torch", "transformers", "trl") if importlib.util.find_spec(p)]
    return {
        "cores": cores(),
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "gpu": None if device == "cpu" else _gpu(device),
        "python": platform.python_version(),
    } | {p: version(p) for p in packages}


def _gpu(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device)
