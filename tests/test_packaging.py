"""pyproject.toml, environment.yml, the Makefile, CITATION.cff and the README must tell the same story."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import repro
from repro.doctor import pins

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
SUBCOMMANDS = {"studies", "run", "reproduce", "figures", "claims", "bench", "data", "doctor", "readme"}


def make_dry_run(*arguments):
    """The commands that `make` would run, without the set-up's own line."""
    # These tests may run under a `make` whose own settings would otherwise be inherited.
    ours = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "TIER", "ONLY", "SEEDS", "JOBS", "ARGS", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    command = ["make", "--no-print-directory", "-n", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    return [line for line in done.stdout.splitlines() if "bootstrap.py" not in line]


def bootstrap_constants():
    """OLDEST and NEWEST as bootstrap.py writes them."""
    for node in ast.parse((ROOT / "bootstrap.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            if [t.id for t in node.targets[0].elts] == ["OLDEST", "NEWEST"]:
                return ast.literal_eval(node.value)
    raise AssertionError("bootstrap.py has no OLDEST, NEWEST")


def test_every_requirement_is_pinned_once():
    names = [name for group in pins().values() for name in group]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for group in pins().values() for version in group.values())


def test_dev_is_everything_but_what_needs_a_gpu_a_compiler_or_a_cluster_or_only_shows():
    (requirement,) = EXTRAS["dev"]
    collected = re.fullmatch(r"repro\[(.+)\]", requirement).group(1).split(",")
    assert set(collected) == set(EXTRAS) - {"dev", "vllm", "verl", "alfworld", "ray", "track"}


def test_the_base_is_light():
    heavy = {"torch", "transformers", "papermill", "jupyterlab"}
    assert not heavy & set(pins()["base"])


def test_python_versions_agree():
    oldest, newest = bootstrap_constants()
    assert PROJECT["requires-python"] == f">=3.{oldest[1]},<3.{newest[1] + 1}"
    assert f"not {oldest} <= sys.version_info[:2] <= {newest}" in MAKEFILE
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert ruff["target-version"] == f"py3{oldest[1]}"
    assert oldest <= sys.version_info[:2] <= newest


def test_conda_gets_python_and_leaves_the_pins_to_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert set(environment) == {"name", "channels", "dependencies"}
    assert environment["name"] == PROJECT["name"]
    assert conda == ["python=3.11", "pip"]
    assert pip == {"pip": ["-e .[dev]"]}


def test_make_and_conda_install_the_same_extras():
    assert re.findall(r"bootstrap\.py(.*)", MAKEFILE.split("environment:\n")[1]) == [" dev", ""]


def test_versions_agree():
    assert PROJECT["dynamic"] == ["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == repro.__version__
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def test_the_citation_names_the_four_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["authors"]
    papers = {r["identifiers"][0]["value"]: r for r in citation["references"]}
    assert set(papers) == {"arXiv:2606.03070", "arXiv:2606.09961", "arXiv:2605.25198", "arXiv:2606.08854"}
    for identifier, paper in papers.items():
        assert paper["type"] == "article" and paper["title"] and paper["year"] == 2026
        assert identifier.removeprefix("arXiv:") in paper["url"]
        assert all(set(author) == {"given-names", "family-names"} for author in paper["authors"])


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["reproduce"], "reproduce --tier smoke"),
        (
            ["reproduce", "TIER=small", "ONLY=asympo_async", "SEEDS=5", "JOBS=2"],
            "reproduce --tier small --only asympo_async --seeds 5 --jobs 2",
        ),
        (["reproduce", "JOBS=1", "ONLY="], "reproduce --tier smoke --jobs 1"),
        (["figures"], "figures"),
        (["bench"], "bench"),
    ],
)
def test_make_passes_on_what_was_given_and_nothing_empty(arguments, command):
    (line,) = make_dry_run(*arguments)
    assert line.split() == [".venv/bin/python", "-m", "repro", *command.split()]


def test_make_test_and_check():
    (line,) = make_dry_run("test", "ARGS=-x tests/study")
    assert line == "OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile -x tests/study"
    assert make_dry_run("check")[-1] == ".venv/bin/python -m repro readme --check"


def test_make_help_names_every_target():
    told = set(re.findall(r"make ([a-z-]+)", "\n".join(make_dry_run("help"))))
    assert told == TARGETS - {"help", "environment", "environment-base"}


def test_continuous_integration_calls_the_two_commands():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert re.findall(r"^make (\w+)", script, flags=re.MULTILINE) == ["test", "reproduce"]
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


def test_vllm_is_tested_in_an_environment_of_its_own_with_the_pinned_version():
    (line,) = make_dry_run("test-vllm", "ARGS=-x", "PYTHON=python3.12")
    assert line == 'PYTHON="python3.12" .ci/test-vllm -x'
    script = ROOT / ".ci" / "test-vllm"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)
    (command,) = re.findall(r"version=\$\((.*)\)", script.read_text())
    found = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.strip() == pins()["vllm"]["vllm"]
    assert set(re.findall(r"\.\[([a-z,]+)\]", script.read_text())) == {
        "train,data,search,webshop,lora,test,vllm", "train,data,search,webshop,lora,test"
    }  # fmt: skip


def test_the_commands_the_readme_shows_exist():
    readme = (ROOT / "README.md").read_text()
    pieces = re.findall(r"```.*?\n(.*?)```|`([^`\n]+)`", readme, flags=re.DOTALL)
    code = "\n".join(block or inline for block, inline in pieces)
    targets = set(re.findall(r"\bmake ([a-z-]+)", code))
    commands = set(re.findall(r"(?:^|[\s`])repro ([a-z]+)", code))
    assert {"reproduce", "test"} <= targets <= TARGETS
    assert commands <= SUBCOMMANDS
    assert set(re.findall(r"\.\[([a-z,]+)\]", code)) <= set(EXTRAS)


def test_the_command_line_has_its_subcommands():
    done = subprocess.run([sys.executable, "-m", "repro", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = set(re.search(r"\{([a-z,]+)\}", done.stdout).group(1).split(","))
    assert listed == SUBCOMMANDS
