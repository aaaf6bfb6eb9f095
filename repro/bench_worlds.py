"""Speed of the worlds' engines, beside the originals where these are installed: no torch, so that it runs beside them.

python -m repro.bench_worlds [alfworld|webshop|search ...] [--save]

A world may be measured in an environment of its own: ALFWorld's reference (extra `alfworld`) is seldom installed where
torch is. `--save` replaces the rows of the worlds that were run in data/bench_worlds.json and keeps the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.machine import machine
from repro.study.runs import atomic_write, data_folder

WORLDS = {  # world -> its benchmark, and the extra that it needs
    "alfworld": ("repro.environments.alfworld.bench:bench_engine", None),
    "webshop": ("repro.environments.webshop.bench:run_benchmarks", "webshop"),
    "search": ("repro.environments.search.bench:run_benchmarks", "search"),
}


def run_benchmarks(worlds: Sequence[str] = tuple(WORLDS)) -> dict[str, list[dict[str, Any]]]:
    """The rows of each world. ReproError for an unknown world, or one whose packages are not installed."""
    found = {}
    for world in worlds:
        if world not in WORLDS:
            raise ReproError(f"there is no world {world!r} to measure; there are: {', '.join(WORLDS)}")
        place, extra = WORLDS[world]
        module, function = place.split(":")
        try:
            measure: Callable[[], list[dict[str, Any]]] = getattr(import_module(module), function)
        except ModuleNotFoundError as error:
            raise ReproError(f"{world} needs the package {error.name!r}: pip install '.[{extra or world}]'") from error
        found[world] = measure()
    return found


def save(rows: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Replace these worlds' rows in the file, each with the machine it was measured on."""
    stored = json.loads(path.read_text()) if path.is_file() else {}
    here = machine("cpu")
    stored |= {world: {"machine": here, "rows": measured} for world, measured in rows.items()}
    atomic_write(path, json.dumps(dict(sorted(stored.items())), indent=1, allow_nan=False) + "\n")


def render(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of rows."""
    lines = ["| benchmark | settings | ours | peer | ratio |", "|---|---|---:|---:|---:|"]
    for row in rows:
        peer = "-" if row["peer"] is None else f"{row['peer']:,.1f} ({row['peer_name']})"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:,.1f}x"
        ours = f"{row['ours']:,.0f} {row['unit']}"
        lines.append(f"| {row['name']} | {row.get('settings', '')} | {ours} | {peer} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m repro.bench_worlds", description=__doc__.splitlines()[0])
    parser.add_argument("worlds", nargs="*", default=list(WORLDS), metavar="world", help=", ".join(WORLDS))
    parser.add_argument("--save", action="store_true", help="keep the rows in data/bench_worlds.json")
    options = parser.parse_args()
    rows = run_benchmarks(options.worlds)
    print(render([row for measured in rows.values() for row in measured]))
    if options.save:
        save(rows, data_folder() / "bench_worlds.json")


if __name__ == "__main__":
    main()
