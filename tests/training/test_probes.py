"""Probes: guided questions and planted hints, asked of a policy that is known, and logged by the loop."""

import json
from dataclasses import replace

import pytest

from repro.algorithms import ALGORITHMS
from repro.algorithms.allocation import Uniform
from repro.algorithms.guidance import Unguided
from repro.algorithms.smepo import HINTS, EscalatingTrace
from repro.environments import guided_arithmetic, search
from repro.environments.arithmetic import ArithmeticConfig
from repro.environments.guided_arithmetic import reward
from repro.environments.hinted import HINTED
from repro.environments.program import ProgramConfig
from repro.environments.program import train_list as program_list
from repro.environments.search import SearchConfig
from repro.errors import ReproError
from repro.policy.demonstrations import FORMATS
from repro.policy.warmstart import WarmStartConfig
from repro.study.runs import read_metrics
from repro.training import probes
from repro.training.config import ProbedEvaluation
from repro.training.episodes import Played, Turn
from repro.training.loop import train
from repro.training.probes import with_hint, with_planted_hint
from tests.training.test_guidance import CONFIG, WORLD, policy, with_guidance  # noqa: F401

PROBED = replace(CONFIG, evaluation=ProbedEvaluation(
    every=2, queries=2, samples=2, final_queries=4, final_samples=2, probe_queries=1, final_probe_queries=3,
    formats=("", "full", "random"), format_queries=4, format_samples=2,
))  # fmt: skip
QUERIES = guided_arithmetic.train_list(WORLD, 0)


def shown(query):
    return query.text.split("<hint>\n")[1].removesuffix("\n</hint>")


def test_a_hint_changes_the_question_alone():
    for query in QUERIES:
        asked = with_hint(query, HINTS["full"])
        assert asked == replace(query, text=HINTS["full"].prompt(query))
        assert with_hint(query, EscalatingTrace(HINTS["full"], stages=(0.5, 1.0))) == asked  # fully open


def test_a_planted_full_trace_shows_the_planted_answer():
    for query in QUERIES:
        planted = with_planted_hint(query, HINTS["full"], CONFIG)
        outcome = HINTED[type(WORLD)].outcome
        assert planted.text.startswith(query.text) and shown(planted) != query.trace
        assert reward(planted, shown(planted)) == 0.0 and outcome(planted, [shown(planted)]) == "copied"
        assert reward(planted, query.trace) == 1.0 and outcome(planted, [query.trace]) == "solved"
        assert outcome(planted, [""]) == "neither"


def test_a_mask_that_hides_what_is_planted_leaves_the_honest_prompt():
    for query in QUERIES:
        assert with_planted_hint(query, HINTS["critical_path"], CONFIG).text == HINTS["critical_path"].prompt(query)


def test_what_is_planted_depends_on_the_query_alone():
    once, again = ([with_planted_hint(query, HINTS["random"], CONFIG) for query in QUERIES] for _ in range(2))
    assert once == again


def test_other_worlds_plant_too():
    pytest.importorskip("bm25s")
    programs, bases = ProgramConfig(train_queries=8, heldout_queries=4), SearchConfig(
        knowledge_bases=2, train_queries=8, heldout_queries=4
    )  # fmt: skip
    for world, queries in ((programs, program_list(programs, 0)), (bases, search.train_list(bases, 0))):
        known = HINTED[type(world)]
        for query in queries:
            planted = with_planted_hint(query, FORMATS[type(world)]["full"], replace(CONFIG, world=world))
            if world is bases:
                follow, right = ([a for _, a in search.demonstration(world, q)] for q in (planted, query))
                episode = search.SearchEpisode(world, planted)
                assert episode.reset() == planted.text  # it is played with its hint
            else:
                follow, right = [shown(planted)], [query.trace]
            assert known.outcome(planted, follow) == "copied" and known.outcome(planted, right) == "solved"
            assert known.first_error(query, right) == "none" and known.first_error(query, follow) in known.errors
            assert known.route in known.errors and known.outcome(planted, [""]) == "neither"


def test_first_errors_of_a_hint_are_the_worlds_kinds(policy):  # noqa: F811
    (survey, *formats) = probes.opening(QUERIES, policy, PROBED)
    assert survey["kind"] == "survey" and survey["guided"] == survey["queries"] == 4 and survey["leaking"] == 0
    assert [record["format"] for record in formats] == ["", "full", "random"]
    for record in formats:
        assert (record["kind"], record["probe"], record["update"]) == ("probe", "format", 0)
        assert (record["queries"], record["samples"]) == (4, 2)
        wrong = sum(record[f"error_{kind}"] for kind in ("route", "fact", "value", "form"))
        assert 0 <= wrong <= 1 and record["mean_at_k"] <= record["pass_at_k"] <= 1


