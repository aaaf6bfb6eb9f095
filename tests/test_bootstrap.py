"""The set-up, with a stand-in for the environment's interpreter that records what it is asked to do."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# It becomes .venv/bin/python. Every call is noted with the uv setting it sees; files called `fail-uv` and the
# like make the calls of that program fail.
STAND_IN = """#!/bin/sh
here=$(dirname "$0")
echo "$* | $UV_FIND_LINKS" >> "$CALLS"
case "$*" in
  *"config get global.find-links") echo /some/wheels; exit 0 ;;
  *"config get"*) exit 1 ;;
  "-m uv --version") [ ! -e "$FAILURES/no-uv" ]; exit ;;
  *"install --force-reinstall uv") rm "$FAILURES/no-uv" && [ ! -e "$FAILURES/fail-fetching-uv" ]; exit ;;
  "-m uv pip install"*) [ ! -e "$FAILURES/fail-uv" ]; exit ;;
  "-m pip install"*) [ ! -e "$FAILURES/fail-pip" ]; exit ;;
esac
exit 0
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder, with a space in its path, that holds bootstrap.py, pyproject.toml and the stand-in."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(ROOT / "bootstrap.py", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (tmp_path / "stand-in").write_text(STAND_IN)
    (tmp_path / "stand-in").chmod(0o755)
    return folder


def set_up(checkout, *extras):
    """(exit status, printed text, the stand-in's calls) of one `bootstrap.py`, with no venv module."""
    calls = checkout.parent / "calls"
    calls.write_text("")
    # subprocess.run of `PYTHON -m venv FOLDER` is the one thing replaced in the code under test.
    driver = (
        "import pathlib, shutil, subprocess, sys; import bootstrap as b; real = subprocess.run\n"
        "def run(command, **kwargs):\n"
        "    if command[1:3] == ['-m', 'venv']:\n"
        "        b.PYTHON.parent.mkdir(); shutil.copy(b.ROOT.parent / 'stand-in', b.PYTHON); return\n"
        "    return real(command, **kwargs)\n"
        "subprocess.run = run; b.set_up(set(sys.argv[1:]))"
    )
    environment = {**os.environ, "CALLS": str(calls), "FAILURES": str(checkout.parent)}
    environment.pop("UV_FIND_LINKS", None)
    done = subprocess.run(
        [sys.executable, "-c", driver, *extras], cwd=checkout, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()


def installs(calls):
    return [call.split(" | ")[0] for call in calls if "install" in call and not call.startswith("-m uv --")]


def uv_line(checkout, target, again=""):
    return f"-m uv pip install --quiet --python {checkout}/.venv/bin/python{again} -e {checkout}{target}"


def test_a_second_call_does_nothing(checkout):
    status, text, calls = set_up(checkout, "train", "test")
    assert status == 0 and "Setting up .venv (test, train)" in text
    assert installs(calls) == [uv_line(checkout, "[test,train]")]
    assert set_up(checkout, "train") == (0, "", [])
    assert set_up(checkout) == (0, "", [])


def test_extras_add_up(checkout):
    set_up(checkout)
    _, _, calls = set_up(checkout, "train")
    assert installs(calls) == [uv_line(checkout, "[train]")]
    _, _, calls = set_up(checkout, "test")
    assert installs(calls) == [uv_line(checkout, "[test,train]")]


def test_a_changed_pin_installs_again(checkout):
    set_up(checkout, "train")
    file = checkout / "pyproject.toml"
    file.touch()
    assert set_up(checkout)[2] == []  # content counts, not the time of writing
    file.write_text(file.read_text() + "\n# another pin\n")
    assert installs(set_up(checkout)[2]) == [uv_line(checkout, "[train]")]


def test_a_moved_checkout_installs_again(checkout):
    set_up(checkout)
    moved = checkout.rename(checkout.parent / "elsewhere")
    assert installs(set_up(moved)[2]) == [uv_line(moved, "")]


def test_an_install_that_was_interrupted_starts_over(checkout):
    set_up(checkout, "train")
    (checkout / ".venv" / "unfinished").write_text("packages")
    assert installs(set_up(checkout, "train")[2]) == [uv_line(checkout, "[train]", again=" --reinstall")]
    assert set_up(checkout, "train") == (0, "", [])


def test_a_venv_that_was_interrupted_is_made_anew(checkout):
    venv = checkout / ".venv"
    venv.mkdir()
    (venv / "unfinished").write_text("venv")
    (venv / "half").write_text("")
    status, _, calls = set_up(checkout)
    assert status == 0 and not (venv / "half").exists()
    assert installs(calls) == [uv_line(checkout, "")]  # nothing to reinstall in a new environment
    assert [p.name for p in checkout.glob(".venv*")] == [".venv"]


def test_an_environment_that_works_is_kept(checkout):
    set_up(checkout)
    mine = checkout / ".venv" / "mine"
    mine.write_text("")
    (checkout / ".venv" / "installed.json").unlink()
    assert set_up(checkout, "train")[0] == 0
    assert mine.exists()


def test_pip_settings_reach_uv(checkout):
    _, _, calls = set_up(checkout)
    assert [c.split(" | ")[1] for c in calls if c.startswith("-m uv pip install")] == ["/some/wheels"]


def test_uv_is_fetched_when_it_is_not_there(checkout):
    (checkout.parent / "no-uv").write_text("")
    assert installs(set_up(checkout)[2]) == ["-m pip install --force-reinstall uv", uv_line(checkout, "")]


@pytest.mark.parametrize("failures", [["fail-uv"], ["no-uv", "fail-fetching-uv"]])
def test_pip_installs_when_uv_cannot(checkout, failures):
    for name in failures:
        (checkout.parent / name).write_text("")
    status, text, calls = set_up(checkout, "test")
    assert status == 0 and "trying pip" in text
    assert installs(calls)[-1] == f"-m pip install --quiet -e {checkout}[test]"


def test_a_failed_install_is_said_and_tried_again(checkout):
    for name in ("fail-uv", "fail-pip"):
        (checkout.parent / name).write_text("")
    status, text, _ = set_up(checkout)
    assert status == 1 and "could not be installed" in text and "Traceback" not in text
    (checkout.parent / "fail-uv").unlink()
    assert installs(set_up(checkout)[2]) == [uv_line(checkout, "", again=" --reinstall")]


def test_an_unknown_extra_is_refused(checkout):
    status, text, calls = set_up(checkout, "trian")
    assert (status, calls) == (1, [])
    assert text.startswith("Unknown extra trian: pyproject.toml has train, notebooks,")


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 14, 0)])
def test_an_interpreter_out_of_range_is_refused(checkout, version):
    driver = f"import sys; sys.version_info = {version}; import bootstrap; bootstrap.set_up(set())"
    done = subprocess.run([sys.executable, "-c", driver], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"needs Python 3.11 to 3.13, but {sys.executable} is Python 3.{version[1]}." in done.stderr
    assert not (checkout / ".venv").exists()


def test_two_at_once_set_up_once(checkout):
    driver = (
        "import bootstrap as b, json, time\n"
        "def install(extras, again): open('installs', 'a').write('x'); time.sleep(0.3)\n"
        "def make_venv(): b.PYTHON.parent.mkdir(parents=True); b.PYTHON.write_text('')\n"
        "b.install, b.make_venv, b.check_interpreter = install, make_venv, lambda extras: None\n"
        "b.set_up({'dev'})"
    )
    both = [subprocess.Popen([sys.executable, "-c", driver], cwd=checkout) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (checkout / "installs").read_text() == "x"
    assert json.loads((checkout / ".venv" / "installed.json").read_text())["extras"] == ["dev"]
