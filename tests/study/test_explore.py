"""Custom runs: their names and configs, that they stay out of the committed tables, and the explorer's widgets."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from repro.config import config_hash
from repro.errors import ReproError
from repro.figures import style
from repro.study import STUDIES, explore, runs, summary, tables
from repro.study.panel import Explorer

STUDY = STUDIES["asympo_async"]
RATE = ["training.learning_rate=0.001"]


def play(config, folder, progress=None, reward=0.2, updates=30):
    """A finished run with made-up numbers: reward + 0.01 a seed throughout, held-out success twice that at the end."""
    with runs.open_run(config, folder) as run:
        if run.finished:
            return run.finished
        run.log.rewind(None)
        value = reward + 0.01 * config.seed
        for update in range(1, updates + 1):
            costs = {"rollouts": 64, "flops": 1e6, "generated_tokens": 100, "trained_tokens": 90}
            run.log.append({"kind": "update", "update": update, "reward": value, "loss": 0.0, "lag": 15.5, **costs,
                            "seconds_generate": 0.5, "seconds_update": 0.25})  # fmt: skip
            if progress:
                progress({"update": update, "updates": updates})
        for update, level, mean in (
            (0, "easy", 0.1),
            (0, "hard", 0.3),
            (updates, "easy", value),
            (updates, "hard", 3 * value),
        ):
            run.log.append({"kind": "eval", "update": update, "level": level, "queries": 8, "samples": 8,
                            "mean_at_k": mean, "pass_at_k": min(1.0, 2 * mean), "seconds": 0.1})  # fmt: skip
        return run.finish({"status": "finished", "updates": updates, "seconds": 10.0})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Tables of two arms with three seeds at smoke: SPO at 0.2, ASymPO at 0.3, and naive with one seed at 0.1."""
    root = tmp_path_factory.mktemp("data")
    for arm, reward, seeds in (("naive@ref", 0.1, 1), ("spo@ref", 0.2, 3), ("asympo@ref", 0.3, 3)):
        for seed in range(seeds):
            config = STUDY.config(arm, seed, "smoke")
            play(config, runs.run_folder(config, root), reward=reward)
    tables.build(STUDY, "smoke", root)
    return root


def test_knobs_are_the_settings_that_can_be_changed():
    config = STUDY.config("spo@ref", 0, "small")
    found = explore.knobs(config)
    assert found["training.learning_rate"] == config.training.learning_rate and found["recipe.objective.alpha"] == 0.2
    assert found["schedule.low"] == 8 and found["device"] == "cpu"
    assert not {"arm", "seed", "study", "tier"} & found.keys()


def test_custom_config_differs_in_its_changes_and_its_name_alone():
    base, custom = STUDY.config("spo@ref", 4, "smoke"), explore.custom(STUDY, "spo@ref", 4, "smoke", RATE)
    before, after = explore.knobs(base), explore.knobs(custom)
    assert {name for name in before if before[name] != after[name]} == {"training.learning_rate"}
    assert custom.arm == "custom-spo-learning_rate=0.001@ref" and custom.arm not in STUDY.arms
    assert (custom.seed, custom.tier, custom.study) == (4, "smoke", STUDY.name)
    assert config_hash(custom) != config_hash(base)


def test_custom_names_are_safe_and_tell_runs_apart():
    def name(*changes):
        return explore.custom(STUDY, "spo@ref", 0, "smoke", changes).arm

    assert name("training.clip_norm=2") == "custom-spo-training.clip_norm=2.0@ref"  # the warm start has one too
    assert name("recipe.objective.alpha=0.5", "schedule.high=9") == "custom-spo-alpha=0.5,high=9@ref"
    checkpoint = name("policy.kind=CheckpointConfig", "policy.checkpoint=a", "policy.template=plain")
    assert checkpoint.startswith("custom-spo-policy=CheckpointConfig,checkpoint=a,") and "template=plain" in checkpoint
    odd = {name(f'policy.checkpoint="{text}"') for text in ("a/b", "a b", "../../a", "x" * 300, "x" * 301)}
    assert len(odd) == 5 and all("/" not in arm and " " not in arm and len(arm) < 200 for arm in odd)


@pytest.mark.parametrize(
    "arm, changes, message",
    [
        ("spo@ref", [], "nothing is changed"),
        ("spo@ref", ["recipe.objective.alpha=0.2"], "nothing is changed"),
        ("spo@ref", ["seed=3"], "chosen, not changed"),
        ("spo@ref", ["training.rate=1"], "unknown setting 'training.rate'"),
        ("spo@ref", ["training.updates=many"], "'many' is not of type int"),
        ("spo@ref", ["training.updates"], "key=value"),
        ("none@ref", RATE, "has no arm 'none@ref'"),
    ],
)
def test_changes_that_do_not_fit(arm, changes, message):
    with pytest.raises(ReproError, match=message):
        explore.custom(STUDY, arm, 0, "smoke", changes)


