"""What the generations were like, with what is wrong below."""

import numpy as np
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import plots


def test_medians_over_runs_are_drawn_with_their_extremes(history):
    axes = plots.diagnostics(history).axes
    assert [ax.get_title() for ax in axes] == [
        "noise level sigma",
        "effective sample size",
        "self weight",
        "failed evaluations",
    ]
    drawn = axes[1].lines[0].get_xydata()
    np.testing.assert_array_equal(drawn[:, 0], np.arange(1, 7))
    want = np.median(history.effective_sample_size, axis=0)
    np.testing.assert_allclose(drawn[:, 1], want, rtol=1e-6)
    band = axes[1].collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == np.max(history.effective_sample_size)


def test_one_run_has_no_band(result):
    assert not any(ax.collections for ax in plots.diagnostics(result).axes)


def test_below_stands_what_is_wrong(history):
    deaf = de.replace(history, self_weight=np.full((5, 6), 0.99))
    text = plots.diagnostics(deaf).get_supxlabel().replace("\n", " ")
    assert text == " ".join(de.diagnose(deaf))
    assert text.startswith("self weight is near 1 from generation 1 on")


def test_it_may_be_drawn_into_a_part_of_a_figure(result):
    figure = Figure(layout="constrained")
    above, below = figure.subfigures(2, 1)
    assert plots.diagnostics(result, figure=below) is figure
    assert len(below.axes) == 4
    assert not above.axes
