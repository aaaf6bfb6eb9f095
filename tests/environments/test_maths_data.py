"""Loading GSM8K, MATH and DAPO-Math-17k from small files in their published schemas."""

import json
import sys
import types

import pyarrow
import pytest
from pyarrow import parquet

from repro.environments.maths_data import CHECKS, HUB, boxed_prompt, load_queries, random_subset
from repro.environments.query import Query
from repro.environments.verifier import numbers_match
from repro.errors import ReproError

GSM8K = [
    {
        "question": "Natalia sold clips to 48 friends in April, and half as many in May. How many in all?",
        "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nIn all 48+24 = <<48+24=72>>72.\n#### 72",
    },
    {"question": "Zoë pays 1.250 € … how much in cents?", "answer": "1.25 × 100 000\n#### 125,000"},
]
MATH = [
    {
        "problem": "What is $\\frac{1}{4} + \\frac{1}{4}$?",
        "level": "Level 1",
        "type": "Prealgebra",
        "solution": "We get $\\boxed{\\frac{1}{2}}$.",
    },
    {
        "problem": "How many primes are even?",
        "level": "Level 2",
        "type": "Counting & Probability",
        "solution": "Only one: $\\boxed 1$.",
    },
]


def dapo(question, answer, index="9a9b6eb4-a1cb-49d1-8c1e-62eaf2f74079"):
    return {
        "data_source": "math_dapo",
        "prompt": [
            {
                "content": "Solve the following math problem step by step. The last line of your response "
                "should be of the form Answer: $Answer (without quotes) where $Answer is the answer to the "
                "problem.\n\n"
                f'{question}\n\nRemember to put your answer on its own line after "Answer:".',
                "role": "user",
            }
        ],
        "ability": "MATH",
        "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": index},
    }


DAPO = [dapo("In triangle $ABC$, find $AB + AC$.", "34"), dapo("计算 $2^{10}$。", "1024")]
ROWS = {"gsm8k": GSM8K, "math": MATH, "dapo": DAPO}


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
@pytest.mark.parametrize("name", ["gsm8k", "math", "dapo"])
def test_every_format_gives_the_same_queries(tmp_path, name, suffix):
    loaded = load_queries(name, write(tmp_path / f"rows{suffix}", ROWS[name]))
    assert loaded.queries == load_queries(name, write(tmp_path / "again.json", ROWS[name])).queries
    assert len(loaded.queries) == 2
    assert loaded.malformed == () and loaded.duplicates == 0


def test_gsm8k_fields(tmp_path):
    first, second = load_queries("gsm8k", write(tmp_path / "train.jsonl", GSM8K)).queries
    assert first.text == GSM8K[0]["question"]
    assert first.answer == "72"
    assert first.trace == "Natalia sold 48/2 = 24 clips in May.\nIn all 48+24 = 72."
    assert second.text == "Zoë pays 1.250 € … how much in cents?"
    assert second.answer == "125000"
    assert numbers_match("That makes 125,000 cents.", second.answer)


def test_math_fields(tmp_path):
    first, second = load_queries("math", write(tmp_path / "train.jsonl", MATH)).queries
    assert (first.answer, first.level, first.trace) == ("\\frac{1}{2}", "Level 1", MATH[0]["solution"])
    assert (second.answer, second.level) == ("1", "Level 2")
    assert first.id.startswith("math/prealgebra/") and second.id.startswith("math/counting_probability/")


def test_dapo_fields_without_the_instruction_around_the_question(tmp_path):
    first, second = load_queries("dapo", write(tmp_path / "dapo-math-17k.parquet", DAPO)).queries
    assert first.text == "In triangle $ABC$, find $AB + AC$."
    assert (first.answer, first.level, first.trace) == ("34", "math_dapo", "")
    assert second.text == "计算 $2^{10}$。"
    assert boxed_prompt(first.text).startswith(first.text) and "\\boxed{}" in boxed_prompt(first.text)


def test_dapo_rows_repeated_by_accident_are_merged_and_counted(tmp_path):
    rows = [dapo("1 + 1?", "2", index=str(i)) for i in range(100)] + DAPO
    loaded = load_queries("dapo", write(tmp_path / "dapo-math-17k.parquet", rows))
    assert [query.answer for query in loaded.queries] == ["2", "34", "1024"]
    assert loaded.duplicates == 99
    assert loaded.summary == "3 queries; 99 repeated rows merged, 0 malformed rows left out"


