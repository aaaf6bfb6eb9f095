r"""Maskers: what each hides and keeps, against the observed behaviour of the released rule and by hand."""

import collections
import random
from types import SimpleNamespace

import pytest

from repro.algorithms.masks import (
    CodeBlocks,
    CriticalPath,
    Entities,
    Nothing,
    Numerals,
    RandomMask,
    Span,
    hide,
    mentions,
    numerals,
    units,
)
from repro.environments import arithmetic, guided_arithmetic
from repro.environments.arithmetic import ArithmeticConfig
from repro.environments.guided_arithmetic import GuidedArithmeticConfig
from repro.environments.search.knowledge import Fact

QUERY = SimpleNamespace(id="q", text="", trace="", graph=())


def shown(masker, trace, **fields):
    query = SimpleNamespace(**{**vars(QUERY), "trace": trace, **fields})
    return hide(trace, masker.spans(query))


# The table of observed behaviours: the released rule, and the repaired one where it differs.
OBSERVED = [
    (r"\boxed{42}", r"\boxed{[NUMBER]}", None),
    (r"\frac{1}{2}", "[NUMBER]", None),
    (r"3.5 \times 10^{4}", "[NUMBER]", None),
    ("50%", "[NUMBER]", None),
    ("2/3", "[NUMBER]", None),
    (r"\frac{\sqrt{3}}{2}", r"\frac{[NUMBER]}{[NUMBER]}", None),
    ("x_{1}^2 + 5x - 6 = 0", "x_{[NUMBER]}^[NUMBER] + [NUMBER]x - [NUMBER] = [NUMBER]", None),
    ("1,000", "[NUMBER],[NUMBER]", None),
    ("3+4 = 7", "[NUMBER][NUMBER] = [NUMBER]", "[NUMBER]+[NUMBER] = [NUMBER]"),
    ("n-1", "n[NUMBER]", "n-[NUMBER]"),
    ("Step 1:", "__STRUCTURAL_NUMBER_[NUMBER]__:", "Step 1:"),
    ("### 1. **Setup**", "### [NUMBER]. **Setup**", None),
    (r"\boxed{A}", r"\boxed{A}", None),
    ("x+y", "x+y", None),
    (r"\frac{a}{b}", r"\frac{a}{b}", None),
    (r"\sqrt{x}", r"\sqrt{x}", None),
    ("one half", "one half", None),
    ("24 / 3 = 8", "[NUMBER] = [NUMBER]", "[NUMBER] / [NUMBER] = [NUMBER]"),
    ("7/-2", "[NUMBER]", None),
    ("50 %", "[NUMBER]", None),
    (r"50\%", r"[NUMBER]\%", "[NUMBER]"),
    (r"\frac {1} {2}, \Tfrac{1}{2}", "[NUMBER], [NUMBER]", None),
    (r"\sqrt [3] {8}, \sqrt[n]{8}", r"[NUMBER], \sqrt[n]{[NUMBER]}", None),
    (r"2 \times 10 ^ {4}", "[NUMBER]", None),
    ("Step 1.5", "__STRUCTURAL_NUMBER_[NUMBER]__[NUMBER]", "Step 1[NUMBER]"),
    ("Case 3x = 9", "Case [NUMBER]x = [NUMBER]", None),
    ("case 2/3", "__STRUCTURAL_NUMBER_[NUMBER]__/[NUMBER]", "case 2/[NUMBER]"),
    ("Step 1 -5", "__STRUCTURAL_NUMBER_[NUMBER]__ [NUMBER]", "Step 1 -[NUMBER]"),
]


@pytest.mark.parametrize(("trace", "released", "repaired"), OBSERVED, ids=[row[0] for row in OBSERVED])
def test_numerals_do_what_the_released_rule_was_seen_to_do(trace, released, repaired):
    assert shown(Numerals(defects=True), trace) == released
    assert shown(Numerals(), trace) == (released if repaired is None else repaired)


