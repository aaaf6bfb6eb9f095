"""Transcripts of the reference engine, as committed under golden/.

`python tests/environments/alfworld/golden.py` plays them anew; it needs the `alfworld` extra. A file holds games; a
game holds its problem and task, every string once (`strings`), and turns: command, observation, whether the game is
won, and which commands became admissible and inadmissible, as indices into the strings.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).with_name("golden")


def transcripts(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def turns(game):
    """(command or None, observation, won, sorted admissible commands) from the start on."""
    strings, admissible = game["strings"], set()
    for command, observation, won, more, less in game["turns"]:
        admissible = admissible - {strings[i] for i in less} | {strings[i] for i in more}
        yield None if command is None else strings[command], strings[observation], won, sorted(admissible)


def record(game, folder, number):
    from repro.environments.alfworld.differential import commands
    from repro.environments.alfworld.engine import Environment
    from repro.environments.alfworld.problem import write_pddl
    from repro.environments.alfworld.reference import Reference, write_game

    path, rng = write_game(game, Path(folder) / "game.tw-pddl"), random.Random(f"golden {game.id}")
    guide, reference = Environment(game), Reference(path)  # the guide only says which commands are worth trying
    strings, found, known = [], [], set()

    def index(string):
        if string not in strings:
            strings.append(string)
        return strings.index(string)

    def turn(command, observation):
        nonlocal known
        now = set(reference.admissible())
        assert reference.admissible() == sorted(now)
        more, less = ([index(c) for c in sorted(part)] for part in (now - known, known - now))
        command = None if command is None else index(command)
        found.append([command, index(observation), reference.won, more, less])
        known = now

    guide.reset()
    turn(None, reference.reset())
    for source in (game.walkthrough, commands(rng, guide, number)):
        for command in source:
            command = command[:300]
            guide.step(command)
            turn(command, reference.step(command)[0])
    return {"problem": write_pddl(game.problem), "task": game.task, "strings": strings, "turns": found}


def main():
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from repro.environments.alfworld import games
    from tests.environments.alfworld.random_problems import random_games

    small = games.train_list(games.HouseholdConfig(train_games=6), seed=0).games
    with tempfile.TemporaryDirectory() as folder:
        for name, chosen, number in (("small", small, 20), ("odd", random_games(14), 28)):
            played = [record(game, folder, number) for game in chosen]
            lines = ",\n".join(json.dumps(game, ensure_ascii=False, separators=(",", ":")) for game in played)
            (FOLDER / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
