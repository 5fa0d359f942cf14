"""The command as a process of its own: ``python -m diffevo_jax.cli``, or ``diffevo``."""

import contextlib
import gc
import os
import warnings

from diffevo_jax.cli import interrupts, main, streams


def process() -> None:
    """Run the command line of this process, and end it with the exit code.

    An end that is not a good one does not wait for what JAX still computes: taking that
    down crashes. All that was to be written has been.
    """
    for number in range(3):  # or the first file that is opened would be the output
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)
    gc.freeze()  # what is imported lives on: the collector need not look at it again
    interrupts.install()
    warnings.showwarning = _warn
    try:
        code = main()
    except KeyboardInterrupt:  # once more, while the first was answered
        code = interrupts.code()
    if code:
        os._exit(code)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Say a warning in a line, without its place in a file."""
    streams.complain(f"warning: {message}")


if __name__ == "__main__":
    process()
