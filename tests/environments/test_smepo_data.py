"""SMEPO's released schema from small files: maths, code and search rows, and every way a row can be odd."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from repro.algorithms.masks import CodeBlocks, Numerals
from repro.algorithms.smepo import ExpertTrace, survey
from repro.environments.smepo_data import load_traces
from repro.errors import ReproError

TESTS = {"inputs": ["1 2\n"], "outputs": ["3\n"]}
ROWS = [
    {
        "question": " What is $3+4$? ",
        "reward_model": {"ground_truth": "7", "style": "rule"},
        "teacher_ds": "Step 1: add.\n3+4 = 7\n\\boxed{7}",
    },
    {
        "question": "Print the sum of two numbers.",
        "reward_model": {"ground_truth": json.dumps(TESTS), "style": "rule"},
        "teacher_ds": "Read both, then add.\n```python\nprint(sum(map(int, input().split())))\n```\n",
    },
]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_queries(tmp_path, suffix):
    loaded = load_traces(write(tmp_path / f"rows{suffix}", ROWS), level="mixed")
    maths, code = loaded.queries
    assert (maths.text, maths.answer, maths.level) == ("What is $3+4$?", "7", "mixed")
    assert maths.trace == ROWS[0]["teacher_ds"] and json.loads(code.answer) == TESTS
    assert maths.id.startswith("smepo/") and maths.id != code.id and maths.graph == ()
    assert loaded.summary == ("2 queries, 0 of them without a trace; 0 repeated rows merged, 0 malformed rows left out")


def test_loaded_traces_can_be_masked(tmp_path):
    maths, code = load_traces(write(tmp_path / "rows.json", ROWS)).queries
    assert (
        ExpertTrace(Numerals()).guide(maths).shown == "Step 1: add.\n[NUMBER]+[NUMBER] = [NUMBER]\n\\boxed{[NUMBER]}\n"
    )
    assert ExpertTrace(CodeBlocks()).guide(code).shown == "Read both, then add.\n```python\n[CODE]\n```\n"
    assert survey(ExpertTrace(Numerals()), [maths])["leaking"] == 0
    with pytest.raises(ValueError, match="no solution graph; use Numerals"):
        ExpertTrace().prompt(maths)


def test_a_folder_is_read_whole_and_hidden_files_are_not(tmp_path):
    write(tmp_path / "maths" / "train.jsonl", ROWS[:1])
    write(tmp_path / "code" / "train.parquet", ROWS[1:])
    write(tmp_path / ".cache" / "old.json", [{"question": "no"}])
    assert len(load_traces(tmp_path).queries) == 2


def test_both_places_of_the_trace_are_read(tmp_path):
    prepared = [{**ROWS[0], "teacher_ds": None, "extra_info": {"teacher_ds": "from here"}}, ROWS[1]]
    assert load_traces(write(tmp_path / "rows.json", prepared)).queries[0].trace == "from here"


def test_rows_without_a_trace_are_counted(tmp_path):
    rows = [ROWS[0], {**ROWS[1], "teacher_ds": ""}, {"question": "Q", "reward_model": "9"}]
    loaded = load_traces(write(tmp_path / "rows.json", rows))
    assert (len(loaded.queries), loaded.without_trace, loaded.malformed) == (3, 2, ())
    assert loaded.queries[2].answer == "9"  # the ground truth itself


def test_a_set_without_one_trace_is_refused(tmp_path):
    rows = [{**row, "teacher_ds": " "} for row in ROWS]
    with pytest.raises(ReproError, match="none of the 2 rows .* would be unguided"):
        load_traces(write(tmp_path / "rows.json", rows))


def test_ground_truths_that_are_not_text_are_kept(tmp_path):
    rows = [{**ROWS[0], "reward_model": {"ground_truth": {"target": ["Ely", "Ely City"]}}}]
    assert json.loads(load_traces(write(tmp_path / "rows.json", rows)).queries[0].answer) == {
        "target": ["Ely", "Ely City"]
    }


BROKEN = [
    ({"reward_model": "1"}, "field 'question' is missing"),
    ({"question": " ", "reward_model": "1"}, "field 'question' is missing"),
    ({"question": "Q"}, "holds no ground truth"),
    ({"question": "Q", "reward_model": {"style": "rule"}}, "holds no ground truth"),
    ({"question": "Q", "reward_model": ""}, "holds no ground truth"),
    ({"question": "Q", "reward_model": "1", "teacher_ds": ["a"]}, "'teacher_ds' must be text, not list"),
    ("a string", "not str"),
]


@pytest.mark.parametrize(("row", "problem"), BROKEN, ids=[problem for _, problem in BROKEN])
def test_malformed_rows_are_named(tmp_path, row, problem):
    file = write(tmp_path / "rows.jsonl", [ROWS[0], row])
    loaded = load_traces(file)
    assert len(loaded.queries) == 1 and len(loaded.malformed) == 1
    assert loaded.malformed[0].startswith(f"{file}, row 2: ") and problem in loaded.malformed[0]
    with pytest.raises(ReproError, match="row 2"):
        load_traces(file, skip_malformed=False)


def test_lines_that_are_not_json_or_utf8_are_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(json.dumps(ROWS[0]).encode() + b'\n{"question": \n{"question": "\xff"}\n')
    loaded = load_traces(file)
    assert [problem.split(": ", 1)[1][:9] for problem in loaded.malformed] == ["not JSON:", "not UTF-8"]


def test_equal_questions_are_merged_and_contradictions_left_out(tmp_path):
    rows = [{**ROWS[0], "teacher_ds": ""}, ROWS[0], ROWS[1], {**ROWS[1], "reward_model": {"ground_truth": "other"}}]
    loaded = load_traces(write(tmp_path / "rows.json", rows))
    assert loaded.duplicates == 1 and loaded.without_trace == 0
    assert [query.trace for query in loaded.queries] == [ROWS[0]["teacher_ds"]]
    assert len(loaded.malformed) == 2 and all("another ground truth" in problem for problem in loaded.malformed)


def test_sources_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.jsonl").write_text("")
    for name, message in [
        ("absent.json", "hf download mit-han-lab/SMEPO"),
        ("notes.txt", "expected a file"),
        ("broken.parquet", "not a readable parquet file"),
        ("empty.jsonl", "it has no rows"),
    ]:
        with pytest.raises(ReproError, match=message):
            load_traces(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ReproError, match="expected a file, or a folder"):
        load_traces(tmp_path / "folder")
