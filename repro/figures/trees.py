"""A tree of 3SPO as it grew: states with their scores, branches with their rewards, and where it went back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro.figures import style
from repro.study.walkthrough import distinct

SCORES = sns.blend_palette(["#ffffff", "#7fb2dd", "#0b3d7a"], as_cmap=True)  # S from 0 to 1
GOOD, BAD = "#117733", style.ALARM
LONGEST = 19  # characters of a command that is written out
TURN = 1.35  # inches a turn, so that a command fits between two states


@dataclass(frozen=True)
class Entry:
    """What one line of a group says: a branch, or several that were not followed and differ in their words alone."""

    child: int
    branch: dict[str, Any]
    samples: int
    commands: int

    @property
    def words(self) -> str:
        command = (self.branch["command"] or "(nothing)").replace("go to ", "\u2192 ")
        if self.commands > 1:
            kind = {"no_op": "do nothing", "unseen": "to unseen states"}.get(self.branch["kind"], "others")
            return f"{self.commands} {kind}"
        command = command if len(command) <= LONGEST else f"{command[: LONGEST - 1]}…"
        return f"{command} ×{self.samples}" if self.samples > 1 else command


def entries(event: dict[str, Any], followed: set[int]) -> list[Entry]:
    """A group's lines, best reward first; `followed` are states that have a line of their own."""
    alike: dict[Any, list[tuple[dict, int]]] = {}
    for branch, samples in distinct(event):
        own = branch["child"] in followed or branch["won"]
        key = branch["child"] if own else (branch["kind"], branch["reward"], branch["score"], branch["terminal"])
        alike.setdefault(key, []).append((branch, samples))
    return [Entry(same[0][0]["child"], same[0][0], sum(n for _, n in same), len(same)) for same in alike.values()]


Places = dict[int, tuple[int, float]]  # state -> (turn, height)
Groups = dict[int, tuple[dict[str, Any], list[Entry]]]  # state that was expanded -> (its event, its lines)


def layout(events: Sequence[dict[str, Any]]) -> tuple[Places, Groups]:
    """Places of all states that are drawn, and the groups in the order in which they were expanded.

    The best branch of a state lies on its own height, the others below it in the order of their rewards.
    """
    followed = {event["node"] for event in events if event["event"] in ("expanded", "truncated")}
    groups = {e["node"]: (e, entries(e, followed)) for e in events if e["event"] == "expanded"}
    places: Places = {}
    height = 0.0

    def place(node: int, turn: int) -> float:
        """Depth first, so that a state's branches follow the best one's."""
        nonlocal height
        if node not in groups:
            height -= 1
            places[node] = (turn, height)
            return height
        own = [place(entry.child, turn + 1) for entry in groups[node][1]]
        places[node] = (turn, own[0])
        return own[0]

    for node, (event, _) in groups.items():
        if event["parent"] not in groups:
            place(node, event["turn"])
    return places, groups


