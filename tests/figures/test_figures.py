"""Every figure: all runs are on it, falls are marked, missing data are stated, the same tables give the same bytes."""

import hashlib
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import COLLAPSED, DIVERGED, SEEDS, synthetic  # noqa: E402

from repro.errors import ReproError  # noqa: E402
from repro.figures import FIGURES as ALL_FIGURES  # noqa: E402
from repro.figures import curve_figure, regenerate, results, style  # noqa: E402
from repro.figures.comparisons import ablation, difficulty, ends, levels_of  # noqa: E402
from repro.figures.curves import X_AXES, convergence, seed_curves  # noqa: E402
from repro.figures.mechanism import BY_LAG, KL, boundary, bucket_means  # noqa: E402
from repro.figures.queue import lag_shares  # noqa: E402
from repro.study import tables  # noqa: E402
from repro.study.asympo_async import ASYMPO_ASYNC, CORE  # noqa: E402

FIGURES = ALL_FIGURES["asympo_async"]
AGAIN = ("ablation", "survival")  # drawn a second time, in another process
CORE_ARMS = [f"{name}@{condition}" for condition in ("ref", "lag0") for name in CORE]


@pytest.fixture(scope="module")
def everything():
    return synthetic()


@pytest.fixture(scope="module")
def drawn(everything):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {stem: draw(everything, ASYMPO_ASYNC) for stem, draw in FIGURES.items()}


def lines(figure):
    return [line for ax in figure.axes for line in ax.lines]


def labelled(figure, text):
    return [line for line in lines(figure) if text in str(line.get_label())]


def texts(figure):
    return [text.get_text().replace("\n", " ") for ax in figure.axes for text in ax.texts]


def test_all_figures_draw_without_a_warning_and_state_their_seeds(drawn):
    for stem, figure in drawn.items():
        assert isinstance(figure, Figure)
        caption = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
        assert f"{SEEDS} paired seeds an arm" in caption, stem
        assert "not evidence" not in caption
        assert np.isclose(figure.get_size_inches()[0], style.WIDTH)


@pytest.mark.parametrize("stem", ["convergence", "mechanism", "boundary"])
def test_every_seed_has_its_line(drawn, stem):
    for name in CORE:
        for seed in range(SEEDS):
            found = [line for line in labelled(drawn[stem], f"{name}@ref") if line.get_label().endswith(f"seed {seed}")]
            assert found and all(np.isfinite(line.get_ydata()).all() for line in found)


def points(figure, label):
    """Number of runs drawn as points under a label, whether collapsed or not."""
    return sum(len(line.get_xdata()) for line in lines(figure) if str(line.get_label()).startswith(f"{label} seeds"))


def test_every_seed_has_its_point(drawn):
    for name in CORE:
        # Once for itself; at both ends of the sweep of alpha, and as its 0.2, a second time.
        times = 2 if name in ("naive", "spo", "positive_only") else 1
        assert points(drawn["ablation"], f"{name}@ref mean_at_k") == times * SEEDS
    assert points(drawn["lag_sweep"], "naive@lag64 mean_at_k") == SEEDS
    assert len(labelled(drawn["lag_sweep"], "naive@ref mean_at_k seed")) == SEEDS
    assert points(drawn["learning_rate"], "asympo-lr0.0003@ref pass_at_k") == SEEDS
    assert points(drawn["difficulty"], "spo@ref easy") == 2 * SEEDS  # mean@8 and pass@8
    assert points(drawn["queue"], "asympo@queue mean_at_k") == SEEDS
    assert points(drawn["mechanism_by_lag"], "grpo@ref nll_ratio lag 8") == SEEDS


@pytest.mark.parametrize("stem", ["lag_sweep", "learning_rate"])
def test_a_sweep_has_every_run_inside_its_limits(drawn, stem):
    for ax in drawn[stem].axes:
        low, high = ax.get_xlim()
        runs = [line.get_xdata() for line in ax.lines if "seeds" in str(line.get_label())]
        assert runs and all(((low < x) & (x < high)).all() for x in runs)
        assert all(low < tick < high for tick in ax.get_xticks())


