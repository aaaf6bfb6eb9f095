"""Tables built from runs: every derived number by hand, merging, and refusal of damaged files."""

import math
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_train import FakeConfig  # noqa: E402

from repro.config import config_hash  # noqa: E402
from repro.errors import ReproError  # noqa: E402
from repro.study import runs, tables  # noqa: E402

DICTIONARY = runs.REPOSITORY / "data" / "README.md"


@dataclass(frozen=True)
class FakeArm:
    algorithm: str
    condition: str
    core: bool


@dataclass(frozen=True)
class FakeStudy:
    name: str = "fake"
    updates: int = 60

    arms = {"naive@lag16": FakeArm("naive", "lag16", True), "grpo@lag0": FakeArm("grpo", "lag0", False)}

    def config(self, arm, seed, tier):
        return FakeConfig(arm=arm, seed=seed, tier=tier, updates=self.updates)


STUDY = FakeStudy()


def evaluation(update, level, mean, samples=8):
    row = {"kind": "eval", "update": update, "level": level, "queries": 10, "samples": samples}
    return row | {"mean_at_k": mean, "pass_at_k": mean + 0.25, "seconds": 0.5}


def record(config, root, rewards, losses=None, status="finished", ends=(0.125, 0.5), finish=True):
    """A run with chosen rewards; an update costs 8 rollouts, 2 s of generation, 3 s of learning."""
    losses = losses or [0.0] * len(rewards)
    with runs.open_run(config, runs.run_folder(config, root)) as run:
        for level, mean in (("easy", ends[0]), ("hard", 0.0)):
            run.log.append(evaluation(0, level, mean))
        for update, (reward, loss) in enumerate(zip(rewards, losses, strict=True), start=1):
            cost = {"rollouts": 8, "flops": 1e12, "seconds_generate": 2.0, "seconds_update": 3.0}
            row = {"kind": "update", "update": update, "reward": reward, "loss": loss, "lag": update % 2}
            run.log.append(row | cost | {"note": "not a number", "mixed": None})
        run.log.append(evaluation(20, "easy", 0.75, samples=4))
        run.log.append(evaluation(20, "hard", 0.75, samples=4))
        run.log.append(evaluation(len(rewards), "easy", 1.0, samples=4))  # the small one gives way to the full one
        run.log.append(evaluation(len(rewards), "easy", ends[1]))
        run.log.append(evaluation(len(rewards), "hard", 0.25))
        if status == "diverged":
            run.log.append({"kind": "diverged", "update": len(rewards) + 1, "reason": "the loss is inf"})
        if finish:
            run.finish({"status": status, "updates": len(rewards)})


RISE = [0.2] * 20 + [0.4] * 10 + [0.8] * 30
# Ten updates at 0.8, then zeros: the mean of the last 10 is 0.8, 0.72, ...; it falls below 0.4 = half of 0.8
# with the sixth zero (0.8 x 4 / 10 = 0.32), update 16, and stays there.
FALL = [0.8] * 10 + [0.0] * 30


def build(root, study=STUDY):
    remarks = tables.build(study, "smoke", root)
    return tables.load(study.name, "smoke", root), remarks


