"""Outputs are saved before they are shown, and one that fails takes no other with it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from diffevo_jax.cli import interrupts, streams


class Output(NamedTuple):
    """A file that a command was asked for.

    Attributes:
        flag: which asked for it.
        path: where it goes.
        write: writes it there, whole or not at all.
    """

    flag: str
    path: Path
    write: Callable[[Path], None]

    def then(self, tell: Callable[[Path], None]) -> "Output":
        """The same, which tells its path once it has been written."""

        def write(path: Path) -> None:
            self.write(path)
            tell(path)

        return self._replace(write=write)


def save_and_show(outputs: Sequence[Output], show: Callable[[], None]) -> int:
    """Save all files, then show.

    What could not be saved is said after what is shown, or instead of it. A signal is told
    what is being written, and that is waited for; one more ends it, without the rest.

    Args:
        outputs: every one is tried.
        show: prints; an output that has no room left, or no reader, loses nothing.

    Returns:
        The exit code: 0; 1 if anything could not be written; or else 141 if the reader of
        the output has gone, as in ``diffevo evolve beale | head``; 130 or 143 if a signal
        ended it.
    """
    failed, code = [], 0
    for place, output in enumerate(outputs):
        left = ", ".join(str(each.path) for each in outputs[place:])
        lost = f"interrupted; not written: {left}"
        interrupts.wait_for(f"the runs have ended; {output.path} is being written", lost)
        try:
            output.write(output.path)
        except KeyboardInterrupt:
            streams.complain(lost)
            return interrupts.code()
        # Whatever a writer of a format raises: the results are still there to be shown.
        except Exception as error:
            failed.append(f"{output.flag}: {output.path} was not written: {_told(error)}")
    lost = "interrupted; not all is shown"
    interrupts.wait_for("the runs have ended, and are being shown", lost)
    try:
        show()
    except KeyboardInterrupt:
        streams.complain(lost)
        return interrupts.code()
    except BrokenPipeError:
        code = 141
    except OSError as error:
        failed.append(f"the output was not written: {_told(error)}")
    for line in failed:
        streams.complain(f"error: {line}")
    return 1 if failed else code


def _told(error: Exception) -> str:
    """An error in words: those of the system if it is one of its."""
    system = error.strerror if isinstance(error, OSError) else None
    return system or f"{type(error).__name__}: {error}"
