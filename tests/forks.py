"""Processes that are to be ended, forked from one that has imported the library.

So they start at once. As a script this is the one that forks: a line of JSON on its input
asks for a process, or waits for one.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Seconds that anything may take, on a machine that is busy.
PATIENCE = 300.0


class Forks:
    """Starts processes, and waits for them; ``close`` it."""

    def __init__(self) -> None:
        here = Path(__file__).parent
        rooms = (here, here / "problems", here / "diffusion" / "training")
        paths = map(str, (*rooms, os.environ.get("PYTHONPATH", "")))
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, call: str, log: Path, **arguments: Any) -> int:
        """The number of a process that calls ``module:function``; its words are logged."""
        return self._ask(call=call, log=str(log), arguments=arguments)

    def code(self, pid: int) -> int:
        """How it has ended: a signal is negative."""
        return self._ask(wait=pid)

    def close(self) -> None:
        """End the one that forks."""
        self._process.communicate()

    def _ask(self, **request: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def until(holds: Callable[[], Any], pause: float = 0.005) -> Any:
    """What a function returns as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(pause)
    return found


def is_gone(pid: int) -> bool:
    """Whether there is no such process, or it waits for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def serve() -> Callable[[], None] | None:
    """Fork on request; what a forked process is to call, or None at the end."""
    while line := os.read(0, 2**16):
        request = json.loads(line)
        if "wait" in request:
            print(_code(request["wait"]), flush=True)
            continue
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        for number, path in ((0, os.devnull), (1, request["log"]), (2, request["log"])):
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, number)
            os.close(opened)
        module, _, name = request["call"].partition(":")
        function = getattr(importlib.import_module(module), name)
        return lambda: function(**request["arguments"])
    return None


def _code(pid: int) -> int:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return -999


if __name__ == "__main__":
    importlib.import_module("kept_programs")
    called = serve()
    if called is not None:
        called()
