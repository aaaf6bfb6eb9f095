"""The world for the study of masks: problems, slips, planted wrong answers, and where a response goes wrong."""

import itertools
import random
from dataclasses import replace

import pytest

from repro.environments import guided_arithmetic
from repro.environments.arithmetic import OPERATIONS, Step
from repro.environments.guided_arithmetic import (
    GuidedArithmeticConfig,
    believed,
    first_error,
    heldout,
    outcome,
    path,
    plant,
    reward,
    slipped,
    stream,
    train_list,
    vocabulary,
)
from repro.environments.query import Query
from repro.errors import ReproError

CONFIG = GuidedArithmeticConfig(train_queries=100, heldout_queries=10)
TRAIN = train_list(CONFIG, 0)

# lemon feeds nothing; values by hand
GRAPH = (
    Step("lemon", "plum", "+", 3, 44),
    Step("plum", "", "", 0, 41),
    Step("fig", "plum", "-", 6, 35),
    Step("kiwi", "fig", "+", 9, 44),
)
QUERY = Query(
    id="q",
    text="kiwi = fig +9\nlemon = plum +3\nplum =41\nfig = plum -6\n? kiwi :",
    answer="44",
    level="easy",
    trace="kiwi fig plum :\nplum =41\nfig = plum -6 =35\nkiwi = fig +9 =44\n? kiwi =44",
    graph=GRAPH,
)


def solve(text):
    """Slow reference: (route from the question to the given, value by name), from the question's words alone."""
    *facts, question = text.split("\n")
    known = {line.split()[0]: line.split()[1:] for line in facts}
    route, values = [question.split()[1]], {}
    while len(known[route[-1]]) > 1:
        route.append(known[route[-1]][1])
    for name in reversed(route):
        words = known[name]
        if len(words) == 1:
            values[name] = int(words[0][1:])
        else:
            values[name] = OPERATIONS[words[2][0]](values[words[1]], int(words[2][1:])) % CONFIG.modulus
    return route, values


def test_problems_are_right():
    for query in itertools.chain(TRAIN, *heldout(CONFIG).values(), itertools.islice(stream(CONFIG, 0), 50)):
        route, values = solve(query.text)
        assert query.answer == str(values[route[0]])
        assert query.trace.split("\n")[0] == " ".join(route) + " :"
        assert [step.name for step in path(query)] == route[::-1]
        assert {step.name: step.value for step in path(query)} == values
        assert query.trace.split("\n")[1:-1] == [step.computed for step in path(query)]
        assert query.trace.endswith(f"\n? {route[0]} ={query.answer}")
        assert reward(query, query.trace) == 1.0


def test_the_graph_holds_every_fact_and_the_path_comes_last():
    for query in TRAIN:
        assert sorted(query.text.split("\n")[:-1]) == sorted(step.fact for step in query.graph)
        assert query.graph[-len(path(query)) :] == path(query)
    assert any(len(query.graph) > len(path(query)) for query in TRAIN)
    assert path(QUERY) == GRAPH[1:]


def test_lists_are_distinct_and_reproducible():
    texts = [query.text for query in TRAIN]
    held = [query.text for queries in heldout(CONFIG).values() for query in queries]
    fresh = [query.text for query in itertools.islice(stream(CONFIG, 0), 200)]
    assert len(set(texts)) == 100 and len(set(held)) == 30
    assert not set(texts) & set(held) and not set(fresh) & set(held)
    assert train_list(CONFIG, 0) == TRAIN and train_list(CONFIG, 1) != TRAIN


def test_lengths_follow_the_config():
    config = GuidedArithmeticConfig(warm_lengths=(1, 2), heldout_queries=4, train_queries=20)
    assert {query.level for query in train_list(config, 0)} == {"medium", "hard"}
    assert {len(path(query)) - 1 for query in itertools.islice(stream(config, 0), 60)} == {1, 2}
    for (level, low, high), (name, queries) in zip(config.levels, heldout(config).items(), strict=True):
        assert level == name and all(low <= len(path(query)) - 1 <= high for query in queries)


def test_the_vocabulary_covers_problems_traces_and_slips():
    known = set(vocabulary(CONFIG))
    assert len(vocabulary(CONFIG)) == len(known) == 12 + 1 + 6 + 101 + 2 + 4 + 2
    rng = random.Random("slips")
    for query in TRAIN:
        wrong = slipped(CONFIG, query, rng, 0.5, 0.5, 0.5)
        assert set(f"{query.text} {query.trace} {wrong.trace}".split()) <= known


