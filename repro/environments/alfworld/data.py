"""Games on disk, in ALFWorld's public layout: its own data sets, and generated games written for its engine.

$ALFWORLD_DATA/json_2.1.1/{train,valid_seen,valid_unseen}/
    <task type>-<object>-<movable receptacle or None>-<receptacle or lamp>-<floor plan>/
        trial_T<stamp>/{game.tw-pddl,traj_data.json,initial_state.pddl}
$ALFWORLD_DATA/logic/{alfred.pddl,alfred.twl2}
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repro.environments.alfworld import package
from repro.environments.alfworld.expert import shortest_plan
from repro.environments.alfworld.households import SPLITS, GameSet
from repro.environments.alfworld.problem import TASK_TYPES, Game, read_game, write_pddl
from repro.errors import ReproError
from repro.places import external

DATASET = "json_2.1.1"
_LAYOUT = f"{DATASET}/<split>/<task>-<object>-<...>-<floor plan>/trial_T<stamp>/{{game.tw-pddl,traj_data.json}}"
# Stands in for the rules where the alfworld package is not installed: this project's engine knows them by itself.
_DOMAIN_MARKER = "; ALFWorld 0.4.2's rules. TextWorld needs their text here: write this game with alfworld installed.\n"
_GRAMMAR_MARKER = '"rhs": "Your task is to: UNKNOWN GOAL."\n'


@dataclass(frozen=True)
class DatasetConfig:
    """ALFWorld's own games, or games written in their layout: all of them, or a random share of each split."""

    task_types: tuple[str, ...] = TASK_TYPES
    train_games: int | None = None  # None: all, 3,553 of them
    heldout_games: int | None = None  # of each held-out split; None: all 140 and 134


def train_list(config: DatasetConfig, seed: int) -> GameSet:
    """The finite training list of a seed: `train_games` of the training split, drawn at random."""
    return _share(load("train", task_types=config.task_types), config.train_games, f"train:{seed}")


def heldout(config: DatasetConfig) -> dict[str, GameSet]:
    """The held-out splits, or the same random share of them for every seed."""
    return {
        split: _share(load(split, task_types=config.task_types), config.heldout_games, f"heldout:{split}")
        for split in ("valid_seen", "valid_unseen")
    }


def _share(found: GameSet, number: int | None, seed: str) -> GameSet:
    if number is None:
        return found
    if not 1 <= number <= len(found.games):
        raise ReproError(f"ALFWorld's data: {number} games were asked for, and there are {len(found.games)}")
    return replace(found, games=tuple(random.Random(seed).sample(found.games, number)))


def dataset_folder(root: Path | str | None = None) -> Path:
    """The folder that holds the splits, below `root`, the environment variable ALFWORLD_DATA or `repro data`'s place.

    Raises ReproError that names the download command and the layout where there is none.
    """
    place = root if root is not None else os.environ.get("ALFWORLD_DATA")
    if root is None and not place and external("alfworld").is_dir():
        place = external("alfworld")
    advice = (
        f"Run `alfworld-download` (it comes with the alfworld package, {package.INSTALL}) with the environment "
        f"variable ALFWORLD_DATA set to the folder that should hold the data, which gets the layout {_LAYOUT}."
    )
    if not place:
        raise ReproError(f"ALFWorld's data: the environment variable ALFWORLD_DATA is not set. {advice}")
    folder = Path(place).expanduser() / DATASET
    if not folder.is_dir():
        raise ReproError(f"ALFWorld's data: there is no folder {folder}. {advice}")
    return folder