def test_learning_rates_are_named_where_their_runs_stand(drawn):
    labels = [tick.get_text() for tick in drawn["learning_rate"].axes[-1].get_xticklabels()]
    assert labels == ["3e\u22125", "1e\u22124", "3e\u22124"]
    (mean,) = labelled(drawn["learning_rate"], "grpo-lr3e-05@ref mean_at_k mean")
    assert mean.get_xdata()[0] == pytest.approx(np.log10(3e-5))


def test_a_collapse_is_marked_where_it_happened(drawn):
    crosses = labelled(drawn["convergence"], "naive@ref collapse")
    assert [line.get_xdata().tolist() for line in crosses] == [[COLLAPSED[2]]]
    assert [line.get_xdata().tolist() for line in labelled(drawn["convergence"], "gpg@ref collapse")] == [[DIVERGED[2]]]
    assert not labelled(drawn["convergence"], "grpo@ref collapse")
    assert "\u2715 1 of 3" in texts(drawn["convergence"]) and "\u2715 0 of 3" in texts(drawn["convergence"])
    fallen = labelled(drawn["ablation"], "naive@ref mean_at_k seeds collapsed")
    assert [line.get_xdata().tolist() for line in fallen] == [[10.0]] * 2  # the value of the run that collapsed
    assert [line.get_xdata().tolist() for line in labelled(drawn["survival"], "gpg@ref collapsed")] == [[DIVERGED[2]]]
    assert len(labelled(drawn["survival"], "gpg@ref censored")[0].get_xdata()) == SEEDS - 1


def test_longer_runs_have_panels_of_their_own_with_all_their_updates(drawn):
    for name, arm in (("naive", "naive-long@ref"), ("ASymPO", "asympo-long@ref")):
        (ax,) = (ax for ax in drawn["survival"].axes if ax.get_title() == f"{name}, three times as many updates")
        (end,) = (line for line in ax.lines if line.get_label() == f"{arm} censored")
        assert len(end.get_xdata()) == SEEDS and all(0 < x < ax.get_xlim()[1] for x in end.get_xdata())
    longer = synthetic(["naive-long@ref"], updates=180)
    figure = FIGURES["survival"](longer, ASYMPO_ASYNC)
    assert labelled(figure, "naive-long@ref survival")[0].axes.get_xlim()[1] > 180
    assert "no runs of asympo-long@ref" in [text.replace("- ", "-") for text in texts(figure)]


def test_the_mean_ends_whole_where_the_first_run_ends(drawn):
    whole = labelled(drawn["convergence"], "gpg@ref mean")
    assert whole[0].get_xdata()[-1] == DIVERGED[2]
    left = labelled(drawn["convergence"], "gpg@ref mean of the runs left")[0]
    assert left.get_linestyle() == ":" and left.get_xdata()[-1] == 60


def test_convergence_over_every_axis(everything):
    for x in ("rollouts", "generated_tokens", "flops"):
        figure = convergence(everything, ASYMPO_ASYNC, x=x)
        line = labelled(figure, "spo@ref seed 2")[0]
        per_update = {"rollouts": 64, "generated_tokens": 1200, "flops": 1e9}[x]
        assert line.get_xdata()[-1] == 60 * per_update
        assert X_AXES[x] in [ax.get_xlabel() for ax in figure.axes]


