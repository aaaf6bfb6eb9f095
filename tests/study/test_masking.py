"""What is said to be shown, hidden and cut is what the prompt holds; by hand, for every world, and as HTML."""

import html as markup
import json
import re
import subprocess
import sys

import pytest

from repro import environments
from repro.algorithms.masks import CodeBlocks, CriticalPath, Entities, Nothing, Numerals
from repro.algorithms.smepo import HINTS, ExpertTrace, audit, survey
from repro.environments import guided_arithmetic, program, search
from repro.environments.arithmetic import Step
from repro.environments.query import Query
from repro.errors import ReproError
from repro.study import STUDIES, masking, smepo_summary
from repro.study.masking import ANSWER, CUT, HIDDEN, KEPT, Part, View, html, own, view
from repro.study.masking_panel import Masks
from repro.study.smepo_code import SMEPO_CODE
from repro.study.smepo_math import SMEPO_MATH
from repro.study.smepo_search import SMEPO_SEARCH

TRACE = "pens = 3\nred = pens * 4 = 12\nSo 12 in all.\n#### 12"


def query(trace=TRACE, text="How many?", answer="12", graph=()):
    return Query("q", text, answer, "", trace, graph)


def kinds(one):
    return [(part.kind, part.text) for part in one.parts]


def test_a_mask_by_hand():
    shown = view("x", ExpertTrace(CriticalPath()), query(graph=masking.solution(TRACE)))
    assert kinds(shown) == [
        (KEPT, "pens = 3\nred = pens * 4 = "), (HIDDEN, "[NUMBER]"), (KEPT, "\nSo "), (ANSWER, "12"),
        (KEPT, " in all.\n#### "), (HIDDEN, "[NUMBER]"),
    ]  # fmt: skip
    assert shown.parts[1].was == "12"
    assert shown.note == "hides 2 of 11 words and numbers; shows the answer"


def test_a_prefix_and_a_cut_by_hand():
    half = view("x", ExpertTrace(Nothing(), ratio=0.5), query())  # it ends in the second line
    assert kinds(half) == [(KEPT, "pens = 3\n"), (CUT, TRACE.removeprefix("pens = 3\n"))]
    assert half.note == "hides nothing; the rest is cut off"
    whole = view("x", ExpertTrace(Nothing(), last_line=False), query())
    assert whole.parts[-1] == Part("#### 12", CUT) and whole.note.endswith("cut off; shows the answer")


def test_an_answer_that_the_question_prints_is_no_secret():
    assert kinds(view("x", ExpertTrace(Nothing()), query(text="Of 12 pens?"))) == [(KEPT, TRACE)]
    assert (ANSWER, "12") not in kinds(view("x", ExpertTrace(Nothing()), query("112 and 12.5")))


def test_a_question_without_a_trace_or_without_room():
    assert view("x", ExpertTrace(Nothing()), query("")) == View("x", (), "there is no trace")
    tight = view("x", ExpertTrace(Nothing(), max_prompt=3), query())
    assert kinds(tight) == [(CUT, TRACE)] and tight.note == "no room for the trace"


WORLDS = [
    (guided_arithmetic.train_list(guided_arithmetic.GuidedArithmeticConfig(train_queries=3), 0), list(HINTS.values())),
    (program.train_list(program.ProgramConfig(train_queries=3), 0), [ExpertTrace(CodeBlocks()), HINTS["prefix_50"]]),
    (search.train_list(search.SearchConfig(train_queries=3), 0), [ExpertTrace(Entities()), HINTS["full_cut"]]),
]


@pytest.mark.parametrize(("queries", "hints"), WORLDS, ids=["arithmetic", "program", "search"])
def test_the_pieces_make_up_the_prompt_and_the_trace(queries, hints):
    for one in queries:
        for hint in hints:
            parts = view("x", hint, one).parts
            shown = "".join(part.text for part in parts if part.kind != CUT)
            assert shown.rstrip("\n") == hint.guide(one).shown.rstrip("\n")
            assert "".join(part.was or part.text for part in parts) == one.trace
            assert (HIDDEN in {part.kind for part in parts}) == bool(hint.masker.spans(one))


