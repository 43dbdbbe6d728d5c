"""Settings of the manual; built by ``make docs``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import wsss_plugins

sys.path.insert(0, str(Path(__file__).parent))  # api_pages

project = 'wsss_plugins'
author = 'The wsss_plugins authors'
copyright = f'2026, {author}'
release = wsss_plugins.__version__

extensions = [
    'myst_nb',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'api_pages',
]
myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 3
nb_execution_mode = 'off'  # notebooks are shown with the outputs that they hold
exclude_patterns = ['_build', 'generated', '_templates']

autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # or attributes would be described twice
napoleon_use_rtype = False

templates_path = ['_templates']
html_theme = 'furo'
html_title = f'{project} {release}'
html_static_path = ['style']
html_css_files = ['pages.css']
html_sidebars = {
    '**': [
        'sidebar/brand.html',
        'sidebar/search.html',
        'versions.html',
        'sidebar/scroll-start.html',
        'sidebar/navigation.html',
        'sidebar/scroll-end.html',
    ]
}
# `make site` names the versions that lie beside this one.
html_context = {
    'versions': os.environ.get('DOCS_VERSIONS', '').split(),
    'this_version': os.environ.get('DOCS_VERSION', ''),
}
