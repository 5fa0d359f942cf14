"""A simulator by SciPy that hangs, dies and raises now and then; without JAX."""

import os
import time

import numpy as np
from scipy.integrate import solve_ivp


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
