"""The widgets of the what-if cell in `notebooks/sgpo_math.ipynb`; what they show is computed in `whatif`."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from repro.errors import ReproError
from repro.study import whatif
from repro.study.tables import Tables

DRAWS = (1, 2, 4, 8, 16, 32, 64)
TABLES = {
    "the paper's: 8, 4, 2": "1/8: 8, 1/4: 4, 1: 2",
    "one bucket of 8": "1: 8",
    "one bucket of 2": "1: 2",
    "twice the paper's": "1/8: 16, 1/4: 8, 1: 4",
}


class WhatIf:
    """Change N, t, alpha or the table of sizes and see the predicted bill beside the paper's setting. `box` is all.

    `settings()` are the present constants, `shown.value` the comparison. Raises ReproError if the tables hold no
    profile.
    """

    def __init__(self, tables: Tables) -> None:
        self.profiles = whatif.finest(tables)
        most = min(profile.samples for profile in self.profiles.values())
        describe = {"style": {"description_width": "9em"}, "layout": widgets.Layout(width="30em")}
        draws = [n for n in DRAWS if n <= most]
        self.samples = widgets.SelectionSlider(
            options=draws, value=8 if 8 in draws else draws[-1], description="draws a query, N", **describe
        )
        self.trivial = widgets.FloatSlider(0.75, min=0.25, max=1, step=0.05, description="trivial above t", **describe)
        self.unsolved = widgets.FloatSlider(0.1, min=0, max=1, step=0.05, description="unsolved kept, α", **describe)
        self.preset = widgets.Dropdown(options=TABLES, description="sizes", **describe)
        self.buckets = widgets.Text(self.preset.value, description="up to p: G", **describe)
        self.sweeps = widgets.IntSlider(2, 1, 5, description="sweeps", **describe)
        self.shown = widgets.HTML()
        knobs = [self.samples, self.trivial, self.unsolved, self.preset, self.buckets, self.sweeps]
        self.box = widgets.VBox([*knobs, self.shown])
        self.preset.observe(lambda change: setattr(self.buckets, "value", change["new"]), "value")
        for knob in knobs:
            if knob is not self.preset:
                knob.observe(lambda _: self.redraw(), "value")
        self.redraw()

    def settings(self) -> dict[str, Any]:
        """The constants as `whatif.predicted` takes them. ReproError for a table of sizes that is none."""
        return {
            "samples": self.samples.value,
            "trivial": self.trivial.value,
            "unsolved": self.unsolved.value,
            "buckets": whatif.parsed_buckets(self.buckets.value),
            "sweeps": self.sweeps.value,
        }

    def redraw(self) -> None:
        """Bring the comparison up to the present constants; what cannot be predicted is said instead."""
        try:
            rows = whatif.compared({"the paper's": {}, "yours": self.settings()}, self.profiles)
        except ReproError as error:
            self.shown.value = f"<b>{error}</b>"
            return
        lines = ["".join(f"<{tag} style='text-align:left;padding-right:1em'>{cell}</{tag}>" for cell in row)
                 for tag, row in (("th", whatif.HEAD), *(("td", row) for row in rows))]  # fmt: skip
        self.shown.value = "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
