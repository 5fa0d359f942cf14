"""A sweep of 1,000 settings and 8 seeds by one command: its memory, and a killed shard.

    python benchmarks/sweep_shards.py

``diffevo sweep cartpole`` in processes of their own, 64 policies and 5 generations:

* with 100, 500 and 1,000 settings, whole, in one process;
* the largest again in four shards. At a random time one of them is killed (SIGKILL), and
  then run again; the same command without a shard makes the table.

Both tables must be identical, to the bit; a difference ends the script with an error. The
peak is that of the resident memory of each process, from the kernel.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray
from common import arguments, save, table
from timing import megabytes

SHARDS, KILLED = 4, 2
#: Temperatures and etas; their product is the number of settings.
SIZES = ((10, 10), (25, 20), (40, 25))
QUICK = ((2, 2), (4, 4))
#: How often a shard may end before it is killed.
ATTEMPTS = 5


class Command:
    """The command for so many settings, in processes that are measured."""

    def __init__(self, options: argparse.Namespace, size: tuple[int, int]) -> None:
        self.settings = size[0] * size[1]
        self.runs = self.settings * options.seeds
        self.batch_size = 4 if options.quick else 64
        self.line = (
            *(sys.executable, "-m", "diffevo_jax.cli", "sweep", "cartpole"),
            *("--population-size=64", "--num-generations=5", f"--seeds={options.seeds}"),
            *(f"--seed={options.seed}", f"--batch-size={self.batch_size}", "--devices=1"),
            f"--axis=shaping.temperature=logspace(-1,1,{size[0]})",
            f"--axis=sampler.eta=linspace(0,1,{size[1]})",
        )

    def start(self, *flags: str) -> tuple[subprocess.Popen, float]:
        """A process, and when it began."""
        quiet = subprocess.DEVNULL
        return subprocess.Popen((*self.line, *flags), stdout=quiet), time.perf_counter()

    def run(self, what: str, *flags: str) -> dict[str, Any]:
        """A process from its start to its end, as a row."""
        return self.end(what, 0, *self.start(*flags))

    def end(
        self, what: str, code: int, process: subprocess.Popen, begin: float
    ) -> dict[str, Any]:
        """Wait for a process that must end with a code; its row."""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            sys.exit(f"{what}: got the exit code {process.returncode}, want {code}")
        row = {
            "what": what,
            "settings": self.settings,
            "runs": self.runs,
            "seconds": time.perf_counter() - begin,
            "peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }
        print(report([row]).splitlines()[-1], flush=True)
        return row


def kill(command: Command, folder: Path, flags: Sequence[str], seed: int) -> dict[str, Any]:
    """Run a shard, and kill it when a random share of its batches is stored."""
    total = -(-command.runs // command.batch_size)
    ours = [folder / f"batch-{n:06d}.npz" for n in range(KILLED, total, SHARDS)]
    choose = random.Random(seed)
    for _ in range(ATTEMPTS):
        process, begin = command.start(*flags, f"--shard={KILLED}/{SHARDS}")
        wanted = choose.randint(1, max(1, len(ours) - 2))
        while sum(map(Path.exists, ours)) < wanted and process.poll() is None:
            time.sleep(0.002)
        if process.poll() is None:
            time.sleep(choose.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            row = command.end("killed", -signal.SIGKILL, process, begin)
            stored = sum(map(Path.exists, ours))
            what = (
                f"shard {KILLED} of {SHARDS}, killed with {stored} of {len(ours)} batches"
            )
            if stored < len(ours):
                return row | {"what": what}
        for path in ours:  # it was too fast
            path.unlink(missing_ok=True)
    sys.exit(f"a shard: got its end {ATTEMPTS} times, want to kill it before")


def shards(command: Command, folder: Path, out: Path, seed: int) -> list[dict[str, Any]]:
    """All shards, one of them twice, and the table that is made of them."""
    flags = (f"--folder={folder}", f"--out={out}")
    rows = [kill(command, folder, flags, seed)]
    before = {path: path.stat().st_mtime_ns for path in folder.glob("batch-*.npz")}
    for number in (KILLED, *(n for n in range(SHARDS) if n != KILLED)):
        again = ", again" * (number == KILLED)
        what = f"shard {number} of {SHARDS}{again}"
        rows.append(command.run(what, *flags, f"--shard={number}/{SHARDS}"))
    if any(path.stat().st_mtime_ns != written for path, written in before.items()):
        sys.exit("a stored batch was run again")
    out.unlink()  # the last shard made it; the command without a shard does so again
    return [*rows, command.run("merged", *flags)]


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """All rows; raises if the two tables differ."""
    rows, whole, merged = [], folder / "whole.nc", folder / "merged.nc"
    for size in QUICK if options.quick else SIZES:
        command = Command(options, size)
        flags = (f"--out={whole}", f"--folder={folder / str(command.settings)}")
        rows.append(command.run("whole", *flags))
    rows += shards(command, folder / "shards", merged, options.seed)
    with xarray.open_dataset(whole) as one, xarray.open_dataset(merged) as two:
        xarray.testing.assert_identical(one, two)
    print("the tables are identical")
    return rows


def main() -> None:
    options = arguments(__doc__ or "", seeds=8)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options, Path(folder))
    print(report(rows))
    save("sweep_shards", options, rows)


def report(rows: list[dict[str, Any]]) -> str:
    """A row a process."""
    lines = [
        [
            row["what"],
            f"{row['settings']:,}",
            f"{row['runs']:,}",
            f"{row['seconds']:.0f}",
            megabytes(row["peak"]),
        ]
        for row in rows
    ]
    header = ["process", "settings", "runs of the sweep", "seconds", "peak memory"]
    return table(header, lines)


if __name__ == "__main__":
    main()
