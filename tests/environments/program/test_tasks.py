"""The program world: tasks that can be solved from their text alone, lists split by behaviour, honest slips."""

import json
import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from repro.algorithms.masks import CodeBlocks, Nothing, RandomMask
from repro.algorithms.smepo import ExpertTrace, audit
from repro.environments.program import (
    ProgramConfig,
    code_block,
    first_error,
    generate,
    heldout,
    outcome,
    parse,
    path,
    plant,
    reward,
    run,
    slipped,
    stream,
    train_list,
    verdict,
    vocabulary,
)
from repro.environments.program.checking import TESTS
from repro.environments.program.tasks import OPERATIONS, Step, expert_trace, is_held_out, outputs
from repro.environments.query import Query
from repro.errors import ReproError

WORLD = ProgramConfig()
SMALL = replace(WORLD, train_queries=80, heldout_queries=12)

# The chain is plum, kiwi, return; fig hangs on plum.
CHAIN = (Step("plum", "input", "sorted"), Step("kiwi", "plum", "above", 9), Step("return", "kiwi", "leading"))
TRACE = "plan kiwi leading plum above input sorted\n```\nplum = input sort\nkiwi = plum >9\nreturn kiwi first\n```"
ANSWER = json.dumps([min([item for item in test if item > 9], default=0) for test in TESTS])
QUERY = Query("hand", "", ANSWER, "medium", TRACE, (Step("fig", "plum", "reversed"), *CHAIN))


def some(config, count, name="t", statements=None):
    ids = [f"{name}:{i}" for i in range(count)]
    return [generate(config, random.Random(id), id, statements or config.warm_statements) for id in ids]


def size(query):
    return len(code_block(query.trace).strip().splitlines())


# What each word of a task means, as Python source: for a list, and for a number where it is used on one.
ON_LISTS = {
    "sorted": "sorted({x})", "reversed": "list(reversed({x}))", "shortened": "{x}[1:]",
    "distinct": "sorted(set({x}), key={x}.index)", "total": "sum({x})", "largest": "max([*{x}] or [0])",
    "smallest": "min([*{x}] or [0])", "counted": "len({x})", "leading": "([*{x}, 0])[0]",
    "trailing": "([0, *{x}])[-1]",
}  # fmt: skip
ON_NUMBERS = {"+": "{x} + {c}", "-": "{x} - {c}", "*": "{x} * {c}", "/": "{x} // {c}", "%": "{x} % {c}"}
FILTERS = {">": "[i for i in {x} if i > {c}]", "<": "[i for i in {x} if i < {c}]"}


def to_python(text):
    """A Python function with the meaning of a task, from its text alone: one line for each fact that is needed."""
    facts = dict(re.findall(r"^(\w+) : (.*)$", text, re.MULTILINE))
    lines, wanted = [], "return"
    while wanted != "input":
        source, word = facts[wanted].split()
        symbol, constant = word[0], word[1:]
        if symbol in ON_NUMBERS:
            item, number = (ON_NUMBERS[symbol].format(x=x, c=constant) for x in ("i", source))
            meaning = f"[{item} for i in {source}] if isinstance({source}, list) else {number}"
        else:
            meaning = (FILTERS[symbol] if symbol in FILTERS else ON_LISTS[word]).format(x=source, c=constant)
        lines.append(f"    answer = {meaning}" if wanted == "return" else f"    {wanted} = {meaning}")
        wanted = source
    namespace = {}
    exec("\n".join(["def solve(input):", *reversed(lines), "    return answer"]), namespace)
    return namespace["solve"]


def test_a_task_checked_by_hand():
    query = generate(WORLD, random.Random("hand:1"), "q", statements=(3, 3))
    assert query.text == (
        "daisy : input shortened\ncedar : input distinct\napple : fig distinct\nfig : daisy %5\n"
        "in 1 4 out 4\nreturn : fig leading"
    )
    assert query.trace == (
        "plan fig leading daisy modulo input shortened\n```\ndaisy = input rest\nfig = daisy %5\nreturn fig first\n```"
    )
    # The first item of the rest is the second item, where there is one.
    assert json.loads(query.answer) == [test[1] % 5 if len(test) > 1 else 0 for test in TESTS]
    assert query.level == "medium" and query.id == "q"


