"""How the site is built; ``_site/assemble.py`` lays out its sources first."""

import functools
import os
import pydoc
import re
import shutil
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

HERE = Path(__file__).parent
ROOT = HERE.parent
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # or it looks for others, and says so
sys.path.insert(0, str(HERE / "_site"))

import catalogue  # noqa: E402
from assemble import REPOSITORY  # noqa: E402

project = "diffevo_jax"
author = "The diffevo_jax authors"
copyright = f"{author}. Apache-2.0"
version = release = version_of("diffevo-jax")
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
#: Whatever is not of the package has no page here.
nitpick_ignore_regex = [
    ("py:.*", r"(?!diffevo_jax\b)\w+\..*"),
    ("py:class", "Axes|Figure|FigureBase|FuncAnimation|Path"),
]

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 72
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_use_ivar = True
#: As paragraphs: what stands before a colon there is a shape or a name, and no type.
napoleon_custom_sections = ["Returns", "Yields"]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"diffevo_jax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
#: Formulas are MathML, which browsers draw themselves: no script, and no network.
html_math_renderer = "mathml"
BLUE, ORANGE = "#0072B2", "#D55E00"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": BLUE,
        "color-brand-content": BLUE,
        "color-brand-visited": "#5B4B8A",
        "color-accent": ORANGE,
        "color-api-name": "#A84A00",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6CB8EA",
        "color-brand-content": "#6CB8EA",
        "color-brand-visited": "#B9A8E0",
        "color-accent": "#F0A060",
        "color-api-name": "#F0A060",
    },
    "footer_icons": [{"name": "Repository", "url": REPOSITORY, "html": "Repository"}],
}


def visit_math(self: Any, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_math_block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


#: A page, as docstrings name it.
PAGE = re.compile(r"``docs/(\w+)\.md``")
#: Docstrings of attributes and properties, before napoleon.
values: dict[str, list[str]] = {}


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def equations(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Show what a docstring sets apart by its indent as it is written, not as prose."""
    lines[:] = (PAGE.sub(r":doc:`docs/\1.md </\1>`", line) for line in lines)
    made: list[str] = []
    last, inside = "", None  # the last line with words; the indent that a block is within
    for number, line in enumerate(lines):
        if line.strip():
            if inside is not None and indent(line) <= inside:
                inside = None
            after_blank = bool(number) and not lines[number - 1].strip()
            apart = after_blank and indent(line) >= indent(last) + 4
            prose = not re.match(r"\s*(>>>|\.\.\.? )|\w+:$", last)
            if inside is None and last and apart and prose:
                inside = indent(last)
                if not last.endswith("::"):
                    made += [" " * indent(last) + "::", ""]
            last = line
        made.append(line)
    lines[:] = made
    if what in ("attribute", "data", "property"):
        values[name] = made


def unparsed(app: Sphinx, what: str, name: str, *given: Any) -> None:
    """A value's docstring as it was: napoleon takes the words before a colon for a type."""
    lines: list[str] = given[-1]
    lines[:] = values.pop(name, lines)


def signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    given: str | None,
    returns: Any,
) -> tuple[str | None, Any]:
    """Defaults that are made for each instance, and functions, by their names."""
    if given is None:
        return None
    fields = getattr(obj, "__dataclass_fields__", {})

    def made(found: re.Match[str]) -> str:
        maker = getattr(fields.get(found[1]), "default_factory", None)
        called = getattr(maker, "__name__", "...")
        return f"{found[1]}{found[2]}{'...' if called == '<lambda>' else called + '()'}"

    given = re.sub(r"(\w+)((?:: [^=]+?)? ?= ?)<factory>", made, given)
    return re.sub(
        r"<(?:function|class) '?(?:[\w.]*\.)?(\w+)'?[^>]*>", r"\1", given
    ), returns


@functools.cache
def shown() -> dict[int, str]:
    """The names under which objects are on the site."""
    return {
        id(export.value): catalogue.shown_as(export)
        for page in catalogue.pages()
        for group in page.groups
        for export in group.exports
        if not isinstance(export.value, ModuleType)
    }


@functools.cache
def located(name: str) -> Any:
    return pydoc.locate(name)


@functools.cache
def anywhere(name: str) -> Any:
    """What a module of the package has under a name: a public object before others."""
    public = {n.rpartition(".")[2]: n for n in shown().values()}
    if name in public:
        return located(public[name])
    inside = [vars(m) for n, m in sys.modules.items() if n.startswith("diffevo_jax.")]
    return next((names[name] for names in inside if name in names), None)


def by_any_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Node | None:
    """A reference to an object by another of its names, or from inside its module."""
    if node.get("refdomain") != "py":
        return None
    domain, target = env.get_domain("py"), node["reftarget"]
    module, owner = node.get("py:module"), node.get("py:class")
    starts = [f"{module}.{owner}.", f"{module}.", ""] if owner else [f"{module}.", ""]
    full = next((s + target for s in starts if located(s + target) is not None), target)
    found = located(full)
    if found is None:
        found = anywhere(target)
    if found is None:
        return None
    above, _, last = full.rpartition(".")
    names = [found.__name__] if isinstance(found, ModuleType) else []
    names += [shown().get(id(found), ""), f"{shown().get(id(located(above)))}.{last}"]
    for name in names:
        entry = domain.objects.get(name) or domain.modules.get(name)
        if entry is not None:
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name
            )
    return contnode  # it exists, and is not for others


def with_files(app: Sphinx, error: Exception | None) -> None:
    """Pictures where HTML within Markdown looks for them; a map for language models."""
    shutil.copytree(HERE / "figures", Path(app.outdir) / "figures", dirs_exist_ok=True)
    if (ROOT / "llms.txt").exists():
        shutil.copy(ROOT / "llms.txt", app.outdir)


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("autodoc-process-docstring", equations, priority=400)
    app.connect("autodoc-process-docstring", unparsed, priority=600)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", by_any_name)
    app.connect("build-finished", with_files)
