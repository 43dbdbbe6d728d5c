"""A Sphinx extension that writes the API reference: a page for each room of the package.

The rooms, their order and what is in them are those of the table in concepts.md; a page holds
what the room exports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / 'wsss_plugins'
ROW = re.compile(r'^\| ((?:`[\w/]+`(?:, )?)+) \| (.+) \|$', re.MULTILINE)


@dataclass(frozen=True)
class Group:
    """One row of the table of rooms.

    Attributes:
        modules: Names of the modules or packages, without that of the package.
        words: What is in them, Markdown.
    """

    modules: tuple[str, ...]
    words: str


def groups() -> list[Group]:
    """The rows of the table of rooms, from the ground up."""
    text = (DOCS / 'concepts.md').read_text('utf-8')
    section = text.split('## The rooms of the package')[1].split('\n## ')[0]
    return [
        Group(tuple(re.findall(r'`(\w+)/?`', names)), words)
        for names, words in ROW.findall(section)
    ]


def page(module: str) -> str:
    """The page of one room, as reStructuredText."""
    name = f'wsss_plugins.{module}'
    lines = [f'{module}', '=' * len(module), '']
    if (PACKAGE / module).is_dir() and not getattr(import_module(name), '__all__', ()):
        for path in sorted((PACKAGE / module).glob('[!_]*.py')):
            lines += _module(f'{name}.{path.stem}')
        return '\n'.join(lines)
    return '\n'.join(lines + _module(name))


def _module(name: str) -> list[str]:
    """A module with all that it exports."""
    return [f'.. automodule:: {name}', '   :members:', '   :show-inheritance:', '']


def index(found: list[Group]) -> str:
    """The first page, in Markdown: the rooms in groups."""
    lines = [
        '# API',
        '',
        'What each room of the package exports, from the ground up.',
        '',
    ]
    for group in found:
        title = ', '.join(group.modules)
        lines += [f'## {title}', '', f'{group.words[:1].upper()}{group.words[1:]}.', '']
        lines += ['```{toctree}', ':maxdepth: 1', '', *group.modules, '```', '']
    return '\n'.join(lines)


def write(folder: Path) -> None:
    """Writes all pages into ``folder``; those that have not changed keep their times."""
    found = groups()
    pages = {'index.md': index(found)}
    for group in found:
        for module in group.modules:
            pages[f'{module}.rst'] = page(module)
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text('utf-8') != text:
            path.write_text(text, 'utf-8')


def setup(app: Any) -> dict[str, bool]:
    """Tells Sphinx to write the pages before it reads any."""
    app.connect('builder-inited', lambda app: write(Path(app.srcdir) / 'api'))
    return dict(parallel_read_safe=True)