def test_without_slips_the_trace_is_the_experts():
    for query in TRAIN:
        same = slipped(CONFIG, query, random.Random(0), 0.0, 0.0, 0.0)
        assert (same.trace, same.text, same.answer) == (query.trace, query.text, query.answer)
        assert same.graph == query.graph


def test_slips_are_of_their_kind_and_as_frequent_as_asked():
    rng = random.Random("kinds")
    values = facts = turns = wrong_values = wrong_facts = wrong_turns = 0
    for query in TRAIN * 5:
        right = {step.name: step for step in query.graph}
        for step in path(slipped(CONFIG, query, rng, 0.0, 0.0, 0.2))[1:]:
            values += 1
            true = right[step.name]
            assert (step.source, step.operator, step.constant) == (true.source, true.operator, true.constant)
        computed = path(slipped(CONFIG, query, rng, 0.0, 0.0, 0.2))
        for before, step in itertools.pairwise(computed):
            wrong_values += step.value != OPERATIONS[step.operator](before.value, step.constant) % 101
        misread = path(slipped(CONFIG, query, rng, 0.0, 0.2, 0.0))
        assert [step.name for step in misread] == [step.name for step in path(query)]
        for before, step in itertools.pairwise(misread):
            facts += 1
            wrong_facts += (step.operator, step.constant) != (right[step.name].operator, right[step.name].constant)
            assert step.value == OPERATIONS[step.operator](before.value, step.constant) % 101
        lost = path(slipped(CONFIG, query, rng, 0.2, 0.0, 0.0))
        turns += 1  # the first turn, which is always open
        wrong_turns += lost[-1].source != right[lost[-1].name].source
        assert lost[-1].name == query.graph[-1].name
        assert len({step.name for step in lost}) == len(lost)
        assert all(step.source == before.name for before, step in itertools.pairwise(lost))
    assert abs(wrong_values / values - 0.2 * 100 / 101) < 0.04
    assert abs(wrong_facts / facts - 0.2 * 5 / 6) < 0.04
    assert abs(wrong_turns / turns - 0.2) < 0.07


def test_a_route_of_wrong_turns_alone_ends():
    for query in TRAIN:
        wandering = slipped(CONFIG, query, random.Random(query.id), 1.0, 1.0, 1.0)
        assert 1 <= len(path(wandering)) <= len(wandering.graph) == len(query.graph)
        assert all(0 <= step.value < 101 for step in wandering.graph)


def test_what_has_slipped_may_slip_further():
    rng = random.Random("twice")
    for query in TRAIN:
        once = slipped(CONFIG, query, rng, 0.3, 0.3, 0.3)
        again = slipped(CONFIG, once, rng, 0.0, 0.0, 0.0)
        assert (again.trace, again.graph) == (once.trace, once.graph)  # a wrong value is not put right
        assert once.graph[-len(path(once)) :] == path(once) and once.trace.endswith(f" ={path(once)[-1].value}")
        later = path(slipped(CONFIG, once, rng, 0.0, 0.0, 1.0))
        assert [step.fact for step in later[1:]] == [step.fact for step in path(once)[1:]]


def test_what_is_shown_is_believed_by_hand():
    wrong = replace(QUERY, graph=(*GRAPH[:2], replace(GRAPH[2], value=50), replace(GRAPH[3], value=60)))
    head = "kiwi fig plum :\nplum =41\n"
    for shown, fig, kiwi in (
        ("fig = plum -6 =50\nkiwi = fig +9 =60\n? kiwi =60", 50, 60),
        ("fig = plum -6 =[NUMBER]\nkiwi = fig +9 =[NUMBER]\n? kiwi =[NUMBER]", 35, 44),
        ("fig = plum -6 =50\nkiwi = fig +9 =[NUMBER]\n? kiwi =[NUMBER]", 50, 59),
        ("fig = [NUMBER] -6 =50\n", 50, 59),  # cut, and a blank elsewhere
        ("? kiwi =60", 35, 60),
        ("", 35, 44),
    ):
        said = believed(CONFIG, wrong, head + shown)
        assert said.trace == head + f"fig = plum -6 ={fig}\nkiwi = fig +9 ={kiwi}\n? kiwi ={kiwi}"
        assert (said.text, said.answer, path(said)[-1].value, len(said.graph)) == (QUERY.text, QUERY.answer, kiwi, 4)