def test_missing_arms_are_stated_and_missing_columns_too(everything):
    few = synthetic(["naive@ref", "grpo@ref"])
    assert texts(convergence(few, ASYMPO_ASYNC)).count("no runs of spo@ref") == 1
    assert texts(FIGURES["queue"](few, ASYMPO_ASYNC)).count("no runs at the queue yet") == 6
    assert "no runs of asympo in this sweep yet" in texts(FIGURES["lag_sweep"](few, ASYMPO_ASYNC))
    assert texts(ablation(few, ASYMPO_ASYNC)).count("no runs yet") == 2 + 2 * 5 + 2 * 5  # groups; core; alpha
    assert "no runs of gpg@ref" in texts(FIGURES["survival"](few, ASYMPO_ASYNC))
    bare = tables.Tables(few.runs, few.curves.drop(columns=["nll_ratio", "coef_max"]), few.evals)
    assert "not measured, or not defined here" in texts(boundary(bare, ASYMPO_ASYNC))
    assert "no runs, or nll_ratio not measured" in texts(FIGURES["mechanism_by_lag"](bare, ASYMPO_ASYNC))
    unqueued = everything.curves.drop(columns=["idle_learner", "queue_depth"])
    figure = FIGURES["queue"](tables.Tables(everything.runs, unqueued, everything.evals), ASYMPO_ASYNC)
    assert {"idle_learner was not measured", "queue_depth was not measured"} <= set(texts(figure))