def test_every_derived_column_by_hand(tmp_path):
    record(STUDY.config("naive@lag16", 0, "smoke"), tmp_path, RISE)
    result, remarks = build(tmp_path)
    assert remarks == []
    (row,) = result.runs.to_dict("records")
    expected = {
        "study": "fake",
        "tier": "smoke",
        "arm": "naive@lag16",
        "algorithm": "naive",
        "condition": "lag16",
        "core": True,
        "seed": 0,
        "run_id": config_hash(STUDY.config("naive@lag16", 0, "smoke")),
        "status": "finished",
        "updates": 60,
        "reward_first": pytest.approx(0.2),
        "reward_last": pytest.approx(0.8),
        "reward_max": pytest.approx(0.8),
        "collapsed": False,
        "mean_at_k": pytest.approx((0.5 + 0.25) / 2),
        "pass_at_k": pytest.approx((0.75 + 0.5) / 2),
        "mean_at_k_easy": 0.5,
        "mean_at_k_hard": 0.25,
        "pass_at_k_hard": 0.5,
        "start_mean_at_k": pytest.approx(0.125 / 2),
        "peak_mean_at_k": 0.75,
        "eval_update": 60,
        "eval_samples": 8,
        "rollouts": 480,
        "flops": 60e12,
        "seconds_generate": 120.0,
        "seconds_update": 180.0,
        "seconds_eval": 3.5,
        "seconds": 303.5,
        "lag_mean": 0.5,
        "device": "cpu",
        "commit": runs.provenance()["commit"],
    }
    assert {name: row[name] for name in expected} == expected
    assert result.runs["collapse_update"].isna().all() and result.runs["generated_tokens"].isna().all()
    assert str(result.runs["collapse_update"].dtype) == "Int64"


def test_curves_and_evals_hold_every_measurement(tmp_path):
    record(
        STUDY.config("naive@lag16", 3, "smoke"),
        tmp_path,
        RISE,
        losses=[math.inf if r == 0.4 else 1 for r in RISE],
    )
    result, _ = build(tmp_path)
    curves = result.curves
    assert list(curves.columns) == [
        *("arm", "seed", "update"),
        *("flops", "lag", "loss", "reward", "rollouts", "seconds_generate", "seconds_update"),
    ]
    assert str(curves["reward"].dtype) == "float32" and curves["seed"].unique().tolist() == [3]
    assert curves["update"].tolist() == list(range(1, 61))
    assert curves["reward"].tolist() == pytest.approx(RISE, rel=1e-6)
    assert curves["loss"].tolist() == [math.inf if r == 0.4 else 1 for r in RISE]
    assert list(result.evals.columns) == list(tables.EVALS) and len(result.evals) == 7
    assert result.evals["mean_at_k"].tolist() == [0.125, 0.0, 0.75, 0.75, 1.0, 0.5, 0.25]


def test_collapse_by_reward_and_by_a_nonfinite_loss(tmp_path):
    record(STUDY.config("naive@lag16", 0, "smoke"), tmp_path, FALL)
    broken = [0.0] * 11 + [math.nan] + [0.0] * 28
    record(STUDY.config("naive@lag16", 1, "smoke"), tmp_path, FALL, losses=broken, status="diverged")
    record(
        STUDY.config("naive@lag16", 2, "smoke"),
        tmp_path,
        RISE[:-1] + [math.nan],
        losses=[0.0] * 59 + [math.inf],
    )
    record(STUDY.config("naive@lag16", 3, "smoke"), tmp_path, RISE[:25], status="diverged")
    rows = build(tmp_path)[0].runs
    assert rows["collapsed"].tolist() == [True, True, True, True]
    assert rows["collapse_update"].tolist() == [16, 12, 60, 26]
    assert rows["status"].tolist() == ["finished", "diverged", "finished", "diverged"]
    assert rows["reward_last"].tolist() == pytest.approx([0.0, 0.0, 0.8, (15 * 0.2 + 5 * 0.4) / 20])
    tables.build(STUDY, "smoke", tmp_path, fraction=0.25)
    # Below 0.2 with the eighth zero: 0.8 x 2 / 10 = 0.16.
    assert tables.load("fake", "smoke", tmp_path).runs["collapse_update"].tolist() == [18, 12, 60, 26]


