"""Benchmarks in the published files' schemas, and a maths world that holds them out."""

import json
from dataclasses import replace

import pytest

from repro import environments
from repro.environments import maths_world
from repro.environments.benchmarks import load_benchmark
from repro.environments.maths_data import load_queries
from repro.environments.maths_world import BenchmarkedMathsConfig, MathsConfig, heldout, train_list
from repro.errors import ReproError

AIME = [{"problem": "What is 2 + 3?", "answer": "005"}, {"problem": " How many primes are even? ", "answer": 1}]
GSM8K = [{"question": "Ann has 2 figs and buys 3. How many?", "answer": "2 + 3 = 5\n#### 5"}]


def dapo(question, answer):
    asked = f"Solve it.\n\n{question}"
    return {
        "prompt": [{"role": "user", "content": asked}],
        "reward_model": {"ground_truth": answer, "style": "rule"},
        "data_source": "math_dapo",
    }


DAPO = [dapo("What is 1 + 1?", "2"), dapo("一加一等于多少？", "2"), dapo("What is 2 + 2?", "4")]


@pytest.fixture
def external(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    files = {"aime25/data/train-00000.jsonl": AIME, "gsm8k/main/test-0.jsonl": GSM8K, "dapo/data/dapo.jsonl": DAPO}
    for name, rows in files.items():
        path = tmp_path / "external" / name
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "external"


def test_a_benchmark_is_read_whole_whatever_its_file_is_called(external):
    five, one = load_benchmark("aime25")
    assert (five.answer, one.answer, five.level) == ("005", "1", "aime25")
    assert five.text == "What is 2 + 3?" and one.text == "How many primes are even?" and five.id != one.id
    (figs,) = load_benchmark("gsm8k")
    assert figs.answer == "5" and figs.level == "gsm8k" and figs.text.startswith("Ann has")


def test_what_is_missing_or_malformed_is_said(external):
    with pytest.raises(ReproError, match="the benchmark 'aime24' is not in .*`repro data list`"):
        load_benchmark("aime24")
    (external / "aime25" / "data" / "train-00000.jsonl").write_text('{"problem": "?", "answer": true}\n')
    with pytest.raises(ReproError, match="row 1: a problem and its answer were expected"):
        load_benchmark("aime25")
    with pytest.raises(ReproError, match="benchmarks \\['aime'\\]; choose of gsm8k, math500"):
        BenchmarkedMathsConfig(benchmarks=("aime",))


@pytest.mark.parametrize("wrong", [{"train_queries": -1}, {"heldout_queries": 0}])
def test_a_world_without_questions_is_refused(wrong):
    with pytest.raises(ReproError, match="maths world: train_queries is .* give 0 .the whole set. or more, and 1 or"):
        MathsConfig(**wrong)


def test_a_world_trains_on_a_whole_set_and_holds_benchmarks_out(external):
    world = BenchmarkedMathsConfig("dapo_english", train_queries=0, benchmarks=("aime25", "gsm8k"))
    first, other = train_list(world, 0), train_list(world, 1)
    assert sorted(q.answer for q in first) == ["2", "4"] and {q.id for q in first} == {q.id for q in other}
    assert {level: len(queries) for level, queries in heldout(world).items()} == {"aime25": 2, "gsm8k": 1}
    assert environments.heldout(world) == heldout(world)
    asked = heldout(world)["aime25"][0].text
    assert asked.startswith("What is 2 + 3?") and "\\boxed{}" in asked
    assert heldout(replace(world, prompt="plain"))["aime25"][0].text == "What is 2 + 3?"
    assert environments.reward(world, heldout(world)["aime25"][0], "so it is \\boxed{5}") == 1.0
    assert environments.reward(world, heldout(world)["aime25"][0], "so it is \\boxed{6}") == 0.0


def test_english_is_what_has_no_chinese_characters(external):
    path = external / "dapo" / "data" / "dapo.jsonl"
    assert len(load_queries("dapo", path).queries) == 3
    assert [q.text for q in load_queries("dapo_english", path).queries] == [
        q.text for q in load_queries("dapo", path).queries if "一" not in q.text
    ]


def test_released_traces_are_a_training_set(external):
    place = external / "smepo"
    place.mkdir()
    row = {"question": "What is 1 + 1?", "reward_model": {"ground_truth": "2"}, "teacher_ds": "1 + 1 = 2"}
    world = BenchmarkedMathsConfig("smepo", train_queries=0, benchmarks=("aime25",), prompt="plain")
    with pytest.raises(ReproError, match="holds no math"):
        train_list(world, 0)
    (place / "math_train.jsonl").write_text(json.dumps(row) + "\n")
    (place / "code_train.jsonl").write_text(json.dumps({**row, "question": "Print 2."}) + "\n")
    (query,) = train_list(world, 0)  # files that have come, changed or moved are read anew
    assert (query.text, query.answer, query.trace, query.level) == ("What is 1 + 1?", "2", "1 + 1 = 2", "maths")
    assert environments.reward(world, query, "so it is \\boxed{2}") == 1.0
    loaded = maths_world._load("smepo", "", "train")
    assert maths_world._load("smepo", "", "train") is loaded  # read once while nothing changes
    (place / "math_train.jsonl").write_text(json.dumps({**row, "question": "What is 2 + 0 ?"}) + "\n")
    assert [query.text for query in train_list(world, 0)] == ["What is 2 + 0 ?"]
