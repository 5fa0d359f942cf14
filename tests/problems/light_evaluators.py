"""What other processes import: nothing of JAX, so that they start at once."""

import os
import time
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp


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


def flaky(solution: np.ndarray) -> float:
    """By the path in the environment: ends its process the first time, and works then."""
    mark = Path(os.environ["FLAKY"]) / str(int(solution[0]))
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return negated_sphere(solution)


def unreliable_in_a_box(solution: np.ndarray) -> float:
    return unreliable(np.round(solution))


def fate(seed: np.uint32) -> int:
    """Of a tenth of all seeds, evenly: 1 hangs, 2 ends its process, 3 raises; 0 works."""
    return int(seed) % 30 if int(seed) % 30 < 4 else 0


def spring(design: dict[str, np.ndarray], seed: np.uint32) -> float:
    """How soon a shaken spring comes to rest, with noise in what is measured."""

    def motion(t: float, state: list[float]) -> list[float]:
        position, speed = state
        force = design["stiffness"] * position + design["damping"] * speed
        return [speed, -force - position**3]

    path = solve_ivp(motion, (0.0, 10.0), [1.0, 0.0], max_step=0.1)
    cost = np.trapezoid(path.y[0] ** 2, path.t) + 0.01 * design["stiffness"]
    return float(-cost + 0.001 * np.random.default_rng(seed).normal())


def unreliable_spring(design: dict[str, np.ndarray], seed: np.uint32) -> float:
    kind = fate(seed)
    if kind == 1:
        time.sleep(3600)
    if kind == 2:
        os._exit(1)
    if kind == 3:
        raise ArithmeticError("did not converge")
    return spring(design, seed)
