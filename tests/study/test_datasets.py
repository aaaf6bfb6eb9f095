"""Real data sets: what is said of each, and whether small files in their published schemas are found whole or not."""

import json
import subprocess
import sys
from dataclasses import replace

import pyarrow
import pytest
from pyarrow import parquet

from repro.cli import main
from repro.environments.alfworld import data as alfworld
from repro.environments.alfworld import games
from repro.environments.alfworld.games import HouseholdConfig
from repro.environments.webshop import catalogue
from repro.errors import ReproError
from repro.study import STUDIES, dataset_checks, datasets
from repro.study.dataset_checks import check, check_all
from repro.study.datasets import DATASETS, Part
from repro.study.paper_settings import PAPER
from repro.study.paper_tier import PAPER_TIERS
from tests.environments.webshop import shelves

GSM8K = [
    {"question": f"What is {n} + 1?", "answer": f"{n}+1 = <<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"} for n in range(3)
]
DAPO = [{
    "data_source": "math_dapo",
    "prompt": [{"role": "user", "content": "What is 3 + 4?"}],
    "reward_model": {"ground_truth": "7", "style": "rule"},
}]  # fmt: skip
MATH = {"problem": "1+1?", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{2}$."}
TRACES = [{"question": "3+4?", "reward_model": {"ground_truth": "7"}, "teacher_ds": "3+4 = 7"}]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """No variable names a folder, and data/external is empty."""
    for dataset in DATASETS.values():
        if dataset.variable:
            monkeypatch.delenv(dataset.variable, raising=False)
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    return tmp_path / "external"


@pytest.fixture
def published(monkeypatch):
    """Published row counts of a set replaced by those of its small stand-in, part by part."""

    def of(name, *rows):
        parts = tuple(replace(part, rows=n) for part, n in zip(DATASETS[name].parts, rows, strict=True))
        monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], parts=parts))

    return of


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def problems(name, **options):
    """What is wrong with a set that must be damaged."""
    report = check(name, **options)
    assert report.status == "damaged" and datasets.command(name) in report.advice
    return "; ".join(report.problems)


# --- what is said of them


def test_every_set_says_what_one_needs_to_know():
    for name, entry in zip(DATASETS, datasets.listing(), strict=True):
        assert all(entry[key] for key in ("what", "used_by", "licence", "source", "download", "folder"))
        assert entry["name"] == name and entry["folder"] in entry["download"] and "{" not in entry["download"]
        assert entry["source"].startswith("https://")
        assert not entry["there"]
        assert DATASETS[name].rows in dataset_checks.CHECKS and DATASETS[name].parts
        assert f"{name}: {entry['what']}\n" in datasets.render(datasets.listing())


def test_what_a_paper_tier_reads_has_a_reader_and_says_for_which_tiers():
    entries = {entry["name"]: entry for entry in datasets.listing()}
    for study, tiers in PAPER.items():
        for tier, entry in tiers.items():
            assert all(entries[name]["reader"] for name in entry.data)
            assert all((f"{study} {tier}" in entries[name]["tiers"]) == (not entry.blocked) for name in entry.data)
            for name in getattr(STUDIES[study].cells(tier)[0].world, "benchmarks", ()):
                assert name in entry.data and "environments.benchmarks" in entries[name]["reader"]
    assert entries["math500"]["tiers"] == [f"{s} {t}" for s in ("asympo_async", "smepo_math") for t in PAPER_TIERS]
    assert "nothing here yet" in datasets.render([entries["sciknoweval"]]) and not entries["sciknoweval"]["tiers"]


def test_the_splits_add_up_to_what_the_papers_count():
    def rows(name, ending=""):
        return sum(part.rows for part in DATASETS[name].parts if part.name.endswith(ending))

    assert (rows("math", "train"), rows("math", "test")) == (7500, 5000)
    assert rows("alfworld", "seen") == 274  # 3SPO's validation games: valid_seen and valid_unseen
    assert (rows("gsm8k", "train"), rows("hmmt26"), rows("aime25")) == (7473, 33, 30)
    assert rows("dapo") % 100 == 0  # each question 100 times


def test_the_place_is_the_variable_or_the_data_folder(place, monkeypatch, tmp_path, capsys):
    assert datasets.folder("gsm8k") == place / "gsm8k"
    assert datasets.folder("webshop") == datasets.folder("webshop-1000") == place / "webshop"
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "my games"))
    assert datasets.folder("alfworld") == tmp_path / "my games"
    assert datasets.command("alfworld") == f"ALFWORLD_DATA='{tmp_path}/my games' alfworld-download"
    assert main(["data", "path", "alfworld"]) == 0 and capsys.readouterr().out == f"{tmp_path}/my games\n"


# --- whole or not


