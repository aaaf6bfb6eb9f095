"""Without verl, or with another version of it, the message says what to install."""

import importlib.util
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from repro.errors import ReproError

INIT = Path(__file__).parents[2] / "repro" / "verl" / "__init__.py"


@pytest.fixture
def forgotten(monkeypatch):
    """As if repro.verl had not been imported."""
    for name in [name for name in sys.modules if name.split(".")[:2] == ["repro", "verl"]]:
        monkeypatch.delitem(sys.modules, name)


def test_without_verl(monkeypatch, forgotten):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ReproError, match=r"needs verl 0\.9\.1, which is not installed: pip install '\.\[verl\]'"):
        importlib.import_module("repro.verl")


def test_with_another_version(monkeypatch, forgotten):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(metadata, "version", lambda name: "0.4.1")
    with pytest.raises(ReproError, match=r"tested with verl 0\.9\.1 and found 0\.4\.1"):
        importlib.import_module("repro.verl")


def test_the_extra_pins_the_version_that_is_asked_for():
    extras = tomllib.loads((INIT.parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pinned = next(re.fullmatch(r"verl\[.*\]==(.+)", line) for line in extras["verl"] if line.startswith("verl"))
    assert f'VERSION = "{pinned[1]}"' in INIT.read_text()
