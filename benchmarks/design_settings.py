"""The settings of the study of the design space, by name."""

from typing import Any

import jax
import numpy as np
from design_tasks import TASKS

import diffevo_jax as de

#: The choices of each factor, by name.
CHOICES: dict[str, dict[str, Any]] = {
    "sampler": {
        "DDIM 1": de.samplers.DDIM(1.0),
        "DDIM 0.5": de.samplers.DDIM(0.5),
        "DDIM 0.1": de.samplers.DDIM(0.1),
        "DDIM 0": de.samplers.DDIM(0.0),
        "2M 1": de.samplers.DPMSolver2M(1.0),
        "2M 0": de.samplers.DPMSolver2M(0.0),
        "frozen Heun 1": de.samplers.Heun(1.0, frozen=True),
        "frozen Heun 0": de.samplers.Heun(0.0, frozen=True),
        "frozen PC": de.samplers.PredictorCorrector(1, 0.2, frozen=True),
        "g-h 0.7": de.samplers.GHFilter(0.7, 0.0, 1.0),
        "Consistency": de.samplers.Consistency(),
    },
    "grid": {
        "cosine": de.noise.Cosine(),
        "cosine 1e-4": de.noise.Cosine(1e-4),
        "cosine 0.01": de.noise.Cosine(0.01),
        "linear": de.noise.Linear(),
        "DDPM": de.noise.DDPM(),
        "EDM": de.noise.EDM(),
        "VE": de.noise.VE(0.03, 10.0),
        "flow": de.noise.Flow(),
    },
    "kernel": {
        "exact": de.kernels.Gaussian(),
        "tempered 1": de.kernels.Tempered(1.0),
        "tempered 2": de.kernels.Tempered(2.0),
        "tempered 4": de.kernels.Tempered(4.0),
        "latent": de.kernels.RandomProjection(2),
        "principal": de.kernels.PrincipalComponents(2),
        "perplexity 30": de.kernels.Perplexity(30.0),
        "perplexity 100": de.kernels.Perplexity(100.0),
    },
    "shaping": {
        "identity": de.shaping.Identity(),
        "Boltzmann 1": de.shaping.Boltzmann(1.0),
        "standardized 0.1": de.shaping.Standardized(0.1),
        "standardized 0.2": de.shaping.Standardized(0.2),
        "standardized 0.3": de.shaping.Standardized(0.3),
        "standardized 0.5": de.shaping.Standardized(0.5),
        "rank 0.05": de.shaping.Rank(0.05),
        "rank 0.1": de.shaping.Rank(0.1),
        "ESS 0.05": de.shaping.TargetESS(0.05),
        "ESS 0.1": de.shaping.TargetESS(0.1),
        "local 0.3": de.shaping.Local(0.3),
        "local 0.5": de.shaping.Local(0.5),
    },
    "archive": {"none": 0, "1": 1},
    "archive_correction": {"fitness alone": 0.0, "mixture": 1.0},
    "self_conditioned": {"no": False, "yes": True},
}
#: The published settings, of functions in two dimensions and of control.
PUBLISHED = {
    "functions": ("DDIM 0.1", "cosine", "exact", "identity"),
    "control": ("DDIM 1", "cosine", "latent", "Boltzmann 1"),
}
PLAIN = {"archive": "none", "archive_correction": "fitness alone", "self_conditioned": "no"}
#: What was chosen from random combinations and single factors, and lost on Acrobot.
FIRST_DEFAULT = {
    "sampler": "2M 1",
    "grid": "cosine 1e-4",
    "kernel": "tempered 1",
    "shaping": "standardized 0.3",
} | PLAIN
NUM_RANDOM = 100
#: Random settings of the same classes.
VARIANTS = 4
Setting = dict[str, str]


def published(task: str) -> Setting:
    """The published setting of a task's domain."""
    domain = "control" if is_control(task) else "functions"
    setting = dict(zip(CHOICES, PUBLISHED[domain], strict=False)) | PLAIN
    # The latent form is the published one in many dimensions.
    return setting | ({"kernel": "latent"} if {"8", "64"} & set(task.split()) else {})


def is_control(task: str) -> bool:
    return task.split()[0] in ("CartPole", "Acrobot", "MountainCar")