def test_the_hints_of_a_study():
    example = masking.of_study(SMEPO_MATH, index=2)
    labels = [one.label for one in example.views]
    assert labels[0] == "full trace" and len(labels) == len(set(labels)) >= 9
    assert example.question.endswith(":") and example.answer.isdigit()
    with pytest.raises(ReproError, match="question 9999 of smepo_math: the training list of seed 0 has"):
        masking.of_study(SMEPO_MATH, index=9999)


# A trace of one's own -------------------------------------------------------------------------------------------------


def test_lines_of_a_solution():
    steps = masking.solution("a = 3\nStep 1: double it\nb = a * 2 = 6\nodd line = 4 = 5 = 6\nc = b - a = 3")
    assert [(s.name, s.source, s.fact, s.computed) for s in steps] == [
        ("a", "", "a = 3", "a = 3"),
        ("b", "a", "b = a * 2", "b = a * 2 = 6"),
        ("c", "b a", "c = b - a", "c = b - a = 3"),
    ]


def test_masks_that_apply_to_a_trace():
    labels = [one.label for one in own(TRACE).views]
    assert labels == ["full trace", "critical path", "all numerals", "all numerals, as released",
                      "random, as much as critical path", "prefix of 50 %"]  # fmt: skip
    code = own("Sort, then take 1.\n```python\nprint(x)\n```", names=("Ann", ""), ratio=0.25)
    assert [one.label for one in code.views] == ["full trace", "code blocks", "all numerals",
            "all numerals, as released", "random, as much as code blocks", "prefix of 25 %"]  # fmt: skip
    assert (HIDDEN, "[CODE]\n") in kinds(code.views[1])
    ann = own("Ann and Annabel", names=("Ann",)).views
    assert kinds(ann[1]) == [(HIDDEN, "[ENTITY]"), (KEPT, " and Annabel")] and len(kinds(ann[2])) == 2
    assert [one.label for one in own("Nothing to hide").views] == ["full trace", "prefix of 50 %"]


@pytest.mark.parametrize(("given", "message"), [({"trace": " "}, "the trace is empty"), ({"ratio": 0}, "ratio 0")])
def test_what_cannot_be_masked(given, message):
    with pytest.raises(ReproError, match=message):
        own(**{"trace": TRACE} | given)


def test_the_panel_shows_what_the_call_gives():
    for study, mask in (("smepo_code", "code blocks"), ("smepo_search", "entities"), ("smepo_math", "critical path")):
        assert mask in Masks(study).shown.value
    panel = Masks()
    assert "critical path" in panel.shown.value and "[ENTITY]" not in panel.shown.value
    panel.trace.value, panel.question.value, panel.names.value = "Ann has 2 < 3 pens", "", "Ann, pens"
    assert panel.shown.value == html(own("Ann has 2 < 3 pens", "", "24", ["Ann", "pens"]))
    assert "[ENTITY]" in panel.shown.value
    panel.trace.value = ""
    assert panel.shown.value == "<b>the trace is empty: a policy would see the question alone</b>"


@pytest.mark.parametrize("study", [SMEPO_MATH, SMEPO_CODE, SMEPO_SEARCH], ids=lambda study: study.name)
def test_the_masks_of_the_studies_are_clean(study):
    """Own masks leak nowhere, full traces wherever the question does not print the answer."""
    found = masking.surveys(study, "smoke")
    own_mask, full = (found[study.arms[arm].label] for arm in ("smepo@wide", "full@wide"))
    assert own_mask["leaking"] == own_mask["hides_nothing"] == 0 < own_mask["guided"] == own_mask["queries"]
    assert full["queries"] - full["answer_given"] <= full["leaking"] <= full["queries"]  # at least what is asked for
    text = smepo_summary.leaks(found)
    assert len(text.splitlines()) == len(found) + 2 and f"| {study.arms['smepo@wide'].label} |" in text


