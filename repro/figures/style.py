"""How every figure of the project looks: one palette, one type size, one frame.

One theme, on an opaque white card. The same files are printed, shown in the README and opened in dark notebooks, and
colours can be tuned for contrast against one background only: a transparent figure loses its dark ink on a dark page,
and a second, dark palette would be a second set of files to keep true. So the card carries its own background and a
margin on all sides.

Figures are as wide as a page's text (7.4 inches) with 8 point letters, so they are read at their own size. The font
is the one that matplotlib ships: the same letters, and the same bytes, on every machine.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.errors import ReproError
from repro.study.definition import Study

WIDTH = 7.4  # inches
INK, MUTED, FAINT, ALARM = "#1a1a1a", "#5c5c5c", "#c9c9c9", "#b3261e"
RC = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.titlepad": 4,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    **{f"{axis}tick.{key}": value for axis in "xy" for key, value in (
        ("color", MUTED), ("labelcolor", INK), ("labelsize", 7), ("major.size", 2.5), ("major.width", 0.6),
        ("minor.size", 0), ("major.pad", 2),
    )},
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "repro",  # else the ids in an SVG are drawn at random
    "svg.fonttype": "path",
    # In points for an SVG: far below a line's width, and a third of the size.
    "path.simplify_threshold": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How an algorithm is drawn. Line and marker tell it apart in grey, or to a colour-blind eye."""

    colour: str
    line: str | tuple = "-"
    marker: str = "o"