def test_custom_runs_are_seen_beside_the_tables_and_never_enter_them(root):
    custom = explore.custom(STUDY, "spo@ref", 0, "smoke", ["training.temperature=0.5"])
    play(custom, runs.run_folder(custom, root), reward=0.6)
    unfinished = runs.run_folder(explore.custom(STUDY, "spo@ref", 1, "smoke", RATE), root)
    unfinished.mkdir(parents=True)
    before = tables.results_folder(STUDY.name, "smoke", root).joinpath("runs.parquet").read_bytes()
    found = explore.gather(STUDY, "smoke", root)
    assert explore.arms(found) == ["naive@ref", "spo@ref", "asympo@ref", "custom-spo-temperature=0.5@ref"]
    assert tables.build(STUDY, "smoke", root) == []
    assert tables.results_folder(STUDY.name, "smoke", root).joinpath("runs.parquet").read_bytes() == before


def test_of_two_definitions_of_an_arm_the_last_run_counts(tmp_path):
    """The name holds the change alone: the same name may lie there from before a study's own settings changed."""
    for changes, reward in ((RATE, 0.2), ([*RATE, "training.temperature=0.5"], 0.8)):
        config = replace(explore.custom(STUDY, "spo@ref", 0, "smoke", changes), arm="custom-spo-x@ref")
        play(config, runs.run_folder(config, tmp_path), reward=reward)
        for number, file in enumerate(sorted(tmp_path.rglob("result.json"), key=lambda file: file.stat().st_mtime_ns)):
            os.utime(file, (number, number))
    found = explore.gather(STUDY, "smoke", tmp_path)
    assert len(found.runs) == 1 and found.runs["mean_at_k"].item() == pytest.approx(1.6)
    assert found.curves["reward"].dropna().unique() == pytest.approx([0.8])


def test_held_out_success_is_a_curve_with_a_start(root):
    curves = explore.gather(STUDY, "smoke", root).curves
    curve = curves[(curves["arm"] == "spo@ref") & (curves["seed"] == 1)].set_index("update")
    known = curve["heldout_mean_at_k"].dropna()
    assert known.to_dict() == {0: pytest.approx(0.2), 30: pytest.approx(2 * 0.21)}  # means over two levels
    assert curve.loc[0, ["rollouts", "flops", "seconds_generate"]].tolist() == [0, 0, 0]
    assert curve["reward"].notna().sum() == 30


def test_compare_by_hand(root):
    found = explore.gather(STUDY, "smoke", root)
    table = explore.compare(found, ["spo@ref", "asympo@ref", "naive@ref"], "reward").set_index("arm")
    # Rewards 0.20, 0.21, 0.22: mean 0.21, deviation 0.01; t(2, 0.975) = 4.3027, so half a width of 0.024842.
    assert table.loc["spo@ref", ["seeds", "mean", "low", "high"]].tolist() == pytest.approx(
        [3, 0.21, 0.21 - 0.024842, 0.21 + 0.024842], abs=1e-6
    )
    # Pairs differ by 0.1 exactly.
    assert table.loc[
        "asympo@ref", ["difference", "difference_low", "difference_high", "pairs"]
    ].tolist() == pytest.approx([0.1, 0.1, 0.1, 3], abs=1e-6)
    assert table.loc["naive@ref", "pairs"] == 1 and table.loc["naive@ref", "difference"] == pytest.approx(-0.1)
    held_out = explore.compare(found, ["spo@ref"], "heldout_mean_at_k", seeds=[0, 2])
    assert held_out["mean"].tolist() == pytest.approx([2 * 0.21]) and held_out["seeds"].tolist() == [2]
    with pytest.raises(ReproError, match="no value of 'reward' in the chosen seeds of 'naive@ref'"):
        explore.compare(found, ["spo@ref", "naive@ref"], "reward", seeds=[1])


def test_nothing_to_explore(tmp_path):
    with pytest.raises(ReproError, match="make reproduce TIER=small"):
        explore.gather(STUDY, "small", tmp_path)


def test_explorer_redraws_runs_and_shows(root, monkeypatch):
    monkeypatch.setattr(
        explore, "run", lambda config, root, progress: play(config, runs.run_folder(config, root), progress)
    )
    panel = Explorer(STUDY.name, "smoke", ["spo@ref", "asympo@ref"], root=root)
    drawn = bytes(panel.picture.value)
    assert drawn.startswith(b"\x89PNG") and "0.21 [0.185, 0.235]" in panel.numbers.value
    panel.x.value = "seconds"
    assert bytes(panel.picture.value) != drawn and not panel.remark.value
    panel.arms.value = ()
    assert "choose at least one arm" in panel.remark.value
    panel.arms.value = ("spo@ref",)
    panel.base.value, panel.knob.value, panel.value.value = "spo@ref", "recipe.objective.alpha", "0.7"
    panel.add.click()
    panel.value.value = "0.8"
    panel.add.click()  # replaces the first
    assert panel.changes.value == "recipe.objective.alpha=0.8"
    panel.start.click()
    panel.thread.join()
    assert panel.bar.bar_style == "success" and "done" in panel.status.value
    assert panel.arms.value == ("spo@ref", "custom-spo-alpha=0.8@ref")
    assert panel.table()["arm"].tolist() == list(panel.arms.value) and not panel.start.disabled