def played(config, root, epochs=True):
    """A run of a world of several turns: success at the training temperature and at 0.4, states, epochs."""

    def test(update, level, won, temperature, samples=2):
        row = evaluation(update, level, won / 2, samples) | {"won": won, "turns": 10 + won}
        return row | {"temperature": temperature, "generations": 100 * update, "score": won * (1 - temperature / 2)}

    reward = -0.25 if epochs else 0.5
    with runs.open_run(config, runs.run_folder(config, root)) as run:
        for update in range(3):
            for level, rise in (("seen", 0.25), ("unseen", 0.125)):
                run.log.append(test(update, level, 0.25 + rise * update, 1.0))
                if update != 1:
                    run.log.append(test(update, level, 0.5 + rise * update, 0.4))
            if update < 2:
                row = {"kind": "update", "update": update + 1, "reward": reward, "loss": 0.0, "fault_nothing": 2.5}
                row["flops"] = 16.0
                states = dict(zip(tables.STATES, (30 + update, 40 + update, 50 + update), strict=True))
                run.log.append(row | states | {"generations": 100 * update + 100})
        if epochs:
            tally = {"groups": 3, "n_8": 2, "score_mean": 0.5}
            run.log.append({"kind": "epoch", "epoch": 1, "update": 2, "generations": 200} | tally)
            run.log.append({"kind": "epoch", "epoch": 2, "update": 2, "generations": 207})
            run.log.append({"kind": "rest", "update": 2, "generations": 207, "flops": 8.0, "states_observation": 33})
        run.finish({"status": "finished", "updates": 2} | ({"exhausted": True} if epochs else {}))


def test_worlds_of_several_turns_by_hand(tmp_path):
    config = STUDY.config("naive@lag16", 0, "smoke")
    played(config, tmp_path)
    result, _ = build(tmp_path)
    (row,) = result.runs.to_dict("records")
    expected = {
        "won_seen": 0.75,  # 0.25 + 2 x 0.25
        "won_unseen": 0.5,
        "won": 0.625,
        "mean_at_k": 0.3125,  # the score, here half of success, at the training temperature alone
        "start_won": 0.25,
        "won_t0.4": 0.875,  # means of 1.0 and 0.75
        "won_seen_t0.4": 1.0,
        "start_won_unseen_t0.4": 0.5,
        "mean_at_k_t0.4": 0.4375,
        "turns_seen": 10.75,
        "generations": 207,  # of the last epoch, which no update followed
        "epochs": 2,
        "exhausted": True,
        "states_observation": 33,  # with what no update followed
        "flops": 40.0,
        "score_seen_t0.4": 0.8,  # (1 - 0.4 / 2) x 1.0
        "score": 0.3125,  # half of success
        "states_state": 51,
    }
    assert {name: row[name] for name in expected} == expected
    assert result.curves["fault_nothing"].tolist() == [2.5, 2.5]
    assert row["reward_first"] == -0.25 and not row["collapsed"]  # rewards of steps may be negative
    assert result.evals["temperature"].tolist() == [1.0, 0.4] * 2 + [1.0] * 2 + [1.0, 0.4] * 2
    assert len(tables.full_evaluations(result.evals)) == 6 and len(tables.full_evaluations(result.evals, None)) == 10
    assert result.epochs[["epoch", "update", "generations"]].to_numpy().tolist() == [[1, 2, 200], [2, 2, 207]]
    assert result.epochs["n_8"].tolist()[0] == 2 and result.epochs["n_8"].isna().tolist() == [False, True]
    folder = tables.results_folder("fake", "smoke", tmp_path)
    (folder / "epochs.parquet").write_bytes(b"")
    with pytest.raises(ReproError, match="epochs.parquet is damaged"):
        tables.load("fake", "smoke", tmp_path)
    (folder / "epochs.parquet").unlink()
    with pytest.raises(ReproError, match="epochs.parquet is missing"):
        tables.load("fake", "smoke", tmp_path)


def test_runs_with_and_without_epochs_lie_in_one_table(tmp_path):
    played(STUDY.config("naive@lag16", 0, "smoke"), tmp_path)
    played(STUDY.config("naive@lag16", 1, "smoke"), tmp_path, epochs=False)
    record(STUDY.config("grpo@lag0", 0, "smoke"), tmp_path, RISE)
    result, _ = build(tmp_path)
    assert result.runs["generations"].tolist()[:2] == [207, 200] and result.runs["generations"].isna().tolist()[2]
    assert result.runs["exhausted"].isna().tolist() == [False, True, True]
    assert result.epochs["seed"].unique().tolist() == [0]
    assert build(tmp_path)[0].epochs.equals(result.epochs)