def test_every_kind_of_number_is_one_blank():
    latex = [r"\dfrac{12}{x1}", r"\tfrac{3y}{4}", r"\sqrt{2}", r"\sqrt[3]{2x}", r"-2 \times 10^5", r"1.5\times10^{-3}"]
    for text in [*latex, "-7", "+0.25", ".5", "1e-3", "6.02E23", "12.5%", "-3/4"]:
        assert shown(Numerals(), text) == shown(Numerals(defects=True), text) == "[NUMBER]", text


def test_a_sign_is_hidden_and_an_operator_kept():
    assert shown(Numerals(), "x = -5 and (-3)") == "x = [NUMBER] and ([NUMBER])"
    assert shown(Numerals(), "plum -6 =1") == "plum -[NUMBER] =[NUMBER]"
    assert shown(Numerals(), "f(x)-2, x^{-1}, 3 -5") == "f(x)-[NUMBER], x^{[NUMBER]}, [NUMBER] -[NUMBER]"
    assert shown(Numerals(), "so\n-5 remains") == "so\n[NUMBER] remains"  # nothing before it on its line
    assert shown(Numerals(defects=True), "plum -6 =1") == "plum [NUMBER] =[NUMBER]"


def test_structural_labels_are_kept_in_any_case():
    words = "step case part subcase problem example exercise lemma theorem claim stage round"
    for word in [*words.split(), "CASE", "Theorem"]:
        assert shown(Numerals(), f"{word} 12: 3") == f"{word} 12: [NUMBER]"
    assert shown(Numerals(), "Stepping 1, step 1.5, page 2") == "Stepping [NUMBER], step 1[NUMBER], page [NUMBER]"
    assert shown(Numerals(defects=True), "see Case 2 of 3") == "see __STRUCTURAL_NUMBER_[NUMBER]__ of [NUMBER]"


def test_numbers_are_found_where_they_stand():
    assert list(numerals("a 12 - 3.5")) == [(2, 4), (7, 10)]
    assert list(numerals("")) == [] and shown(Numerals(), "no digits") == "no digits"


def test_hide_replaces_spans_only():
    assert hide("abcdef", [Span(0, 1, "X"), Span(3, 5, "Y")]) == "XbcYf"
    assert hide("abc", []) == shown(Nothing(), "abc") == "abc"


# a given, two derived quantities, and one beside the path; values by hand, modulo 10
GIVEN = arithmetic.Step("plum", "", "", 0, 7)
FIRST = arithmetic.Step("fig", "plum", "-", 6, 1)
LAST = arithmetic.Step("kiwi", "fig", "+", 7, 8)
BESIDE = arithmetic.Step("olive", "plum", "+", 1, 8)
GRAPH = (BESIDE, GIVEN, FIRST, LAST)


def test_the_critical_path_in_words():
    trace = "kiwi fig plum : plum =7 olive = plum +1 =8 fig = plum -6 =1 kiwi = fig +7 =8"
    expected = "kiwi fig plum : plum =7 olive = plum +1 =8 fig = plum -6 =[NUMBER] kiwi = fig +7 =[NUMBER]"
    assert shown(CriticalPath(), trace, graph=GRAPH) == expected  # the given, the constants and what is beside stay


def test_the_critical_path_in_sentences():
    trace = (
        "Step 1: plum = 7.\nStep 2: fig = plum - 6 = 1, so fig = 1.\nStep 8: kiwi = fig + 7 = 8.\n"
        r"The answer is 8, \boxed{8}." + "\n#### 8"
    )
    expected = (
        "Step 1: plum = 7.\nStep 2: fig = plum - 6 = [NUMBER], so fig = [NUMBER].\nStep 8: kiwi = fig + 7 = [NUMBER].\n"
        r"The answer is [NUMBER], \boxed{[NUMBER]}." + "\n#### [NUMBER]"
    )
    assert shown(CriticalPath(), trace, graph=GRAPH) == expected


def test_the_critical_path_hides_whole_values_of_whole_names():
    graph = (GIVEN, arithmetic.Step("fig", "plum", "-", 6, 1))
    trace = "fig = 12 afig = 1 fig = 1.5 fig = 1"
    assert shown(CriticalPath(), trace, graph=graph) == "fig = 12 afig = 1 fig = 1.5 fig = [NUMBER]"