@style.styled
def tree(scenes: Sequence[dict[str, Any]], titles: Sequence[str]) -> Figure:
    """A panel a scene, one below the other."""
    placed = [layout(scene["events"]) for scene in scenes]
    rows = [max(-min((y for _, y in places.values()), default=-1.0), 3.0) for places, _ in placed]
    figure, axes = style.panels(len(scenes), 1, 0.118 * sum(rows) + 0.55 * len(rows) + 0.9, height_ratios=rows)
    turns = max((x for places, _ in placed for x, _ in places.values()), default=1)
    figure.set_figwidth(max(style.WIDTH, TURN * (turns + 0.8)))
    for ax, scene, title, (places, groups) in zip(axes[:, 0], scenes, titles, placed, strict=True):
        _draw(ax, scene, places, groups)
        ax.set_title(title, weight="bold", loc="left")
        ax.set_xlim(-0.25, turns + 0.55)
        ax.set_ylim(min((y for _, y in places.values()), default=-1.0) - 1, 0)
        ax.set_xticks(range(turns + 1))
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.tick_params(bottom=False)
    axes[-1, 0].set_xlabel("turn")
    marks = [
        Line2D([], [], ls="", marker="o", mfc="white", mec=style.INK, ms=5, label="expanded, in this order"),
        Line2D([], [], ls="", marker="*", color=GOOD, ms=7, label="won"),
        Line2D([], [], ls="", marker="s", color=style.MUTED, ms=3.2, label="over, not won"),
        Line2D([], [], ls="", marker="x", color=BAD, ms=4, label="given up, n = 0"),
        Line2D([], [], ls=":", color=style.MUTED, lw=0.9, label="went back"),
    ]
    legend = axes[0, 0].legend(handles=marks, ncols=5, fontsize=6.3, frameon=False, loc="lower right",
                               bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, handletextpad=0.3)  # fmt: skip
    legend.set_in_layout(False)
    caption = (
        "Depth first: the best successor is expanded next; when a branch ends, the tree goes back to the deepest state "
        "left. A state's colour is its score S (white 0, dark 1); a branch's text is its command, how often it was "
        "sampled, and its reward R (Eq. 2); its colour is the sign of its advantage: green above the mean of its "
        "group, red below, grey equal. Branches that were not followed and differ in their words alone are one line."
    )
    return style.finish(figure, "One task, one tree", caption)


def _draw(ax: Axes, scene: dict[str, Any], places: Places, groups: Groups) -> None:
    if not groups:
        style.empty(ax, "the start was given up: nothing was sampled")
        return
    shade, order = Normalize(0, 1), {node: k for k, node in enumerate(groups, start=1)}
    gone = {event["node"] for event in scene["events"] if event["event"] == "truncated"}
    led = {}
    for node, (_, lines) in groups.items():
        x, y = places[node]
        for entry in lines:
            led[entry.child] = entry
            cx, cy = places[entry.child]
            gain = entry.branch["advantage"]
            colour = GOOD if gain > 1e-9 else BAD if gain < -1e-9 else style.MUTED
            ax.plot([x, x + 0.12, cx], [y, cy, cy], color=to_rgba(colour, 0.75), lw=0.8, zorder=1,
                    label=f"branch {entry.child}")  # fmt: skip
            ax.text(x + 0.14, cy + 0.06, f"{entry.words} {entry.branch['reward']:+.2f}", size=5, va="bottom",
                    color=colour, zorder=3)  # fmt: skip
    for node, (x, y) in places.items():
        entry = led.get(node)
        if entry and entry.branch["won"]:
            ax.plot(x, y, marker="*", ms=7, color=GOOD, zorder=5, label="won")
        elif entry and entry.branch["terminal"]:
            ax.plot(x, y, marker="s", ms=3.2, color=style.MUTED, zorder=4, label="ended")
        else:
            score = groups[node][0]["score"] if node in groups else entry.branch["score"]
            look = {"mfc": SCORES(shade(score)), "mec": style.INK, "mew": 0.5, "ms": 6.6 if node in order else 3.2}
            ax.plot(x, y, marker="o", zorder=4, label="state", **look)
            if node in order:
                ax.text(x, y - 0.04, str(order[node]), size=4.4, ha="center", va="center", zorder=7,
                        color="white" if score > 0.55 else style.INK)  # fmt: skip
        if node in gone:
            ax.plot(x, y, marker="x", ms=4.5, mew=1.1, color=BAD, zorder=6, label="given up")
    _returns(ax, places, groups)


def _returns(ax: Axes, places: Places, groups: Groups) -> None:
    """A dotted line wherever the next state that was expanded is no successor of the last."""
    nodes = list(groups)
    for last, node in zip(nodes, nodes[1:], strict=False):
        if groups[node][0]["parent"] != last:
            (x, y), (cx, cy) = places[last], places[node]
            arrow = {"arrowstyle": "->", "ls": ":", "color": style.MUTED, "lw": 0.8, "shrinkA": 4, "shrinkB": 4,
                     "connectionstyle": "arc3,rad=-0.25"}  # fmt: skip
            ax.annotate("", (cx, cy), (x, y), arrowprops=arrow, zorder=2)
