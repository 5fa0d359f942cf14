"""Maps of sweeps: a mean a cell, the best one framed, what is missing hatched."""

import re

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from diffevo_jax import plots
from diffevo_jax.plots import spacing

ETAS, TEMPERATURES = [0.0, 0.5, 1.0], [0.01, 0.1, 1.0, 10.0]


def table(**more) -> xarray.Dataset:
    """As a sweep of 12 settings and 2 seeds makes it; the seeds are 0.5 apart."""
    eta, temperature = (np.ravel(one) for one in np.meshgrid(ETAS, TEMPERATURES))
    worth = -((eta - 0.5) ** 2) - (np.log10(temperature) + 1) ** 2
    flags = np.zeros((12, 2), bool)
    return xarray.Dataset(
        {
            "final_mean": (("setting", "seed"), worth[:, None] + [0.0, 0.5]),
            "failed": (("setting", "seed"), flags.copy()),
            "missing": (("setting", "seed"), flags.copy()),
            "evaluations": ("setting", np.arange(12)),
            "mean_fitness": (("setting", "seed", "generation"), np.zeros((12, 2, 3))),
        },
        {
            "setting": np.arange(12),
            "sampler.eta": ("setting", eta),
            "shaping.temperature": ("setting", temperature),
            **more,
        },
    )


def mesh(figure):
    return figure.axes[0].collections[0].get_array()


def patches(figure, label):
    found = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    return [patch for patch in found if patch.get_label() == label]


def test_a_cell_is_the_mean_over_seeds():
    data = table().isel(setting=np.random.default_rng(0).permutation(12))
    drawn = mesh(plots.heat_map(data, "sampler.eta", "shaping.temperature"))
    eta, temperature = np.meshgrid(ETAS, TEMPERATURES)
    want = 0.25 - (eta - 0.5) ** 2 - (np.log10(temperature) + 1) ** 2
    np.testing.assert_allclose(drawn, want)


def test_the_best_cell_is_framed_and_named():
    figure = plots.heat_map(table(), "eta", "temperature")
    (frame,) = patches(figure, "highest")
    left, bottom = frame.get_xy()
    assert left < 0.5 < left + frame.get_width()
    assert bottom < 0.1 < bottom + frame.get_height()
    words = figure.axes[0].get_title().splitlines()
    assert words == ["highest: 0.25 at", "eta = 0.5, temperature = 0.1"]


@pytest.mark.parametrize(
    ("worth", "written"),
    [(-1093.3, "-1093"), (0.12345, "0.123"), (123456.0, "123456"), (2.5e7, "2.5e+07")],
)
def test_a_number_in_a_cell_is_short_and_plain(worth, written):
    data = table()
    data["final_mean"] = data["final_mean"] * 0 + worth
    figure = plots.heat_map(data, "eta", "temperature")
    assert {text.get_text() for text in figure.axes[0].texts} == {written}


def test_what_the_value_is_stands_beside_the_colours():
    data = table()
    data["final_mean"].attrs["long_name"] = "mean fitness of the last population"
    figure = plots.heat_map(data, "eta", "temperature")
    assert figure.axes[1].get_ylabel() == "mean fitness of the last population"


def test_a_number_that_is_no_fitness_has_no_best():
    assert not patches(
        plots.heat_map(table(), "eta", "temperature", "evaluations"), "highest"
    )


def test_geometric_values_make_a_logarithmic_axis():
    axes = plots.heat_map(table(), "eta", "temperature").axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    np.testing.assert_allclose(axes.get_ylim(), (10**-2.5, 10**1.5))


def test_cells_without_a_mean_are_hatched_and_never_the_best():
    data = table()
    data["failed"][4, 1] = True  # eta 0.5 and temperature 0.1, the best
    data["final_mean"][4, 1] = np.nan
    data["missing"][7, 0] = True
    figure = plots.heat_map(data, "eta", "temperature")
    assert np.argwhere(np.ma.getmaskarray(mesh(figure))).tolist() == [[1, 1], [2, 1]]
    assert len(patches(figure, "failed")) == len(patches(figure, "missing")) == 1
    label = figure.axes[0].get_xlabel()
    assert label == "sampler.eta\nhatched: xx failed, // missing"
    assert "temperature = 0.1" in figure.axes[0].get_title()
    assert "eta = 0.5" not in figure.axes[0].get_title()


def test_a_sweep_of_which_nothing_has_run_is_drawn():
    data = table()
    data["missing"][:] = True
    data["final_mean"][:] = np.nan
    figure = plots.heat_map(data, "eta", "temperature")
    assert len(patches(figure, "missing")) == 12
    assert not patches(figure, "highest")
    figure.draw_without_rendering()


def test_a_setting_that_was_not_swept_is_missing():
    figure = plots.heat_map(table().isel(setting=range(11)), "eta", "temperature")
    assert len(patches(figure, "missing")) == 1


