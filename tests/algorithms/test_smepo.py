"""Expert traces in the prompt: truncation, injection, the leak audit, and every way a row can be odd."""

import random
from types import SimpleNamespace

import pytest

from repro.algorithms.allocation import Visit
from repro.algorithms.guidance import Measure, Unguided, words
from repro.algorithms.masks import CodeBlocks, CriticalPath, Nothing, Numerals, RandomMask
from repro.algorithms.smepo import HINTS, EscalatingTrace, ExpertTrace, Guided, audit, cut, failures, survey
from repro.config import config_hash, from_dict, to_dict
from repro.environments import guided_arithmetic
from repro.environments.arithmetic import Step
from repro.environments.guided_arithmetic import GuidedArithmeticConfig

TRACE = "a b :\nb =4\na = b +3 =7"


def row(trace=TRACE, text="b =4\na = b +3\n? a :", answer="7", graph=None, id="q"):
    chain = (Step("b", "", "", 0, 4), Step("a", "b", "+", 3, 7))
    return SimpleNamespace(id=id, text=text, answer=answer, trace=trace, graph=chain if graph is None else graph)


def letters(text):
    """A tokenizer of single characters."""
    return list(text)


def test_words_join_back_to_the_text():
    for text in ("", " ", "a", " a\n\nb  c \n", TRACE):
        assert "".join(words(text)) == (text if text.strip() else "")
    assert words(" a b\nc") == [" a ", "b\n", "c"]


@pytest.mark.parametrize(
    ("ratio", "room", "kept"),
    [
        (1.0, 99, "a b :\nb =4\n"),  # the released rule: the last line goes
        (1.0, 5, "a b :\nb =4\n"),
        (1.0, 4, "a b :\n"),  # a line is never shown in part
        (1.0, 3, "a b :\n"),
        (1.0, 2, "a b "),  # but where there is no whole line, the part stands
        (0.5, 99, "a b :\nb =4\n"),  # 5 of 10 tokens
        (0.25, 99, "a b "),  # 2 of 10
        (0.05, 99, ""),
        (1.0, 0, ""),
        (1.0, -3, ""),
    ],
)
def test_truncation_by_hand(ratio, room, kept):
    assert cut(TRACE, ratio, room) == kept


def test_truncation_against_a_slow_reference():
    rng = random.Random("cut")
    for _ in range(300):
        text = "".join(rng.choice("ab \n") for _ in range(rng.randrange(30)))
        ratio, room = rng.random(), rng.randrange(-2, 35)
        longest = ""
        for end in range(len(text) + 1):
            if end <= ratio * len(text) and end <= room:
                longest = text[:end]
        lines = [longest[:end] for end in range(1, len(longest) + 1) if longest[end - 1] == "\n"]
        assert cut(text, ratio, room, letters) == (lines[-1] if lines else longest)


def test_the_guided_prompt_by_hand():
    guidance = ExpertTrace(intro="\nI\n", tail="E")
    assert guidance.guide(row()) == Guided(
        "b =4\na = b +3\n? a :\nI\na b :\nb =4\na = b +3 =[NUMBER]\nE",
        "a b :\nb =4\na = b +3 =[NUMBER]\n",
        "guided",
        False,
    )
    assert guidance.prompt(row()) == guidance.guide(row()).prompt
    assert Unguided().prompt(row()) == row().text  # the evaluation's


def test_the_default_is_the_papers():
    assert ExpertTrace().prompt(row(text="Q")) == "Q\nHere is an example solution:\na b :\nb =4\na = b +3 =[NUMBER]\n\n"


def test_the_last_line_is_kept_or_cut():
    assert ExpertTrace(Nothing()).guide(row()).shown == TRACE + "\n"
    assert ExpertTrace(Nothing(), last_line=False).guide(row()).shown == "a b :\nb =4\n"
    assert ExpertTrace(Nothing(), last_line=False).guide(row(TRACE + "\n")).shown == TRACE + "\n"
    assert ExpertTrace(Nothing(), last_line=False).guide(row("one line")).shown == "one line"


def test_a_trace_longer_than_the_prompt_is_cut_to_whole_lines_and_counted():
    # question 3 + 4 + 3 = 9 words ("b =4" 2, "a = b +3" 4, "? a :" 3), intro 5, tail none: 10 more fill 24
    assert [len(words(part)) for part in (row().text, ExpertTrace().intro, "\n", TRACE)] == [9, 5, 0, 10]
    whole, short, one = (ExpertTrace(Nothing(), max_prompt=n) for n in (24, 23, 18))
    assert whole.guide(row()).shown == TRACE + "\n" and not whole.guide(row()).truncated
    assert short.guide(row()).shown == "a b :\nb =4\n" and short.guide(row()).truncated
    assert one.guide(row()).shown == "a b :\n"
    assert survey(short, [row(), row("a b :\n")])["truncated"] == 1
    for n in range(15, 40):
        assert len(words(ExpertTrace(Nothing(), max_prompt=n).prompt(row()))) <= n


