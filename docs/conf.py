"""How the documentation is built: Sphinx reads Markdown, and takes its code from the example DAGs."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

project = "airflow-provider-curation"
author = "airflow-provider-curation contributors"
[release] = re.findall(r'__version__ = "(.+)"', (ROOT / "airflow_provider_curation" / "__init__.py").read_text())
version = release

extensions = ["exceptions", "myst_parser", "sphinx.ext.autodoc", "sphinx_design"]
# The reference is the docstrings; a signature shows names and defaults, and the text says what they mean.
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["width.css"]