def test_names_have_cells_of_equal_size():
    kernels = np.repeat(["Tempered()", "Gaussian()", "Perplexity(30)", "Latent()"], 3)
    data = table(kernel=("setting", kernels.astype(object)))
    axes = plots.heat_map(data, "eta", "kernel").axes[0]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["Tempered()", "Gaussian()", "Perplexity(30)", "Latent()"]


def test_names_that_are_long_are_in_lines_and_no_formulas():
    name = "Tempered(dimension=2.0, scale=$1, memory=Archive(capacity=1000), fade=$2)"
    data = table(kernel=("setting", np.repeat(["Gaussian()", name], 6).astype(object)))
    figure = plots.heat_map(data, "temperature", "kernel")
    figure.draw_without_rendering()  # a warning if there is no room left for the map
    label = figure.axes[0].get_yticklabels()[1].get_text()
    assert "".join(label.split()).replace("\\$", "$") == name.replace(" ", "")
    assert max(map(len, label.splitlines())) <= 32


def test_two_names_in_lines_that_have_room_are_level():
    parts = ["Tempered(dimension=2.0)", "Gaussian(kappa=1.0, floor=None)"]
    data = table(kernel=("setting", np.tile(parts, 6)))
    figure = plots.heat_map(data.isel(setting=[0, 1, 2, 3]), "kernel", "eta")
    ticks = figure.axes[0].get_xticklabels()
    assert {label.get_rotation() for label in ticks} == {0.0}


def test_means_whose_difference_is_infinite_are_drawn():
    data = table()
    data["final_mean"][0] = -1.7e308
    data["final_mean"][11] = 1.7e308
    figure = plots.heat_map(data, "eta", "temperature")
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"-1.7e+308", "1.7e+308"} <= set(texts)


def with_a_third_axis() -> xarray.Dataset:
    """Of which the second value is 2 better."""
    low = table(scale=("setting", np.full(12, 1.0)))
    high = low.assign_coords(scale=low.scale * 2).assign(final_mean=low.final_mean + 2)
    return xarray.concat([low, high], "setting")


def test_of_a_third_axis_a_cell_is_the_mean_and_the_title_says_so():
    both = with_a_third_axis()
    one = mesh(
        plots.heat_map(both.isel(setting=both["scale"].values == 1.0), "eta", "temperature")
    )
    figure = plots.heat_map(both, "eta", "temperature")
    np.testing.assert_allclose(mesh(figure), one + 1)
    assert figure.axes[0].get_title().splitlines()[-1] == "mean over 2 values of scale"
    figure = plots.heat_map(both, "eta", "temperature", title="Mine")
    assert figure.axes[0].get_title() == "Mine\nmean over 2 values of scale"


def test_a_cell_that_lacks_a_value_of_a_third_axis_has_no_mean():
    figure = plots.heat_map(
        with_a_third_axis().isel(setting=range(23)), "eta", "temperature"
    )
    assert np.argwhere(np.ma.getmaskarray(mesh(figure))).tolist() == [[3, 2]]
    assert len(patches(figure, "missing")) == 1


def test_a_setting_that_is_there_twice_is_refused():
    twice = xarray.concat([table(), table()], "setting")
    with pytest.raises(ValueError, match="got a setting twice, want each once"):
        plots.heat_map(twice, "eta", "temperature")


def test_an_axis_that_goes_with_another_needs_no_selection():
    together = table(scale=("setting", np.repeat([1.0, 2.0, 3.0, 4.0], 3)))
    assert plots.heat_map(together, "eta", "temperature").axes[0].patches


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("etta", "temperature"), "x: got 'etta', want one of sampler.eta, shaping.temp"),
        (("etta", "temperature"), "did you mean 'eta'?"),
        (("eta", "sampler.eta"), "y: got 'sampler.eta', which is x, want another axis"),
        (
            ("eta", "temperature", "best"),
            "value: got 'best', want one of final_mean, failed",
        ),
        (("eta", "temperature", "mean_fitness"), "over setting, seed, generation, want"),
    ],
)
def test_a_map_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plots.heat_map(table(), *arguments)


def test_what_is_no_dataset_is_refused():
    with pytest.raises(TypeError, match="dataset: got"):
        plots.heat_map({"a": 1}, "eta", "temperature")


def test_axes_of_the_caller_are_used():
    figure = Figure()
    first, second = figure.subplots(1, 2)
    assert plots.heat_map(table(), "eta", "temperature", ax=second) is figure
    assert second.collections
    assert not first.collections


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 2.0, 3.0], "even"),
        ([0.1, 0.316, 1.0], "geometric"),
        ([0.1, 0.2, 1.0], "names"),
        ([0.0, 0.1, 1.0], "names"),
        ([5.0], "names"),
        (["a", "b"], "names"),
        ([-1e308, 1e308], "names"),
        ([1.5e308, 1.6e308], "names"),
    ],
)
def test_what_the_spacing_of_values_is(values, kind):
    assert spacing.cells(values).spacing == kind