def test_planting_by_hand():
    last = plant(CONFIG, QUERY, random.Random(0), step=-1)
    *before, wrong, closing = last.trace.split("\n")
    assert before == QUERY.trace.split("\n")[:-2] and closing == f"? kiwi {wrong.split()[-1]}"
    assert wrong.startswith("kiwi = fig +9 =") and wrong != "kiwi = fig +9 =44"
    first = plant(CONFIG, QUERY, random.Random(0), step=1)
    planted = first.graph[-2].value
    assert planted != 35
    end = (planted + 9) % 101
    steps = f"plum =41\nfig = plum -6 ={planted}\nkiwi = fig +9 ={end}"
    assert first.trace == f"kiwi fig plum :\n{steps}\n? kiwi ={end}"
    assert (first.text, first.answer, first.graph[:2]) == (QUERY.text, QUERY.answer, QUERY.graph[:2])


def test_planted_traces_are_wrong_and_consistent():
    rng = random.Random("plant")
    for query in TRAIN:
        planted = plant(CONFIG, query, rng)
        assert planted.graph[-1].value != int(query.answer)
        broken = [
            step.value != OPERATIONS[step.operator](before.value, step.constant) % 101
            for before, step in itertools.pairwise(path(planted))
        ]
        assert sum(broken) == 1  # one wrong result, right arithmetic after it
        assert outcome(planted, planted.trace) == "copied"
        assert outcome(planted, query.trace) == "solved"
        assert outcome(planted, "no value") == "neither"


def test_what_cannot_be_planted_is_refused():
    for step in (0, -4):
        with pytest.raises(ReproError, match="not a computed value"):
            plant(CONFIG, QUERY, random.Random(0), step=step)
    zero = GuidedArithmeticConfig(operators="*")
    chain = (Step("plum", "", "", 0, 4), Step("fig", "plum", "*", 3, 12), Step("kiwi", "fig", "*", 0, 0))
    product = Query(id="z", text="", answer="0", level="", trace="", graph=chain)
    with pytest.raises(ReproError, match="no wrong value at step 1 changes the answer"):
        plant(zero, product, random.Random(0), step=1)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        ("kiwi fig plum : plum =41 fig = plum -6 =35 kiwi = fig +9 =44 ? kiwi =44", "none"),
        ("kiwi fig plum : plum =41 fig = plum -6 =35 kiwi = fig +9 =44 ? kiwi =4", "value"),
        ("kiwi fig plum : plum =41 fig = plum -6 =35 kiwi = fig +9 =44", "form"),
        ("kiwi lemon plum : plum =41", "route"),
        ("kiwi fig : fig =41", "route"),
        ("kiwi fig plum lemon : plum =41", "route"),
        ("kiwi fig plum : plum =42 fig", "fact"),
        ("kiwi fig plum : plum =41 fig = plum -7 =34", "fact"),
        ("kiwi fig plum : plum =41 fig = lemon -6 =35", "fact"),
        ("kiwi fig plum : plum =41 fig = plum -6 =36 kiwi = fig +9 =45", "value"),
        ("kiwi fig plum : plum =41 fig = plum -6 =35 kiwi = fig +9 =4", "value"),
        ("kiwi fig plum : plum =41 fig = plum -6 =35", "form"),
        ("kiwi fig plum : plum =41 fig = plum -6 =35 kiwi = fig +9 =44 ? kiwi =44 =44", "form"),
        ("kiwi fig plum : plum = fig", "form"),
        ("=44", "form"),
        ("", "form"),
    ],
)
def test_the_first_error(response, error):
    assert first_error(QUERY, response) == error


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_length": 0},
        {"min_length": 8},
        {"warm_lengths": (0, 3)},
        {"warm_lengths": (3, 2)},
        {"max_distractors": 1},
        {"min_distractors": -1},
        {"modulus": 1},
        {"operators": ""},
        {"operators": "+/"},
        {"constants": ()},
        {"constants": (0, 7)},
        {"constants": (101,)},
        {"names": 9},
        {"names": 99},
        {"train_queries": 0},
        {"heldout_queries": 0},
    ],
)
def test_worlds_that_describe_no_problem_are_refused(wrong):
    with pytest.raises(ReproError, match="guided arithmetic world"):
        GuidedArithmeticConfig(**wrong)


def test_a_world_too_small_for_its_lists_is_refused():
    tiny = GuidedArithmeticConfig(
        modulus=2, operators="+", constants=(1,), names=2, min_length=1, max_length=1, min_distractors=0,
        max_distractors=0, warm_lengths=(1, 1), levels=(("only", 1, 1),), train_queries=5000,
    )  # fmt: skip
    with pytest.raises(ReproError, match="wants 128 distinct problems"):
        guided_arithmetic.heldout(tiny)
