"""What a hint shows and hides, piece by piece: for notebooks as HTML, for figures as data, for any trace of a reader's.

    shown = of_study(STUDIES["smepo_math"])            # a training question under the hints of the study's arms
    HTML(html(shown))
    HTML(html(own("cost = 3 * 12 = 36\\n#### 36")))     # every mask on a trace of one's own

Masks are those that train (`repro.algorithms.masks`), and prompts are built by the same call. Needs torch only to
compute examples, not to load the committed ones (`data/masks.json`; `python -m repro.study.masking` writes them).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.study import runs
from repro.study.definition import Study

STATUS = {
    "missing": "there is no trace",
    "no room": "no room for the trace",
    "too short": "too short for this prefix: nothing is shown",
}
OWN_MASKS = "smepo@wide", "numerals@wide"  # the first that a tier has says what should be hidden
FEW = 3  # values that are named where they still stand
KEPT, HIDDEN, CUT, ANSWER = "kept", "hidden", "cut", "answer"


@dataclass(frozen=True)
class Part:
    """A piece of a trace: kept, hidden behind a token (`was` is what it hides), cut off, or the answer, kept."""

    text: str
    kind: str
    was: str = ""


@dataclass(frozen=True)
class View:
    """A trace under one hint, and what there is to say of it."""

    label: str
    parts: tuple[Part, ...]
    note: str


@dataclass(frozen=True)
class Example:
    """A question with its trace under several hints."""

    question: str
    answer: str
    views: tuple[View, ...]


# From a hint to its pieces --------------------------------------------------------------------------------------------


def view(
    label: str, guidance: Any, query: Any, reward: Callable[[Any, str], float] | None = None, secret: Any = None
) -> View:
    """What `guidance` (an `algorithms.smepo.ExpertTrace`) shows of the query's trace, hides of it and cuts off.

    `reward`, and `secret`, the masker of what should be hidden: see `algorithms.smepo.audit`.
    """
    from repro.algorithms.masks import units
    from repro.algorithms.smepo import audit, secrets

    guided, spans = guidance.guide(query), guidance.masker.spans(query)
    pieces, end = [], 0
    for span in spans:
        pieces += [Part(query.trace[end : span.start], KEPT)]
        pieces += [Part(span.token, HIDDEN, query.trace[span.start : span.end])]
        end = span.end
    pieces.append(Part(query.trace[end:], KEPT))
    parts: list[Part] = []
    left = len(guided.shown)
    for piece in pieces:
        shown, rest = piece.text[:left], piece.text[left:]
        left -= len(shown)
        if piece.kind == KEPT:
            parts += _marked(shown, query)
        else:
            parts.append(Part(shown, HIDDEN, piece.was))
        parts.append(Part(rest, CUT))
    leaks, places = audit(query, guidance, reward=reward, secret=secret), units(query.trace)
    hidden = sum(any(s.start < stop and start < s.end for s in spans) for start, stop in places)
    notes = [f"hides {hidden} of {len(places)} words and numbers" if hidden else "hides nothing"]
    if guided.status != "guided":
        notes = [STATUS[guided.status]]
    elif any(part.kind == CUT and part.text.strip() for part in parts):
        notes.append("the rest is cut off")
    if leaks.answer:
        notes.append("shows the answer")
    if others := [value for value in leaks.values if value != query.answer]:
        told, sought = len(leaks.values), len(secrets(query, secret or guidance.masker))
        few = ", ".join(others) if len(others) <= FEW else f"{told} of {sought} values to be hidden"
        notes.append(f"still shows {few}")
    return View(label, tuple(_merged(parts)), "; ".join(notes))


def _marked(text: str, query: Any) -> list[Part]:
    """Kept text, cut at the answer where it stands as a word of its own and the question does not print it."""
    answer = query.answer.strip()
    word = rf"(?<![\w.]){re.escape(answer)}(?!\w|\.\d)"
    if not answer or re.search(word, query.text):
        return [Part(text, KEPT)]
    parts, end = [], 0
    for match in re.finditer(word, text):
        parts += [Part(text[end : match.start()], KEPT), Part(match[0], ANSWER)]
        end = match.end()
    return [*parts, Part(text[end:], KEPT)]


def _merged(parts: Iterable[Part]) -> list[Part]:
    """Without empty pieces, and neighbours of one kind as one; hidden ones stay apart."""
    merged: list[Part] = []
    for part in parts:
        if merged and part.kind == merged[-1].kind != HIDDEN:
            merged[-1] = Part(merged[-1].text + part.text, part.kind)
        elif part.text:
            merged.append(part)
    return merged


def of_study(study: Study, tier: str = "small", seed: int = 0, index: int = 0) -> Example:
    """A training question of a study under the hint of every arm that shows an expert trace, each hint once.

    ReproError for a question that the training list does not have.
    """
    hints, queries, reward, secret = _hints(study, tier, seed)
    if not 0 <= index < len(queries):
        raise ReproError(f"question {index} of {study.name}: the training list of seed {seed} has {len(queries)}")
    query = queries[index]
    views = (view(label, hint, query, reward, secret) for hint, label in hints.items())
    return Example(query.text, query.answer, tuple(views))


def surveys(study: Study, tier: str = "small", seed: int = 0) -> dict[str, dict[str, int | float]]:
    """By label of a hint: how it guides the whole training list, and what it shows of what SMEPO's own mask hides
    (`algorithms.smepo.survey`)."""
    from repro.algorithms.smepo import survey

    hints, queries, reward, secret = _hints(study, tier, seed)
    return {label: survey(hint, queries, reward=reward, secret=secret) for hint, label in hints.items()}


def _hints(study: Study, tier: str, seed: int) -> tuple[dict[Any, str], list[Any], Callable | None, Any]:
    """The hints that show an expert trace, with their labels; the training list; the reward of a single response; the
    masker of what should be hidden."""
    from repro import environments
    from repro.algorithms.smepo import ExpertTrace

    entry = study.paper_tier(tier)
    configs = {name: study.config(name, seed, tier) for name in (entry.arms if entry else study.arms)}
    hints: dict[Any, str] = {}
    for name, config in configs.items():
        if isinstance(config.recipe.guidance, ExpertTrace):
            hints.setdefault(config.recipe.guidance, study.arms[name].label)
    world = next(iter(configs.values())).world
    secret = next(configs[name] for name in OWN_MASKS if name in configs).recipe.guidance.masker
    return hints, environments.train_list(world, seed), environments.response_reward(world), secret


# A trace of one's own -------------------------------------------------------------------------------------------------

_STEP = re.compile(r"\s*(?P<name>[^\W\d]\w*)\s*=\s*(?P<first>[^=\n]+?)\s*(?:=\s*(?P<value>[^=\n]+?)\s*)?")


@dataclass(frozen=True)
class Line:
    """A line `name = value` or `name = expression = value` of a solution, as `masks.CriticalPath` reads it."""

    name: str
    source: str  # the names before it that its expression mentions
    fact: str
    computed: str


@dataclass(frozen=True)
class Named:
    """An entity, as `masks.Entities` reads it."""

    subject: str
    object: str


def solution(trace: str) -> tuple[Line, ...]:
    """The solution graph of a trace whose steps are lines `name = expression = value`; the last is what was asked.

    After it only lines that state its value again count, under its own name or another (`answer = value`).
    """
    steps: list[Line] = []
    for line in trace.splitlines():
        if not (found := _STEP.fullmatch(line)):
            continue
        known = {step.name for step in steps}
        sources = [word for word in re.findall(r"\w+", found["first"]) if word in known]
        if found["name"] in known and not sources and not found["value"]:
            continue  # stated before
        fact = f"{found['name']} = {found['first']}"
        steps.append(
            Line(found["name"], " ".join(sources), fact, f"{fact} = {found['value']}" if found["value"] else fact)
        )
    derived = [place for place, step in enumerate(steps) if step.source]
    if not derived:
        return tuple(steps)
    last, rest = steps[derived[-1]], steps[derived[-1] + 1 :]
    value = last.computed.rpartition("= ")[2]
    again = [replace(step, source=last.name, fact=step.name) for step in rest if step.fact == f"{step.name} = {value}"]
    return (*steps[: derived[-1] + 1], *again)


def own(trace: str, question: str = "", answer: str = "", names: Sequence[str] = (), ratio: float = 0.5) -> Example:
    """Every mask that applies to a trace of one's own; `names` are the entities to hide, `ratio` is the prefix's share.

    The critical path is masked where the trace has lines `name = expression = value`, code where it has fenced blocks,
    entities where there are `names`. The random mask hides as much as the first that applies, and what that hides is
    looked for in the full trace, the random mask and the prefix. ReproError for an empty trace, or a ratio outside
    0..1.
    """
    from repro.algorithms.masks import CodeBlocks, CriticalPath, Entities, Nothing, Numerals, RandomMask
    from repro.algorithms.smepo import ExpertTrace
    from repro.environments.query import Query

    if not trace.strip():
        raise ReproError("the trace is empty: a policy would see the question alone")
    if not 0 < ratio <= 1:
        raise ReproError(f"ratio {ratio}: the share of the trace that is shown lies above 0 and not above 1")
    steps = solution(trace)
    query = Query("own", question, answer, "", trace, steps)
    entities = Query("own", question, answer, "", trace, tuple(Named(name, "") for name in names if name.strip()))
    masks: list[tuple[str, Any, Query]] = []
    if steps and steps[-1].source:
        masks.append(("critical path", CriticalPath(), query))
    masks.append(("code blocks", CodeBlocks(), query))
    masks.append(("entities", Entities(), entities))
    masks += [("all numerals", Numerals(), query), ("all numerals, as released", Numerals(defects=True), query)]
    masks = [(label, mask, asked) for label, mask, asked in masks if mask.spans(asked)]
    label, secret, read = masks[0] if masks else ("", Nothing(), query)
    others = [("full trace", ExpertTrace(Nothing())), (f"prefix of {100 * ratio:g} %", ExpertTrace(Nothing(), ratio))]
    if masks:
        others.insert(1, (f"random, as much as {label}", ExpertTrace(RandomMask(secret))))
    full, *rest = (view(label, hint, read, secret=secret) for label, hint in others)
    masked = (view(label, ExpertTrace(mask), asked) for label, mask, asked in masks)
    return Example(question, answer, (full, *masked, *rest))


# As HTML --------------------------------------------------------------------------------------------------------------

# Inline styles, for a notebook's sanitiser drops style sheets; colours that tint the page's own, light or dark. Without
# any of them hidden pieces are still in brackets, and what is cut comes after scissors.
_FRAME = "border:1px solid rgba(127,127,127,0.5);border-radius:4px;padding:0.4em 0.6em;margin:0.3em"
_TEXT = "white-space:pre-wrap;font-family:monospace;font-size:0.9em;line-height:1.5"
_STYLES = {
    HIDDEN: "background:rgba(40,120,210,0.22);border:1px solid rgba(60,140,220,0.9);border-radius:3px;padding:0 2px",
    CUT: "opacity:0.6;text-decoration:line-through",
    ANSWER: "background:rgba(230,110,20,0.25);border-bottom:2px solid rgb(214,94,0);font-weight:bold",
}
SCISSORS = "\u2702"
LEGEND = {HIDDEN: "[HIDDEN]", ANSWER: "the answer, shown", CUT: "cut off"}


def html(example: Example) -> str:
    """The question, and its trace under each hint side by side: HTML that is legible in light, dark and no colour."""
    cards = [_card("question", escape(example.question), _answer(example.answer))] if example.question else []
    cards += [_card(one.label, "".join(map(_piece, one.parts)), escape(one.note)) for one in example.views]
    legend = " &nbsp; ".join(f"<span style='{_STYLES[kind]}'>{text}</span>" for kind, text in LEGEND.items())
    wrap = "<div style='display:flex;flex-wrap:wrap;align-items:stretch'>"
    return f"<div>{wrap}{''.join(cards)}</div><div style='margin:0.3em'><small>{legend}</small></div></div>"


def _card(title: str, body: str, foot: str) -> str:
    return (
        f"<div style='{_FRAME};flex:1 1 15em;min-width:13em;max-width:26em'><b>{escape(title)}</b>"
        f"<div style='{_TEXT}'>{body}</div><small style='opacity:0.8'>{foot}</small></div>"
    )


def _answer(answer: str, longest: int = 80) -> str:
    cut = answer if len(answer) <= longest else answer[:longest] + " …"
    return f"answer: <code>{escape(cut)}</code>" if answer else ""


def _piece(part: Part) -> str:
    text = escape(part.text)
    if part.kind == KEPT:
        return text
    tip = f" title='hides: {escape(part.was, quote=True)}'" if part.was else ""
    body, end = text.rstrip("\n"), "\n" * (len(text) - len(text.rstrip("\n")))  # a frame round a line break is ugly
    scissors = f"{SCISSORS} " if part.kind == CUT and body else ""
    return f"{scissors}<span style='{_STYLES[part.kind]}'{tip}>{body}</span>{end}"


# Committed examples ---------------------------------------------------------------------------------------------------


def path(root: Path | None = None) -> Path:
    return Path(root or runs.data_folder()) / "masks.json"


def save(studies: Iterable[Study], root: Path | None = None) -> Path:
    """Write the first training question of each study under its hints, and what leaks of all; the same code gives the
    same bytes."""
    examples = {study.name: asdict(of_study(study)) | {"surveys": surveys(study)} for study in studies}
    runs.atomic_write(path(root), json.dumps(examples, indent=1, ensure_ascii=False) + "\n")
    return path(root)


def load(study: str, root: Path | None = None) -> Example | None:
    """The committed example of a study, None if there is none; needs no torch."""
    if not path(root).exists():
        return None
    found = runs.read_json(path(root)).get(study)
    if found is None:
        return None
    views = (View(one["label"], tuple(Part(**part) for part in one["parts"]), one["note"]) for one in found["views"])
    return Example(found["question"], found["answer"], tuple(views))


def load_surveys(study: str, root: Path | None = None) -> dict[str, dict[str, int | float]]:
    """The committed surveys of a study by hint, none if there are none; needs no torch."""
    return runs.read_json(path(root)).get(study, {}).get("surveys", {}) if path(root).exists() else {}


if __name__ == "__main__":
    from repro.study import STUDIES

    print(save(study for study in STUDIES.values() if study.paper == "smepo"))