def test_the_form_of_a_trace():
    assert expert_trace(CHAIN) == TRACE
    assert json.dumps(outputs(CHAIN)) == ANSWER
    assert [step.fact for step in CHAIN] == ["plum : input sorted", "kiwi : plum >9", "return : kiwi leading"]


def test_expert_programs_agree_with_python():
    rng = random.Random("inputs")
    for query in some(WORLD, 120, statements=(1, 6)):
        solve, code = to_python(query.text), parse(code_block(query.trace))
        inputs = [*TESTS, [], *([rng.randint(-30, 30) for _ in range(rng.randint(1, 9))] for _ in range(4))]
        for argument in inputs:
            expected = solve(list(argument))
            assert run(code, argument) == (tuple(expected) if isinstance(expected, list) else expected)
        assert json.loads(query.answer) == [solve(list(argument)) for argument in TESTS]
        assert reward(query, query.trace) == 1.0


def test_examples_are_true_and_hidden_tests_stay_hidden():
    for query in some(replace(WORLD, examples=2), 100):
        examples = re.findall(r"^in ([\d ]+) out ([\d ]+)$", query.text, re.MULTILINE)
        assert len(set(examples)) == 2
        for shown, given in examples:
            argument = [int(word) for word in shown.split()]
            value = to_python(query.text)(argument)
            assert [int(word) for word in given.split()] == (value if isinstance(value, list) else [value])
            assert tuple(argument) not in TESTS


def test_every_statement_matters():
    for query in some(WORLD, 150):
        chain = path(query)
        code = [step.statement for step in chain]
        assert code_block(query.trace).strip().splitlines() == code
        for at, step in enumerate(chain):
            # Without the statement, what it made is what it was made of.
            shorter = [re.sub(rf"\b{step.name}\b", step.source, line) if step.name != "return" else line
                       for line in code[:at] + code[at + 1 :]]  # fmt: skip
            if step.name == "return":
                shorter.append(f"return {step.source}")
            assert verdict(query, "\n".join(["```", *shorter, "```"])) in ("wrong", "type")


def test_distractors_never_feed_the_result_and_facts_are_shuffled():
    first_fact_first, extra = Counter(), Counter()
    for query in some(WORLD, 200):
        facts = [line for line in query.text.splitlines() if ":" in line]
        chain = path(query)
        assert sorted(step.fact for step in query.graph) == sorted(facts) and facts[-1].startswith("return :")
        names = {step.name for step in chain}
        side = [step for step in query.graph if step not in chain]
        assert all(step.name not in names and step.source in {"input", *names} - {"return"} for step in side)
        assert (*side, *chain) == query.graph
        extra[len(side)] += 1
        first_fact_first[facts[0] == chain[0].fact] += 1
    assert set(extra) == {0, 1, 2} and min(first_fact_first.values()) > 20


def test_levels_are_ranges_of_statements():
    queries = some(WORLD, 200)
    ranges = {"easy": (1, 2), "medium": (3, 4), "hard": (5, 6)}
    assert {query.level for query in queries} == set(ranges)
    for query in queries:
        low, high = ranges[query.level]
        assert low <= size(query) <= high
    assert generate(WORLD, random.Random(0), "x", statements=(7, 7)).level == "beyond"
    assert all({query.level for query in queries} == {level} for level, queries in heldout(SMALL).items())
    source = stream(SMALL, 0)
    assert {size(query) for query in train_list(SMALL, 0)} == {3, 4, 5, 6}
    assert {size(next(source)) for _ in range(60)} == {1, 2, 3, 4, 5, 6}