def test_the_smoke_tier_is_stamped_and_one_seed_has_no_interval():
    one = synthetic(CORE_ARMS, tier="smoke", updates=20, seeds=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for stem in ("convergence", "ablation", "mechanism_by_lag", "difficulty", "lag_sweep"):
            figure = FIGURES[stem](one, ASYMPO_ASYNC)
            assert sum(t.get_text() == "smoke tier: not evidence" for t in figure.texts) == 2, stem
            assert not labelled(figure, "interval")


def test_ends_take_the_full_evaluation(everything):
    row = {"arm": "grpo@ref", "seed": 0, "update": 60, "level": "easy", "queries": 8, "samples": 4, "seconds": 1.0}
    small = everything.evals.iloc[:0]
    small.loc[0] = row | {"mean_at_k": 0.99, "pass_at_k": 0.99}
    both = ends(pd.concat([everything.evals, small]), "grpo@ref", "easy", "mean_at_k")
    np.testing.assert_allclose(both.loc[0], [30.0, 60.0])
    assert levels_of(everything.evals) == ["easy", "medium", "hard"]
    assert difficulty(everything, ASYMPO_ASYNC).axes[0].get_title() == "easy"


def test_bucket_means_by_hand(everything):
    curves = everything.curves
    run = curves[(curves["arm"] == "spo@ref") & (curves["seed"] == 1) & (curves["update"] > 23)]
    chosen = run[(run["lag"] >= 12) & (run["lag"] <= 15)]
    means = bucket_means(curves, "spo@ref", BY_LAG[2])  # linear in its mean
    np.testing.assert_allclose(means.loc[1, 1.0], chosen["drift_neg"].mean())
    geometric = bucket_means(curves, "spo@ref", KL)
    np.testing.assert_allclose(geometric.loc[1, 1.0], np.exp(np.log(chosen["kl_k3"]).mean()))


def test_lag_shares_count_every_update(everything):
    curves = everything.curves[everything.curves["arm"] == "spo@ref"]
    shares = lag_shares(curves)
    assert list(shares.columns) == list(range(24)) and len(shares) == SEEDS
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    # 60 updates over 16 lags: updates 1..60 of seed 0 meet lag 8 (update 16, 32, 48) three times.
    np.testing.assert_allclose(shares.loc[("spo@ref", 0), 8], 3 / 60)


def test_regenerate_writes_the_same_bytes_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "data"))
    for stem in set(FIGURES) - set(AGAIN):  # those are drawn in the other tests; here it is the files that matter
        monkeypatch.delitem(FIGURES, stem)
    few = synthetic(["naive@ref", "grpo@ref"], tier="smoke", seeds=2)
    typed = tables._typed(few.runs, few.curves, few.evals, few.profiles)
    tables._write(typed, list(ASYMPO_ASYNC.arms), tables.results_folder("asympo_async", "smoke"))
    # Another hash seed and the reader's own style of plots must not show.
    code = (
        "import matplotlib, pathlib, sys; matplotlib.rcParams['font.size'] = 30; from repro.figures import *; "
        f"figures = FIGURES['asympo_async']; [figures.pop(stem) for stem in list(figures) if stem not in {AGAIN}]; "
        f"regenerate(pathlib.Path({str(tmp_path / 'b')!r})); "
        "print([m for m in ('torch', 'transformers', 'papermill', 'jupyter') if m in sys.modules])"
    )
    written = regenerate(tmp_path / "a")
    assert sorted(p.relative_to(tmp_path / "a").as_posix() for p in written) == sorted(
        f"asympo_async/{stem}.{suffix}" for stem in FIGURES for suffix in ("png", "svg")
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "[]"
    for path in written:
        again = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest(), path.name
        assert b"<dc:date>" not in path.read_bytes()


def test_results_prefer_the_small_tier(tmp_path):
    for tier in ("smoke", "small"):
        few = synthetic(["grpo@ref"], tier=tier)
        typed = tables._typed(few.runs, few.curves, few.evals, few.profiles)
        tables._write(typed, [], tables.results_folder("asympo_async", tier, tmp_path))
        assert set(results("asympo_async", root=tmp_path).runs["tier"]) == {tier}
    assert set(results("asympo_async", "smoke", tmp_path).runs["tier"]) == {"smoke"}


def test_what_is_not_there_is_refused_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    with pytest.raises(ReproError, match="is missing. Make it with: make reproduce TIER=smoke"):
        regenerate(tmp_path / "figures")
    with pytest.raises(ReproError, match="no study 'other'"):
        regenerate(tmp_path, study="other")
    with pytest.raises(ReproError, match="no tier 'huge'"):
        regenerate(tmp_path, tier="huge")
    (tmp_path / "file").write_text("")
    with pytest.raises(ReproError, match="cannot write .*convergence"):
        style.save(Figure(), tmp_path / "file" / "below", "convergence")


def test_curve_figure_draws_what_is_chosen(everything):
    arms = ["naive@ref", "naive@lag0", "tis@ref"]
    figure = curve_figure(
        everything.curves, arms, "nll_neg", x="rollouts", smoothing=5, seeds=[0, 2], runs=everything.runs, log=True
    )
    for arm in arms:
        drawn = [line.get_label() for line in lines(figure) if str(line.get_label()).startswith(f"{arm} seed")]
        assert drawn == [f"{arm} seed 0", f"{arm} seed 2"]
    assert figure.axes[0].get_yscale() == "log"
    assert {"naive, ref", "naive, lag0", "tis, ref"} <= set(texts(figure))
    colours = {line.get_label(): line.get_color() for line in lines(figure)}
    assert len({colours[f"{arm} mean"] for arm in arms}) == 3
    assert not labelled(figure, "naive@ref collapse")  # seed 1 collapsed, and was not chosen


def test_curve_figure_refuses_what_it_cannot_draw(everything):
    curves = everything.curves
    for arms, options, message in (
        ([], {}, "choose at least one arm"),
        (["naive"], {}, "no curves of arm 'naive'; there are of: naive@ref"),
        (["naive@ref"], {"metric": "nll"}, "no column 'nll'; it has: .*nll_pos"),
        (["naive@ref"], {"x": "hours"}, "no x-axis 'hours'; there are: update"),
        (["naive@ref"], {"smoothing": 0}, "smoothing=0"),
        (["naive@ref"], {"seeds": [7]}, "no value of 'reward' in the chosen seeds of 'naive@ref'"),
    ):
        with pytest.raises(ReproError, match=message):
            curve_figure(curves, arms, **options)


def test_a_metric_measured_now_and_then_is_smoothed_in_updates(everything):
    curve = seed_curves(everything.curves, "grpo@ref", "grad_cosine", smoothing=20)[1]
    assert curve.update.tolist() == [20, 30, 40, 50, 60]  # two measurements a window


def test_a_cost_against_itself_and_a_metric_without_positive_values(everything):
    drawn = curve_figure(everything.curves, ["grpo@ref"], metric="flops", x="flops")
    assert drawn.axes[0].lines
    flat = everything.curves.assign(lag=0.0)
    with pytest.raises(ReproError, match="no point of 'lag' in 'grpo@ref' can be drawn on a logarithmic axis"):
        curve_figure(flat, ["grpo@ref"], metric="lag", log=True)
