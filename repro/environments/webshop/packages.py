"""The libraries that only a shop needs, imported when one is opened: the worlds' configs load without them."""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from types import ModuleType

from repro.errors import ReproError


@lru_cache
def package(name: str) -> ModuleType:
    """A module of the extra `webshop`. ReproError where it is not installed."""
    if not importlib.util.find_spec(name.partition(".")[0]):
        raise ReproError(f"WebShop searches and compares texts with {name.partition('.')[0]}: pip install '.[webshop]'")
    return importlib.import_module(name)
