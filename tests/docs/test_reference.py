"""The reference against the code: every plug-in is there, with arguments that it takes."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from wsss_plugins.registry import all_registries, plugin_names

PAGE = (Path(__file__).parents[2] / 'docs/reference.md').read_text('utf-8')
CODE = re.compile(r'`([^`]+)`')
DEFAULT = re.compile(r'(\w+)=(.+)')


def plug_ins() -> dict[str, type]:
    """Every class of this package that a config can name."""
    found = {}
    for _, registry in all_registries():
        plugin_names(registry)  # imports what registers
        found.update(registry.module_dict)
    return {
        name: kind
        for name, kind in found.items()
        if inspect.isclass(kind) and kind.__module__.startswith('wsss_plugins.')
    }


KINDS = plug_ins()
CELLS = [line.strip('| ').split(' | ') for line in PAGE.splitlines() if line[:1] == '|']
ROWS = [
    (name, cells[1])
    for cells in CELLS
    if len(cells) > 1 and re.fullmatch(r'(`\w+`(, )?)+', cells[0])
    for name in CODE.findall(cells[0])
    if name in KINDS
]


def arguments(kind: type) -> dict[str, inspect.Parameter]:
    """Of the class and, as far as it passes keywords on, of those that it derives from."""
    found: dict[str, inspect.Parameter] = {}
    for parent in kind.__mro__:
        if '__init__' not in vars(parent):
            continue
        own = dict(inspect.signature(parent.__init__).parameters)
        found = own | found
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    return found


def test_every_plug_in_is_named() -> None:
    named = {word.split('(')[0] for word in CODE.findall(PAGE)}
    assert len(KINDS) > 90
    assert sorted(set(KINDS) - named) == []


def test_most_have_a_row() -> None:
    assert len(ROWS) > 80 and len(ROWS) == len(set(ROWS))


@pytest.mark.parametrize('name, text', ROWS)
def test_arguments_and_defaults(name: str, text: str) -> None:
    """``argument=value`` in a row is the default; of ``None``, what follows explains it."""
    known = arguments(KINDS[name])
    for word in CODE.findall(re.sub(r'\([^()]*`[^()]*\)', '', text)):
        match = DEFAULT.fullmatch(word)
        if match is None:
            continue
        argument, value = match.groups()
        assert argument in known, f'{name} takes no {argument}'
        assert known[argument].default == _read(value), (name, argument)


def _read(text: str) -> object:
    """The value of a literal or of a fraction."""
    if '/' in text:
        above, below = text.split('/')
        return int(above) / int(below)
    return ast.literal_eval(text)
