"""Settings of the manual; built by ``make docs``."""

from __future__ import annotations

import wsss_plugins

project = 'wsss_plugins'
author = 'The wsss_plugins authors'
copyright = f'2026, {author}'
release = wsss_plugins.__version__

extensions = ['myst_parser']
myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 3
exclude_patterns = ['_build', 'generated']

html_theme = 'furo'
html_title = f'{project} {release}'
html_static_path = ['style']
html_css_files = ['numbers.css']
