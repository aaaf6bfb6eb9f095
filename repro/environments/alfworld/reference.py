"""The reference: ALFWorld's own engine, from the installed `alfworld` and `textworld` packages (an optional extra)."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import tempfile
from pathlib import Path

from repro.environments.alfworld.package import INSTALL
from repro.environments.alfworld.problem import Game
from repro.errors import ReproError


def available() -> bool:
    return all(importlib.util.find_spec(name) for name in ("alfworld", "textworld", "fast_downward"))


class Reference:
    """Plays one game file through TextWorld with ALFWorld's names, behind the interface of this project's engine.

    `reward` and `done` of a step are TextWorld's score and done flag. There is no snapshot: its state lives in a
    compiled library.
    """

    def __init__(self, path: Path | str):
        if not available():
            raise ReproError(f"the reference engine is not installed: {INSTALL}")
        if "ALFWORLD_DATA" not in os.environ:  # importing alfworld creates the folder that this names
            os.environ["ALFWORLD_DATA"] = tempfile.mkdtemp(prefix="alfworld")
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld.envs import PddlEnv

        self.game = AlfredDemangler(PddlEnv(textworld.EnvInfos(admissible_commands=True, won=True)))
        self.game.load(str(path))
        self.won = False

    def reset(self) -> str:
        self.state = self.game.reset()
        self.won = bool(self.state["won"])
        return self.state.feedback

    def step(self, action: str) -> tuple[str, float, bool]:
        self.state, score, done = self.game.step(action)
        self.won = bool(self.state["won"])
        return self.state.feedback, float(score), bool(done)

    def admissible(self) -> list[str]:
        return list(self.state["admissible_commands"])


def write_game(game: Game, path: Path) -> Path:
    """One game file with the installed package's rules, as TextWorld loads it."""
    from repro.environments.alfworld.package import domain_text, grammar_text
    from repro.environments.alfworld.problem import write_pddl

    grammar = grammar_text().replace("UNKNOWN GOAL", json.dumps(game.task)[1:-1])
    content = {"pddl_domain": domain_text(), "grammar": grammar, "pddl_problem": write_pddl(game.problem)}
    path.write_text(json.dumps(content | {"solvable": True, "walkthrough": list(game.walkthrough)}))
    return path


def quicken() -> None:
    """Make TextWorld about five times as fast, here and until the process ends, without a change to what it does.

    It parses a grammar text again at each use and copies every name in deep at each symbol; then it parses once and
    copies what is written to. Speed is measured against the packages as installed.
    """
    from textworld.envs.pddl import textgen

    if hasattr(textgen._parse_and_convert, "cache"):
        return
    parsed = functools.cache(textgen._parse_and_convert)

    def fresh(symbol):
        """Symbols are written to, so each use needs its own."""
        if isinstance(symbol, textgen.ListSymbol):
            return textgen.ListSymbol(fresh(symbol.symbol))
        if isinstance(symbol, textgen.ConditionalSymbol):
            return textgen.ConditionalSymbol(fresh(symbol.expression), symbol.given)
        return type(symbol)(symbol.symbol)

    def parse(text: str, rule_name: str, trace: bool = False):
        return [fresh(symbol) for symbol in parsed(text, rule_name=rule_name)]

    def copy_context(context: dict) -> dict:
        return context | {"variables": dict(context["variables"]), "mapping": dict(context["mapping"])}

    parse.cache = parsed
    textgen._parse_and_convert = parse
    textgen.copy_context = copy_context
    textgen.Rule.parse_conjunctive_query = functools.cache(textgen.Rule.parse_conjunctive_query)
