"""What other processes import: nothing of JAX, so that they start at once."""

import os
import sys
import time
from pathlib import Path

import numpy as np


def negated_sphere(solution: np.ndarray) -> float:
    return -float(np.sum(np.square(solution)))


def with_length(solution: np.ndarray) -> tuple[float, dict[str, float]]:
    return negated_sphere(solution), {"length": float(np.abs(solution).sum())}


def noisy(solution: np.ndarray, seed: np.uint32) -> float:
    return negated_sphere(solution) + 0.1 * np.random.default_rng(seed).normal()


def unreliable(solution: np.ndarray) -> float:
    """By its first number: hangs, ends its process, raises, returns nonsense; or works."""
    kind = int(solution[0])
    if kind == 1:
        time.sleep(600)
    if kind == 2:
        os._exit(3)
    if kind == 3:
        raise ValueError("it does not converge")
    if kind == 4:
        return float("nan")
    return negated_sphere(solution)


def exits(solution: np.ndarray) -> float:
    if solution[0] < 0:
        sys.exit(3)
    return negated_sphere(solution)


def says_who_and_hangs(solution: np.ndarray) -> float:
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(600)
    return 0.0


def flaky(solution: np.ndarray) -> float:
    """By the path in the environment: ends its process the first time, and works then."""
    mark = Path(os.environ["FLAKY"]) / str(int(solution[0]))
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return negated_sphere(solution)


def unreliable_in_a_box(solution: np.ndarray) -> float:
    return unreliable(np.round(solution))


def counted(solution: np.ndarray, seed: np.uint32) -> tuple[float, dict[str, np.ndarray]]:
    """Takes a moment, and says in a file when it begins and when it has finished."""
    file = os.open(os.environ["COUNTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    name = solution.tobytes().hex() + seed.tobytes().hex()
    os.write(file, f"begun {name}\n".encode())
    time.sleep(0.02 + 0.08 * (int(seed) % 97) / 97)
    value = noisy(solution, seed)
    os.write(file, f"finished {name}\n".encode())
    os.close(file)
    return value, {"half": solution / 2}


def described(design):
    """A design of Python's own values: its rate, and whether it is of sgd."""
    kinds = [type(design[name]) for name in ("kind", "layers", "rate")]
    assert kinds == [str, int, float]
    assert 0.1 <= design["rate"] <= 0.3
    return design["rate"], {"is_sgd": design["kind"] == "sgd"}