def test_prompts_and_traces_are_short():
    for query in some(WORLD, 300):
        assert len(query.text.split()) <= 4 * (size(query) + 2) + 10 <= 42
        assert len(query.trace.split()) <= 6 * size(query) + 2 <= 38


def test_guessing_rarely_passes():
    queries, guesses = train_list(SMALL, 0), some(SMALL, 20, "guess")
    assert sum(reward(query, guess.trace) for query in queries for guess in guesses) / 1600 < 0.005
    assert not any(reward(query, f"``` return {n} ```") for query in queries for n in range(10))


def test_lists_are_the_same_every_time():
    assert heldout(SMALL) == heldout(SMALL)
    assert train_list(SMALL, 1) == train_list(SMALL, 1)
    first, second = stream(SMALL, 5), stream(SMALL, 5)
    assert [next(first) for _ in range(30)] == [next(second) for _ in range(30)]


def test_no_held_out_task_behaves_as_a_training_task_does():
    held = [query for queries in heldout(SMALL).values() for query in queries]
    source = stream(SMALL, 0)
    train = [*train_list(SMALL, 0), *train_list(SMALL, 1), *(next(source) for _ in range(100))]
    behaviour = lambda query: tuple(map(str, map(to_python(query.text), map(list, TESTS))))  # noqa: E731
    assert not {behaviour(query) for query in held} & {behaviour(query) for query in train}
    assert len({query.text for query in held}) == len(held) == 36
    assert len({query.id for query in [*held, *train]}) == len(held) + len(train)
    assert len({query.text for query in train[:80]}) == len({query.text for query in train[80:160]}) == 80
    assert train_list(SMALL, 0) != train_list(SMALL, 1)


def test_a_quarter_of_behaviours_is_held_out():
    share = sum(is_held_out(query.answer) for query in some(WORLD, 300)) / 300
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 300) ** 0.5


def test_a_world_that_is_used_up_says_so():
    # One statement without constants, names or an example: few texts there are.
    tiny = ProgramConfig(min_statements=1, max_statements=1, max_distractors=0, examples=0, train_queries=60,
                         levels=(("easy", 1, 1),))  # fmt: skip
    assert len(train_list(replace(tiny, train_queries=20), 0)) == 20
    with pytest.raises(
        ReproError, match=r"train:0 wants 60 distinct tasks, but the world of \(1, 1\) statements gives"
    ):
        train_list(tiny, 0)


@pytest.mark.parametrize("wrong", [
    {"min_statements": 0}, {"min_statements": 7}, {"max_distractors": -1}, {"examples": -1}, {"names": 5},
    {"names": 17}, {"warm_statements": (2, 1)}, {"warm_statements": (1, 10)},
    {"levels": (("hard", 4, 10),)}, {"levels": (("none", 0, 2),)}, {"levels": (("back", 3, 2),)},
    {"train_queries": 0}, {"heldout_queries": 0},
])  # fmt: skip
def test_impossible_worlds_are_refused(wrong):
    with pytest.raises(ReproError, match="program world: "):
        replace(WORLD, **wrong)


def test_the_refusal_says_what_would_do():
    with pytest.raises(
        ReproError, match="6 statements of the training list with 2 distractors need 7 names; world.names is 5"
    ):
        replace(WORLD, names=5)


@pytest.mark.parametrize(
    "config", [WORLD, replace(WORLD, names=6, max_statements=4, warm_statements=(2, 4), levels=(("any", 2, 4),))]
)
def test_the_vocabulary_is_every_word_and_no_more(config):
    words = vocabulary(config)
    assert len(words) == len(set(words)) <= 107
    rng, used = random.Random(0), set()
    for query in some(replace(config, examples=3), 400):
        used |= {*query.text.split(), *query.trace.split(), *slipped(query, rng, 0.2, 0.2).trace.split()}
    marks = {word for word in words if "[CODE]" in word}
    assert used == set(words) - {"<hint>", "</hint>"} - marks and len(marks) == 8  # alone, and behind each operator