def test_what_other_hints_show_is_judged_by_the_studys_own_mask():
    """Of two derived values a prefix that ends after the first shows half; its own masker hides nothing."""
    one = Query("q", "b =4\na = b +3\nc = a +3\n? c :", "1", "", "b =4\na = b +3 =7\nc = a +3 =1\n? c =1\n",
                  (Step("b", "", "", 0, 4), Step("a", "b", "+", 3, 7), Step("c", "a", "+", 3, 1)))  # fmt: skip
    prefix, mask = ExpertTrace(Nothing(), ratio=0.7), CriticalPath()
    assert view("", prefix, one).note == "hides nothing; the rest is cut off"
    assert view("", prefix, one, secret=mask).note == "hides nothing; the rest is cut off; still shows 7"
    assert audit(one, prefix, secret=mask) == (("7",), (), False) and audit(one, prefix).values == ()
    judged, alone = survey(prefix, [one], secret=mask), survey(prefix, [one])
    assert (judged["leaking"], judged["shown_share"]) == (1, 0.5) and (alone["leaking"], alone["shown_share"]) == (0, 0)


def test_a_papers_tier_has_its_own_arms_and_mask(monkeypatch):
    """Real traces have no solution graph: all numerals are what should be hidden. No arm of another tier is asked."""
    real = [Query("q", "How many is 2 times 17?", "34", "", "2 * 17 = 34\nSo 34.")]
    monkeypatch.setattr(environments, "train_list", lambda world, seed: real)
    found = masking.surveys(SMEPO_MATH, "paper")
    assert list(found)[:2] == ["full trace", "SMEPO, all numerals"] and "SMEPO, critical path" not in found
    assert found["full trace"]["leaking"] == 1 and found["SMEPO, all numerals"]["leaking"] == 0
    assert masking.of_study(SMEPO_MATH, "paper").views[1].label == "SMEPO, all numerals"


@pytest.mark.parametrize("again", ["b = 34\n#### 34", "answer = 34", "c = 5\n#### 34"])
def test_a_result_stated_again_is_still_the_answer(again):
    """b = 2 * a is what was asked, whether its value comes once more, under another name, or before something else."""
    shown = next(
        one for one in own(f"a = 17\nb = 2 * a = 34\n{again}", answer="34").views if one.label == "critical path"
    )
    assert (KEPT, "a = 17\nb = 2 * a = ") in kinds(shown) and not any("34" in text for _, text in kinds(shown))
    assert "5" in again or kinds(shown).count((HIDDEN, "[NUMBER]")) == 1 + again.count("34")


# As HTML, and on disk -------------------------------------------------------------------------------------------------


def test_html_is_legible_without_its_styles():
    text = html(own("1 < 2 & <b>\nno = 7", "a <i>?", "7"))
    assert "<i>" not in text and "&lt;i&gt;" in text and "&lt;b&gt;" in text
    words = markup.unescape(re.sub(r"<[^>]+>", " ", text))
    assert "[NUMBER]" in words and masking.SCISSORS in words and "the answer, shown" in words
    assert "<style" not in text and "title='hides: 7'" in text
    opened, closed = (len(re.findall(tag, text)) for tag in (r"<(?:div|span|small|b|code)\b", r"</"))
    assert opened == closed


def test_examples_are_kept_and_loaded(tmp_path):
    assert masking.load("smepo_math", tmp_path) is None
    path = masking.save([SMEPO_MATH], tmp_path)
    assert masking.load("smepo_math", tmp_path) == masking.of_study(SMEPO_MATH)
    assert masking.load("nothing", tmp_path) is None
    assert masking.load_surveys("smepo_math", tmp_path) == masking.surveys(SMEPO_MATH)
    assert masking.load_surveys("nothing", tmp_path) == {}
    first = path.read_bytes()
    assert masking.save([SMEPO_MATH], tmp_path).read_bytes() == first and json.loads(first)


@pytest.mark.parametrize("study", [study for study in STUDIES.values() if study.paper == "smepo"], ids=lambda s: s.name)
def test_the_committed_example_is_current(study):
    assert masking.load(study.name) == masking.of_study(study), "run python -m repro.study.masking"


def test_committed_examples_need_no_torch():
    code = "import sys, repro.study.masking as m; m.load('smepo_math'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_numerals_keep_labels():
    assert kinds(view("x", ExpertTrace(Numerals()), query("Step 1: 3 + 4")))[0] == (KEPT, "Step 1: ")
