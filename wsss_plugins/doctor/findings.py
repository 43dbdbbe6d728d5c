"""Groups findings, so that files with the same problem share a line."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        text: A sentence; ``{n}`` is how often, ``{s}``, ``{are}``, ``{have}`` and ``{v}`` are
            the ends of words that go with it, other fields are facts of the group.
        mend: Remedy, a command where there is one; '' if nothing needs to be done.
        problem: Whether it matters; else it is a note.
    """

    text: str
    mend: str
    problem: bool = True


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis.

    Attributes:
        kind: A word for machines, such as 'mask-missing'.
        problem: Whether it matters; else it is a note.
        message: What is wrong, in plain words, with an example.
        mend: What to do.
        count: How many files it is about.
        examples: The first few of them.
    """

    kind: str
    problem: bool
    message: str
    mend: str
    count: int
    examples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self)


class Findings:
    """Gathers findings; those of one kind and the same facts become one.

    Args:
        kinds: Sentences by kind.
        root: Paths in messages are relative to this folder; paths in remedies are
            complete.
    """

    def __init__(self, kinds: dict[str, Kind], root: Path | None = None) -> None:
        self.kinds = kinds
        self.root = root
        self.groups: dict[tuple[str, tuple[tuple[str, Any], ...]], list[str]] = {}

    def add(self, kind: str, example: str = '', **facts: Any) -> None:
        """Adds one file, line or package to the group of its kind and facts."""
        self.groups.setdefault((kind, tuple(facts.items())), []).append(example)

    def has(self, *kinds: str) -> bool:
        """Whether one of these kinds was added."""
        return any(kind in kinds for kind, _ in self.groups)

    def gathered(self) -> list[Finding]:
        """All findings: problems first, each in the order in which it was met."""
        found = [self._finding(*group, names) for group, names in self.groups.items()]
        return sorted(found, key=lambda finding: not finding.problem)

    def _finding(
        self, kind: str, facts: tuple[tuple[str, Any], ...], names: list[str]
    ) -> Finding:
        text, mend, problem = self.kinds[kind]
        names = sorted(name for name in names if name)
        count = max(len(names), 1)
        fields = {'n': count, **dict(facts)}
        message = text.format(
            **_grammar(count), **{key: self._said(v) for key, v in fields.items()}
        )
        if names:
            message += f', e.g. {names[0]}' if count > 1 else f': {names[0]}'
        mend = mend.format(**{key: _typed(value) for key, value in fields.items()})
        return Finding(kind, problem, message, mend, count, tuple(names[:5]))

    def _said(self, value: Any) -> str:
        if not isinstance(value, Path):
            return f'{value:,}' if isinstance(value, int) else str(value)
        if self.root is not None and value.is_relative_to(self.root):
            value = value.relative_to(self.root)
        return 'it' if value == Path() else str(value)


def _grammar(count: int) -> dict[str, str]:
    """The ends of words for one thing or more of them."""
    one = count == 1
    return dict(
        s='' if one else 's',
        are='is' if one else 'are',
        have='has' if one else 'have',
        v='s' if one else '',
    )


def _typed(value: Any) -> str:
    """A value as it is typed in a command."""
    return shlex.quote(str(value)) if isinstance(value, Path) else str(value)
