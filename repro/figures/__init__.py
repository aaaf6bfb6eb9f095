"""Every figure of a study from its committed tables: no torch, no GPU, no runs.

from repro.figures import FIGURES, regenerate
FIGURES["asympo_async"]["convergence"](tables, study)   # a matplotlib Figure, which a notebook shows
regenerate(Path("figures"))                             # all of them, as PNG and SVG
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from repro.errors import ReproError
from repro.figures import copying, guidance, masks, practice, style, targets, theory, threespo, threespo_mechanism
from repro.figures.collapse import survival
from repro.figures.comparisons import ablation, difficulty
from repro.figures.curves import convergence, curve_figure
from repro.figures.mechanism import boundary, mechanism, mechanism_by_lag
from repro.figures.phases import SGPO_FIGURES
from repro.figures.queue import queue
from repro.figures.sweeps import lag_sweep, learning_rate
from repro.study import STUDIES, study_named, tables, theory_results

__all__ = ["FIGURES", "curve_figure", "has_results", "regenerate", "results"]

GUIDANCE_FIGURES: dict[str, Callable[..., Figure]] = {  # of every study of guidance by expert traces
    "convergence": guidance.convergence,
    "accuracy": guidance.accuracy,
    "time_to_target": targets.time_to_target,
    "copying": copying.copying,
    "mixed": copying.mixed,
    "practice": practice.practice,
    "clip": guidance.clip,
    "masks": masks.masks,
}
THREESPO_FIGURES: dict[str, Callable[..., Figure]] = {
    "success": threespo.success,
    "states": threespo.states,
    "speed": threespo.speed,
    "cost": threespo.cost,
    "pieces": threespo.pieces,
    "mechanism": threespo_mechanism.mechanism,
    "steps": threespo_mechanism.steps,
}
TIERS = ("smoke", "small")  # that have tables, weaker evidence first

FIGURES: dict[str, dict[str, Callable[..., Figure]]] = {  # study -> file name -> function of (tables, study)
    "asympo_async": {
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
    },
    "sgpo_math": SGPO_FIGURES,
    "smepo_math": GUIDANCE_FIGURES | {"doubt": guidance.doubt, "sparse": guidance.sparse},
    "smepo_code": GUIDANCE_FIGURES,
    "smepo_search": GUIDANCE_FIGURES,
    "threespo_alfworld": THREESPO_FIGURES,
    "threespo_webshop": THREESPO_FIGURES,
}


def results(study: str, tier: str | None = None, root: Path | None = None) -> tables.Tables:
    """A study's tables: of `tier`, or else of the best tier that has any (small, then smoke).

    ReproError, with the remedy, if there are none or they are damaged.
    """
    definition = study_named(study)
    if tier is None:
        present = [t for t in reversed(TIERS) if (tables.results_folder(study, t, root) / "runs.parquet").exists()]
        tier = next(iter(present), "smoke")
    definition.check_tier(tier)
    return tables.load(study, tier, root)


def regenerate(out: Path, study: str | None = None, tier: str | None = None) -> list[Path]:
    """Draw every figure of a study (or of all that have results) into `out/<study>/<name>.{png,svg}`; the files.

    Without `tier`: the small tier's results, or the smoke tier's where there are no others, which is stamped on the
    figures. The same tables give the same bytes. ReproError for an unknown study or tier, for missing tables of the
    study asked for (or of all), for damaged tables, or for an unwritable folder.
    """
    if study == theory_results.NAME:
        return theory.regenerate(theory_results.load(tier or "small"), Path(out))
    chosen = [study] if study is not None else [name for name in STUDIES if has_results(name)] or list(STUDIES)
    written: list[Path] = []
    if study is None and tier is None and theory_results.folder("small").exists():
        written += theory.regenerate(theory_results.load("small"), Path(out))
    for name in chosen:
        definition, data = study_named(name), results(name, tier)
        if data.runs.empty:
            raise ReproError(f"the tables of {name} hold no run: run make reproduce ONLY={name}")
        for stem, draw in FIGURES[name].items():
            written += style.save(draw(data, definition), Path(out) / name, stem)
    return written


def has_results(study: str, root: Path | None = None) -> bool:
    """Whether a study has tables of any tier."""
    return any((tables.results_folder(study, tier, root) / "runs.parquet").exists() for tier in TIERS)
