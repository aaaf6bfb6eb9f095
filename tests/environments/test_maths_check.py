"""Symbolic checking of answers: what matches, what does not, and that no answer can stop the run."""

import importlib.util
import threading

import pytest

from repro.environments import maths_check
from repro.environments.maths_check import MAX_LENGTH, MathsVerifier, maths_match, stated_answer
from repro.errors import ReproError

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed (extra `data`)"
)


@pytest.fixture(scope="module")
def verifier():
    made = MathsVerifier()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("response", "stated"),
    [
        ("first \\boxed{1}, then \\boxed{\\frac{a}{b}}", "\\frac{a}{b}"),
        ("work\n#### 34\n", "34"),
        ("Answer: 34", "34"),
        ("**Answer:** $\\frac{4}{8}$.", "\\frac{4}{8}"),
        ("Answer: 1\nhm\nanswer is \\(x^2\\)", "x^2"),
        ("\\boxed{3} is it. Answer: 4", "3"),
        ("34", ""),
        ("", ""),
        ("\\boxed{3", ""),
        ("\\boxed{" + "1" * (MAX_LENGTH + 1) + "}", ""),
    ],
)
def test_stated_answer(response, stated):
    assert stated_answer(response) == stated


@needs_math_verify
@pytest.mark.parametrize(
    ("answer", "given", "matches"),
    [
        ("\\frac{1}{2}", "\\frac12", True),
        ("\\frac{1}{2}", "0.5", True),
        ("2\\sqrt{2}", "\\sqrt{8}", True),
        ("34", "x = 34", True),
        ("90^\\circ", "90", True),
        ("1,234", "1234", True),
        ("(3, 4]", "(3,4]", True),
        ("\\{1, 2\\}", "\\{2, 1\\}", True),
        ("x^2+1", "1 + x^2", True),
        ("\\text{Evelyn}", "\\text{ Evelyn }", True),
        ("34", "35", False),
        ("34", "34, 35", False),
        ("34", "-34", False),
        ("(3, 4]", "[3, 4]", False),
        ("\\text{Evelyn}", "\\text{Angela}", False),
        ("3", "\\text{nan}", False),
        ("3", "\\{\\{\\{", False),
        ("3", "\ud800", False),
    ],
)
def test_match(verifier, answer, given, matches):
    assert verifier.match(f"so it is \\boxed{{{given}}}", answer) is matches


@needs_math_verify
def test_a_check_that_hangs_is_ended_and_the_next_one_is_served():
    verifier = MathsVerifier(cpu_seconds=0.5)
    assert not verifier.match("\\boxed{9^{9^{9}}}", "34")
    assert verifier.ended == 1
    assert verifier.match("\\boxed{\\frac{68}{2}}", "34")
    assert verifier.ended == 1
    verifier.close()


@needs_math_verify
def test_answers_are_not_executed(verifier, tmp_path):
    target = tmp_path / "made"
    assert not verifier.match(f"\\boxed{{__import__('pathlib').Path('{target}').touch()}}", "34")
    assert not target.exists()


@needs_math_verify
def test_threads_get_their_own_replies():
    wrong = []

    def check(number):
        for other in range(6):
            if maths_match(f"\\boxed{{{2 * other} / 2}}", str(number)) is not (other == number):
                wrong.append((number, other))

    threads = [threading.Thread(target=check, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_mark_is_no_answer_and_identical_strings_need_no_child():
    verifier = MathsVerifier()
    assert not verifier.match("it is 34", "34")
    assert not verifier.match("", "34")
    assert verifier.match("\\boxed{ \\text{Evelyn} }", "\\text{Evelyn}")
    assert verifier._child is None


def test_a_missing_package_and_a_long_reference_are_named(monkeypatch):
    monkeypatch.setattr(maths_check.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ReproError, match="pip install math-verify"):
        MathsVerifier().match("\\boxed{1}", "2")
    with pytest.raises(ReproError, match="500 characters"):
        MathsVerifier().match("\\boxed{1}", "2" * 500)
