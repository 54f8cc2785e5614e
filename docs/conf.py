"""How the documentation is built: Sphinx reads Markdown, and takes its code from the example DAGs."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent

project = "airflow-provider-curation"
author = "airflow-provider-curation contributors"
# Read, not imported: the documentation builds where no Airflow is installed.
release = re.search(r'__version__ = "(.+)"', (ROOT / "airflow_provider_curation" / "__init__.py").read_text())[1]
version = release

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["width.css"]
