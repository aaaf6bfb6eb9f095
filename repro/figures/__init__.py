"""Every figure of a study from its committed tables: no torch, no GPU, no runs.

from repro.figures import FIGURES, regenerate
FIGURES["convergence"](tables, study)      # a matplotlib Figure, which a notebook shows
regenerate(Path("figures"))                # all of them, as PNG and SVG
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from repro.errors import ReproError
from repro.figures import style
from repro.figures.collapse import survival
from repro.figures.comparisons import ablation, difficulty
from repro.figures.curves import convergence, curve_figure
from repro.figures.mechanism import boundary, mechanism, mechanism_by_lag
from repro.figures.queue import queue
from repro.figures.sweeps import lag_sweep, learning_rate
from repro.study import STUDIES, study_named, tables

__all__ = ["FIGURES", "curve_figure", "regenerate", "results"]

FIGURES: dict[str, Callable[..., Figure]] = {  # file name -> function of (tables, study)
    "convergence": convergence,
    "ablation": ablation,
    "survival": survival,
    "lag_sweep": lag_sweep,
    "mechanism": mechanism,
    "mechanism_by_lag": mechanism_by_lag,
    "boundary": boundary,
    "difficulty": difficulty,
    "queue": queue,
    "learning_rate": learning_rate,
}


def results(study: str, tier: str | None = None, root: Path | None = None) -> tables.Tables:
    """A study's tables: of `tier`, or else of the best tier that has any (small, then smoke).

    ReproError, with the remedy, if there are none or they are damaged.
    """
    definition = study_named(study)
    if tier is None:
        present = [t for t in ("small", "smoke") if (tables.results_folder(study, t, root) / "runs.parquet").exists()]
        tier = next(iter(present), "smoke")
    definition.check_tier(tier)
    return tables.load(study, tier, root)


def regenerate(out: Path, study: str | None = None, tier: str | None = None) -> list[Path]:
    """Draw every figure of a study (or of all) into `out/<study>/<name>.{png,svg}`; returns the files.

    Without `tier`: the small tier's results, or the smoke tier's where there are no others, which is stamped on the
    figures. The same tables give the same bytes. ReproError for an unknown study or tier, missing or damaged tables,
    or an unwritable folder.
    """
    written: list[Path] = []
    for name in [study] if study is not None else list(STUDIES):
        definition, data = study_named(name), results(name, tier)
        if data.runs.empty:
            raise ReproError(f"the tables of {name} hold no run: run make reproduce ONLY={name}")
        for stem, draw in FIGURES.items():
            written += style.save(draw(data, definition), Path(out) / name, stem)
    return written
