"""The arithmetic world: problems that can be solved from their text alone, fixed lists, honest rewards."""

import random
import re
from dataclasses import replace

import pytest

from repro.environments import arithmetic
from repro.environments.arithmetic import (
    ArithmeticConfig,
    Step,
    generate,
    heldout,
    noisy_trace,
    reward,
    stream,
    train_list,
    vocabulary,
)
from repro.environments.query import Query
from repro.errors import ReproError

WORLD = ArithmeticConfig()
CHAIN = (
    Step("plum", "", "", 0, 7),
    Step("kiwi", "plum", "-", 8, 9),  # 7 - 8 = -1, modulo 10: 9
    Step("fig", "kiwi", "*", 3, 7),  # 27, modulo 10: 7
)
QUERY = Query("hand", "", answer="7", level="easy", graph=CHAIN)


def some(config, count, name="t"):
    return [generate(config, random.Random(f"{name}:{i}"), f"{name}:{i}") for i in range(count)]


def solve(text, modulus):
    """The answer by substitution until the asked name has a value; knows nothing of the generator."""
    operations = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    values, facts, asked = {}, [], None
    for line in text.splitlines():
        if match := re.fullmatch(r"\? (\w+) :|All values are taken modulo \d+\. What is (\w+)\?", line):
            asked = match[1] or match[2]
        elif match := re.fullmatch(r"(\w+) (?:=|is )(\d+)\.?", line):
            values[match[1]] = int(match[2])
        else:
            line = line.replace("plus ", "+").replace("minus ", "-").replace("times ", "*")
            match = re.fullmatch(r"(\w+) (?:=|is) (\w+) ([+*-])(\d+)\.?", line)
            facts.append((match[1], match[2], match[3], int(match[4])))
    while asked not in values:
        for name, source, operator, constant in facts:
            if source in values:
                values[name] = operations[operator](values[source], constant) % modulus
    return values[asked]


def test_a_problem_checked_by_hand():
    query = generate(WORLD, random.Random(3), "q", lengths=(2, 2))
    assert query.text == "basil = fig *7\nfig = cedar -8\niris =9\ncedar = iris +7\nhazel = iris +7\n? fig :"
    # iris is 9; cedar is 9 + 7 = 16, so 6; fig is 6 - 8 = -2, so 8. basil and hazel are distractors.
    assert query.graph == (
        Step("iris", "", "", 0, 9), Step("cedar", "iris", "+", 7, 6), Step("fig", "cedar", "-", 8, 8)
    )  # fmt: skip
    assert query.trace == "fig cedar iris : iris =9 cedar = iris +7 =6 fig = cedar -8 =8"
    assert (query.answer, query.level, query.id) == ("8", "easy", "q")


def test_facts_and_steps_in_words():
    assert [step.fact for step in CHAIN] == ["plum =7", "kiwi = plum -8", "fig = kiwi *3"]
    assert [step.computed for step in CHAIN] == ["plum =7", "kiwi = plum -8 =9", "fig = kiwi *3 =7"]


@pytest.mark.parametrize("config", [
    WORLD,
    replace(WORLD, style="english"),
    replace(WORLD, modulus=23, max_distractors=4),
    replace(WORLD, modulus=2, names=7, max_distractors=0),
])  # fmt: skip
def test_the_text_alone_gives_the_answer(config):
    for query in some(config, 200):
        assert solve(query.text, config.modulus) == int(query.answer) == query.graph[-1].value
        assert reward(query, query.trace) == 1.0
        assert 0 <= int(query.answer) < config.modulus


def test_distractors_never_feed_the_chain_and_facts_are_shuffled():
    places = set()
    for query in some(WORLD, 300):
        facts = query.text.splitlines()[:-1]
        chain = [step.fact for step in query.graph]
        assert set(chain) <= set(facts) and len(facts) == len(set(facts))
        names = {step.name for step in query.graph}
        extra = [fact.split() for fact in facts if fact not in chain]
        assert len(extra) <= WORLD.max_distractors
        assert all(words[0] not in names and words[2] in names for words in extra)
        places.add(facts.index(chain[0]) == 0)
        for step, before in zip(query.graph[1:], query.graph, strict=False):
            assert step.source == before.name
    assert places == {True, False}