def test_a_rebuild_gives_the_same_bytes(tmp_path):
    for seed in (10, 2):
        record(STUDY.config("grpo@lag0", seed, "smoke"), tmp_path, RISE)
    record(STUDY.config("naive@lag16", 5, "smoke"), tmp_path, FALL)
    result, _ = build(tmp_path)
    assert list(zip(result.runs["arm"], result.runs["seed"], strict=True)) == [
        ("naive@lag16", 5),
        ("grpo@lag0", 2),
        ("grpo@lag0", 10),
    ]
    files = sorted(tables.results_folder("fake", "smoke", tmp_path).iterdir())
    first = [file.read_bytes() for file in files]
    build(tmp_path)
    names = ["SHA256SUMS", "curves.parquet", "evals.parquet", "profiles.parquet", "runs.parquet"]
    assert [file.name for file in files] == names
    assert [file.read_bytes() for file in files] == first


def test_committed_rows_stay_unless_a_local_run_replaces_them(tmp_path):
    """Another machine's table, and one local run of a changed definition."""
    there, here = tmp_path / "there", tmp_path / "here"
    for seed in (0, 1):
        record(STUDY.config("naive@lag16", seed, "smoke"), there, RISE)
    record(STUDY.config("grpo@lag0", 0, "smoke"), there, RISE)
    old, _ = build(there)
    here.mkdir()
    (there / "results").rename(here / "results")
    longer = replace(STUDY, updates=61)
    record(longer.config("naive@lag16", 1, "smoke"), here, FALL, ends=(0.0, 0.0))
    new, remarks = build(here, longer)
    assert remarks == [
        "naive@lag16: local runs replace the table's other runs of seeds 1",
        "naive@lag16: seeds 0 are of an older definition, and kept",
        "grpo@lag0: seeds 0 are of an older definition, and kept",
    ]
    assert new.runs["updates"].tolist() == [60, 40, 60]
    assert new.runs["run_id"].tolist()[0] == old.runs["run_id"].tolist()[0]
    assert new.curves.groupby(["arm", "seed"]).size().to_dict() == {
        ("grpo@lag0", 0): 60,
        ("naive@lag16", 0): 60,
        ("naive@lag16", 1): 40,
    }
    assert len(new.evals) == 21 and new.runs["mean_at_k"].tolist() == [0.375, 0.125, 0.375]


def test_unfinished_and_other_runs_are_left_out_and_said(tmp_path):
    record(STUDY.config("naive@lag16", 0, "smoke"), tmp_path, RISE)
    record(STUDY.config("naive@lag16", 1, "smoke"), tmp_path, RISE, finish=False)
    tried = replace(STUDY, updates=999).config("naive@lag16", 0, "smoke")
    record(tried, tmp_path, FALL)
    result, remarks = build(tmp_path)
    assert len(result.runs) == 1 and result.runs["reward_last"].item() == pytest.approx(0.8)
    assert remarks == [
        "1 runs are not finished and left out",
        "1 runs have settings other than the study's and are left out",
    ]
    alone = tables.of_folders([runs.run_folder(tried, tmp_path)])
    assert alone.runs["reward_last"].item() == 0 and alone.runs["core"].isna().item()
    with pytest.raises(ReproError, match="is not finished"):
        tables.of_folders([runs.run_folder(STUDY.config("naive@lag16", 1, "smoke"), tmp_path)])


def test_missing_tables_name_the_file_and_the_command(tmp_path):
    with pytest.raises(ReproError, match="runs.parquet is missing. Make it with: make reproduce TIER=small ONLY=fake"):
        tables.load("fake", "small", tmp_path)
    with pytest.raises(ReproError, match="no finished run in .*make reproduce TIER=smoke ONLY=fake"):
        tables.build(STUDY, "smoke", tmp_path)


def flip(content):
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


