"""Makes the list of configs: what each trains or runs, on which data, for which table.

All content is read from the configs. The summary and the tables of papers come from the
docstring of the file, the data sets from its resolved content.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wsss_plugins.config import load_config, plain, typed_nodes
from wsss_plugins.errors import ConfigError

# The reproduced papers, by their names in docstrings, with their pages in the docs.
PAPERS = {
    'ACR': 'docs/reproduction/acr.md',
    'eX-ViT': 'docs/reproduction/exvit.md',
    'ReScience': 'docs/reproduction/rescience.md',
}
_NAME = '|'.join(PAPERS)
_NUMBERS = r'\d+(?:(?:, | and | to )\d+)*'
_MENTION = re.compile(
    rf'\b(?P<kind>[Tt]able|[Ff]igure)s? (?P<numbers>{_NUMBERS})'
    rf'(?: of (?:the )?(?P<of>[\w-]+))?|\b(?P<paper>{_NAME})\b'
)
HEADER = """\
# Configs

`wsss list configs --write` makes this page from the configs themselves, and a test
compares the two. What one does with a config:

| | |
|---|---|
| trains | one model: `wsss train NAME`, where NAME is its file without `.py` |
| runs | a pipeline of stages: `wsss run NAME` |
| grid | a grid of pipelines: `wsss matrix NAME` |

Files in `_base_` are parts that configs share.
"""


class Reference(NamedTuple):
    """A numbered table or figure of a paper."""

    paper: str
    kind: str
    number: int

    def __str__(self) -> str:
        """Text for the list, such as 'ACR table 2'."""
        return f'{self.paper} {self.kind} {self.number}'


@dataclass(frozen=True)
class Entry:
    """The entry of one config in the list.

    Args:
        file: Path of the file, relative to the folder of configs, with slashes.
        does: 'trains' (one model), 'runs' (a pipeline) or 'grid' (of pipelines).
        summary: First line of the docstring.
        data: Every data set that the config reads, as ``CLASS in FOLDER``.
        references: Tables and figures of papers that the docstring names.
    """

    file: str
    does: str
    summary: str
    data: tuple[str, ...]
    references: tuple[Reference, ...]


def find_references(text: str) -> tuple[Reference, ...]:
    """Finds tables and figures of papers in a text: 'tables 2, 3 and 10', 'Figures 1 to 3'.

    The paper is the one in 'table 2 of PAPER', otherwise the last one named before. Tables
    of papers that are not in ``PAPERS``, and tables without a paper, are left out.

    Args:
        text: A docstring.

    Returns:
        Each table and figure once, in the order of :class:`Reference`.
    """
    paper, found = '', set[Reference]()
    for match in _MENTION.finditer(' '.join(text.split())):
        if named := match['paper'] or match['of']:
            paper = named if named in PAPERS else ''
        if paper and match['kind']:
            for number in _numbers(match['numbers']):
                found.add(Reference(paper, match['kind'].lower(), number))
    return tuple(sorted(found))


def _numbers(text: str) -> list[int]:
    """Reads the numbers in a text: '1 to 3 and 10' gives ``[1, 2, 3, 10]``."""
    found: list[int] = []
    for part in re.split(', | and ', text):
        first, _, last = part.partition(' to ')
        found.extend(range(int(first), int(last or first) + 1))
    return found


def read_entry(path: Path, folder: Path) -> Entry:
    """Makes the entry of the config ``path`` in ``folder``.

    Raises:
        ConfigError: The config cannot be read, or has no docstring.
    """
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    if not text:
        raise ConfigError(
            f'config {path} has no docstring: say in its first line what it trains or '
            'runs, on what data, and for which table of which paper'
        )
    content = plain(load_config(path).to_dict())
    does = 'grid' if 'matrix' in content else 'runs'
    return Entry(
        file=path.relative_to(folder).as_posix(),
        does=does if {'matrix', 'pipeline'} & content.keys() else 'trains',
        summary=text.split('\n', 1)[0],
        data=tuple(sorted(_data_sets(content, path))),
        references=find_references(text),
    )


def _data_sets(content: dict[str, Any], path: Path) -> set[str]:
    """``CLASS in FOLDER`` for every data set of a config and of its trainings."""
    found = {
        f'{str(node["type"]).rpartition(".")[2]} in {node["data_root"]}'
        for node in typed_nodes(content)
        if 'data_root' in node
    }
    named = [stage.get('config') for stage in content.get('pipeline', [])]
    named += content.get('trainings', {}).values()
    for name in sorted({name for name in map(str, named) if name.endswith('.py')}):
        training = path.parent / name
        found |= _data_sets(plain(load_config(training).to_dict()), training)
    return found


def read_configs(folder: Path) -> list[Entry]:
    """Makes the entries of all configs in ``folder``, in the order of their paths.

    Args:
        folder: The folder of configs; files in a folder ``_base_`` are left out.

    Raises:
        ConfigError: The folder has no config, or a config cannot be read.
    """
    files = [p for p in sorted(folder.rglob('*.py')) if '_base_' not in p.parts]
    if not files:
        raise ConfigError(f'{folder} holds no config: name a folder of config files')
    return [read_entry(path, folder) for path in files]


def page_of(entries: list[Entry]) -> str:
    """Makes the Markdown page of the list, with links relative to the folder of configs.

    The page first lists the tables and figures of each paper with their configs, then
    the configs of each folder.

    Args:
        entries: Entries of :func:`read_configs`.
    """
    return (
        '\n'.join([HEADER, *_by_paper(entries), *_by_folder(entries)]).rstrip() + '\n'
    )


def _by_paper(entries: list[Entry]) -> list[str]:
    """Lines of the index from tables and figures of papers to configs."""
    configs: dict[Reference, list[str]] = {}
    for entry in entries:
        for reference in entry.references:
            configs.setdefault(reference, []).append(_link(entry.file))
    lines = ['## By table and figure', '']
    for paper, page in PAPERS.items():
        here = [reference for reference in sorted(configs) if reference.paper == paper]
        if here:
            lines += [f'[{paper}](../{page}):', '', '| of the paper | configs |']
            lines += ['|---|---|']
            lines += [f'| {r} | {", ".join(configs[r])} |' for r in _by_kind(here)]
            lines += ['']
    return lines


def _by_kind(references: list[Reference]) -> list[Reference]:
    """Sorts references: tables before figures, then by number."""
    return sorted(references, key=lambda r: (r.kind == 'figure', r.number))


def _by_folder(entries: list[Entry]) -> list[str]:
    """Lines of the tables of all folders."""
    lines: list[str] = []
    title = None
    for entry in entries:
        folder = entry.file.rpartition('/')[0] or '.'
        if folder != title:
            title = folder
            lines += ['', f'## {folder}', ''] if lines else [f'## {folder}', '']
            lines += ['| config | | what | data | for |', '|---|---|---|---|---|']
        cells = (
            _link(entry.file),
            entry.does,
            entry.summary.replace('|', '\\|'),
            ', '.join(f'`{data}`' for data in entry.data),
            '; '.join(map(str, _by_kind(list(entry.references)))),
        )
        lines.append(f'| {" | ".join(cells)} |')
    return lines


def _link(file: str) -> str:
    """A Markdown link to ``file``, relative to the folder of configs."""
    return f'[`{file}`]({file})'