def test_a_question_with_two_answers_is_left_out_altogether(tmp_path):
    rows = [dapo("1 + 1?", "2"), DAPO[0], dapo("1 + 1?", "3"), dapo("1 + 1?", "2")]
    file = write(tmp_path / "rows.jsonl", rows)
    loaded = load_queries("dapo", file)
    assert [query.answer for query in loaded.queries] == ["34"]
    assert len(loaded.malformed) == 2
    assert f"{file}, row 3: answer '3', but {file}, row 1 asks the same and has '2'" in loaded.malformed
    assert f"{file}, row 1: its question has another answer in {file}, row 3" in loaded.malformed
    with pytest.raises(ReproError, match="row 3: answer '3'"):
        load_queries("dapo", file, skip_malformed=False)


def test_the_folders_of_the_first_release_of_math(tmp_path):
    write(tmp_path / "MATH/train/prealgebra/1.json", MATH[0])
    write(tmp_path / "MATH/train/counting_and_probability/7.json", MATH[1])
    write(tmp_path / "MATH/test/prealgebra/2.json", {**MATH[0], "problem": "held out"})
    write(tmp_path / "MATH/.cache/3.json", {**MATH[0], "problem": "hidden"})
    train = load_queries("math", tmp_path / "MATH")
    assert {query.text for query in train.queries} == {row["problem"] for row in MATH}
    test = load_queries("math", tmp_path / "MATH", split="test")
    assert [query.text for query in test.queries] == ["held out"]
    assert len(load_queries("math", str(tmp_path / "MATH/train")).queries) == 2


def test_the_folders_of_a_hub_snapshot(tmp_path):
    write(tmp_path / "main/train-00000-of-00001.parquet", GSM8K)
    write(tmp_path / "main/test-00000-of-00001.parquet", [{"question": "2 + 2?", "answer": "#### 4"}])
    write(tmp_path / "socratic/train-00000-of-00001.parquet", GSM8K)  # same questions, other traces
    train = load_queries("gsm8k", tmp_path)
    assert (len(train.queries), train.duplicates) == (2, 2)
    assert [query.answer for query in load_queries("gsm8k", tmp_path, split="test").queries] == ["4"]
    with pytest.raises(ReproError, match="none is for the split 'validation'"):
        load_queries("gsm8k", tmp_path, split="validation")


MALFORMED = {
    "gsm8k": [
        ({"question": "q"}, "field 'answer' is missing"),
        ({"question": 3, "answer": "#### 3"}, "field 'question' must be text, not int"),
        ({"question": " ", "answer": "#### 3"}, "the question is empty"),
        ({"question": "q", "answer": "it is 3"}, "has no '####'"),
        ({"question": "q", "answer": "#### three"}, "'three' after '####' is not one number"),
        ({"question": "q", "answer": "#### 1,5"}, "'1,5' after '####' is not one number"),
        ([], "not list"),
    ],
    "math": [
        ({**MATH[0], "solution": "It is 3."}, "no closed"),
        ({**MATH[0], "solution": "$\\boxed{3$"}, "no closed"),
        ({**MATH[0], "level": None}, "field 'level' must be text, not NoneType"),
        ({**MATH[0], "solution": "\\boxed{" + "1" * 401 + "}"}, "the answer has 401 characters"),
    ],
    "dapo": [
        ({**DAPO[0], "prompt": "text"}, "field 'prompt' must be a list"),
        ({**DAPO[0], "prompt": []}, "one user message, not 0"),
        ({**DAPO[0], "reward_model": None}, "field 'reward_model'"),
        ({**DAPO[0], "reward_model": {"style": "rule"}}, "field 'ground_truth' is missing"),
        (dapo("q", ""), "the answer has 0 characters"),
    ],
}


@pytest.mark.parametrize(
    ("name", "row", "message"), [(name, *case) for name, cases in MALFORMED.items() for case in cases]
)
def test_malformed_rows_are_named_and_left_out_or_refused(tmp_path, name, row, message):
    file = write(tmp_path / "rows.jsonl", [ROWS[name][0], row, ROWS[name][1]])
    loaded = load_queries(name, file)
    assert len(loaded.queries) == 2
    assert len(loaded.malformed) == 1
    assert loaded.malformed[0].startswith(f"{file}, row 2: ") and message in loaded.malformed[0]
    with pytest.raises(ReproError, match="row 2: "):
        load_queries(name, file, skip_malformed=False)