@pytest.mark.parametrize("response", [
    TRACE, TRACE.replace("\n", " "), "```\nreturn ( input > 9 ) sort first\n```",
    "```program\nreturn ( input > 9 ) min\n```", "```program return ( input > 9 ) min ```",
    "``` return 1 ``` no : ``` return ( input > 9 ) min ``` done", TRACE + " ``` return 1", "``` ``` " + TRACE,
    "```\na = 0 b = input while b count { if b first > 9 { if a < 1 { a = 99 } if b first < a { a = b first } } "
    "b = b rest } return a\n```", "x " * 500_000 + TRACE, "é🍇\ud800" + TRACE,
], ids=lambda text: f"{text[:24]!r}...")  # fmt: skip
def test_reward_accepts(response):
    assert reward(QUERY, response) == 1.0


@pytest.mark.parametrize(("response", "found"), [
    ("", "no block"), ("```", "no block"), ("return ( input > 9 ) min", "no block"), (TRACE[:-3], "no block"),
    ("~~~ return ( input > 9 ) min ~~~", "no block"), ("``````", "value"), ("``` ```", "value"),
    ("`" * 5, "no block"), (TRACE + "``` return 1 ```", "wrong"), (TRACE.replace("9", "8"), "wrong"),
    (TRACE.replace("first", "last"), "wrong"), ("``` return input ```", "wrong"), ("``` return ( ```", "syntax"),
    ("```return ( input > 9 ) min ```", "syntax"),  # what touches the fence is a language tag
    ("``` return 3 sum ```", "type"),
    ("``` return 1 / 0 ```", "value"), ("``` while 1 { } ```", "limit"), ("``` [CODE] ```", "syntax"),
    ("``` import os ```", "syntax"), ("``` " + "( " * 400_000 + "```", "limit"), ("``` " * 250_001, "value"),
    ("``` " * 250_000, "value"), ("``` return " + "9" * 1_000_000 + " ```", "limit"), ("``` \x00 ```", "syntax"),
    ("``` return ٣ ```", "syntax"), ("``` \ud800 ```", "syntax"), ("a" * 1_000_000, "no block"),
    ("```" + "a" * 1_000_000 + "```", "value"),
], ids=lambda text: f"{text[:24]!r}...")  # fmt: skip
def test_every_other_response_earns_nothing_and_has_a_reason(response, found):
    assert verdict(QUERY, response) == found
    assert reward(QUERY, response) == 0.0


class Script:
    """Stands for a random.Random that says what it is told to."""

    def __init__(self, uniforms, choices=()):
        self.uniforms, self.choices = list(uniforms), list(choices)

    def random(self):
        return self.uniforms.pop(0)

    def choice(self, options):
        assert self.choices[0] in options
        return self.choices.pop(0)


@pytest.mark.parametrize(("script", "trace"), [
    # A draw for each source of the plan (kiwi, plum, input), then one for each statement.
    (Script([0, 1, 1, 1, 1, 1], ["fig"]),  # return from fig, and fig is plum reversed
     "plan fig leading plum reversed input sorted ``` plum = input sort fig = plum reverse return fig first ```"),
    (Script([0, 1], ["input"]), "plan input leading ``` return input first ```"),
    (Script([1, 0, 1, 1], ["input"]),
     "plan kiwi leading input above ``` kiwi = input >9 return kiwi first ```"),
    (Script([1, 1, 1, 1, 0, 1], ["minus", 4]),
     "plan kiwi leading plum above input sorted ``` plum = input sort kiwi = plum -4 return kiwi first ```"),
    (Script([1, 1, 1, 1, 1, 0], ["total"]),
     "plan kiwi leading plum above input sorted ``` plum = input sort kiwi = plum >9 return kiwi sum ```"),
])  # fmt: skip
def test_a_trace_carries_on_from_its_slip(script, trace):
    query = slipped(QUERY, script, route=0.5, misread=0.5)
    assert " ".join(query.trace.split()) == trace
    assert not script.uniforms and not script.choices
    assert replace(query, trace=TRACE) == QUERY


