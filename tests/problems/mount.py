"""A mount that keeps the shaking of a floor from an instrument; without JAX."""

import os
import time

import numpy as np
from scipy.integrate import solve_ivp

KINDS = {
    "material": ("steel", "aluminium", "carbon"),
    "damper": ("oil", "friction"),
    "layout": ("stacked", "nested", "split"),
}
DENSITIES, PRICES, SIZES = (7.8, 2.7, 1.6), (1, 3, 20), (1.0, 0.7, 0.85)
LOAD = 5.0  # kg


def sag(design):
    """How far both springs give way under the load, in m; of NumPy or of JAX."""
    lower = design["lower_stiffness"] / design["coils"]
    return 9.8 * LOAD * (1.0 / lower + 1.0 / design["upper_stiffness"])


def isolation(design, seed):
    """How little of the shaking arrives, less the price of the mount; with noise."""
    fail_now_and_then(seed)
    material, plates = design["material"], design["plates"]
    litres = 0.02 * design["coils"] * plates * SIZES[design["layout"]]
    mass = 1.0 + litres * DENSITIES[material]

    def motion(t, state):
        frame, frame_speed, top, top_speed, force = state
        floor = 0.01 * np.sin(30.0 * t) + 0.02 * np.sin(7.0 * t)
        rub = np.tanh(20.0 * frame_speed) if design["damper"] else frame_speed
        lower = design["lower_stiffness"] / design["coils"] * (frame - floor)
        lower += design["lower_damping"] * plates * rub
        upper = design["upper_stiffness"] * (top - frame)
        upper *= 1.0 + design["stiffening"] * (top - frame) ** 2
        upper += design["upper_damping"] * (top_speed - frame_speed)
        return [
            frame_speed,
            (upper - lower - force) / mass,
            top_speed,
            (force - upper) / LOAD,
            (-design["gain"] * top_speed - force) / design["lag"],
        ]

    path = solve_ivp(motion, (0.0, 2.0), np.zeros(5), "LSODA", max_step=0.1)
    shaking = np.sqrt(np.mean(path.y[3] ** 2))
    price = PRICES[material] * litres + 0.002 * design["gain"]
    noise = 0.05 * np.random.default_rng(seed).normal()
    return float(-np.log10(1e-4 + shaking) - 0.1 * price + noise)


def fail_now_and_then(seed):
    """Of thirty evaluations one hangs, one ends its process, and one raises."""
    kind = int(seed) % 30
    if kind == 0:
        time.sleep(3600)
    if kind == 1:
        os._exit(1)
    if kind == 2:
        raise ArithmeticError("did not converge")
