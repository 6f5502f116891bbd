"""Settings of Sphinx. scripts/docs builds the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gradinc import __version__

project = "gradinc"
author = "The gradinc authors"
copyright = author
version = release = __version__

extensions = [
    "website.mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # a test runs the notebooks and compares their outputs
html_math_renderer = "mathml"
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
default_role = "code"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True  # as they are written: a function has no address
autodoc_member_order = "bysource"
add_module_names = False
python_use_unqualified_type_names = True
napoleon_google_docstring = True
highlight_language = "text"
copybutton_prompt_text = "$ "

html_theme = "furo"
html_title = "gradinc"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}


def plain(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Take the star of ``(rows, *shape)`` in docstrings as it is: in reStructuredText it would begin an emphasis."""
    lines[:] = [re.sub(r"(?<![*`\w])\*(?=\w)", r"\\*", line) for line in lines]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", plain)