@pytest.mark.parametrize("name", ["runs", "curves", "evals"])
@pytest.mark.parametrize("change", [lambda c: c[:-20], lambda c: b"", flip], ids=["truncated", "empty", "bit flipped"])
def test_damaged_tables_are_refused_by_name(tmp_path, name, change):
    record(STUDY.config("naive@lag16", 0, "smoke"), tmp_path, RISE)
    build(tmp_path)
    path = tables.results_folder("fake", "smoke", tmp_path) / f"{name}.parquet"
    path.write_bytes(change(path.read_bytes()))
    for reader in (
        lambda: tables.load("fake", "smoke", tmp_path),
        lambda: tables.build(STUDY, "smoke", tmp_path),
    ):
        with pytest.raises(ReproError, match=f"{name}.parquet is damaged, .*git checkout.*or delete that folder"):
            reader()


@pytest.mark.parametrize(
    ("name", "message"),
    [("SHA256SUMS", "damaged, or of another build than .*SHA256SUMS"), ("", "SHA256SUMS is missing")],
)
def test_sums_that_are_no_text_or_no_file_are_refused(tmp_path, name, message):
    record(STUDY.config("naive@lag16", 0, "smoke"), tmp_path, RISE)
    build(tmp_path)
    path = tables.results_folder("fake", "smoke", tmp_path) / "SHA256SUMS"
    path.unlink()
    path.write_bytes(b"\xff\xfe") if name else path.mkdir()
    with pytest.raises(ReproError, match=message):
        tables.load("fake", "smoke", tmp_path)


def test_tables_of_different_builds_or_forms_are_refused(tmp_path, monkeypatch):
    for root, seed in ((tmp_path / "a", 0), (tmp_path / "b", 1)):
        record(STUDY.config("naive@lag16", seed, "smoke"), root, RISE)
        build(root)
    a, b = (tables.results_folder("fake", "smoke", tmp_path / root) for root in "ab")
    with monkeypatch.context() as patch:
        patch.setitem(tables.EVALS, "variance", "float64")
        with pytest.raises(ReproError, match="evals.parquet is of an older form, without variance"):
            tables.load("fake", "smoke", tmp_path / "a")
    (a / "curves.parquet").write_bytes((b / "curves.parquet").read_bytes())
    with pytest.raises(ReproError, match="curves.parquet is damaged, or of another build"):
        tables.load("fake", "smoke", tmp_path / "a")
    (a / "SHA256SUMS").unlink()
    with pytest.raises(ReproError, match="SHA256SUMS is missing"):
        tables.load("fake", "smoke", tmp_path / "a")


def test_a_damaged_run_stops_the_build(tmp_path):
    config = STUDY.config("naive@lag16", 0, "smoke")
    record(config, tmp_path, RISE)
    (runs.run_folder(config, tmp_path) / "metrics.jsonl").write_bytes(b"")
    with pytest.raises(ReproError, match="metrics.jsonl was truncated"):
        tables.build(STUDY, "smoke", tmp_path)


def test_tables_import_neither_torch_nor_the_notebook_side():
    code = "import sys, repro.study.tables; print({'torch', 'transformers', 'papermill'} & set(sys.modules))"
    output = subprocess.check_output([sys.executable, "-c", code], cwd=runs.REPOSITORY, text=True)
    assert output.strip() == "set()"


def documented():
    """The columns that the data dictionary explains; `<level>` stands for any level."""
    names = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", DICTIONARY.read_text(), flags=re.MULTILINE)
    return {name for cell in names for name in re.findall(r"`([^`]+)`", cell)}


def generic(column):
    """`won_valid_seen_t0.4` is explained as `won_<level>_t<T>`."""
    column = re.sub(r"_t[0-9.]+$", "_t<T>", re.sub(r"^fault_.*", "fault_<kind>", column))
    return re.sub(
        r"^((?:start_)?(?:mean_at_k|pass_at_k|won|turns|score))_(?!t<T>|mean).*?(_t<T>)?$", r"\1_<level>\2", column
    )