def test_a_quantity_of_two_sources_is_walked_back_through_both():
    def node(name, source, fact, value):
        return SimpleNamespace(name=name, source=source, fact=fact, computed=f"{fact} = {value}")

    graph = (
        node("a", "", "a", 2),
        node("b", "a", "b = a + 1", 3),
        node("c", "a", "c = a + 2", 4),
        node("d", "b c", "d = b * c", 12),
        node("e", "d", "e = d + 1", 13),
        node("f", "b c", "f = b - c", -1),
    )
    trace = "a = 2\nb = a + 1 = 3\nc = a + 2 = 4\nd = b * c = 12\ne = d + 1 = 13\nf = b - c = -1"
    expected = "a = 2\nb = a + 1 = [NUMBER]\nc = a + 2 = [NUMBER]\nd = b * c = 12\ne = d + 1 = 13\nf = b - c = [NUMBER]"
    assert shown(CriticalPath(), trace, graph=graph) == expected


@pytest.mark.parametrize("style", ["symbols", "english"])
def test_the_critical_path_of_the_arithmetic_world(style):
    """Slow reference: go through the trace's lines or words knowing which quantity each one states."""
    config = ArithmeticConfig(style=style, train_queries=60, heldout_queries=4)
    for query in arithmetic.train_list(config, 0):
        values = [f"={step.value}" for step in query.graph]
        if style == "symbols":
            words, seen = query.trace.split(" "), 0
            for place, word in enumerate(words):
                if word[0] == "=" and len(word) > 1:
                    assert word == values[seen]
                    words[place] = "=[NUMBER]" if seen else word  # the first value is given
                    seen += 1
            expected = " ".join(words)
        else:
            route, given, *lines = query.trace.split("\n")
            expected = "\n".join([route, given, *(line.rsplit(" ", 1)[0] + " [NUMBER]" for line in lines)])
        assert shown(CriticalPath(), query.trace, graph=query.graph) == expected


def test_a_masked_trace_does_not_depend_on_what_is_hidden():
    """The strongest leak audit: two solutions that differ in hidden values alone look the same once masked."""
    config = GuidedArithmeticConfig(train_queries=60, heldout_queries=4)
    for query in guided_arithmetic.train_list(config, 0):
        planted = guided_arithmetic.plant(config, query, random.Random(query.id))
        assert planted.trace != query.trace
        for masker in (CriticalPath(), Numerals()):
            assert hide(planted.trace, masker.spans(planted)) == hide(query.trace, masker.spans(query))


def test_the_critical_path_needs_a_graph():
    with pytest.raises(ValueError, match="query 'q' has a trace but no solution graph; use Numerals"):
        shown(CriticalPath(), "x = 1")
    assert shown(CriticalPath(), "") == ""


def test_code_blocks_lose_their_body_alone():
    trace = "Plan: sort.\n```python\nx = sorted(a)\nprint(x)\n```\nThen `print(x)`.\n```\n1\n```"
    expected = "Plan: sort.\n```python\n[CODE]\n```\nThen `print(x)`.\n```\n[CODE]\n```"
    assert shown(CodeBlocks(), trace) == expected
    for block, left in (
        ("```py\r\nx = 1\r\n```", "```py\r\n[CODE]\n```"),  # Windows line ends
        ("```\nx = 1```", "```\n[CODE]\n```"),  # the closing fence ends a line of the program
        ("- so:\n    ```py\n    x = 1\n    ``` and on", "- so:\n    ```py\n[CODE]\n``` and on"),  # in a list
        ("> ```\n> x = 1\n> ```", "> ```\n[CODE]\n```"),  # in a quotation
    ):
        assert shown(CodeBlocks(), block) == left
    for untouched in ("```python\nx = 1\n", "~~~\nx = 1\n~~~", "    x = 1\n", "use `x` and ``` x ```", "no code"):
        assert shown(CodeBlocks(), untouched) == untouched
    assert shown(CodeBlocks(), "```\n```") == "```\n[CODE]\n```"  # an empty block: still one blank


