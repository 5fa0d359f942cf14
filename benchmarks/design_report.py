"""The tables of the study of the design space, from what is stored."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from common import table
from design_settings import (
    CHOICES,
    Setting,
    default,
    legal,
    name_of,
    one_factor,
    published,
    random_settings,
)
from design_space import TOLERATED, Store, finalists, gains
from design_tasks import CHOOSING, FRESH, TASKS

GROUPS = {
    "2-D suite": ("suite",),
    "2 to 64 dims": ("2 dims", "8 dims", "64 dims"),
    "CartPole": tuple(f"CartPole {n}" for n in (5, 7, 10, 25)),
    "Acrobot": tuple(f"Acrobot {n}" for n in (5, 7, 10, 25)),
}


def report(rows: Any) -> str:
    """All tables; parts that are not measured yet are left out."""
    store = Store()
    store.rows = rows
    parts = [fresh_table(store), random_table(store), factor_table(store)]
    return "\n\n".join(part for part in parts if part)


def fresh_table(store: Store) -> str:
    """The default beside the published setting, on fresh seeds and on what is set apart."""
    tasks = [
        task
        for task in TASKS | FRESH
        if store.has(default(), task, "fresh") and store.has(published(task), task, "fresh")
    ]
    if not tasks:
        return ""
    # Two-sided, Bonferroni: all intervals hold together in 95 of 100 studies.
    width = NormalDist().inv_cdf(1 - 0.025 / len(tasks))
    others = finalists(store)
    lines = []
    for task in tasks:
        ours = 100 * store.scores(default(), task, "fresh")
        theirs = 100 * store.scores(published(task), task, "fresh")
        gain = ours - theirs
        error = gain.std(ddof=1) / math.sqrt(len(gain))
        low, high = gain.mean() - width * error, gain.mean() + width * error
        worse = low < -100 * TOLERATED
        verdict = "better" if low > 0 else "worse" if high < 0 else "even"
        line = [
            task + " (set apart)" * (task in FRESH),
            f"{theirs.mean():.1f}",
            f"{ours.mean():.1f}",
            f"{gain.mean():+.1f} ± {2 * error:.1f}",
            verdict + ", may lose more than 5" * bool(worse),
        ]
        for setting in others:
            known = legal(setting, task) and store.has(setting, task, "fresh")
            scores = store.scores(setting, task, "fresh") if known else np.array([np.nan])
            line.append(f"{100 * scores.mean():.1f}" if known else "-")
        lines.append(line)
    names = [f"random {number + 1}" for number in range(len(others))]
    head = ["task", "published", "default", "gain ± 2 se", "verdict", *names]
    note = "\n".join(f"* random {i + 1}: {name_of(s)}" for i, s in enumerate(others))
    return f"{table(head, lines)}\n\nThe default: {name_of(default())}.\n\n{note}"


def random_table(store: Store) -> str:
    """Random combinations: how many are better than published, and what the best share."""
    known = [
        setting
        for setting in random_settings()
        if all(store.has(setting, task, "choosing") for task in CHOOSING)
    ]
    if not known:
        return ""
    gain = np.array([gains(store, setting, CHOOSING, "choosing") for setting in known])
    lines = []
    for factor, choices in CHOICES.items():
        for choice in choices:
            having = np.array([setting[factor] == choice for setting in known])
            if having.any():
                means = 100 * gain[having].mean(axis=0)
                row = [f"{factor}: {choice}", str(having.sum())]
                lines.append([*row, *(f"{mean:+.1f}" for mean in means)])
    head = ["choice", "combinations", *(f"{task}, gain" for task in CHOOSING)]
    good = int(((gain.min(axis=1) >= -TOLERATED) & (gain.mean(axis=1) > 0)).sum())
    text = (
        f"Of {len(known)} random combinations, {good} gain on average and lose nowhere "
        "more than 5 points. Mean gain of those that have a choice:"
    )
    return f"{text}\n\n{table(head, lines)}"


def factor_table(store: Store) -> str:
    """One factor at a time in the published setting."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for setting, factor, choice, task in one_factor():
        base: Setting = published(task)
        pair = [store.has(one, task, "choosing") for one in (setting, base)]
        if choice and all(pair):
            gain = gains(store, setting, [task], "choosing")[0]
            found.setdefault((factor, choice), {})[task] = 100 * gain
    if not found:
        return ""
    lines = []
    for (factor, choice), by_task in found.items():
        cells = [
            [by_task[task] for task in tasks if task in by_task]
            for tasks in GROUPS.values()
        ]
        shown = [f"{np.mean(cell):+.1f}" if cell else "-" for cell in cells]
        lines.append([f"{factor}: {choice}", *shown])
    text = "One choice replaced in the published setting, mean gain:"
    return f"{text}\n\n{table(['choice', *GROUPS], lines)}"
