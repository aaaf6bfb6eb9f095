"""The widgets of the cell that masks a reader's own trace; what they show is computed in `masking`."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from repro.errors import ReproError
from repro.study import masking

MATHS = {
    "question": "Ann buys 3 boxes of 12 pens. A third of the pens are red, the others blue. How many are blue?",
    "trace": """boxes = 3
pens = boxes * 12 = 36
Step 2: a third of them, 1/3 or about 33%, are red.
red = pens / 3 = 12
blue = pens - red = 24
So the answer is \\boxed{24}.""",
    "answer": "24",
    "names": "",
}
CODE = {
    "question": "Print the second largest of the distinct numbers that are read.",
    "trace": """Repeated numbers count once, so a set is enough.
Sort what is left and take the last but one.
```python
numbers = sorted(set(map(int, input().split())))
print(numbers[-2])
```
Mind lists with fewer than 2 distinct numbers.""",
    "answer": "",
    "names": "",
}
SEARCH = {
    "question": "In which town was the mother of Ada Byron born?",
    "trace": """search Ada Byron mother : found Anne Isabella
search Anne Isabella birthplace : found Durham
answer Durham""",
    "answer": "Durham",
    "names": "Ada Byron, Anne Isabella, Durham",
}
EXAMPLES = {"smepo_math": MATHS, "smepo_code": CODE, "smepo_search": SEARCH}


class Masks:
    """Write a question, an expert trace and an answer, and see what every mask leaves of it. `box` is all.

    `example()` is the present text under its masks, `shown.value` the same as HTML. It opens on an example of a study.
    """

    def __init__(self, study: str = "smepo_math") -> None:
        question, trace, answer, names = (EXAMPLES[study][part] for part in ("question", "trace", "answer", "names"))
        wide = {"style": {"description_width": "8em"}, "layout": widgets.Layout(width="52em")}
        self.question = widgets.Textarea(question, description="question", rows=2, **wide)
        self.trace = widgets.Textarea(trace, description="expert trace", rows=7, **wide)
        self.answer = widgets.Text(answer, description="answer", **wide)
        self.names = widgets.Text(names, description="entities", placeholder="separated by commas", **wide)
        self.ratio = widgets.FloatSlider(0.5, min=0.05, max=1, step=0.05, description="prefix", **wide)
        self.shown = widgets.HTML()
        knobs = [self.question, self.trace, self.answer, self.names, self.ratio]
        self.box = widgets.VBox([*knobs, self.shown])
        for knob in knobs:
            knob.observe(lambda _: self.redraw(), "value")
        self.redraw()

    def example(self) -> masking.Example:
        """The present text under every mask that applies to it. ReproError for an empty trace."""
        names = [name.strip() for name in self.names.value.split(",")]
        return masking.own(self.trace.value, self.question.value, self.answer.value, names, self.ratio.value)

    def redraw(self) -> None:
        """Bring the cards up to the present text; what cannot be masked is said instead."""
        try:
            self.shown.value = masking.html(self.example())
        except ReproError as error:
            self.shown.value = f"<b>{escape(str(error))}</b>"
