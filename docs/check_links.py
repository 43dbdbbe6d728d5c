#!/usr/bin/env python
"""Finds dead internal links in built pages: docs/check_links.py docs/_build/html."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The targets and the links of one page.

    Attributes:
        anchors: Ids that a link can name.
        links: Values of ``href`` and ``src``.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes ids and links."""
        for key, value in attrs:
            if key == 'id' or (tag == 'a' and key == 'name'):
                self.anchors.add(value or '')
            elif key in ('href', 'src') and value:
                self.links.append(value)


def dead_links(folder: Path) -> list[str]:
    """Links of the pages below ``folder`` that lead to no file or no anchor of it."""
    pages = {p.resolve(): Page(p.read_text('utf-8')) for p in folder.rglob('*.html')}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
            anchor = unquote(parts.fragment)
            known = pages[target].anchors if target in pages else {anchor}
            if not target.exists() or (anchor and anchor not in known):
                dead.append(f'{path.relative_to(folder.resolve())}: {link}')
    return dead


if __name__ == '__main__':
    found = dead_links(Path(sys.argv[1]))
    sys.exit('\n'.join(['dead links:', *sorted(set(found))]) if found else 0)
