"""Folders of NumPy files: what they are read as, and what is told by name."""

import numpy as np
import pytest

from diffevo_jax import diffusion

RNG = np.random.default_rng(0)


def image(*shape, dtype=np.uint8):
    """Of no special numbers."""
    return RNG.integers(0, 256, shape).astype(dtype)


def test_files_are_read_in_the_order_of_their_names_and_stacked(tmp_path):
    first, stack = image(4, 6, 3), image(2, 4, 6, 3)
    np.save(tmp_path / "b.npy", stack)
    np.save(tmp_path / "a.npy", first)

    images = diffusion.load_images(tmp_path)

    np.testing.assert_array_equal(images.pixels, [first, *stack])
    assert (images.pixels.dtype, images.labels, images.classes) == (np.uint8, None, ())


@pytest.mark.parametrize(
    ("shape", "want"),
    [
        ((4, 6), (1, 4, 6, 1)),
        ((4, 6, 1), (1, 4, 6, 1)),
        ((4, 6, 4), (1, 4, 6, 4)),
        ((5, 4, 6, 2), (5, 4, 6, 2)),
    ],
)
def test_images_have_four_axes_whatever_their_file_has(tmp_path, shape, want):
    array = image(*shape)
    np.save(tmp_path / "one.npy", array)

    pixels = diffusion.load_images(tmp_path).pixels

    np.testing.assert_array_equal(pixels, array.reshape(want))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32(tmp_path, dtype):
    array = image(4, 4, dtype=dtype) / dtype(255)
    np.save(tmp_path / "one.npy", array)

    pixels = diffusion.load_images(tmp_path).pixels

    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[0, :, :, 0], array.astype(np.float32))


def test_folders_are_classes_from_0_in_the_order_of_their_names(tmp_path):
    for name, count in (("dogs", 2), ("cats", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            np.save(tmp_path / name / f"{number}.npy", image(4, 4))

    images = diffusion.load_images(tmp_path)

    assert images.classes == ("cats", "dogs")
    assert (images.labels.tolist(), images.labels.dtype) == ([0, 0, 0, 1, 1], np.int32)
    assert len(images.pixels) == 5


def test_other_files_and_hidden_ones_are_not_looked_at(tmp_path):
    np.save(tmp_path / "one.npy", image(4, 4))
    (tmp_path / "README.txt").write_text("images")
    (tmp_path / ".hidden.npy").write_text("no array")
    (tmp_path / ".cache").mkdir()

    assert diffusion.load_images(str(tmp_path)).pixels.shape == (1, 4, 4, 1)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (image(9, 8, 8), r"odd.npy has shape \(9, 8, 8\), .*C is 1 in a stack of grey"),
        (image(2, 3, 8, 8), r"odd.npy has shape \(2, 3, 8, 8\), want .*colours last"),
        (image(4), r"odd.npy has shape \(4,\), want \(H, W\)"),
        (image(0, 4, 4, 1), r"odd.npy has shape \(0, 4, 4, 1\), want"),
        (image(4, 4, dtype=np.int64), "odd.npy has int64, want uint8 or floats"),
        (image(4, 4) > 9, "odd.npy has bool, want uint8 or floats"),
        (np.full((4, 4), np.nan), "odd.npy has NaN or infinity, want finite"),
        (image(4, 5), r"odd.npy has images of \(4, 5, 1\) .* as in .*first.npy"),
        (image(4, 4, 3), r"odd.npy has images of \(4, 4, 3\) .*, want \(4, 4, 1\)"),
        (np.zeros((4, 4)), "odd.npy has images of .* of float32, want .* of uint8"),
        (np.array([{}]), "odd.npy is no array, want one .* without pickle"),
    ],
)
def test_a_file_that_is_no_image_like_the_others_is_named(tmp_path, array, told):
    np.save(tmp_path / "first.npy", image(4, 4))
    np.save(tmp_path / "odd.npy", array, allow_pickle=True)

    with pytest.raises(ValueError, match=told):
        diffusion.load_images(tmp_path)


def test_what_is_no_array_file_is_named(tmp_path):
    (tmp_path / "text.npy").write_text("an image")
    with pytest.raises(ValueError, match=r"folder: .*text.npy is no array"):
        diffusion.load_images(tmp_path)
    np.savez(tmp_path / "text.npz", image(4, 4))
    (tmp_path / "text.npz").rename(tmp_path / "text.npy")
    with pytest.raises(ValueError, match=r"folder: .*text.npy is an archive"):
        diffusion.load_images(tmp_path)
    (tmp_path / "text.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"folder: .*text.npy is no array"):
        diffusion.load_images(tmp_path)


def test_a_file_that_was_cut_off_is_named(tmp_path):
    np.save(tmp_path / "cut.npy", image(4, 4))
    whole = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"folder: .*cut.npy is no array"):
        diffusion.load_images(tmp_path)


def test_a_folder_without_images_is_told(tmp_path):
    with pytest.raises(ValueError, match="is not there; want one of"):
        diffusion.load_images(tmp_path / "none")
    with pytest.raises(ValueError, match=r"folder: got .* without a .npy file"):
        diffusion.load_images(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"folder: got .*empty without a .npy file"):
        diffusion.load_images(tmp_path)
    np.save(tmp_path / "one.npy", image(4, 4))
    with pytest.raises(ValueError, match=r"one.npy beside .*empty, want files, or a fold"):
        diffusion.load_images(tmp_path)
