"""Hashes of a module's source, without comments, docstrings, layout and messages."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

# Fields of a syntax tree that hold notation, or comments for type checkers.
_UNSAID = frozenset({'ctx', 'kind', 'type_comment', 'type_ignores'})


@dataclass(frozen=True)
class ModuleSource:
    """The definitions and imports of one module.

    Attributes:
        digests: Hash of each top-level function and class, by name; '' has the hash of
            all other statements, such as constants.
        imports: ``(module, name)`` for each import anywhere in the module; the name is
            None if the whole module is imported, and '*' for all of its names.
        exported: ``(module, name)`` of each name that a ``from`` import defines, by the
            name it has in this module.
    """

    digests: dict[str, str]
    imports: list[tuple[str, str | None]] = field(default_factory=list)
    exported: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One hash of all digests."""
        return _hash(repr(sorted(self.digests.items())))


@lru_cache(maxsize=1024)
def read_source(text: str, package: str) -> ModuleSource:
    """Computes the hashes of a module's source.

    The hashes ignore comments, docstrings, layout, the order of definitions and of
    imports, imports only for type checking, and the arguments of raised errors.

    Equal texts are read once in a process; the result is shared and must not be changed.

    Args:
        text: The source.
        package: Dotted name of the package to which relative imports refer.

    Raises:
        SyntaxError: ``text`` is not valid Python.
    """
    body = list(_statements(ast.parse(text).body))
    said: dict[str, list[str]] = {'': []}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            said.setdefault(node.name, []).append(_said(node))
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            said[''].append(_said(node))
    imports = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom)]
    said[''] += sorted({line for node in imports for line in _lines(node)})
    exported = {
        alias.asname or alias.name: (_module(node, package), alias.name)
        for node in imports
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name != '*'
    }
    return ModuleSource(
        digests={name: _hash(repr(parts)) for name, parts in said.items()},
        imports=[found for node in body for found in _imports(node, package)],
        exported=exported,
    )


def _statements(body: list[Any]) -> Iterator[ast.AST]:
    """The statements of a block, without docstrings and imports for type checking."""
    for node in body:
        if _is_text(node):
            continue
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test):
            yield from _statements(node.orelse)
        else:
            yield node


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is only a string, such as a docstring."""
    value = getattr(node, 'value', None)
    return (
        isinstance(node, ast.Expr)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


def _said(node: Any) -> str:
    """Text of a syntax tree, like ``ast.dump`` but the same in every Python version."""
    if isinstance(node, list):
        return '[' + ','.join(map(_said, node)) + ']'
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return f'Raise({_said(node.exc.func)},{_said(node.cause)})'
    parts = []
    for name, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            value = list(_statements(value))
        if name not in _UNSAID and value is not None and value != []:
            parts.append(f'{name}={_said(value)}')
    return f'{type(node).__name__}({",".join(parts)})'


def _lines(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """One line of text for each name that an import defines."""
    start = ''
    if isinstance(node, ast.ImportFrom):
        start = f'from {"." * node.level}{node.module or ""} '
    for alias in node.names:
        yield f'{start}import {alias.name} as {alias.asname or alias.name}'


def _imports(node: ast.AST, package: str) -> Iterator[tuple[str, str | None]]:
    """Modules and names that a statement, or a statement inside it, imports."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, None) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from ((_module(node, package), alias.name) for alias in node.names)
    else:
        for _, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _imports(child, package)


def _module(node: ast.ImportFrom, package: str) -> str:
    """Dotted name of the module from which a ``from`` import takes names."""
    base = package.split('.')[: -node.level + 1 or None] if node.level else []
    return '.'.join([*base, *filter(None, [node.module])])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
