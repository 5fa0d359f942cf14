"""The tables of the study of the design space, from what is stored."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from common import table
from design_settings import (
    CHOICES,
    FIRST_DEFAULT,
    Setting,
    default,
    legal,
    name_of,
    neighbours,
    one_factor,
    plain_neighbours,
    published,
    random_settings,
)
from design_space import PRUNED, TOLERATED, Store, finalists, gains
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
    tables = fresh_table, neighbour_table, first_table, random_table, factor_table
    parts = [make(store) for make in tables]
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
            f"{low:+.1f}",
            verdict + ", may lose more than 5" * bool(worse),
        ]
        lines.append(line)
    head = ["task", "published", "default", "gain ± 2 se", "at least", "verdict"]
    return f"{table(head, lines)}\n\nThe default: {name_of(default())}."


def neighbour_table(store: Store) -> str:
    """Among what today's default was chosen."""
    some = plain_neighbours()
    if not all(store.has(one, task, "neighbours") for one in some for task in TASKS):
        return ""
    hard = "Acrobot 5"
    base = store.scores(published(hard), hard, "neighbours").mean()
    loss = [
        base - store.scores(one, hard, "neighbours").mean() >= PRUNED
        for one in neighbours()
    ]
    text = (
        f"Of {len(loss)} neighbours (samplers, kernels, temperatures and places of "
        f"comparison that did well) {sum(loss)} lose more than {100 * PRUNED:.0f} point "
        f"on {hard}. The simplest of the others, on seeds for choosing:"
    )
    lines = []
    for task in TASKS:
        means = [store.scores(one, task, "neighbours").mean() for one in some]
        means.insert(0, store.scores(published(task), task, "neighbours").mean())
        lines.append([task, *(f"{100 * mean:.1f}" for mean in means)])
    head = ["task", "published", *(name_of(one).partition(" | none")[0] for one in some)]
    return f"{text}\n\n{table([part.replace(' | ', ', ') for part in head], lines)}"


def first_table(store: Store) -> str:
    """The first default, and the best random settings, on seeds of their own."""
    others = [FIRST_DEFAULT, *finalists(store)]
    lines = []
    for task in TASKS | FRESH:
        if not store.has(FIRST_DEFAULT, task, "first"):
            continue
        line = [task]
        for setting in (published(task), *others):
            known = legal(setting, task) and store.has(setting, task, "first")
            scores = store.scores(setting, task, "first") if known else np.array([np.nan])
            line.append(f"{100 * scores.mean():.1f}" if known else "-")
        lines.append(line)
    names = [f"random {number}" for number in range(1, len(others))]
    note = "\n".join(f"* {n}: {name_of(s)}" for n, s in zip(names, others[1:], strict=True))
    head = ["task", "published", "first default", *names]
    text = "The first default and the best random settings, on other seeds again:"
    return f"{text}\n\n{table(head, lines)}\n\n{note}"


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
