"""Probes: guided questions and planted hints, scored by the world's own reward."""

from functools import partial

from repro.algorithms.smepo import HINTS
from repro.environments import guided_arithmetic
from repro.environments.guided_arithmetic import GuidedArithmeticConfig, plant, reward
from repro.training.probes import with_hint, with_planted_hint

CONFIG = GuidedArithmeticConfig(train_queries=30, heldout_queries=4)
QUERIES = guided_arithmetic.train_list(CONFIG, 0)


def planted_answer(query):
    return str(query.graph[-1].value)


def probe(name):
    return with_planted_hint(QUERIES, HINTS[name], partial(plant, CONFIG), planted_answer)


def test_a_hint_changes_the_question_alone():
    for query, asked in zip(QUERIES, with_hint(QUERIES, HINTS["full"]), strict=True):
        assert asked.text == HINTS["full"].prompt(query)
        assert (asked.answer, asked.trace, asked.id) == (query.answer, query.trace, query.id)


def test_a_planted_full_trace_shows_the_planted_answer():
    for query, copied, solved in zip(QUERIES, *probe("full"), strict=True):
        shown = copied.text.split("<hint>\n")[1].removesuffix("\n</hint>")
        assert copied.text == solved.text and shown != query.trace
        assert reward(copied, shown) == 1.0 and reward(solved, shown) == 0.0  # the copier
        assert reward(copied, query.trace) == 0.0 and reward(solved, query.trace) == 1.0  # the solver


def test_a_mask_that_hides_what_is_planted_leaves_the_honest_prompt():
    honest = with_hint(QUERIES, HINTS["critical_path"])
    copied, solved = probe("critical_path")
    assert [query.text for query in copied] == [query.text for query in solved] == [query.text for query in honest]


def test_probes_are_the_same_every_time():
    assert probe("random") == probe("random")