def test_without_slips_it_is_the_expert_trace():
    assert all(slipped(query, random.Random(0), 0.0, 0.0) == query for query in some(WORLD, 100))


def test_slips_fit_the_types_and_come_at_their_rates():
    rng, missed, misread = random.Random(1), Counter(), Counter()
    for query in some(WORLD, 300):
        trace = slipped(query, rng, route=0.0, misread=0.3).trace
        assert verdict(query, trace) in ("passed", "wrong")
        assert trace.split("```")[0] == query.trace.split("```")[0]
        for ours, expert in zip(trace.splitlines()[2:-1], query.trace.splitlines()[2:-1], strict=True):
            misread[ours == expert] += 1
        trace = slipped(query, rng, route=1.0, misread=0.0).trace
        assert verdict(query, trace) in ("passed", "wrong")
        if size(query) > 1:
            missed[trace != query.trace] += 1
    # A misread statement stays as it was with a chance of at most 1 in 5 (five operations on numbers, 4 constants).
    rate = misread[False] / misread.total()
    assert 0.3 * 0.8 - 0.04 < rate < 0.3 + 0.04
    assert missed[True] > 0.8 * missed.total()  # sometimes there is nowhere else to turn


def test_a_planted_program_is_wrong_and_known_by_its_outputs():
    rng = random.Random("plant")
    for query in some(WORLD, 100):
        planted = plant(query, rng)
        assert replace(planted, trace=query.trace, graph=query.graph) == query
        assert planted.trace.split("```")[0] == query.trace.split("```")[0]  # only the code block tells
        changed = [a for a, b in zip(planted.trace.splitlines(), query.trace.splitlines(), strict=True) if a != b]
        assert len(changed) == 1 and [step.statement for step in path(planted) if step not in query.graph] == changed
        assert outcome(planted, planted.trace) == "copied" and reward(planted, planted.trace) == 0.0
        assert outcome(planted, query.trace) == "solved"
        assert outcome(planted, "") == "neither"


def test_the_first_error_of_a_response():
    words = TRACE.split()
    assert first_error(QUERY, TRACE) == first_error(QUERY, " ".join(words)) == "none"
    assert first_error(QUERY, TRACE.replace("leading", "total")) == "plan"
    assert first_error(QUERY, TRACE.replace(">9", ">8")) == "code"
    assert first_error(QUERY, "") == first_error(QUERY, TRACE[:-4]) == first_error(QUERY, TRACE + " plum") == "form"


@pytest.mark.parametrize("masker", [CodeBlocks(), Nothing(), RandomMask(CodeBlocks())])
def test_hints_are_short_and_made_of_the_worlds_words(masker):
    guidance, words = ExpertTrace(masker, intro="\n<hint>\n", tail="</hint>\n"), set(vocabulary(WORLD))
    for query in some(WORLD, 50):
        guided = guidance.guide(query)
        assert guided.status == "guided" and set(guided.prompt.split()) <= words and len(guided.prompt.split()) <= 90
        if masker == CodeBlocks():
            assert guided.shown == query.trace.split("```")[0] + "```\n[CODE]\n```\n"
            assert audit(query, guidance).values == () and not audit(query, guidance).answer
            assert reward(query, guided.shown) == 0.0
        if masker == Nothing():
            assert reward(query, guided.shown) == 1.0  # copying pays


def test_words_have_one_meaning_each():
    words = [*OPERATIONS, *OPERATIONS.values()]
    assert len(set(words)) == len(words) == 34
    assert {OPERATIONS[word] if OPERATIONS[word] in {*ON_NUMBERS, *FILTERS} else word for word in OPERATIONS} == {
        *ON_LISTS, *ON_NUMBERS, *FILTERS
    }  # fmt: skip
