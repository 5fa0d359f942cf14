"""Images side by side."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from diffevo_jax import plots

IMAGES = np.random.default_rng(0).uniform(size=(7, 4, 5, 3))


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., :1], IMAGES[..., 0]])
def test_every_image_is_drawn_as_it_is(images):
    drawn = plots.image_grid(images).axes[0].images
    assert len(drawn) == 7
    np.testing.assert_allclose(drawn[3].get_array(), images[3].squeeze())


def test_images_stand_in_rows_and_do_not_touch():
    drawn = plots.image_grid(IMAGES, columns=3).axes[0].images
    boxes = [image.get_extent() for image in drawn]  # left, right, bottom, top
    assert boxes[0][1] < boxes[1][0]
    assert boxes[0][2] < boxes[3][3]
    assert [boxes[n][0] for n in (0, 3, 6)] == [boxes[0][0]] * 3
    assert boxes[0][1] - boxes[0][0] == 5
    assert boxes[0][2] - boxes[0][3] == 4


def test_a_range_is_from_black_to_white():
    drawn = plots.image_grid(2 * IMAGES[..., 0] - 1, value_range=(-1, 1)).axes[0].images
    np.testing.assert_allclose(drawn[0].get_array(), IMAGES[0, ..., 0])
    assert drawn[0].get_clim() == (0, 1)


def test_titles_are_above_their_images():
    axes = plots.image_grid(IMAGES, titles=list("abcdefg")).axes[0]
    assert [text.get_text() for text in axes.texts] == list("abcdefg")
    for text, image in zip(axes.texts, axes.images, strict=True):
        assert text.get_position()[1] < image.get_extent()[3]


def test_axes_of_the_caller_are_used():
    figure = Figure()
    _, second = figure.subplots(1, 2)
    assert plots.image_grid(IMAGES, ax=second) is figure
    assert len(second.images) == 7


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (IMAGES[0, 0], {}, "images: got shape (5, 3), want (N, H, W)"),
        (IMAGES[..., :2], {}, "images: got shape (7, 4, 5, 2), want (N, H, W)"),
        (IMAGES[:0], {}, "images: got shape (0, 4, 5, 3)"),
        (IMAGES + 0.5, {}, "want [0, 1], or value_range=; or clip them"),
        (IMAGES * np.nan, {}, "images: got values in [nan, nan]"),
        (IMAGES, {"value_range": (1, 0)}, "value_range: got (1, 0), want (low, high)"),
        (IMAGES, {"titles": ["a"]}, "titles: got 1, want 7, one an image"),
        (IMAGES, {"columns": 0}, "columns: got 0, want an int >= 1"),
    ],
)
def test_a_grid_says_what_is_wrong(images, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plots.image_grid(images, **options)