def said(monkeypatch, policy, answer):  # noqa: F811
    """The policy says what `answer` makes of each query that it is asked."""

    def draw(dec, policy, groups, sizes, *, config, update):
        assert update == probes.SEED_SPACE
        for group, size in zip(groups, sizes, strict=True):
            text = answer(group.query)
            completion = type("Completion", (), {"tokens": policy.encode(text), "finished": True})
            group.played += [Played([Turn(group.prompt, completion)], reward(group.query, text))] * size

    monkeypatch.setattr(probes, "draw", draw)


@pytest.mark.parametrize("guidance", [Unguided(), HINTS["full"], HINTS["critical_path"]])
def test_a_copier_is_caught(policy, monkeypatch, guidance):  # noqa: F811
    """It says the hint where there is no blank in it, else the right trace."""
    heldout = guided_arithmetic.heldout(WORLD)
    right = {query.id: query.trace for queries in heldout.values() for query in queries}
    said(monkeypatch, policy, lambda q: right[q.id] if "[NUMBER]" in q.text or "<hint>" not in q.text else shown(q))
    config = replace(PROBED, recipe=replace(PROBED.recipe, guidance=guidance))
    records = {r["probe"]: r for r in probes.asked_with_hints(policy, heldout, config, 7, end=True)}
    assert all(r["kind"] == "probe" and r["update"] == 7 and r["queries"] == 6 for r in records.values())
    copies = {name: (r.get("copied"), r["mean_at_k"]) for name, r in records.items()}
    expected = {"planted_full": (1.0, 0.0)}
    if guidance == HINTS["full"]:
        expected |= {"planted_own": (1.0, 0.0), "guided": (None, 1.0)}
    elif guidance == HINTS["critical_path"]:
        expected |= {"planted_own": (0.0, 1.0), "guided": (None, 1.0)}
    assert copies == expected
    few = list(probes.asked_with_hints(policy, heldout, config, 7, end=False))
    assert {record["queries"] for record in few} == {2}  # one a level along the way


def test_a_solver_does_not_copy(policy, monkeypatch):  # noqa: F811
    heldout = guided_arithmetic.heldout(WORLD)
    right = {query.id: query.trace for queries in heldout.values() for query in queries}
    said(monkeypatch, policy, lambda query: right[query.id])
    (record, *_) = probes.asked_with_hints(policy, heldout, PROBED, 0, end=True)
    assert (record["copied"], record["mean_at_k"]) == (0.0, 1.0)


def test_a_run_logs_its_probes_and_they_change_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    train(PROBED, tmp_path / "probed")
    plain = replace(PROBED, evaluation=replace(CONFIG.evaluation, queries=2))
    train(plain, tmp_path / "plain")
    probed, bare = ([{k: v for k, v in r.items() if "seconds" not in k} for r in read_metrics(tmp_path / name)]
                    for name in ("probed", "plain"))  # fmt: skip
    asked = [record for record in probed if record["kind"] == "probe"]
    assert [(r["update"], r["probe"], r["queries"]) for r in asked] == [
        *((0, "format", 4),) * 3,
        *((update, name, queries) for update, queries in ((0, 6), (2, 2), (4, 6))
          for name in ("planted_full", "planted_own", "guided")),
    ]  # fmt: skip
    assert [record["kind"] for record in bare][:2] == ["survey", "eval"]
    assert [record for record in probed if record["kind"] != "probe"] == bare


def test_what_cannot_be_guided_or_asked_is_refused(policy, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    no_traces = [replace(query, trace="") for query in QUERIES]
    with pytest.raises(ReproError, match="smepo: none of 4 queries would be guided"):
        list(probes.opening(no_traces, policy, CONFIG))
    with pytest.raises(ReproError, match="no solution graph; use Numerals"):
        list(probes.opening([replace(query, graph=()) for query in QUERIES], policy, CONFIG))
    assert list(probes.opening(no_traces, policy, with_guidance(Unguided()))) == []
    elsewhere = replace(PROBED, world=ArithmeticConfig(), warmstart=WarmStartConfig(steps=1, flat_steps=0),
                        recipe=replace(ALGORITHMS["grpo"], allocation=Uniform(2, 2)))  # fmt: skip
    with pytest.raises(ReproError, match="ArithmeticConfig has no expert traces"):
        train(elsewhere, tmp_path / "run")
    assert not json.loads((tmp_path / "run" / "config.json").read_text())["config"]["policy"]["checkpoint"]


def test_a_hint_that_leaves_no_room_is_refused(tmp_path, monkeypatch):
    """The unguided arm, too, is asked with the full trace."""
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    plain = max(len(query.text.split()) for query in guided_arithmetic.train_list(WORLD, CONFIG.seed))
    config = replace(with_guidance(Unguided()), policy=replace(CONFIG.policy, context=plain + 20))
    with pytest.raises(ReproError, match="does not fit the model's context"):
        train(replace(config, evaluation=PROBED.evaluation), tmp_path)