DASHED, DASHDOT, DOTTED = (0, (4, 1.6)), (0, (5, 1.4, 1, 1.4)), (0, (1, 1.3))
# Warm: no control of scale. Ink: the clipped baseline. Blue and green: scale control. After Okabe and Ito (2008),
# darkened where their colour has less than 3:1 contrast to white.
PALETTE = {
    "naive": Look("#d55e00", "-", "o"),
    "gpg": Look("#c98a00", DASHED, "s"),
    "grpo": Look("#222222", "-", "D"),
    "spo": Look("#3a9bd9", DASHED, "^"),
    "asympo": Look("#0b559f", "-", "v"),
    "asympo_stable": Look("#009371", DASHDOT, "P"),
    "positive_only": Look("#b5609b", DOTTED, "h"),
}
_MORE = ("#332288", "#117733", "#882255", "#6b7d00", "#7a4b2a", "#c0507a", "#2f8f8b", "#66738c")  # after Tol's muted
PALETTE |= {
    name: Look(_MORE[k % 8], (DASHED, DOTTED)[k // 8], "oXs^vDPh"[k % 8])
    for k, name in enumerate((
        "batch_scaled", "naive_p_low", "asympo_shuffled", "asympo_behaviour", "asympo_negative", "asympo_positive",
        "asympo_floor", "grpo_mean", "decoupled_ppo", "tis", "cispo", "gspo", "m2po", "asymre", "topr", "opmd",
    ))
}  # fmt: skip
OTHER = Look(MUTED, "-", "o")  # an algorithm without an entry
SHORT = {"spo": "SPO(0.2)", "asympo_stable": "ASymPO stab.", "positive_only": "SPO(0)"}


def algorithm_of(arm: str) -> str:
    """`spo-alpha0.5@ref` is of the algorithm `spo`."""
    return arm.partition("@")[0].partition("-")[0]


def look_of(arm: str) -> Look:
    """The palette's entry of an arm's algorithm."""
    return PALETTE.get(algorithm_of(arm), OTHER)


def looks_of(arms: Sequence[str]) -> list[Look]:
    """Looks for arms in one panel: arms of one algorithm share its hue, and differ in depth and line.

    Algorithms without an entry in the palette get the spare colours in their order here.
    """
    looks: list[Look] = []
    strangers = [name for name in dict.fromkeys(map(algorithm_of, arms)) if name not in PALETTE]
    spare = {name: Look(_MORE[k % 8], ("-", DASHED, DOTTED)[k // 8 % 3], "oXs^vDPh"[k % 8])
             for k, name in enumerate(strangers)}  # fmt: skip
    for k, arm in enumerate(arms):
        name = algorithm_of(arm)
        look, earlier = spare.get(name, look_of(arm)), sum(algorithm_of(other) == name for other in arms[:k])
        if earlier:
            shade = sns.blend_palette([look.colour, "white"], 6).as_hex()[min(earlier + 1, 4)]
            look = Look(shade, (look.line, DASHED, DASHDOT, DOTTED)[min(earlier, 3)], "osD^vPh"[earlier % 7])
        looks.append(look)
    return looks


def short_label(study: Study | None, arm: str) -> str:
    """An arm's name on a panel: short for the core algorithms, the study's label otherwise, bare without a study."""
    name = arm.partition("@")[0]
    if name in SHORT or study is None or arm not in study.arms:
        return SHORT.get(name, name)
    return study.arms[arm].label.replace("alpha ", "α ").replace("p_low", "p-low")


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """The house style for everything that `draw` makes, whatever the caller's own settings are."""

    @functools.wraps(draw)
    def inner(*args: object, **kwargs: object) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)
            return draw(*args, **kwargs)

    return inner


def panels(rows: int, columns: int, height: float, **options: object) -> tuple[Figure, object]:
    """A figure of the house's width and its axes (rows, columns), always two-dimensional.

    Not through pyplot: nothing is kept alive, and a notebook shows the returned figure once.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def finish(figure: Figure, title: str, caption: str, runs: pd.DataFrame | None = None) -> Figure:
    """Title above, caption below, the smoke tier's stamp where it is due; settles the layout.

    `runs` are the runs drawn: their tier decides on the stamp.
    """
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(caption, int(width * 18.6))
    below, above = (0.125 * len(lines) + 0.12) / height, 0.32 / height
    figure.get_layout_engine().set(
        rect=(0.012, below, 0.976, 1 - below - above), w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02
    )
    figure.text(0.012, 1 - 0.09 / height, title, va="top", weight="bold", size=9.5)
    figure.text(0.012, 0.07 / height, "\n".join(lines), va="bottom", size=6.8, color=MUTED, linespacing=1.25)
    if runs is not None and (runs["tier"] == "smoke").any():
        stamp = "smoke tier: not evidence"
        figure.text(0.988, 1 - 0.09 / height, stamp, va="top", ha="right", weight="bold", color=ALARM, size=8.5)
        figure.text(
            0.5, 0.5, stamp, va="center", ha="center", rotation=18, color=ALARM, alpha=0.16, size=34, weight="bold"
        )
    # Once and here: ticks are made when first measured, and would else take the caller's settings.
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")
    for ax in figure.axes:
        # The solver's last digits depend on the order of Python's sets, and with them the ids in an SVG.
        ax.set_position([round(value, 6) for value in ax.get_position().bounds])
    return figure


def save(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """`stem.png` (200 dpi) and `stem.svg` in `folder`; the same figure gives the same bytes.

    Raises ReproError if the folder cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context(RC):
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
                path = folder / f"{stem}.{suffix}"
                figure.savefig(path, dpi=200, metadata=metadata)
                written.append(path)
    except OSError as error:
        raise ReproError(
            f"cannot write {folder / stem}: {error.strerror}. Free space or choose another folder"
        ) from error
    return written


def empty(ax: Axes, text: str) -> None:
    """A panel without data says so."""
    ax.text(
        0.5, 0.5, textwrap.fill(text, 18), transform=ax.transAxes, ha="center", va="center", size=6.5, color=MUTED
    )  # fmt: skip
    ax.tick_params(left=False, bottom=False)
    for spine in ax.spines.values():
        spine.set_color(FAINT)


def spread(values: Sequence[float], gap: float) -> list[float]:
    """The values, in order, moved to lie at least `gap` apart and otherwise as near as can be to where they were."""
    order = sorted(range(len(values)), key=lambda k: values[k])
    blocks: list[list[float]] = []  # [centre, size], merged while they overlap
    for k in order:
        blocks.append([values[k], 1])
        while len(blocks) > 1 and blocks[-1][0] - blocks[-2][0] < gap * (blocks[-1][1] + blocks[-2][1]) / 2:
            (b, m), (a, n) = blocks.pop(), blocks.pop()
            blocks.append([(a * n + b * m) / (n + m), n + m])
    placed = [centre + gap * (j - (size - 1) / 2) for centre, size in blocks for j in range(int(size))]
    moved = [0.0] * len(values)
    for k, value in zip(order, placed, strict=True):
        moved[k] = value
    return moved


def label_ends(ax: Axes, items: Iterable[tuple[float, str, str]], gap: float = 0.075) -> None:
    """Names beside the right edge at the height of their (y, text, colour), moved apart to `gap` of the panel's
    height.

    To be called when the panel's limits are final.
    """
    items = list(items)
    to_axes = ax.transData + ax.transAxes.inverted()
    heights = [float(to_axes.transform((ax.get_xlim()[1], y))[1]) for y, _, _ in items]
    for placed, height, (_, text, colour) in zip(spread(heights, gap), heights, items, strict=True):
        leader = {"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)}
        ax.annotate(
            text, (1.0, height), (1.045, placed), xycoords="axes fraction", textcoords="axes fraction", size=7,
            color=colour, va="center", annotation_clip=False, arrowprops=leader,
        )  # fmt: skip


def seeds_text(runs: pd.DataFrame, arms: Iterable[str]) -> str:
    """How many seeds stand behind the arms: "10 paired seeds", "3 to 10 paired seeds an arm", "no runs"."""
    counts = runs[runs["arm"].isin(list(arms))].groupby("arm", observed=True)["seed"].nunique()
    if counts.empty:
        return "no runs"
    low, high = int(counts.min()), int(counts.max())
    return f"{low} to {high} paired seeds an arm" if low != high else f"{high} paired seed{'s' * (high != 1)} an arm"


def need(frame: pd.DataFrame, columns: Iterable[str], table: str) -> None:
    """ReproError, naming what there is, unless the table has the columns."""
    lacking = [column for column in columns if column not in frame]
    if lacking:
        raise ReproError(
            f"{table} has no column {', '.join(map(repr, lacking))}; it has: {', '.join(map(str, frame.columns))}"
        )