def default() -> Setting:
    """What this study chose: the library's default until fitness guidance.

    See ``guidance.py`` for the one of today.
    """
    return {
        "sampler": "DDIM 1",
        "grid": "cosine 1e-4",
        "kernel": "tempered 1",
        "shaping": "standardized 0.2",
    } | PLAIN


def build(setting: Setting, num_generations: int) -> de.DiffusionEvolution:
    """The strategy of a setting, its grid written out: grids are then only numbers."""
    parts = {factor: CHOICES[factor][name] for factor, name in setting.items()}
    kernel = parts["kernel"]
    if parts["self_conditioned"]:
        kernel = de.kernels.SelfConditioned(kernel)
    memory: Any = de.denoisers.Latest()
    if parts["archive"]:
        memory = de.denoisers.Archive(parts["archive"], parts["archive_correction"])
    population = de.denoisers.Population(
        kernel, parts["shaping"], memory=memory, guidance=0.0
    )
    strategy = de.DiffusionEvolution(
        num_generations, population, parts["sampler"], parts["grid"]
    )
    return de.replace(strategy, grid=de.noise.Levels(np.asarray(strategy.sigmas())))


def one_factor() -> list[tuple[Setting | None, str, str, str]]:
    """(setting, factor, choice, task): every choice in the published setting."""
    wanted = []
    for task in TASKS:
        base = published(task)
        wanted.append((base, "published", "", task))
        for factor, choices in CHOICES.items():
            if factor == "archive_correction":
                continue
            for choice in choices:
                if choice != base[factor] and legal(base | {factor: choice}, task):
                    wanted.append((base | {factor: choice}, factor, choice, task))
    return wanted


def neighbours() -> list[Setting]:
    """What a default is chosen among: combinations of what did well."""
    return [
        {"sampler": sampler, "grid": "cosine 1e-4", "kernel": kernel, "shaping": shaping}
        | PLAIN
        | {"self_conditioned": conditioned}
        for sampler in ("2M 1", "frozen Heun 1", "DDIM 1")
        for kernel in ("tempered 1", "tempered 2", "latent", "principal")
        for conditioned in ("no", "yes")
        for shaping in ("standardized 0.1", "standardized 0.2", "standardized 0.3")
        # Between clean estimates a kernel that is not calibrated is nearly flat.
        if conditioned == "no" or kernel in ("latent", "principal")
    ]


def plain_neighbours() -> list[Setting]:
    """The simplest of them, of which none loses on Acrobot with five generations."""
    return [
        setting
        for setting in neighbours()
        if setting["sampler"] == "DDIM 1" and setting["kernel"] == "tempered 1"
    ]


def legal(setting: Setting, task: str) -> bool:
    """Identity has no weight for the negative returns of Acrobot and MountainCar."""
    return setting["shaping"] != "identity" or not task.startswith(("Acro", "Mount"))


def random_settings() -> list[Setting]:
    """Independent choices of all factors; the seed is fixed.

    Four at a time have the same classes of components, so that one program runs them.
    """
    rng = np.random.default_rng(0)
    return [
        draw
        for _ in range(NUM_RANDOM // VARIANTS)
        for draw in _variants(_draw(rng, CHOICES), rng)
    ]


def _draw(rng: np.random.Generator, choices: dict[str, Any]) -> Setting:
    draw = {factor: str(rng.choice(list(some))) for factor, some in choices.items()}
    if draw["shaping"] == "identity":  # not for negative returns
        draw["shaping"] = "Boltzmann 1"
    return draw | ({"archive": "none"} if rng.random() < 0.5 else {})


def _variants(first: Setting, rng: np.random.Generator) -> list[Setting]:
    """Settings like the first in classes and counts, with other numbers."""
    alike = {
        factor: {
            name: part
            for name, part in CHOICES[factor].items()
            if factor == "grid" or _structure(part) == _structure(CHOICES[factor][chosen])
        }
        for factor, chosen in first.items()
    }
    if first["archive"] == "none":
        alike["archive_correction"] = {"fitness alone": 0.0}
    return [
        {factor: str(rng.choice(list(some))) for factor, some in alike.items()}
        for _ in range(VARIANTS)
    ]


def _structure(part: Any) -> Any:
    """What is compiled: the class of a component, and counts."""
    numeric = de.pytree.is_component(part) or isinstance(part, float)
    return jax.tree.structure(part) if numeric else part


def name_of(setting: Setting) -> str:
    """One line, which also tells measurements apart."""
    return " | ".join(setting[factor] for factor in CHOICES)
