"""The widgets of `notebooks/explore.ipynb`; what they do is in `repro.study.explore` and `repro.figures.curves`.

Pictures and tables are values of Image and HTML widgets, not captured output: they can be set from the thread that
trains, and stay in the saved notebook.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure

from repro.errors import ReproError
from repro.figures.curves import X_AXES, curve_figure
from repro.study import STUDIES, explore, study_named
from repro.study.definition import Study

WIDE = widgets.Layout(width="auto")
DPI = 160


class Explorer:
    """Choose what to see, change a knob, run it, see it beside the rest. `box` is the whole panel.

    `figure()` and `table()` are what it shows now. Raises ReproError for an unknown study, arm or metric, or a study
    without results at that tier.
    """

    def __init__(
        self, study: str, tier: str, arms: Sequence[str] = (), metric: str = "reward", x: str = "update",
        smoothing: int = 10, seeds: int | None = None, root: Path | None = None,
    ) -> None:  # fmt: skip
        self.root, self.thread, self._stop, self._quiet = root, None, threading.Event(), True
        describe = {"style": {"description_width": "5.5em"}, "layout": WIDE}
        study_named(study).check_tier(tier)
        self.study = widgets.Dropdown(options=list(STUDIES), value=study, description="study", **describe)
        self.tier = widgets.Dropdown(options=STUDIES[study].tiers, value=tier, description="tier", **describe)
        self.arms = widgets.SelectMultiple(rows=12, description="arms", **describe)
        self.metric = widgets.Dropdown(description="metric", **describe)
        self.x = widgets.Dropdown(options=[(label, name) for name, label in X_AXES.items()], value=x,
                                  description="x-axis", **describe)  # fmt: skip
        self.smoothing = widgets.IntSlider(smoothing, 1, 50, description="smoothing", **describe)
        self.seeds = widgets.SelectMultiple(rows=5, description="seeds", **describe)
        self.log = widgets.Checkbox(False, description="logarithmic", indent=True, **describe)
        self.picture, self.numbers, self.remark = widgets.Image(format="png"), widgets.HTML(), widgets.HTML()
        self.base = widgets.Dropdown(description="arm", **describe)
        self.knob = widgets.Dropdown(description="knob", **describe)
        self.value = widgets.Text(description="value", **describe)
        self.add = widgets.Button(description="add to changes", layout=WIDE)
        self.changes = widgets.Textarea(description="changes", placeholder="training.learning_rate=0.001", **describe)
        self.seed = widgets.BoundedIntText(0, 0, 10**6, description="seed", **describe)
        self.start = widgets.Button(description="run", button_style="primary", icon="play")
        self.stop = widgets.Button(description="stop", icon="stop", disabled=True)
        self.bar = widgets.IntProgress(0, 0, 1, layout=WIDE)
        self.status = widgets.HTML("a change a line: setting=value")
        self.box = self._layout()
        self.reload(arms, metric, seeds)
        self._listen()

    # What is shown -----------------------------------------------------------------------------------------

    def reload(self, arms: Sequence[str] = (), metric: str | None = None, seeds: int | None = None) -> None:
        """Read the tables again; without `arms` the first core ones, with `seeds` the first so many."""
        study = STUDIES[self.study.value]
        self.found = explore.gather(study, self.tier.value, self.root)
        known, metrics = explore.arms(self.found), explore.metrics(self.found)
        for arm in arms:
            if arm not in known:
                raise ReproError(
                    f"there are no runs of arm {arm!r} at tier {self.tier.value}; there are of: {', '.join(known)}"
                )
        if metric is not None and metric not in metrics:
            raise ReproError(f"there is no metric {metric!r}; there are: {', '.join(metrics)}")
        core = [arm for arm in known if arm in study.arms and study.arms[arm].core]
        numbers = sorted({int(seed) for seed in self.found.runs["seed"]})
        self._quiet = True  # one redraw, at the end
        _choose(self.arms, [(_label(study, arm), arm) for arm in known], tuple(arms) or tuple((core or known)[:4]))
        _choose(self.metric, metrics, metric or (self.metric.value if self.metric.value in metrics else metrics[0]))
        _choose(self.seeds, numbers, tuple(numbers[:seeds]))
        _choose(self.base, [(_label(study, arm), arm) for arm in study.arms], self.base.value)
        self._show_knobs()
        self._quiet = False
        self.redraw()

    def figure(self) -> Figure:
        """The curves of the present choice."""
        return curve_figure(
            self.found.curves, self.arms.value, self.metric.value, self.x.value, self.smoothing.value,
            self.seeds.value, self.found.runs, STUDIES[self.study.value], self.log.value,
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """Each chosen arm at the end of training, and what it gains over the first; see `explore.compare`."""
        return explore.compare(self.found, self.arms.value, self.metric.value, self.seeds.value)

    def redraw(self) -> None:
        """Bring picture and table up to the present choice; what cannot be drawn is said instead."""
        try:
            buffer = io.BytesIO()
            self.figure().savefig(buffer, format="png", dpi=DPI)
            self.picture.value, self.numbers.value, self.remark.value = buffer.getvalue(), _html(self.table()), ""
        except ReproError as error:
            self.remark.value = f"<b>{error}</b>"

    # Runs --------------------------------------------------------------------------------------------------

    def run(self) -> threading.Thread:
        """Train the arm with its changes in a thread, and show it when it is done; wait for it with `.join()`."""
        if self.thread and self.thread.is_alive():
            raise ReproError("a run is under way: wait for it, or stop it")
        study, tier = STUDIES[self.study.value], self.tier.value
        changes = [line.strip() for line in self.changes.value.splitlines() if line.strip()]
        config = explore.custom(study, self.base.value, self.seed.value, tier, changes)
        self._stop.clear()
        self.start.disabled, self.stop.disabled = True, False
        self.bar.value, self.bar.max, self.bar.bar_style = 0, config.training.updates, ""
        self.status.value = f"{config.arm}, seed {config.seed}: starting"
        self.thread = threading.Thread(target=self._train, args=(config,), daemon=True)
        self.thread.start()
        return self.thread

    def _train(self, config: Any) -> None:
        name, outcome = f"{config.arm}, seed {config.seed}", "danger"

        def progress(state: dict) -> None:
            if self._stop.is_set():
                raise explore.Stopped
            if "update" in state:
                self.bar.max, self.bar.value = state["updates"], state["update"]
                self.status.value = f"{name}: update {state['update']} of {state['updates']}"
            elif state["step"] % 10 == 0:
                self.status.value = f"{name}: {state['phase']}, step {state['step']}, loss {state['loss']:.3f}"

        try:
            explore.run(config, self.root, progress)
            shown = [arm for arm in self.arms.value if arm != config.arm]
            self.reload([*shown, config.arm], self.metric.value)
            self.status.value, outcome = f"{name}: done, drawn beside the others", "success"
        except explore.Stopped:
            self.status.value, outcome = f"{name}: stopped; the same run goes on from its last checkpoint", "warning"
        except Exception as error:  # a thread's traceback is seen by nobody
            self.status.value = f"<b>{name}: {type(error).__name__}: {error}</b>"
        self.bar.bar_style, self.start.disabled, self.stop.disabled = outcome, False, True

    # Widgets -----------------------------------------------------------------------------------------------

    def _layout(self) -> widgets.VBox:
        left = [self.study, self.tier, self.arms, self.metric, self.x, self.smoothing, self.seeds, self.log]
        see = widgets.HBox([
            widgets.VBox(left, layout=widgets.Layout(width="21em")),
            widgets.VBox([self.picture, self.numbers, self.remark], layout=widgets.Layout(flex="1", min_width="0")),
        ])  # fmt: skip
        self.picture.layout = widgets.Layout(width="100%", max_width="760px")
        change = widgets.VBox([self.base, self.knob, self.value, self.add], layout=widgets.Layout(width="26em"))
        run = widgets.VBox(
            [self.changes, self.seed, widgets.HBox([self.start, self.stop]), self.bar, self.status],
            layout=widgets.Layout(flex="1"),
        )
        return widgets.VBox([see, widgets.HTML("<b>Change a knob and run it</b>"), widgets.HBox([change, run])])

    def _listen(self) -> None:
        def on(widget: widgets.Widget, act: Callable[[], None]) -> None:
            widget.observe(lambda _: None if self._quiet else act(), "value")

        for widget in (self.arms, self.metric, self.x, self.smoothing, self.seeds, self.log):
            on(widget, self.redraw)
        on(self.study, self._change_study)
        on(self.tier, self._try_reload)
        on(self.base, self._show_knobs)
        self.knob.observe(lambda _: self._show_value(), "value")
        self.add.on_click(lambda _: self._add_change())
        self.start.on_click(lambda _: self._try_run())
        self.stop.on_click(lambda _: self._stop.set())

    def _change_study(self) -> None:
        self._quiet = True
        _choose(self.tier, STUDIES[self.study.value].tiers, self.tier.value)
        self._quiet = False
        self._try_reload()

    def _try_reload(self) -> None:
        try:
            self.reload()
        except ReproError as error:  # no results at that tier, most often
            self.remark.value = f"<b>{error}</b>"

    def _try_run(self) -> None:
        try:
            self.run()
        except ReproError as error:
            self.status.value = f"<b>{error}</b>"

    def _show_knobs(self) -> None:
        config = STUDIES[self.study.value].config(self.base.value, 0, self.tier.value)
        found = explore.knobs(config)
        chosen = self.knob.value if self.knob.value in found else "training.learning_rate"
        _choose(self.knob, list(found), chosen)
        self._known = found
        self._show_value()

    def _show_value(self) -> None:
        if self.knob.value is not None:
            self.value.placeholder = f"now {self._known.get(self.knob.value)!r}"

    def _add_change(self) -> None:
        kept = [line for line in self.changes.value.splitlines() if line.partition("=")[0].strip() != self.knob.value]
        self.changes.value = "\n".join([*kept, f"{self.knob.value}={self.value.value}"])


def _choose(widget: widgets.Widget, options: Sequence[Any], value: Any) -> None:
    """New options and a value among them; a value that is gone gives way to the first."""
    names = [option[1] if isinstance(option, tuple) else option for option in options]
    widget.options = options
    if isinstance(value, tuple):
        widget.value = tuple(item for item in value if item in names)
    else:
        widget.value = value if value in names else names[0]


def _label(study: Study, arm: str) -> str:
    return study.arms[arm].description if arm in study.arms else arm


def _html(table: pd.DataFrame) -> str:
    """The comparison, rounded; an interval that is not there, or unbounded, is a dash."""
    rows = []
    for row in table.to_dict("records"):
        gap = (row.get(name, nan) for name in ("difference", "difference_low", "difference_high"))
        rows.append((row["arm"], str(row["seeds"]), _spelled(row["mean"], row["low"], row["high"]), _spelled(*gap)))
    head = ("arm", "seeds", "end of training [95 %]", "minus the first, paired [95 %]")
    lines = ["".join(f"<{tag} style='text-align:left;padding-right:1em'>{text}</{tag}>" for text in line)
             for tag, line in (("th", head), *(("td", line) for line in rows))]  # fmt: skip
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _spelled(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "-"
    bounds = f" [{low:.3g}, {high:.3g}]" if isfinite(low) else " (one seed)"
    return f"{value:.3g}{bounds}"