def game_files(
    split: str, root: Path | str | None = None, task_types: Sequence[str] = TASK_TYPES
) -> tuple[list[Path], dict[str, int]]:
    """The playable games of a split in the order of their paths, and how many others there are, by reason.

    The same games that ALFWorld's own loader takes: those with a `traj_data.json` of a wanted task type and a game
    file that says it is solvable, movable receptacles and sliced things left out.
    """
    if split not in SPLITS:
        raise ReproError(f"ALFWorld's data: unknown split {split!r}; known are {SPLITS}")
    folder = dataset_folder(root) / split
    found, skipped = [], Counter()
    for described in sorted(folder.rglob("traj_data.json")):
        path = described.with_name("game.tw-pddl")
        if "movable" in str(described.parent) or "Sliced" in str(described.parent):
            skipped["movable receptacle or sliced object"] += 1
        elif _json(described).get("task_type") not in task_types:
            skipped["another task type"] += 1
        elif not path.exists():
            skipped["no game.tw-pddl"] += 1
        elif not _json(path).get("solvable"):
            skipped["not marked as solvable"] += 1
        else:
            found.append(path)
    if not found:
        raise ReproError(f"ALFWorld's data: no games in {folder} (passed over: {dict(skipped)}). Expected {_LAYOUT}.")
    return found, dict(skipped)


def load(
    split: str, root: Path | str | None = None, task_types: Sequence[str] = TASK_TYPES, limit: int | None = None
) -> GameSet:
    """A split's games (the first `limit` of them), each with its room, its split and the walkthrough from its file.

    A game for which the shortest-plan expert finds no plan is passed over and counted. A malformed file raises
    ReproError that names it.
    """
    folder = dataset_folder(root)
    paths, skipped = game_files(split, root, task_types)
    games = []
    for path in paths[:limit]:
        game = read_game(path)
        if shortest_plan(game.problem) is None:
            skipped["the expert finds no plan"] = skipped.get("the expert finds no plan", 0) + 1
            continue
        room = path.parent.parent.name.rsplit("-", 1)[-1]
        games.append(replace(game, id=path.parent.relative_to(folder).as_posix(), room=room, split=split))
    return GameSet(tuple(games), skipped)


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReproError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ReproError(f"{path}: a JSON object is expected, this is a {type(content).__name__}")
    return content


def write(games: Iterable[Game], root: Path | str) -> list[Path]:
    """Writes games below `root` in the public layout and returns their game files.

    With the alfworld package installed the files carry its rules and are played by TextWorld too; without it they
    carry a marker in their place, which this project's engine does not need. An existing game is written over.
    """
    installed = package.folder() is not None
    domain = package.domain_text() if installed else _DOMAIN_MARKER
    grammar = package.grammar_text() if installed else _GRAMMAR_MARKER
    root = Path(root)
    paths = []
    for game in games:
        folder = root / DATASET / game.id
        folder.mkdir(parents=True, exist_ok=True)
        problem = write_pddl(game.problem)
        content = {
            "pddl_domain": domain,
            "grammar": grammar.replace("UNKNOWN GOAL", json.dumps(game.task)[1:-1]),
            "pddl_problem": problem,
            "solvable": game.solvable,
            "walkthrough": list(game.walkthrough),
        }
        (folder / "game.tw-pddl").write_text(json.dumps(content), encoding="utf-8")
        (folder / "initial_state.pddl").write_text(problem, encoding="utf-8")
        (folder / "traj_data.json").write_text(json.dumps(_trajectory(game), indent=1), encoding="utf-8")
        paths.append(folder / "game.tw-pddl")
    if installed:
        (root / "logic").mkdir(parents=True, exist_ok=True)
        (root / "logic" / "alfred.pddl").write_text(domain, encoding="utf-8")
        (root / "logic" / "alfred.twl2").write_text(grammar, encoding="utf-8")
    return paths


def _trajectory(game: Game) -> dict:
    """What ALFRED records of a task, as far as a text game has it: no demonstration, no pictures, no annotations."""
    goal = game.problem.goal
    return {
        "task_id": game.id.rsplit("/", 1)[-1],
        "task_type": goal.task_type,
        "pddl_params": {
            "object_target": goal.object,
            "parent_target": goal.receptacle or "",
            "toggle_target": goal.toggle or "",
            "mrecep_target": "",
            "object_sliced": False,
        },
        "scene": {"floor_plan": f"FloorPlan{game.room}" if game.room.isdigit() else game.room},
    }