def test_no_room_leaves_the_plain_prompt_and_is_counted():
    tight = ExpertTrace(Nothing(), max_prompt=14)  # 9 + 5: nothing is left for the trace
    assert tight.guide(row()) == Guided(row().text, "", "no room", True)
    counts = survey(tight, [row(), row(text="?")])
    assert (counts["no_room"], counts["guided"], counts["missing"]) == (1, 1, 0)


def test_a_ratio_that_leaves_nothing_is_not_called_lack_of_room():
    short = ExpertTrace(Nothing(), ratio=0.25)
    assert short.guide(row("b =4")) == Guided(row().text, "", "too short", False)
    assert survey(short, [row(), row("b =4")])["too_short"] == 1
    with pytest.raises(ValueError, match="1 with one too short for ratio 0.25"):
        survey(short, [row("b =4")])


def test_an_empty_trace_leaves_the_plain_prompt_and_is_counted():
    for trace in ("", " \n"):
        assert ExpertTrace().guide(row(trace)) == Guided(row().text, "", "missing", False)
    counts = survey(ExpertTrace(), [row(""), row(), row(" \n")])
    assert (counts["queries"], counts["missing"], counts["guided"]) == (3, 2, 1)


def test_a_data_set_without_traces_is_refused():
    with pytest.raises(ValueError, match="none of 2 queries would be guided .2 without a trace, 0 without room"):
        survey(ExpertTrace(), [row(""), row("")])
    with pytest.raises(ValueError, match="none of 0 queries"):
        survey(ExpertTrace(), [])


def test_lengths_are_counted_in_the_policys_tokens():
    guidance = ExpertTrace(Nothing(), intro="\n", tail="", max_prompt=len(row().text) + 1 + 6)
    assert guidance.guide(row(), Measure(letters)).shown == "a b :\n"  # six characters of room
    assert guidance.guide(row()).shown == TRACE + "\n"  # as words it all fits
    assert guidance.guide(row(), Measure(letters, around=1)).shown == "a b :"  # a template takes one of them


def test_the_audit_finds_what_is_still_shown():
    assert audit(row(), ExpertTrace()) == ((), (), False)
    assert audit(row(), ExpertTrace(Nothing())) == ((), (), True)
    shown_elsewhere = row("so 7 it is\na = b +3 =7")  # the path's rule does not know this mention
    assert audit(shown_elsewhere, ExpertTrace()) == (("7",), (), True)
    assert audit(shown_elsewhere, ExpertTrace(Numerals())) == ((), (), False)
    assert audit(row("about 2 1\na = b +3 =7"), ExpertTrace()).answer is False


PLAN = "Sort, and take the first.\n```\nxs = sorted(xs)\nelse:\nreturn xs[0]\n```\n"


def test_the_audit_looks_for_the_lines_of_a_hidden_block():
    code = ExpertTrace(CodeBlocks())
    assert audit(row(PLAN, answer="[1]"), code) == ((), (), False)
    told = audit(row(f"So return xs [ 0 ], else: stop.\n{PLAN}", answer="[1]"), code)
    assert told.values == ("return xs[0]",)  # one word, "else:", is too little to tell
    unclosed = row(f"{PLAN}Or:\n```\nreturn xs[0]\n", answer="[1]")  # a block that no mask finds
    assert audit(unclosed, code).values == ("return xs[0]",) and survey(code, [unclosed])["leaking"] == 1


def test_the_audit_asks_the_reward_where_the_answer_is_no_text():
    def passes(query, response):
        return float("return xs[0]" in response)

    full, masked = ExpertTrace(Nothing()), ExpertTrace(CodeBlocks())
    one = row(PLAN, answer="[1]")
    assert [audit(one, full).answer, audit(one, full, reward=passes).answer] == [False, True]
    assert not audit(one, masked, reward=passes).answer
    assert [survey(hint, [one], reward=passes)["leaking"] for hint in (full, masked)] == [1, 0]