def test_levels_are_ranges_of_chain_length():
    queries = some(WORLD, 400)
    assert {query.level for query in queries} == {"easy", "medium", "hard"}
    ranges = {"easy": (1, 2), "medium": (3, 4), "hard": (5, 6)}
    for query in queries:
        low, high = ranges[query.level]
        assert low <= len(query.graph) - 1 <= high
    assert generate(replace(WORLD, levels=(("easy", 1, 2),)), random.Random(0), "x", (3, 3)).level == "beyond"
    for level, items in heldout(WORLD).items():
        assert {query.level for query in items} == {level}


@pytest.mark.parametrize("response", [
    "fig kiwi plum : plum =7 kiwi = plum -8 =9 fig = kiwi *3 =7", "=7", "= 7", "#### 7", "7", " 7 ", "7.", "=7;", "=+7",
    "=07", "so the value is\n#### 7\n", "x" * 10_000 + "=7",
])  # fmt: skip
def test_reward_accepts(response):
    assert reward(QUERY, response) == 1.0


@pytest.mark.parametrize("response", [
    "", "=", "=8", "7 8", "=7 =8", "=7 kiwi", "kiwi = plum +7", "kiwi = plum *7", "=-7", "=77", "=7.5", "=seven", "=٧",
    "seven", "the answer is 7 apples", "#### x", "=1000000000007", "kiwi 7", "=7 ?",
])  # fmt: skip
def test_reward_rejects(response):
    assert reward(QUERY, response) == 0.0


def test_reward_of_an_answer_that_was_only_used():
    assert reward(replace(QUERY, answer="8"), "kiwi = plum -8") == 0.0
    assert reward(replace(QUERY, answer="8"), "kiwi = plum -8 =8") == 1.0


def test_lists_are_the_same_every_time():
    assert heldout(WORLD) == heldout(WORLD)
    assert train_list(WORLD, 1) == train_list(WORLD, 1)
    assert some(WORLD, 20) == some(WORLD, 20)
    first, second = stream(WORLD, 5), stream(WORLD, 5)
    assert [next(first) for _ in range(50)] == [next(second) for _ in range(50)]


def test_lists_are_distinct_and_disjoint():
    held = [query for items in heldout(WORLD).values() for query in items]
    train = {seed: train_list(WORLD, seed) for seed in (0, 1)}
    assert [len(items) for items in heldout(WORLD).values()] == [64, 64, 64] and len(train[0]) == 512
    held_texts = {query.text for query in held}
    assert len(held_texts) == 192
    fresh = stream(WORLD, 0)
    streamed = {next(fresh).text for _ in range(2000)}
    for queries in train.values():
        texts = {query.text for query in queries}
        assert len(texts) == 512 and not texts & held_texts
    assert not streamed & held_texts
    assert train[0] != train[1]
    assert len({query.id for query in [*held, *train[0], *train[1]]}) == 192 + 1024


def test_disjoint_even_where_the_world_is_almost_used_up():
    # One operation: 2 names for the leaf x 2 leaf values x 3 operators x 2 constants x 2 orders of the facts = 48.
    tiny = ArithmeticConfig(modulus=2, names=2, max_length=1, max_distractors=0, train_queries=20, heldout_queries=16,
                            levels=(("easy", 1, 1),))  # fmt: skip
    held, train = ({q.text for q in queries} for queries in (heldout(tiny)["easy"], train_list(tiny, 0)))
    assert len(held) == 16 and len(train) == 20 and not held & train
    source = stream(tiny, 0)
    everything_else = {q.text for q in train_list(replace(tiny, train_queries=32), 0)}
    assert {next(source).text for _ in range(1000)} == everything_else
    with pytest.raises(ReproError, match="train:0 wants 33 distinct problems, .* gives only 32"):
        train_list(replace(tiny, train_queries=33), 0)


