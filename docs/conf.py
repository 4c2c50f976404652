"""Builds the site: sphinx-build -W -n docs docs/_build/html.

With ``-t notebooks``, the notebooks are run first, so that their pages show outputs.
"""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

from _generate.names import link_names  # noqa: E402
from _generate.write import write_pages  # noqa: E402

project = "alphazoo"
author = "the authors of alphazoo"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
exclude_patterns = ["_build", "_generate"]
nitpicky = True

# pages
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"  # _generate/notebooks.py runs them: sphinx-build -t notebooks
nb_merge_streams = True

# API reference
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"show-inheritance": True, "exclude-members": "__init__, __new__"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of NamedTuples would be described twice
napoleon_custom_sections = ["Returns", "Yields"]  # sentences without a type before a colon
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# what cannot be looked up without a network, and what annotations name but no page describes
LIBRARIES = (
    *("annotated_types", "hydra", "hydra_plugins", "lightgbm", "lightning", "matplotlib", "mlflow"),
    *("np", "numpy", "omegaconf", "optuna", "pandas", "pd", "pyarrow", "qlib", "scipy", "torch"),
    *("torchmetrics", "typing_extensions", *sys.stdlib_module_names),
)
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(LIBRARIES)})(\..*)?"),
    ("py:class", r"\w+"),  # names in annotations that only type checkers import
    ("py:class", r"alphazoo\..*\.(_\w+|[A-Z]|Source)"),  # type variables, private predicates
]

suppress_warnings = ["ref.python"]  # an annotation without its module may fit two classes

html_theme = "furo"
html_title = "alphazoo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False

# files outside the site that pages link to, and the pages of the site that show them
OUTSIDE = {
    "../.github/CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changes.md",
    "../README.md": "index.md",
    "../notebooks/": "notebooks/",
}
ARRAY = re.compile(r"~?[\w.]*ndarray\[tuple\[[^\]]*\], ~?[\w.]*dtype\[~?(?:\w+\.)*(\w+)\]\]")
BOUNDED = re.compile(r"~?[\w.]*Annotated\[([\w.~]+)(?:, ~?[\w.]+\((?:[^()]|\([^()]*\))*\))+\]")


def link_inside(app, docname, source):
    """Point links to files outside the site at the pages that show them."""
    for outside, page in OUTSIDE.items():
        source[0] = source[0].replace(f"]({outside}", f"]({page}")


def list_other_guides(app, docname, source):
    """Add guides that the index does not name to the end of its list."""
    if docname == "index":
        named = {*re.findall(r"[\w-]+", source[0])}
        others = sorted({file.stem for file in DOCS.glob("*.md")} - named)
        source[0] = source[0].replace("% other guides", "\n".join(others))


def link_docstring(app, what, name, obj, options, lines):
    """Make names in single backticks references."""
    lines[:] = [link_names(line) for line in lines]


def shorten_types(app, what, name, obj, options, signature, returned):
    """Show bounded numbers and arrays by their type; the docstring says the rest in words."""

    def shorten(text):
        text = text and text.replace(" = <factory>", "")  # it is no Python
        return text and ARRAY.sub(r"ndarray[\1]", BOUNDED.sub(r"\1", text))

    return shorten(signature), shorten(returned)


def setup(app):
    """Write the generated pages before the sources are read."""
    write_pages(DOCS, run_notebooks=app.tags.has("notebooks"))
    app.connect("source-read", link_inside)
    app.connect("source-read", list_other_guides)
    app.connect("autodoc-process-docstring", link_docstring, priority=400)
    app.connect("autodoc-process-signature", shorten_types)
