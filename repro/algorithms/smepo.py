"""SMEPO (arXiv 2605.25198): an expert trace in the prompt, with what the reward checks hidden.

| symbol | here | meaning |
|---|---|---|
| x, a | query.text, query.answer | the question, the verifier's target |
| tau | query.trace | the expert trace |
| m(tau) | masker | the masked trace (`repro.algorithms.masks`) |
| rho | ratio | share of the trace's tokens that is kept as a prefix |
| I, E | intro, tail | what stands before and after the trace |
| L | max_prompt | longest guided prompt, in tokens |

    guided prompt = x + I + cut(m(tau); rho, room) + E,    room = L - |x| - |I| - |E|

Only what the policy sees changes: reward and objective are untouched, the guided prompt stays in the gradient, every
training prompt is guided at every step, evaluation never is. There is no gate, no schedule and no mixed group.

Where paper and code disagree, the default is: the last line is kept (the paper's full trace shows the answer; the
released truncation drops the last line of any trace that does not end in a newline: `last_line=False`), the critical
path is masked (`masks.Numerals` is the released rule), and a prompt without room is counted (the code counts it
nowhere). In a chat format I opens and E closes an earlier assistant message; no instruction asks to fill the blanks.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from repro.algorithms.guidance import WORDS, Measure, words
from repro.algorithms.masks import CriticalPath, Masker, Nothing, Numerals, RandomMask, hide, units


def cut(trace: str, ratio: float, room: int, split: Callable[[str], list[str]] = words) -> str:
    """The first `ratio` of the trace's tokens, at most `room` of them, cut back to the last whole line.

    A cut without any newline is kept as it is. With ratio 1 and room enough, the last line still goes unless the trace
    ends in a newline.
    """
    tokens = split(trace)
    kept = "".join(tokens[: max(0, min(int(ratio * len(tokens)), room))])
    return kept[: kept.rfind("\n") + 1] or kept


class Guided(NamedTuple):
    """A prompt, what of the trace it shows (masked, cut), and how it came about.

    `status`: "guided"; "missing" (no trace), "no room" or "too short" (for the ratio to leave a token), where the plain
    prompt stands. `truncated`: the room, not the ratio, cut the trace.
    """

    prompt: str
    shown: str
    status: Literal["guided", "missing", "no room", "too short"]
    truncated: bool


@dataclass(frozen=True)
class ExpertTrace:
    """Guidance by an expert trace: SMEPO as it stands; the other masks, prefixes and the full trace by its fields.

    SMEPO `ExpertTrace()`, released masker `ExpertTrace(Numerals())`, full trace `ExpertTrace(Nothing())`, its released
    form `ExpertTrace(Nothing(), last_line=False)`, prefix `ExpertTrace(Nothing(), ratio=0.5)`, random mask
    `ExpertTrace(RandomMask(CriticalPath()))`.
    """

    masker: Masker = CriticalPath()
    ratio: float = 1.0  # PREFIX_RATIO of every released script
    last_line: bool = True  # False: the released code's newline rule alone
    intro: str = "\nHere is an example solution:\n"
    tail: str = "\n"  # released: the end of the assistant's turn and the header of the next
    max_prompt: int = 4096

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1 or self.max_prompt < 1:
            raise ValueError(
                f"ExpertTrace: ratio {self.ratio} must lie above 0 and not above 1, and max_prompt "
                f"{self.max_prompt} at 1 or more (no trace at all is Unguided)"
            )

    def guide(self, query: Any, measure: Measure = WORDS) -> Guided:
        """The guided prompt of a query that has `text`, `trace` and whatever the masker reads; lengths in `measure`."""
        if not query.trace.strip():
            return Guided(query.text, "", "missing", False)
        trace = hide(query.trace, self.masker.spans(query))
        if self.last_line and not trace.endswith("\n"):
            trace += "\n"
        taken = measure.around + sum(len(measure.split(part)) for part in (query.text, self.intro, self.tail))
        room, wanted = self.max_prompt - taken, int(self.ratio * len(measure.split(trace)))
        shown = cut(trace, self.ratio, room, measure.split)
        if not shown:
            return Guided(query.text, "", "no room" if wanted else "too short", wanted > 0)
        return Guided(query.text + self.intro + shown + self.tail, shown, "guided", wanted > room)

    def prompt(self, query: Any, failures: int = 0, measure: Measure = WORDS) -> str:
        """The text that the policy continues, however often it has failed: there is no gate."""
        return self.guide(query, measure).prompt


class Leaks(NamedTuple):
    """Of one row: the values to be hidden that the shown trace still prints.

    `values`: those the question does not print, which is a leak. `given`: those the question prints too, which no mask
    can hide. `answer`: the verifier's target is shown although the question does not print it.
    """

    values: tuple[str, ...]
    given: tuple[str, ...]
    answer: bool


LEAST = 3  # words and numbers of a line in a hidden block that is looked for: "else:" elsewhere gives nothing away


def audit(
    query: Any,
    guidance: ExpertTrace,
    measure: Measure = WORDS,
    reward: Callable[[Any, str], float] | None = None,
    secret: Masker | None = None,
) -> Leaks:
    """Compare what should be hidden with what the guided prompt still shows, as whole tokens ("12" is not in "112").

    What should be hidden is what `secret` hides, by default the guidance's own masker: with the semantic one, prefixes,
    random masks and full traces are judged alike. Of a hidden block of several lines each line is a value.
    `reward(query, response)`, where a single response earns one, also finds an answer that is not the target's own
    text: a program, say, that passes the tests. The released code has no such check.
    """
    guided = guidance.guide(query, measure).shown
    shown, asked = _tokens(guided), _tokens(query.text)
    surviving = [value for value in _hidden(query, secret or guidance.masker) if _occurs(_tokens(value), shown)]
    given = [value for value in surviving if _occurs(_tokens(value), asked)]
    target = _tokens(query.answer)
    told = _occurs(target, shown) or (reward is not None and reward(query, guided) > 0)
    return Leaks(
        values=tuple(value for value in surviving if value not in given),
        given=tuple(given),
        answer=told and not _occurs(target, asked),
    )


def secrets(query: Any, masker: Masker) -> list[str]:
    """The distinct values that a masker hides of a row and that the question does not print."""
    asked = _tokens(query.text)
    return [value for value in _hidden(query, masker) if not _occurs(_tokens(value), asked)]


def _hidden(query: Any, masker: Masker) -> dict[str, None]:
    spans = masker.spans(query)
    return dict.fromkeys(value for span in spans for value in _values(query.trace[span.start : span.end]))


def _values(hidden: str) -> list[str]:
    lines = [line.strip() for line in hidden.splitlines() if line.strip()]
    return lines if len(lines) < 2 else [line for line in lines if sum(t[0].isalnum() for t in _tokens(line)) >= LEAST]


def _tokens(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?|[^\W\d]+|[^\w\s]", text.lower())


def _occurs(needle: list[str], hay: list[str]) -> bool:
    n = len(needle)
    return n > 0 and any(hay[i : i + n] == needle for i in range(len(hay) - n + 1))


def survey(
    guidance: ExpertTrace,
    queries: Iterable[Any],
    measure: Measure = WORDS,
    reward: Callable[[Any, str], float] | None = None,
    secret: Masker | None = None,
) -> dict[str, int | float]:
    """How a training list is guided: counts of queries, to be logged before the first update. See `audit`.

    `guided`, `missing` (no trace), `no_room`, `too_short`, `truncated` (by room); of the guided: `hides_nothing` and
    `hides_everything` (of the trace's words and numbers), `leaking` (a value of `secret` or the answer is still shown),
    `answer_given` (the question prints the answer, so that no mask can hide it); means over them: `hidden_share` of
    words and numbers, `shown_share` of the values of `secret` that are still shown. Raises ValueError if no query at
    all is guided: that would be GRPO under another name.
    """
    status, found = "guided missing no_room too_short", "truncated hides_nothing hides_everything leaking answer_given"
    count: dict[str, int | float] = dict.fromkeys(f"queries {status} {found}".split(), 0)
    shares, told = [], []
    for query in queries:
        guided = guidance.guide(query, measure)
        count["queries"] += 1
        count[guided.status.replace(" ", "_")] += 1
        if guided.status != "guided":
            continue
        count["truncated"] += guided.truncated
        spans, places = guidance.masker.spans(query), units(query.trace)
        covered = sum(any(s.start < end and start < s.end for s in spans) for start, end in places)
        shares.append(covered / len(places) if places else 0.0)
        count["hides_nothing"] += not spans
        count["hides_everything"] += bool(places) and covered == len(places)
        leaks, sought = audit(query, guidance, measure, reward, secret), secrets(query, secret or guidance.masker)
        told.append(len(leaks.values) / len(sought) if sought else 0.0)
        count["leaking"] += bool(leaks.values) or leaks.answer
        count["answer_given"] += _occurs(_tokens(query.answer), _tokens(query.text))
    if not count["guided"]:
        raise ValueError(
            f"none of {count['queries']} queries would be guided ({count['missing']} without a trace, "
            f"{count['no_room']} without room for one, {count['too_short']} with one too short for ratio "
            f"{guidance.ratio:g}): check the traces' column and max_prompt {guidance.max_prompt}"
        )
    return count | {"hidden_share": sum(shares) / len(shares), "shown_share": sum(told) / len(told)}


GHPO_STAGES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class EscalatingTrace:
    """GHPO-like (arXiv 2507.10628): the plain question until a whole group has failed, then ever more of the trace.

    `stages[i]` is the share shown after i + 1 failed groups in a row (`failures`); beyond the last stage it stays. With
    a masker in `trace` it is the combination with SMEPO that the SMEPO paper names without stating it. A failed group
    is one whose rewards are all 0. GHPO escalates within an update and has a cold start with fixed hints; here a query
    is helped at its next visit, and there is no cold start.
    """

    trace: ExpertTrace = ExpertTrace(Nothing())
    stages: tuple[float, ...] = GHPO_STAGES

    def __post_init__(self) -> None:
        if not self.stages or not all(0 < ratio <= 1 for ratio in self.stages):
            raise ValueError(f"EscalatingTrace: stages {self.stages} must be shares above 0 and not above 1")

    def prompt(self, query: Any, failures: int = 0, measure: Measure = WORDS) -> str:
        """The prompt of the next group of a query whose last `failures` groups have failed in a row."""
        if failures < 1:
            return query.text
        ratio = self.stages[min(failures, len(self.stages)) - 1]
        return dataclasses.replace(self.trace, ratio=ratio).prompt(query, measure=measure)


def failures(visits: Iterable[Any], query: int) -> int:
    """How many of a query's last groups have failed in a row.

    `visits` are those of an `allocation.History`, in order; groups that were passed over (size 0) do not count.
    """
    count = 0
    for visit in visits:
        if visit.query == query and visit.size:
            count = 0 if visit.solved else count + 1
    return count


# Hints in a world of words: the marks are single words of the policy's vocabulary (`guided_arithmetic.vocabulary`).
_MARKED = dict(intro="\n<hint>\n", tail="</hint>")
HINTS: dict[str, ExpertTrace] = {
    "full": ExpertTrace(Nothing(), **_MARKED),
    "full_cut": ExpertTrace(Nothing(), last_line=False, **_MARKED),
    "critical_path": ExpertTrace(CriticalPath(), **_MARKED),
    "numerals": ExpertTrace(Numerals(), **_MARKED),
    "numerals_defects": ExpertTrace(Numerals(defects=True), **_MARKED),
    "random": ExpertTrace(RandomMask(CriticalPath()), **_MARKED),
    "prefix_25": ExpertTrace(Nothing(), ratio=0.25, **_MARKED),
    "prefix_50": ExpertTrace(Nothing(), ratio=0.5, **_MARKED),
    "prefix_75": ExpertTrace(Nothing(), ratio=0.75, **_MARKED),
}