def test_damaged_lines_do_not_hide_the_good_ones(tmp_path):
    file = tmp_path / "rows.jsonl"
    good = json.dumps(GSM8K[0]).encode()
    deep, huge = b"[" * 100_000, b"9" * 5_000
    file.write_bytes(b"\n".join([b"\xef\xbb\xbf" + good, b"{", b"", b"\xff\xfe", deep, huge, good]))
    loaded = load_queries("gsm8k", file)
    assert (len(loaded.queries), loaded.duplicates) == (1, 1)
    assert [line.split(": ")[0].rpartition(" ")[2] for line in loaded.malformed] == ["2", "4", "5", "6"]
    assert "not JSON" in loaded.malformed[0] and "not UTF-8" in loaded.malformed[1]


@pytest.mark.parametrize("content", [b"", b"PAR1 cut off"])
def test_a_damaged_parquet_file_is_named(tmp_path, content):
    file = tmp_path / "train.parquet"
    file.write_bytes(content)
    with pytest.raises(ReproError, match="train.parquet: not a readable parquet file"):
        load_queries("gsm8k", file)


def test_nothing_to_load_is_an_error_that_says_why(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ReproError, match="it has no rows"):
        load_queries("gsm8k", tmp_path / "empty.jsonl")
    with pytest.raises(ReproError, match="field 'answer' is missing"):
        load_queries("gsm8k", write(tmp_path / "math.jsonl", MATH))
    with pytest.raises(ReproError, match=r"no such file or folder: .*gone\.parquet.*openai/gsm8k"):
        load_queries("gsm8k", str(tmp_path / "gone.parquet"))
    with pytest.raises(ReproError, match="expected a file that ends in"):
        load_queries("gsm8k", write(tmp_path / "rows.csv", GSM8K))
    with pytest.raises(ReproError, match="no maths data set 'aime'; there are gsm8k, math, dapo"):
        load_queries("aime")


def fake_datasets(monkeypatch, load_dataset):
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))


def test_the_hub_is_asked_for_every_subset_of_the_official_id(monkeypatch):
    asked = []

    def load_dataset(hub_id, subset, split):
        asked.append((hub_id, subset, split))
        return [{**MATH[0], "problem": f"a problem of {subset}"}]

    fake_datasets(monkeypatch, load_dataset)
    assert len(load_queries("math", split="test").queries) == 7
    assert asked == [("EleutherAI/hendrycks_math", subset, "test") for subset in HUB["math"][1]]
    asked.clear()
    load_queries("math", "someone/MATH")
    assert asked == [("someone/MATH", None, "train")]


def test_a_hub_that_does_not_answer_or_a_missing_package_is_explained(monkeypatch):
    def load_dataset(hub_id, subset, split):
        raise ConnectionError("no route to host")

    fake_datasets(monkeypatch, load_dataset)
    with pytest.raises(ReproError, match="ConnectionError: no route.*network.*BytedTsinghua-SIA/DAPO"):
        load_queries("dapo")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ReproError, match="pip install datasets.*openai/gsm8k"):
        load_queries("gsm8k")


def queries(count):
    return tuple(Query(id=f"q/{i}", text=str(i), answer=str(i), level="") for i in range(count))


def test_random_subset_depends_on_the_seed_and_not_on_the_order():
    pool = queries(500)
    drawn = random_subset(pool, 100, seed=1)
    assert len(set(drawn)) == 100
    assert random_subset(pool[::-1], 100, seed=1) == drawn
    assert random_subset(pool, 40, seed=1) == drawn[:40]
    assert random_subset(pool, 100, seed=2) != drawn
    with pytest.raises(ReproError, match="4000 was asked of 500"):
        random_subset(pool)


def test_random_subset_is_uniform():
    # 400 seeds, 5 of 20: each query is drawn 100 times in expectation, deviation sqrt(400 * 1/4 * 3/4) = 8.7
    pool = queries(20)
    counts = {query: 0 for query in pool}
    for seed in range(400):
        for query in random_subset(pool, 5, seed):
            counts[query] += 1
    assert all(60 < count < 140 for count in counts.values())


def test_every_set_has_a_check():
    assert CHECKS.keys() == HUB.keys()
