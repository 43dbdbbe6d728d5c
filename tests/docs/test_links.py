"""No link between pages is dead, in the sources and in built pages."""

from __future__ import annotations

import re
import runpy
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob('*.md')),
    *sorted((ROOT / 'docs').rglob('*.md')),
    *sorted((ROOT / 'configs').rglob('*.md')),
]
PAGES = [page for page in PAGES if not {'_build', 'api'} & {*page.parts}]
CODE = re.compile(r'^( *)```.*?^\1```', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(\s*<?([^)\s>]+)>?\s*(?:"[^"]*")?\)')
HEADING = re.compile(r'^(#{1,6}) +(.+?) *#*$', re.MULTILINE)
LABEL = re.compile(r'^\(([\w-]+)\)=$', re.MULTILINE)
DEEPEST = 3
"""Headings that the manual gives an anchor; ``myst_heading_anchors`` of docs/conf.py."""


def slug(heading: str) -> str:
    """The anchor that GitHub and the manual give a heading."""
    words = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading).replace('`', '').lower()
    return re.sub(r'[^\w\- ]', '', words).replace(' ', '-')


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page; of equal headings the later ones are numbered."""
    text, found = CODE.sub('', page.read_text('utf-8')), []
    for marks, heading in HEADING.findall(text):
        name = slug(heading)
        count = found.count(name)
        if len(marks) <= DEEPEST:
            found.append(f'{name}-{count}' if count else name)
    return frozenset(found + LABEL.findall(text))


def dead(page: Path) -> list[str]:
    """Links of a page that lead to no file or no heading."""
    wrong = []
    for link in LINK.findall(CODE.sub('', page.read_text('utf-8'))):
        if re.match(r'[a-z]+:', link):
            continue
        name, _, anchor = link.partition('#')
        target = (page.parent / unquote(name)).resolve() if name else page
        lost = not target.exists()
        if lost or (
            anchor and target.suffix == '.md' and anchor not in anchors(target)
        ):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert dead(page) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / 'b.md').write_text('# One `two`, three\n\n## Same\n\n## Same\n')
    page = tmp_path / 'a.md'
    page.write_text(
        '[x](b.md) [x](b.md#one-two-three) [x](b.md#same-1) [x](https://a.b/c)\n'
        '[no](c.md) ![no](d.png) [no](b.md#four) [no](#here)\n```text\n[x](e.md)\n```\n'
    )
    assert dead(page) == ['c.md', 'd.png', 'b.md#four', '#here']


def test_every_page_is_in_the_manual() -> None:
    """In the table of contents of docs/index.md, or included in another page."""
    docs = ROOT / 'docs'
    text = (docs / 'index.md').read_text('utf-8')
    listed = set()
    for block in re.findall(r'^```\{toctree\}\n(.*?)^```$', text, re.M | re.S):
        for line in block.splitlines():
            if line and not line.startswith(':'):
                listed.add(re.sub(r'.*<(.+)>', r'\1', line))
    pages = {
        str(p.relative_to(docs).with_suffix(''))
        for p in [*PAGES, *docs.glob('*.ipynb')]
        if docs in p.parents and p.parent.name != 'generated'
    }
    assert listed - {'api/index'} == pages - {'index'}


def test_links_of_built_pages(tmp_path: Path) -> None:
    dead_links = runpy.run_path(str(ROOT / 'docs/check_links.py'))['dead_links']
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/b.html').write_text(
        '<h1 id="top">b</h1><a href="../a.html#x">a</a>'
    )
    (tmp_path / 'a.html').write_text(
        '<p id="x"><a href="in/b.html#top">b</a><a href="#x">x</a><img src="in/b.html">'
        '<a href="https://a.b/c">out</a><a href="in/b.html#nowhere">1</a>'
        '<a href="in/c.html">2</a><script src="no.js"></script>'
    )
    assert dead_links(tmp_path) == [
        'a.html: in/b.html#nowhere',
        'a.html: in/c.html',
        'a.html: no.js',
    ]


def test_releases_are_the_tags(tmp_path: Path) -> None:
    site = runpy.run_path(str(ROOT / 'docs/build_site.py'))
    git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b.c']
    (tmp_path / 'page.md').write_text('first')
    for command in (
        ['init', '-q'],
        ['add', '.'],
        ['commit', '-qm', 'first'],
        ['tag', 'v0.9.0'],
        ['tag', 'v0.10.0'],
        ['tag', 'other'],
    ):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    (tmp_path / 'page.md').write_text('second')
    assert site['releases'](tmp_path) == ['v0.10.0', 'v0.9.0'], 'the newest first'
    site['unpack'](tmp_path, 'v0.9.0', tmp_path / 'out')
    assert (tmp_path / 'out/page.md').read_text() == 'first'


def test_api_pages_are_the_rooms() -> None:
    from test_layers import RANK

    api = runpy.run_path(str(ROOT / 'docs/api_pages.py'))
    found = api['groups']()
    modules = [module for group in found for module in group.modules]
    rooms = {parts[0] for parts in RANK}
    assert set(modules) == rooms - {'blocks', 'shares'}, 'these two no user needs'
    assert len(modules) == len(set(modules))
    assert 'automodule:: wsss_plugins.seeds\n' in api['page']('seeds')
    assert 'automodule:: wsss_plugins.engine.record\n' in api['page']('engine') or (
        'automodule:: wsss_plugins.engine\n' in api['page']('engine')
    )
    first = api['index'](found)
    assert first.index('\nseeds\n') < first.index('\nexplain\n')