def test_tables_are_whole_with_all_their_rows(place, published):
    published("gsm8k", 3, 2)
    write(place / "gsm8k/main/train-00000-of-00001.parquet", GSM8K)
    write(place / "gsm8k/main/test-00000-of-00001.parquet", GSM8K[:2])
    report = check("gsm8k")
    assert (report.status, report.problems, report.advice) == ("whole", (), "")
    assert report.found == ("train: 3 rows", "test: 2 rows")
    assert "train-00000-of-00001.parquet: 3 queries; 0 repeated rows" in " ".join(check("gsm8k", full=True).found)


def test_a_short_split_and_a_missing_one_are_named(place, published):
    published("gsm8k", 3, 2)
    write(place / "gsm8k/train.jsonl", GSM8K[:2])  # the first release's files
    assert problems("gsm8k") == ("train has 2 rows, published are 3; test: no file main/test-*.parquet or test*.jsonl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:35\n", "not a whole parquet file"),
        (None, "not a whole parquet file"),  # cut off: a parquet file's footer is at its end
    ],
)
def test_a_file_that_is_no_whole_parquet_file(place, published, content, message):
    published("dapo", 1)
    path = write(place / "dapo/data/dapo-math-17k.parquet", DAPO)
    assert check("dapo").status == "whole"
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    assert message in problems("dapo") and str(path) in problems("dapo") and "download it again" in problems("dapo")


def test_rows_of_another_schema(place, published):
    published("dapo", 1)
    write(place / "dapo/data/dapo-math-17k.parquet", [{"prompt": "a plain text", "solution": "7"}])
    assert "no dapo query could be read" in problems("dapo") and "list of chat messages" in problems("dapo")


def test_math_by_subjects_and_by_problems(place, monkeypatch):
    parts = tuple(replace(part, rows=1) for part in DATASETS["math"].parts if part.name.startswith("algebra"))
    monkeypatch.setitem(DATASETS, "math", replace(DATASETS["math"], parts=parts))
    write(place / "math/algebra/train-00000-of-00001.parquet", [MATH])
    write(place / "math/MATH/test/algebra/7.json", [MATH])
    assert check("math").found == ("algebra train: 1 rows", "algebra test: 1 rows")
    (place / "math/MATH/test/algebra/7.json").write_text("{")
    assert "algebra/7.json: not JSON" in problems("math")


def test_only_the_first_rows_are_read_unless_all_are_asked_for(place, published, monkeypatch):
    monkeypatch.setattr(dataset_checks, "SAMPLE", 2)
    published("gsm8k", 3, 3)
    write(place / "gsm8k/train.jsonl", [*GSM8K[:2], {"question": "?", "answer": "no number"}])
    write(place / "gsm8k/test.jsonl", GSM8K)
    assert check("gsm8k").found == ("train: 3 rows", "test: 3 rows")
    assert any("1 malformed rows left out" in fact for fact in check("gsm8k", full=True).found)


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("aime26", {"problem": "Find $n$.", "answer": 277}, None),
        ("aime24", {"problem": "Find $n$.", "answer": "025", "solution": "..."}, None),
        ("hmmt26", {"problem": "Find $x$.", "answer": r"-\frac{1}{21}"}, None),
        ("aime26", {"problem": "Find $n$.", "answer": 1000}, "an integer from 0 to 999, this is 1000"),
        ("aime26", {"problem": "Find $n$.", "answer": "1/2"}, "an integer from 0 to 999"),
        ("hmmt25", {"problem": " ", "answer": "1"}, "field 'problem' is missing or no text"),
        ("hmmt25", {"problem": "Find $x$."}, "field 'answer' must be text or an integer, it is None"),
    ],
)
def test_contest_problems(place, published, name, row, message):
    published(name, 1)
    write(place / name / "data/train-00000-of-00001.parquet", [row])
    if message is None:
        assert check(name).status == "whole"
    else:
        assert message in problems(name) and "row 1" in problems(name)


def question(domain="Physics", level="L3", kind="mcq-4-choices", answer="B"):
    return {
        "question": "Which?",
        "choices": {"text": ["one", "two"], "label": ["A", "B"]},
        "answerKey": answer,
        "type": kind,
        "domain": domain,
        "details": {"level": level, "task": "t", "subtask": "s"},
    }


def test_science_questions_of_the_level_that_is_used(place, published):
    published("sciknoweval", 5)
    rows = [
        question(),
        question("Biology"),
        question(),
        question(level="L1"),
        question(kind="open-ended-qa", answer=""),
    ]
    path = write(place / "sciknoweval/data/v2/sciknoweval_test_v2.jsonl", rows)
    assert "L3 multiple choice: 3 questions (Biology 1, Physics 2); sGPO speaks of 4,335" in check("sciknoweval").found
    write(path, [*rows[:4], question(answer="E")])
    assert "row 5: its answerKey 'E' is none of its choices ['A', 'B']" in problems("sciknoweval")
    write(path, [question(level="L2")] * 5)
    assert "no question of level L3" in problems("sciknoweval")
    path.write_text(path.read_text()[:-20])
    assert "row 5: not JSON" in problems("sciknoweval")


