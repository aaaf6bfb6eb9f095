"""Means, intervals and the palette, against hand arithmetic and the study's own statistics."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from repro.figures import style
from repro.figures.curves import SeedCurve, band, seed_curves
from repro.study.asympo_async import ASYMPO_ASYNC, CORE, LABELS
from repro.study.statistics import t_interval


def curve(x, y, update=None):
    x = np.asarray(x, dtype=float)
    return SeedCurve(x.astype(int) if update is None else np.asarray(update), x, np.asarray(y, dtype=float))


def test_seed_curves_are_trailing_means_over_cumulative_costs():
    frame = pd.DataFrame({"arm": "a", "seed": 4, "update": [1, 2, 3, 4], "reward": [1.0, 2.0, 3.0, 7.0]})
    frame["rollouts"] = [10, 10, 10, 20]
    frame["seconds_generate"], frame["seconds_update"] = 1.0, 0.5
    found = seed_curves(frame, "a", "reward", "rollouts", smoothing=2)[4]
    assert found.update.tolist() == [2, 3, 4]
    assert found.x.tolist() == [20, 30, 50]
    assert found.y.tolist() == [1.5, 2.5, 5.0]
    assert seed_curves(frame, "a", "reward", "seconds", smoothing=2)[4].x.tolist() == [3.0, 4.5, 6.0]
    assert found.at(3) == (30, 2.5) and found.at(1) == (20, 1.5) and found.at(99) == (50, 5.0)
    short = seed_curves(frame, "a", "reward", smoothing=9)[4]  # shorter than the window: its whole mean
    assert (short.x.tolist(), short.y.tolist()) == ([4.0], [3.25])
    assert seed_curves(frame, "b", "reward") == {}


def test_band_is_the_t_interval_at_every_point():
    values = np.random.default_rng(0).normal(size=(5, 7))
    found = band({seed: curve(range(7), row) for seed, row in enumerate(values)})
    for k in range(7):
        interval = t_interval(values[:, k])
        np.testing.assert_allclose(
            [found.mean[k], found.low[k], found.high[k]], [interval.estimate, interval.low, interval.high]
        )
    assert found.n == 5 and (found.count == 5).all()


def test_band_of_logarithms_is_geometric():
    found = band({0: curve([1], [1.0]), 1: curve([1], [100.0])}, log=True)
    np.testing.assert_allclose(found.mean, 10.0)
    interval = t_interval(np.log([1.0, 100.0]))
    np.testing.assert_allclose([found.low[0], found.high[0]], np.exp([interval.low, interval.high]))


def test_band_after_a_run_ended_has_no_interval():
    found = band({0: curve([1, 2, 3], [1, 1, 1]), 1: curve([1, 2], [3, 3])})
    assert found.count.tolist() == [2, 2, 1]
    assert found.mean.tolist() == [2, 2, 1]
    assert np.isnan(found.low[2]) and np.isfinite(found.low[:2]).all()


def test_band_interpolates_where_runs_share_no_axis():
    found = band({0: curve([0, 10], [0, 10], update=[1, 2]), 1: curve([0, 20], [0, 40], update=[1, 2])})
    inside = found.x <= 10
    np.testing.assert_allclose(found.mean[inside], 1.5 * found.x[inside])  # mean of x and of 2 x
    assert (found.count[~inside] == 1).all() and found.x[-1] == 20


def test_spread_moves_labels_apart_and_no_further():
    assert style.spread([0.5, 0.1], 0.2) == [0.5, 0.1]
    np.testing.assert_allclose(style.spread([0.5, 0.5, 0.1], 0.2), [0.4, 0.6, 0.1])
    # The pair at 0.5 needs 0.4 and 0.6, which meets the one at 0.3: all three around their mean.
    np.testing.assert_allclose(style.spread([0.5, 0.3, 0.5], 0.2), [13 / 30, 13 / 30 - 0.2, 13 / 30 + 0.2])


def test_every_algorithm_of_the_study_has_a_look_of_its_own():
    looks = [style.PALETTE[name] for name in LABELS]
    assert len({(look.colour, look.line, look.marker) for look in looks}) == len(looks)
    assert {arm for arm in ASYMPO_ASYNC.arms if style.look_of(arm) is style.OTHER} == set()
    assert style.look_of("unheard-of@ref") is style.OTHER


def luminance(rgb):
    linear = np.where(np.array(rgb) <= 0.04045, np.array(rgb) / 12.92, ((np.array(rgb) + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722], linear


@pytest.mark.parametrize("name", CORE)
def test_core_colours_stand_out_from_the_card(name):
    bright, _ = luminance(to_rgb(style.PALETTE[name].colour))
    assert 1.05 / (bright + 0.05) >= 2.8  # contrast to white; 3 is what WCAG asks of graphics


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(linear):
    x, y, z = np.cbrt(np.clip(TO_XYZ @ linear, 1e-4, None) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", [None, *BLIND])
def test_core_algorithms_differ_in_colour_or_else_in_line_to_every_eye(kind):
    seen = {}
    for name in CORE:
        _, linear = luminance(to_rgb(style.PALETTE[name].colour))
        seen[name] = lab(np.clip(np.array(BLIND[kind]) @ linear, 0, 1) if kind else linear)
    for k, a in enumerate(CORE):
        for b in CORE[k + 1 :]:
            far = np.linalg.norm(seen[a] - seen[b]) >= 15  # a just noticeable difference is about 2.3
            assert far or style.PALETTE[a].line != style.PALETTE[b].line, (a, b)
            assert style.PALETTE[a].marker != style.PALETTE[b].marker
