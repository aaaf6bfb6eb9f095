"""The `repro` command: its listings are data, bad input is one line on stderr and status 2."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repro import cli
from repro.cli import main
from repro.config import config_hash, from_dict
from repro.study import STUDIES, explore, runs
from repro.study.runs import read_metrics
from repro.training.config import RunConfig

RUN = ["run", "asympo_async", "--arm", "naive@lag0"]
# As few and as small steps as a run can have.
BRIEF = [
    "warmstart.steps=2", "warmstart.flat_steps=1", "warmstart.noisy_steps=1", "warmstart.batch=2", "training.updates=2",
    "recipe.allocation.prompts=2", "recipe.allocation.group_size=2", "evaluation.queries=1",
    "evaluation.final_queries=1", "evaluation.final_samples=1", "evaluation.samples=1",
]  # fmt: skip


def with_settings(*settings):
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    return tmp_path


def output(capsys, arguments):
    assert main(arguments) == 0
    return capsys.readouterr().out


def refusal(capsys, arguments):
    """What a command that fails says: one line on stderr (beside a progress bar), nothing on stdout."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    lines = [line for line in re.split("[\r\n]", err) if line.strip() and "update/s]" not in line]
    assert out == "" and len(lines) == 1 and lines[0].startswith("repro: ")
    return lines[0]


def test_studies_as_json(capsys):
    listing = json.loads(output(capsys, ["studies", "--json"]))
    assert [entry["name"] for entry in listing] == list(STUDIES)
    for entry in listing:
        assert set(entry) == {"name", "paper", "title", "tiers", "notebook", "arms"}
        assert set(entry["arms"]) == {"core", "extended"}
        arms = entry["arms"]["core"] + entry["arms"]["extended"]
        assert sorted(arms) == sorted(STUDIES[entry["name"]].arms) and len(arms) == len(set(arms))
        assert entry["notebook"].startswith("notebooks/") and entry["notebook"].endswith(".ipynb")
        assert entry["tiers"] and entry["arms"]["core"]


def test_studies_as_text_name_every_arm(capsys):
    text = output(capsys, ["studies"])
    for study in STUDIES.values():
        assert study.title in text
        assert all(f"    {arm} " in text for arm in study.arms)


def test_a_dry_run_prints_the_config_and_does_nothing(capsys, data):
    shown = json.loads(
        output(
            capsys,
            [*RUN, "--seed", "3", "--dry-run", "--json"] + with_settings("training.updates=7", "world.style=english"),
        )
    )
    config = from_dict(RunConfig, shown["config"])
    arm = "custom-naive-style=english,updates=7@lag0"
    assert (config.study, config.arm, config.tier, config.seed) == ("asympo_async", arm, "smoke", 3)
    assert config.training.updates == 7 and config.world.style == "english"
    assert shown["hash"] == config_hash(config)
    folder = data / "runs" / "asympo_async" / "smoke" / arm / f"seed3-{shown['hash']}"
    assert Path(shown["folder"]) == folder and not folder.exists()
    plain = json.loads(output(capsys, [*RUN, "--seed", "3", "--dry-run", "--json"]))
    assert plain["hash"] != shown["hash"]
    assert from_dict(RunConfig, plain["config"]) == STUDIES["asympo_async"].config("naive@lag0", 3, "smoke")


def test_a_run_from_the_shell_and_once_more(capsys):
    arguments = [*RUN, *with_settings(*BRIEF)]
    first = output(capsys, arguments)
    result = json.loads(first)
    assert result["status"] == "finished" and result["updates"] == 2
    assert [r["update"] for r in read_metrics(result["folder"]) if r["kind"] == "update"] == [1, 2]
    assert json.loads(output(capsys, arguments)) == result  # it was over


def test_runs_with_changed_settings_are_what_the_explorer_finds(capsys, data):
    assert main([*RUN, *with_settings(*BRIEF)]) == 0
    out, err = capsys.readouterr()
    folder = Path(json.loads(out)["folder"])
    assert folder.parent.name.startswith("custom-naive-") and folder.parent.name.endswith("@lag0")
    assert f"results: {folder.parent.name} (compare in notebooks/explore.ipynb)" in err
    study = STUDIES["asympo_async"]
    found = explore.gather(study, "smoke")
    assert explore.arms(found) == [folder.parent.name] and len(found.curves[found.curves["update"] > 0]) == 2
    assert runs.run_folder(explore.custom(study, "naive@lag0", 0, "smoke", BRIEF)) == folder  # as the panel would