def test_smepos_traces(place):
    write(place / "smepo/math.parquet", TRACES)
    write(place / "smepo/code.parquet", TRACES)
    assert check("smepo").found == ("maths: 1 rows", "code: 1 rows")
    write(place / "smepo/code.parquet", [{**TRACES[0], "teacher_ds": ""}])
    assert "guided methods would be unguided" in problems("smepo")


def test_games_by_split(tmp_path, monkeypatch, published):
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    config = HouseholdConfig(train_games=3, heldout_games=2)
    written = alfworld.write(games.train_list(config, 0).games, tmp_path)
    published("alfworld", len(written), 2, 2)
    assert check("alfworld").found[0] == f"train: {len(written)} games"
    assert "valid_unseen (passed over" in problems("alfworld")  # it has no game
    published_parts = DATASETS["alfworld"].parts[:1]
    monkeypatch.setitem(DATASETS, "alfworld", replace(DATASETS["alfworld"], parts=published_parts))
    assert check("alfworld").status == "whole"
    written[0].write_text("{}")  # no longer says that it is solvable
    assert f"train has {len(written) - 1} games, published are {len(written)}" in problems("alfworld")


def test_a_shop(tmp_path, monkeypatch):
    monkeypatch.setenv("WEBSHOP_DATA", str(tmp_path))
    small, whole = "webshop-1000", "webshop"
    monkeypatch.setitem(DATASETS, small, replace(DATASETS[small], parts=(
        replace(DATASETS[small].parts[0], rows=4), *DATASETS[small].parts[1:])))  # fmt: skip
    assert check(small).status == "missing"
    catalogue.write(shelves.catalogue(), tmp_path)
    assert check(small).status == "whole" and check(small).found[0] == "products: 4 rows"
    # The instructions are there, but they belong to both sets.
    assert check(whole).status == "missing"

    catalogue.write(shelves.catalogue(), tmp_path, small=False)
    assert check(whole).status == "whole" and "the first 4 rows read" in check(whole).found[0]
    path = tmp_path / "items_shuffle.json"
    path.write_text(path.read_text() + " " * 200 + "[1")
    assert "its end is missing" in problems(whole)
    (tmp_path / "items_ins_v2.json").unlink()
    assert "attributes: no file items_ins_v2.json" in problems(whole)

    items = json.loads((tmp_path / "items_shuffle_1000.json").read_text())
    (tmp_path / "items_shuffle_1000.json").write_text(json.dumps([*items[:3], {"asin": "B0"}]))
    assert "products: 1 rows that the shop would leave out" in check(small).found
    (tmp_path / "items_shuffle_1000.json").write_text(json.dumps(items)[:-40])
    assert "cut off or damaged at row 3" in problems(small)
    (tmp_path / "items_human_ins.json").write_text('{"B0": 1}')
    assert "must be a list" in problems(small)


def test_a_package_that_is_not_installed_is_no_damage(place, monkeypatch):
    (place / "webshop").mkdir(parents=True)
    (place / "webshop/items_shuffle_1000.json").write_text("[]")
    monkeypatch.setitem(sys.modules, "repro.environments.webshop", None)
    report = check("webshop-1000")
    assert report.status == "unchecked" and "needs the package" in report.problems[0]
    assert check_all(["webshop-1000"])[1] is False and check_all([])[1] is True


# --- the command


def test_the_command_fails_for_a_named_set_alone(place, published, capsys):
    assert main(["data", "check"]) == 0  # nobody has them all
    out = capsys.readouterr().out
    assert out.count("missing") == len(DATASETS) and "->" not in out
    assert main(["data", "check", "gsm8k"]) == 1
    assert f"-> download it: {datasets.command('gsm8k')}" in capsys.readouterr().out
    published("dapo", 1)
    write(place / "dapo/data/dapo-math-17k.parquet", DAPO)
    assert main(["data", "check", "dapo", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["status"] == "whole" and report["found"] == ["train: 1 rows"]
    published("dapo", 2)
    assert main(["data", "check"]) == 1  # what is there must be whole, named or not
    assert "! train has 1 rows, published are 2" in capsys.readouterr().out


def test_the_list_is_json_too(capsys):
    assert main(["data", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == datasets.listing()


def test_an_unknown_name(capsys):
    for command in ("check", "path"):
        assert main(["data", command, "gsm9k"]) == 2
        assert "there is no data set 'gsm9k'; there are: gsm8k, math, dapo" in capsys.readouterr().err
    with pytest.raises(ReproError, match="gsm9k"):
        check("gsm9k")


def test_a_file_of_another_kind_has_no_rows_to_count(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(ReproError, match="parquet, jsonl and json"):
        dataset_checks.count_rows(tmp_path / "rows.csv")
    assert Part("all", ("*.csv",)).rows is None


def test_no_torch():
    code = (
        "import sys; from repro.study import dataset_checks; dataset_checks.check_all([]); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