def test_explorer_says_what_went_wrong(root, monkeypatch):
    panel = Explorer(STUDY.name, "smoke", root=root)
    panel.changes.value = "training.rate=1"
    panel.start.click()
    assert "unknown setting" in panel.status.value and panel.thread is None

    def stopped(config, root, progress):
        panel.stop.click()
        progress({"update": 1, "updates": 2})

    panel.changes.value = RATE[0]
    for run, words in ((stopped, "stopped"), (lambda *_: 1 / 0, "ZeroDivisionError")):
        monkeypatch.setattr(explore, "run", run)
        panel.run().join()
        assert words in panel.status.value and not panel.start.disabled
    with pytest.raises(ReproError, match="no runs of arm 'grpo@ref'"):
        Explorer(STUDY.name, "smoke", ["grpo@ref"], root=root)
    with pytest.raises(ReproError, match="no metric 'speed'"):
        Explorer(STUDY.name, "smoke", metric="speed", root=root)


def test_summaries_are_computed(root):
    found = tables.load(STUDY.name, "smoke", root)
    text = summary.outcome(found, STUDY, "ref")
    assert text.startswith("**Smoke tier")
    assert "| **SPO (alpha 0.2)** | 3 | 0 of 3 | 0.21 [0.19, 0.23] | 42.0 [37.0, 47.0] |" in text
    assert "| **naive** | 1 | 0 of 1 | 0.10 (one seed) | 20.0 (one seed) |" in text
    assert summary.outcome(found, STUDY, "queue").endswith("No runs at `queue` in these tables.")
    # 7 runs of 30 x 64 rollouts and 10 s each
    assert summary.count(found).startswith(
        "7 runs of 3 arms, 0 collapsed (of which 0 with a non-finite loss): 0.01 million"
    )
    assert "0.0 hours" in summary.count(found)
    config = STUDY.config("spo@ref", 0, "small")
    assert f"| updates | {config.training.updates}, each on 8 prompts x 8 responses" in summary.setup(STUDY, "small")
    assert "| `queue` | 5 |" in summary.plan(STUDY, "small") and "queue" not in summary.plan(STUDY, "smoke")


def test_a_study_whose_arms_have_no_condition_in_their_names(tmp_path):
    study = STUDIES["sgpo_math"]
    for arm in ("uniform", "sgpo"):
        for seed in range(2):
            config = study.config(arm, seed, "smoke")
            play(config, runs.run_folder(config, tmp_path))
    tables.build(study, "smoke", tmp_path)
    panel = Explorer(study.name, "smoke", root=tmp_path)
    assert panel.arms.value == ("uniform", "sgpo") and not panel.remark.value
    assert len({look.colour for look in style.looks_of(panel.arms.value)}) == 2
    custom = explore.custom(study, "sgpo", 0, "smoke", ["recipe.allocation.trivial=0.5"])
    assert custom.arm == "custom-sgpo-trivial=0.5" and custom.recipe.allocation.trivial == 0.5
    text = summary.costs(tables.load(study.name, "smoke", tmp_path), study, "uniform")
    head, _, first, second = text.splitlines()[2:]
    assert "| avg@8, % | easy | hard | pass@8, % |" in head and "bill over uniform's, seconds" in head
    assert first.startswith("| **DAPO loss, uniform G = 8** | 2 | 41.0 [28.3, 53.7] | 20.5 | 61.5 |")
    # 0.2 and 0.21 at easy, thrice that at hard: 40 and 42 %, half = t_1 s / sqrt(2) = 12.706. Both arms took as long;
    # of their FLOPs nothing is known.
    assert second.endswith("| - | - | 1.00 [1.00, 1.00] | 30 | 1920 |")
    assert "an arm's allocation says how many updates" in summary.setup(study, "small")
    assert "**DAPO loss, uniform G = 8**; **DAPO, dynamic sampling**" in summary.plan(study, "small")


def test_results_can_be_looked_at_without_torch_or_jupyter():
    code = "import repro.study.explore, repro.study.summary, sys; print([m for m in BAD if m in sys.modules])"
    bad = ("torch", "transformers", "papermill", "ipywidgets", "IPython")
    done = subprocess.run([sys.executable, "-c", f"BAD = {bad}; {code}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
