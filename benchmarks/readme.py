"""Write the tables of the pages in docs from the stored results.

    python benchmarks/readme.py

Between ``<!-- name -->`` and ``<!-- end -->`` stands the table of
``benchmarks/results/name.json``. A result of an accelerator, ``name_gpu``, has a section
if it is stored.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bounds
import cartpole
import constraints
import design_report
import different_solutions
import estimator
import evolved_digits
import evosax_drop_in
import final_best
import first_result
import flows
import gan
import gpu_compiler
import guidance_report
import high_dimension
import image_folder
import images
import large_policies
import learned_evolution
import learning_curves
import main_job
import monoflow
import paper_control
import paper_landscapes
import paper_steps
import posterior_bias
import quality_diversity
import recipes
import repulsion
import rollouts
import roofline
import scaling
import shares
import siblings
import signals
import stagnation
import sweep_loop
import sweep_shards
import tuning
from common import ROOT, load, stored

PUBLISHED: dict[str, Callable[[Any], str]] = {
    "paper_control": paper_control.report,
    "paper_landscapes": lambda rows: paper_landscapes.report(rows["compared"]),
    "paper_steps": paper_steps.report,
}
SPEED: dict[str, Callable[[Any], str]] = {
    "main_job": main_job.report,
    "rollouts": rollouts.report,
    "estimator": estimator.report,
    "first_result": first_result.report,
    "roofline": roofline.report,
    "scaling": scaling.report,
}
SPACE: dict[str, Callable[[Any], str]] = {
    "cartpole": cartpole.report,
    "high_dimension": high_dimension.report,
    "design_space": design_report.report,
}
GPU = {f"{name}_gpu": report for name, report in SPEED.items() if stored(f"{name}_gpu")}
#: Which document has which tables.
DOCUMENTS: dict[Path, dict[str, Callable[[Any], str]]] = {
    ROOT / "docs" / "evidence.md": PUBLISHED,
    ROOT / "docs" / "performance.md": SPEED | GPU | {"gpu_compiler": gpu_compiler.report},
    ROOT / "docs" / "design_space.md": SPACE,
    ROOT / "docs" / "constraints.md": {"constraints": constraints.report},
    ROOT / "docs" / "different_solutions.md": {
        "different_solutions": different_solutions.report
    },
    ROOT / "docs" / "learned_evolution.md": {"learned_evolution": learned_evolution.report},
    ROOT / "docs" / "guidance.md": {
        "guidance": guidance_report.report,
        "shares": shares.report,
    },
    ROOT / "docs" / "siblings.md": {"siblings": siblings.report},
    ROOT / "docs" / "diffusion.md": {
        "signals": signals.report,
        "images": images.report,
        "recipes": recipes.report,
        "posterior_bias": posterior_bias.report,
        "bounds": bounds.report,
    },
    ROOT / "docs" / "evosax.md": {
        "evosax_drop_in": evosax_drop_in.report,
        "learning_curves": learning_curves.report,
    },
    ROOT / "docs" / "flows.md": {
        "monoflow": monoflow.report,
        "gan": gan.report,
        "flows": flows.report,
    },
    ROOT / "docs" / "honest_best.md": {"final_best": final_best.report},
    ROOT / "docs" / "images.md": {
        "image_bits": image_folder.report_bits,
        "image_hidden": image_folder.report_hidden,
    },
    ROOT / "docs" / "large_policies.md": {
        "large_policies": large_policies.report,
        "large_policies_forms": large_policies.report_forms,
    },
    ROOT / "docs" / "models.md": {"evolved_digits": evolved_digits.report},
    ROOT / "docs" / "quality_diversity.md": {
        "quality_diversity": quality_diversity.report,
        "repulsion": repulsion.report,
    },
    ROOT / "docs" / "stopping.md": {"stagnation": stagnation.report},
    ROOT / "docs" / "sweeps.md": {
        "sweep_loop": sweep_loop.report,
        "sweep_shards": sweep_shards.report,
        "tuning": tuning.report,
    },
}


def fill(path: Path) -> str:
    """The text of a document with every table replaced by its stored result."""
    text = path.read_text()
    for name, report in DOCUMENTS[path].items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        section = pattern.search(text)
        if section is None:
            raise ValueError(f"{path.name}: got no section, want <!-- {name} -->")
        before, after = text[: section.end(1)], text[section.start(2) :]
        text = f"{before}{report(load(name))}\n{after}"
    return text


if __name__ == "__main__":
    for path in DOCUMENTS:
        path.write_text(fill(path))