def test_a_setting_that_changes_nothing_is_the_arm_itself(capsys):
    same = STUDIES["asympo_async"].config("naive@lag0", 0, "smoke").training.updates
    plain = json.loads(output(capsys, [*RUN, "--dry-run", "--json"]))
    assert json.loads(output(capsys, [*RUN, "--dry-run", "--json", "--set", f"training.updates={same}"])) == plain
    assert plain["config"]["arm"] == "naive@lag0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "asympo", "--arm", "naive@lag0"], "asympo_async"),
        (["run", "asympo_async", "--arm", "naive"], "study 'asympo_async' has no arm 'naive'; it has: naive@ref"),
        ([*RUN, "--tier", "huge"], "study 'asympo_async' has no tier 'huge'; it has: smoke, small, paper, paper-1gpu"),
        ([*RUN, "--tier", "paper"], "has no arm 'naive@lag0' at tier paper; it has: naive@ref, gpg@ref"),
        (["run", "asympo_async"], "say which arm with --arm; study 'asympo_async' has: naive@ref"),
        ([*RUN, "--seed", "-1"], "seed -1 is not a whole number of 0 or more"),
        ([*RUN, "--set", "training.updates"], "--set 'training.updates': write it as key=value"),
        ([*RUN, "--set", "training.update=3"], "TrainingConfig has no field 'update' (fields: updates, learning_rate"),
        ([*RUN, "--set", "training.updates=ten"], "training.updates: 'ten' is not of type int"),
        ([*RUN, "--set", "training.updates=1.5"], "training.updates: 1.5 is not of type int"),
        ([*RUN, "--set", "training.updates=true"], "training.updates: True is not of type int"),
        ([*RUN, "--set", "training.learning_rate=NaN"], "training.learning_rate: nan is not a finite number"),
        ([*RUN, "--set", "recipe.objective.p_low=2"], "Naive.p_low is 2.0; choose one in (0, 1)"),
        ([*RUN, "--set", "recipe.credit.scale=variance"], "GroupCredit.scale is 'variance'; choose 'none', 'std' or"),
        ([*RUN, "--set", "world.names=3"], "world.names is 3"),
        ([*RUN, "--set", "policy.checkpoint=/no/such/folder"], "policy.checkpoint: '/no/such/folder' could not be"),
        ([*RUN, "--set", "seed=3"], "study, arm, tier and seed are chosen, not changed"),
        ([*RUN, "--set", "device=abacus"], "device='abacus': torch cannot use it"),
        (["reproduce", "--only", "asympo"], "asympo_async"),
        (["reproduce", "--executor", "slurm"], "there is no executor 'slurm'; there are: local, ray"),
        (["reproduce", "--jobs", "0"], "jobs=0: give a whole number of 1 or more"),
    ],
)
def test_bad_input_is_one_line_and_status_2(capsys, arguments, message):
    assert message in refusal(capsys, arguments)


def test_a_data_folder_that_cannot_be_written(capsys, data, monkeypatch):
    (data / "file").write_text("")
    monkeypatch.setenv("REPRO_DATA", str(data / "file"))
    assert "set REPRO_DATA to a folder that can be written" in refusal(capsys, [*RUN, *with_settings(*BRIEF)])


@pytest.mark.parametrize("arguments", [[], ["train"], ["run"], [*RUN, "--seed", "one"], ["studies", "x"]])
def test_a_command_that_cannot_be_read_is_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: repro" in capsys.readouterr().err


def test_a_failed_notebook_is_told_before_anything_is_drawn(capsys, monkeypatch):
    from repro.study import notebooks

    failure = notebooks.Failure(3, "run()", "ValueError: the real cause")
    failed = notebooks.Execution(Path("sgpo_math.ipynb"), Path("out.ipynb"), Path("out.log"), 1.0, failure)
    monkeypatch.setattr(notebooks, "reproduce", lambda *_, **__: notebooks.Report((failed,)))
    monkeypatch.setattr("repro.figures.regenerate", lambda *_, **__: pytest.fail("drawn"))
    assert main(["reproduce", "--only", "sgpo_math"]) == 1
    out = capsys.readouterr().out
    assert "the real cause" in out and "figures and ledger are as they were" in out


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "studies", interrupted)
    assert main(["studies"]) == 130
    assert capsys.readouterr().err == "repro: interrupted; the same command goes on from the last checkpoint\n"


def test_doctor(capsys):
    found = json.loads(output(capsys, ["doctor", "--json"]))
    assert {"python", "devices", "packages", "tiers"} <= set(found) and found["devices"]["torch"]
    assert found["python"] in output(capsys, ["doctor"])


def test_as_a_process_and_without_torch(data):
    """A listing must not wait for torch to load; the exit status is that of `main`."""
    code = "import sys; from repro.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    listing = subprocess.run([sys.executable, "-c", code, "studies", "--json"], capture_output=True, text=True)
    assert listing.returncode == 0 and json.loads(listing.stdout)
    bad = [sys.executable, "-m", "repro", "run", "nothing", "--arm", "x"]
    failed = subprocess.run(bad, capture_output=True, text=True)
    assert failed.returncode == 2 and not failed.stdout
    assert failed.stderr == f"repro: there is no study 'nothing'; there are: {', '.join(STUDIES)}\n"
