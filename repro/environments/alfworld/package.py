"""What the installed `alfworld` package ships, read from its files: rules of play, floor plans, goal templates.

The package is an optional extra. Nothing here imports it as a whole, because that would create a data folder and pull
in TextWorld; the two modules of constants that are needed stand alone and are loaded by themselves.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from repro.errors import ReproError

INSTALL = 'pip install "repro[alfworld]"'


def folder() -> Path | None:
    """Where the package is installed, or None."""
    spec = importlib.util.find_spec("alfworld")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def path(name: str) -> Path:
    """A file of the package, e.g. `data/alfred.pddl`. Raises ReproError where the package or the file is missing."""
    root = folder()
    if root is None:
        raise ReproError(f"this needs the alfworld package ({name} of it): {INSTALL}")
    if not (root / name).exists():
        raise ReproError(f"the alfworld package in {root} has no {name}; this project knows version 0.4.2: {INSTALL}")
    return root / name


@cache
def domain_text() -> str:
    """The PDDL domain that TextWorld plays by."""
    return path("data/alfred.pddl").read_text(encoding="utf-8")


@cache
def grammar_text() -> str:
    """The grammar of every text, with UNKNOWN GOAL where the task's sentence belongs."""
    return path("data/alfred.twl2").read_text(encoding="utf-8")


@cache
def constants() -> ModuleType:
    """ALFRED's constants: what may contain what, what can be heated, which floor plans are for training."""
    return _module("gen/constants.py")


@cache
def goal_library() -> ModuleType:
    """ALFRED's goal templates."""
    return _module("gen/goal_library.py")


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"alfworld_{Path(name).stem}", path(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