def probed(config, root, copied=(0.25, 0.5, 0.75)):
    """A guided run of two updates, probed after each; its warm start was asked with two formats."""
    with runs.open_run(config, runs.run_folder(config, root)) as run:
        for name, mean in (("", 0.25), ("full", 0.5)):
            row = {"kind": "probe", "update": 0, "probe": "format", "format": name, "queries": 4, "samples": 2}
            run.log.append(row | {"mean_at_k": mean, "pass_at_k": 0.75, "seconds": 0.5, "error_route": mean / 2})
        for update, share in enumerate(copied):
            row = {"kind": "probe", "update": update, "queries": 6, "samples": 1, "pass_at_k": 0.5, "seconds": 0.5}
            for name, right in (("planted_full", 0.125), ("planted_own", 0.375)):
                run.log.append(row | {"probe": name, "mean_at_k": right, "copied": share * (1 - right)})
            run.log.append(row | {"probe": "guided", "mean_at_k": update / 4})
        run.finish({"status": "finished", "updates": 2})


def test_probes_with_hints_by_hand(tmp_path):
    probed(STUDY.config("naive@lag16", 0, "smoke"), tmp_path)
    record(STUDY.config("grpo@lag0", 0, "smoke"), tmp_path, RISE)  # not probed
    result, _ = build(tmp_path)
    row, plain = result.runs.to_dict("records")
    expected = {
        "start_guided": 0.0, "guided": 0.5, "start_copied_full": 0.21875, "copied_full": 0.65625, "solved_full": 0.125,
        "start_copied_own": 0.15625, "copied_own": 0.46875, "start_solved_own": 0.375, "solved_own": 0.375,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected and math.isnan(plain["copied_full"])
    assert math.isnan(row["mean_at_k"]) and set(result.probes["arm"]) == {"naive@lag16"}
    asked = result.probes[result.probes["probe"] == "format"]
    assert asked["format"].tolist() == ["", "full"] and asked["error_route"].tolist() == [0.125, 0.25]
    assert result.probes[result.probes["probe"] == "guided"]["update"].tolist() == [0, 1, 2]
    assert build(tmp_path)[0].probes.equals(result.probes)
    path = tables.results_folder("fake", "smoke", tmp_path) / "probes.parquet"
    path.unlink()
    with pytest.raises(ReproError, match="probes.parquet is missing"):
        tables.load("fake", "smoke", tmp_path)


def test_the_data_dictionary_explains_every_column():
    known = documented()
    assert set(tables.RUNS) <= known and set(tables.EVALS) <= known
    assert set(tables.EPOCHS) <= known and set(tables.PROBES) <= known
    assert set(tables.MEASURED_RUNS) <= known and set(tables.MEASURED_EVALS) <= known
    assert {generic(column) for column in ("mean_at_k_hard", "won_valid_seen_t0.4", "start_won_t0.4", "turns")} == {
        "mean_at_k_<level>", "won_<level>_t<T>", "start_won_t<T>", "turns"
    }  # fmt: skip
    for path in sorted((runs.REPOSITORY / "data" / "results").glob("*/*/runs.parquet")):
        committed = tables.load(path.parent.parent.name, path.parent.name)
        columns = {*committed.runs, *committed.curves, *committed.evals, *committed.profiles}
        columns |= {*committed.epochs, *committed.probes}
        columns = {generic(column) for column in columns}
        assert columns <= known, f"{path.parent}: say in data/README.md what {sorted(columns - known)} mean"


def test_what_the_tables_lack_is_found_without_the_run_folders(tmp_path):
    cells = [STUDY.config("naive@lag16", seed, "smoke") for seed in (0, 1, 2)]
    assert tables.missing(STUDY.name, "smoke", cells, tmp_path) == cells
    record(cells[1], tmp_path, RISE)
    build(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    assert tables.missing(STUDY.name, "smoke", cells, tmp_path) == [cells[0], cells[2]]
    changed = [replace(STUDY, updates=61).config("naive@lag16", 1, "smoke")]
    assert tables.missing(STUDY.name, "smoke", changed, tmp_path) == changed  # another definition is another run