@pytest.mark.parametrize("wrong", [
    {"min_length": 0}, {"min_length": 3, "max_length": 2}, {"max_distractors": -1}, {"modulus": 1}, {"names": 8},
    {"names": 27}, {"max_length": 12}, {"train_queries": 0}, {"heldout_queries": 0},
])  # fmt: skip
def test_impossible_worlds_are_refused(wrong):
    with pytest.raises(ReproError, match="arithmetic world: "):
        replace(WORLD, **wrong)


def test_the_refusal_says_what_would_do():
    with pytest.raises(ReproError, match="6 operations with 2 distractors need 9 names; world.names is 8"):
        replace(WORLD, names=8)


class Script:
    """Stands for a random.Random that says what it is told to."""

    def __init__(self, uniforms, operators=(), integers=()):
        self.uniforms, self.operators, self.integers = list(uniforms), list(operators), list(integers)

    def random(self):
        return self.uniforms.pop(0)

    def choice(self, _):
        return self.operators.pop(0)

    def randrange(self, _):
        return self.integers.pop(0)


@pytest.mark.parametrize(
    ("script", "trace"),
    [
        # A draw for the leaf, then one for the operation and one for the result of each further step.
        (Script([0.0, 1, 1, 1, 1], integers=[2]),
         "plum =2 kiwi = plum -8 =4 fig = kiwi *3 =2"),  # 2 - 8 = -6: 4; 4 * 3 = 12: 2
        (Script([1, 0.0, 1, 1, 1], ["+"], [5]),
         "plum =7 kiwi = plum +5 =2 fig = kiwi *3 =6"),  # 7 + 5 = 12: 2; 2 * 3 = 6
        (Script([1, 1, 0.0, 1, 1], integers=[1]),
         "plum =7 kiwi = plum -8 =1 fig = kiwi *3 =3"),
        (Script([1, 1, 1, 1, 0.0], integers=[0]),
         "plum =7 kiwi = plum -8 =9 fig = kiwi *3 =0"),
    ],
)  # fmt: skip
def test_a_trace_carries_on_from_its_slip(script, trace):
    assert noisy_trace(WORLD, QUERY, script, slip=0.5) == f"fig kiwi plum : {trace}"
    assert not script.uniforms and not script.operators and not script.integers


@pytest.mark.parametrize("style", ["symbols", "english"])
def test_without_slips_it_is_the_expert_trace(style):
    config = replace(WORLD, style=style)
    assert all(noisy_trace(config, query, random.Random(0), 0.0) == query.trace for query in some(config, 100))


def test_slips_come_at_their_rate():
    # The operator and constant of a step stay with probability 1 - slip + slip / 30 (3 operators, 10 constants).
    rng, slip, kept, steps, leaves_kept, leaves = random.Random(1), 0.3, 0, 0, 0, 0
    for query in some(WORLD, 1500):
        facts = re.findall(r"(\w+) = \w+ ([+*-]\d+) =\d", noisy_trace(WORLD, query, rng, slip))
        meant = [(step.name, f"{step.operator}{step.constant}") for step in query.graph[1:]]
        kept += sum(a == b for a, b in zip(facts, meant, strict=True))
        steps += len(facts)
        leaf = query.graph[0]
        leaves_kept += f": {leaf.name} ={leaf.value} " in noisy_trace(WORLD, query, rng, slip)
        leaves += 1
    for count, n, p in ((kept, steps, 1 - slip + slip / 30), (leaves_kept, leaves, 1 - slip + slip / 10)):
        assert abs(count / n - p) < 5 * (p * (1 - p) / n) ** 0.5


@pytest.mark.parametrize(
    "config", [WORLD, ArithmeticConfig(modulus=7, names=6, max_length=3), replace(WORLD, modulus=23)]
)
def test_the_vocabulary_is_every_word_and_no_more(config):
    words = vocabulary(config)
    assert len(words) == len(set(words))
    rng, used = random.Random(0), set()
    for query in some(config, 1500):
        used |= {*query.text.split(), *query.trace.split(), *noisy_trace(config, query, rng, 0.2).split()}
    assert used == set(words)


def test_names_have_one_spelling_each():
    assert len(set(arithmetic.NAMES)) == len(arithmetic.NAMES) == 26