def test_entities_are_hidden_as_whole_words_and_relations_kept():
    graph = (Fact("Ada Byron", "mother", "Anne"), Fact("Anne", "town", "Ely"))
    trace = "search Ada Byron mother found Anne\nsearch anne town found Ely\nAnnette is not in Elysium\nanswer Ely"
    expected = (
        "search [ENTITY] mother found [ENTITY]\nsearch [ENTITY] town found [ENTITY]\n"
        "Annette is not in Elysium\nanswer [ENTITY]"
    )
    assert shown(Entities(), trace, graph=graph, text="the town of the mother of Ada Byron?") == expected
    kept = shown(Entities(keep_given=True), trace, graph=graph, text="the town of the mother of Ada Byron?")
    assert kept == expected.replace("search [ENTITY] mother", "search Ada Byron mother")
    assert shown(Entities(), "Ada", graph=()) == "Ada"


def test_the_longest_name_wins():
    assert mentions("New York City, new york", ["New York", "New York City"]) == [(0, 13), (15, 23)]
    assert mentions("anything", ["", " "]) == []


def test_units_are_words_and_numbers():
    text = r"kiwi = plum -6 =35, don't: \frac{1}{2}x"
    assert [text[a:b] for a, b in units(text)] == ["kiwi", "plum", "6", "35", "don't", r"\frac{1}{2}", "x"]
    assert units("") == [] and units("+ = ,") == []


LIKE = [CriticalPath(), Numerals()]


@pytest.mark.parametrize("like", LIKE, ids=str)
def test_a_random_mask_matches_share_and_profile(like):
    config = GuidedArithmeticConfig(train_queries=40, heldout_queries=4)
    for query in guided_arithmetic.train_list(config, 0):
        model, drawn, places = like.spans(query), RandomMask(like).spans(query), units(query.trace)

        def profile(spans, places=places):
            return sorted(sum(s.start <= start and end <= s.end for start, end in places) for s in spans)

        assert profile(drawn) == profile(model) and {s.token for s in drawn} == {"[NUMBER]"}
        assert all(a.end <= b.start for a, b in zip(drawn, drawn[1:], strict=False))
        assert RandomMask(like).spans(query) == drawn  # the same at every step


def test_a_random_mask_keeps_long_spans_long():
    trace = "Sort the list, then walk over it.\n```python\nx = sorted(a)\nreturn x\n```\nThe first wins in the end."
    query = SimpleNamespace(**{**vars(QUERY), "trace": trace})
    (block,), (drawn,) = CodeBlocks().spans(query), RandomMask(CodeBlocks()).spans(query)
    inside = [sum(s.start <= a and b <= s.end for a, b in units(trace)) for s in (block, drawn)]
    assert inside == [5, 5]  # x, sorted, a, return, x
    assert drawn.start != block.start


def test_a_random_mask_of_single_words_matches_the_share_alone():
    trace = "Sort the list, then walk over it.\n```python\nx = sorted(a)\nreturn x\n```\nThe first wins in the end."
    query = SimpleNamespace(**{**vars(QUERY), "trace": trace})
    spans = RandomMask(CodeBlocks(), singly=True).spans(query)
    assert len(spans) == 5 and {span.token for span in spans} == {"[CODE]"}  # x, sorted, a, return, x; no line ends
    assert {(span.start, span.end) for span in spans} <= set(units(trace))


def test_random_masks_are_uniform_over_arrangements():
    """Two blanks in four places: each of the six pairs a sixth of the time."""
    query = SimpleNamespace(id="", text="", trace="a 1 b 2", graph=())
    counts = collections.Counter()
    for seed in range(3000):
        counts[tuple(span.start for span in RandomMask(Numerals(), seed).spans(query))] += 1
    assert len(counts) == 6
    assert all(abs(count - 500) < 5 * (500 * 5 / 6) ** 0.5 for count in counts.values())  # five standard deviations


def test_a_random_mask_like_one_that_hides_nothing_or_everything():
    assert shown(RandomMask(Numerals()), "no digits") == "no digits"
    assert shown(RandomMask(Numerals()), "1 2") == "[NUMBER] [NUMBER]"
    assert shown(RandomMask(Numerals()), "") == ""
