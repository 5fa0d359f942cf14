"""Films on disk: a GIF by Pillow, which matplotlib brings, or an MP4 by ffmpeg."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffevo_jax.pytree.files import written_whole

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure


def check_path(path: str | Path | None) -> None:
    """Raise ValueError if no film can be written there, before one is drawn."""
    from matplotlib.animation import FFMpegWriter

    ending = "" if path is None else Path(path).suffix.lower()
    if path is not None and ending not in (".gif", ".mp4"):
        raise ValueError(f"path: got {path}, want a name that ends in .gif or .mp4")
    if ending == ".mp4" and not FFMpegWriter.isAvailable():
        raise ValueError(
            f"path: got {path}, but there is no ffmpeg; want .gif, or install it"
        )


def filmed(
    figure: Figure,
    draw: Callable[[int], Iterable[Artist]],
    frames: Sequence[int],
    path: str | Path | None,
    *,
    fps: int,
    dpi: int,
    repeat: bool = True,
    still: bool = True,
) -> FuncAnimation:
    """The film of what is drawn for each of ``frames``, written if there is a path.

    If ``still``, axes stay where the first frame has them. A layout that is found anew for
    each frame moves them by a few pixels.
    """
    from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter

    check_path(path)
    draw(frames[0])  # here, or a writer without frames hides its errors
    if still and figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    film = FuncAnimation(figure, draw, frames, interval=1000 / fps, repeat=repeat)
    if path is not None:
        writer = FFMpegWriter if Path(path).suffix.lower() == ".mp4" else PillowWriter
        with written_whole(path) as unfinished:
            film.save(unfinished, writer=writer(fps=fps), dpi=dpi)
    return film
