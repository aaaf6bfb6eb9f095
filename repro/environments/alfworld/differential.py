"""Plays the same commands in this engine and in the reference and compares every text, list and flag.

`python -m repro.environments.alfworld.differential --help` does it for this project's generated games and records how
many games and commands agreed. It needs the `alfworld` extra.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from repro.environments.alfworld import games, layouts
from repro.environments.alfworld.engine import Engine, Environment
from repro.environments.alfworld.problem import TASK_TYPES, Game, read_game
from repro.environments.alfworld.reference import Reference, quicken, write_game

VERBS = ("go to", "open", "close", "take", "move", "examine", "use", "clean", "heat", "cool", "slice")
NOISE = ("", " ", "\n", "Look", "LOOK", "look ", "\tinventory", "go", "go to", "put", "help me", "examine", "take all")
STRANGE = ("go to fridge 1\x00", "lööök", "看", "🔪 slice", "{r.name}", "#intro#", "%s", "'; look", "look\nlook")


def hostile(rng: random.Random, admissible: Sequence[str], names: Sequence[str]) -> str:
    """A command that is probably not admissible: wrong case, spacing, verb or things, empty, very long, strange."""
    command = rng.choice(admissible)
    a, b = rng.choice(names), rng.choice(names)
    return rng.choice(
        (
            rng.choice(NOISE),
            rng.choice(STRANGE),
            command.upper(),
            command.replace(" ", "  "),
            f"  {command}\n",
            f"{command}.",
            f"{command} {command}",
            command[: rng.randrange(len(command) + 1)],
            "take " + "very " * 2000 + "long 1",
            f"{rng.choice(VERBS)} {a}",
            f"take {a} from {b}",
            f"move {a} to {b}",
            f"put {a} in/on {b}",
            f"{rng.choice(('clean', 'heat', 'cool', 'slice'))} {a} with {b}",
        )
    )


def commands(rng: random.Random, environment: Environment, number: int) -> Iterator[str]:
    """Random commands for the states that the environment goes through, one in six of them hostile."""
    engine = environment.engine
    names = [*engine.receptacle_name, *engine.object_name]
    for _ in range(number):
        admissible = environment.admissible()
        if rng.random() < 1 / 6:
            yield hostile(rng, admissible, names)
        else:  # a verb first, so that rare ones are not drowned by going about
            verb = rng.choice(sorted({command.split(" ")[0] for command in admissible}))
            yield rng.choice([command for command in admissible if command.split(" ")[0] == verb])


def compare(path: Path, seed: str, number: int) -> tuple[Counter, list[dict[str, Any]]]:
    """Plays a game file twice in both engines: at random, then by its walkthrough and on beyond the victory.

    Returns how many commands of each verb agreed and what differed; the first difference ends the game.
    """
    game, rng = read_game(path), random.Random(seed)
    ours, reference = Environment(Engine(game)), Reference(path)
    agreed: Counter = Counter()

    def difference(command: str | None, said: Any, expected: Any) -> dict[str, Any] | None:
        sides = [
            {"observation": observation, "won": side.won, "admissible": side.admissible()}
            for observation, side in ((said, ours), (expected, reference))
        ]
        if sides[0] != sides[1]:
            return {"game": str(path), "command": command, "ours": sides[0], "reference": sides[1]}
        return None

    plan = iter(game.walkthrough)
    for source in (lambda: commands(rng, ours, number), lambda: (c for c in (*plan, *commands(rng, ours, 5)))):
        found = difference(None, ours.reset(), reference.reset())
        if found:
            return agreed, [found]
        for command in source():
            found = difference(command, ours.step(command), reference.step(command))
            if found:
                return agreed, [found]
            verb = command.strip().split(" ")[0]
            agreed[verb if verb in {v.split(" ")[0] for v in VERBS} | {"look", "inventory", "help"} else "other"] += 1
    return agreed, []


def run(sources: dict[str, Iterable[Game]], number: int) -> dict[str, Any]:
    """Compares every game of every source; `number` random commands a game."""
    quicken()
    record: dict[str, Any] = {
        "versions": {name: importlib.metadata.version(name) for name in ("alfworld", "textworld")},
        "sources": {},
        "differences": [],
    }
    verbs: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for source, found in sources.items():
            types: Counter = Counter()
            total = 0
            for index, game in enumerate(found):
                path = write_game(game, Path(folder) / "game.tw-pddl")
                agreed, differences = compare(path, f"differential {source} {index}", number)
                print(f"{source} {index}: {agreed.total()} commands, {len(differences)} differences", flush=True)
                record["differences"] += [d | {"game": f"{source} {index}"} for d in differences]
                types[game.problem.goal.task_type] += not differences
                total += agreed.total()
                verbs += agreed
            record["sources"][source] = {"games": types.total(), "commands": total, "task_types": dict(types)}
    record["games"] = sum(s["games"] for s in record["sources"].values())
    record["commands"] = verbs.total()
    record["commands_by_verb"] = dict(sorted(verbs.items()))
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=240, help="small households")
    parser.add_argument("--full", type=int, default=60, help="full-size households from ALFRED's floor plans")
    parser.add_argument("--commands", type=int, default=30, help="random commands a game")
    parser.add_argument("--out", type=Path, default=Path("data/alfworld_differential.json"))
    chosen = parser.parse_args()
    per_type = -(-chosen.small // len(TASK_TYPES))
    small = games.train_list(games.HouseholdConfig(train_games=per_type * len(TASK_TYPES)), seed=0).games
    full = islice(layouts.stream(layouts.LayoutConfig(), seed=0), chosen.full)
    record = run({"small households": small[: chosen.small], "full-size households": full}, chosen.commands)
    chosen.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{record['games']} games, {record['commands']} commands agreed; {len(record['differences'])} differences")
    raise SystemExit(bool(record["differences"]))


if __name__ == "__main__":
    main()