def test_the_audit_counts_whole_tokens():
    chain = (Step("b", "", "", 0, 4), Step("a", "b", "+", 8, 12))
    around = row("112 12.5 1.12 a12\na = b +8 =12", answer="12", graph=chain)
    leaks = audit(around, ExpertTrace())
    assert leaks.values == ("12",)  # a12 is a and 12, the others are other numbers
    assert audit(row("112 12.5 1.12\na = b +8 =12", answer="12", graph=chain), ExpertTrace()).values == ()


def test_a_question_that_contains_the_answer():
    given = row(text="b =4\na = b +3\nolive = b +7\n? a :", trace=TRACE + "\nolive = b +7")
    assert audit(given, ExpertTrace()) == ((), ("7",), False)  # no mask can hide what is asked
    counts = survey(ExpertTrace(), [given, row()])
    assert (counts["answer_given"], counts["leaking"]) == (1, 0)


def test_masks_that_hide_nothing_or_everything_are_counted():
    rows = [row("no number at all"), row("1 2 3"), row()]
    counts = survey(ExpertTrace(Numerals()), rows)
    assert (counts["hides_nothing"], counts["hides_everything"]) == (1, 1)
    assert counts["hidden_share"] == pytest.approx((0 / 4 + 3 / 3 + 3 / 8) / 3)  # TRACE: 4, 3 and 7 of eight
    assert survey(ExpertTrace(CodeBlocks()), [row(answer="9")])["leaking"] == 0


def test_every_mask_of_the_world_is_clean():
    config = GuidedArithmeticConfig(train_queries=150, heldout_queries=4)
    queries = guided_arithmetic.train_list(config, 0)
    for name in ("critical_path", "numerals", "numerals_defects"):
        counts = survey(HINTS[name], queries)
        assert counts["guided"] == counts["queries"] == 150, name
        assert counts["leaking"] == counts["missing"] == counts["truncated"] == counts["hides_nothing"] == 0, name
    full, random_mask = survey(HINTS["full"], queries), survey(HINTS["random"], queries)
    assert full["leaking"] + full["answer_given"] == 150  # the full trace shows every answer
    assert random_mask["leaking"] > 75
    assert random_mask["hidden_share"] == pytest.approx(survey(HINTS["critical_path"], queries)["hidden_share"])


def test_every_hint_is_made_of_the_worlds_words():
    config = GuidedArithmeticConfig(train_queries=150, heldout_queries=4)
    known = set(guided_arithmetic.vocabulary(config))
    for name, guidance in HINTS.items():
        for query in guided_arithmetic.train_list(config, 1):
            prompt = guidance.prompt(query)
            assert set(prompt.split()) <= known, name
            assert prompt.startswith(query.text) and prompt.split()[-1] == "</hint>"


def test_guidance_is_a_config():
    for guidance in [*HINTS.values(), ExpertTrace(RandomMask(Numerals(), seed=3))]:
        assert from_dict(ExpertTrace, to_dict(guidance)) == guidance
    assert len({config_hash(guidance) for guidance in HINTS.values()}) == len(HINTS)


@pytest.mark.parametrize("wrong", [{"ratio": 0.0}, {"ratio": 1.5}, {"ratio": -1.0}, {"max_prompt": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="ratio .* must lie above 0"):
        ExpertTrace(**wrong)


def test_help_escalates_after_failed_groups():
    guidance = EscalatingTrace()
    lines = [guidance.prompt(row(), failures).removeprefix(row().text) for failures in range(6)]
    intro = "\nHere is an example solution:\n"
    # 2, 5 and 7 of 10 words; the last line begins with the sixth
    expected = ["", "a b ", "a b :\nb =4\n", "a b :\nb =4\n"]
    assert lines[:4] == ["", *(f"{intro}{shown}\n" for shown in expected[1:])]
    assert lines[3] == lines[4] == lines[5]
    masked = EscalatingTrace(ExpertTrace(CriticalPath()), stages=(1.0,))
    assert masked.prompt(row(), 1) == ExpertTrace().prompt(row())
    assert guidance.prompt(row()) == row().text
    for stages in ((), (0.0,), (0.5, 1.5)):
        with pytest.raises(ValueError, match="stages"):
            EscalatingTrace(stages=stages)


def test_failures_are_counted_in_a_row():
    #          update, query, size, solved
    visits = [Visit(0, 7, 8, 0), Visit(0, 8, 8, 0), Visit(1, 7, 8, 2), Visit(2, 7, 8, 0), Visit(3, 7, 0, 0)]
    assert failures(visits, 7) == 1 and failures(visits, 8) == 1 and failures(visits, 9) == 0
    assert failures([*visits, Visit(4, 7, 4, 0)], 7) == 2
    assert failures([*visits, Visit(4, 7, 4, 1)], 7) == 0
