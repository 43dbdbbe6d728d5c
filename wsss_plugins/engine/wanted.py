"""Whether the result in a work dir is up to date, and what has changed if it is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_plugins.engine.code_digests import settled
from wsss_plugins.engine.contents import Content
from wsss_plugins.engine.fingerprint import by_former_paths
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.errors import DataError
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.layout import CONFIG_FILE

NO_COPY = 'config or data (the version that ran it kept no copy of them)'
MOST = 3
"""Number of differences of one kind that a message lists."""


@dataclass(frozen=True)
class Wanted:
    """All that the present result of a stage depends on.

    Attributes:
        fingerprint: Hash of the config, the seed, the data and the inputs.
        seed: Random seed of the experiment.
        inputs: Fingerprint of each stage that is read, by name.
        reads: Name of the result of each stage that is read, by name of the stage.
        code: Digests of the code, see
            :class:`~wsss_plugins.engine.code_digests.CodeDigests`.
        config: Config of the stage as plain values.
        data: Name and digest of each data set.
        contents: Files that the stage reads from outside of the work dir, by kind of file.
    """

    fingerprint: str
    seed: int
    inputs: Mapping[str, str]
    reads: Mapping[str, str]
    code: Mapping[str, str]
    config: Any
    data: tuple[tuple[str, str], ...]
    contents: Mapping[str, Content] = field(default_factory=dict)

    def result(self, redone: int) -> str:
        """Name of the result: a hash of all that it depends on.

        Args:
            redone: How often the stage was run again with ``--redo``.
        """
        content: list[Any] = [
            self.fingerprint,
            dict(self.reads),
            dict(self.code),
            redone,
        ]
        content += [self.digests] if self.digests else []
        said = json.dumps(content, sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def is_met_by(self, record: StageRecord, any_code: bool = False) -> bool:
        """Whether the result of a record, finished or interrupted, is up to date.

        Args:
            record: Record of the stage.
            any_code: True to accept a result of other code.
        """
        return (
            record.fingerprint == self.fingerprint
            and record.results_read == self.reads
            and self.has_data(record)
            and (any_code or self.has_code(record))
        )

    def is_made_by(self, record: StageRecord) -> bool:
        """Whether the record names the code of its result, and it is the present code."""
        return record.code is not None and settled(record.code) == dict(self.code)

    def has_code(self, record: StageRecord) -> bool:
        """Whether the present code made the result, or the result was accepted for it.

        A record that was written by a version without code digests counts as unchanged.
        """
        known = [settled(c) for c in (record.code, record.accepted) if c is not None]
        return not known or dict(self.code) in known

    @property
    def digests(self) -> dict[str, str]:
        """Hash of the files that are read from outside of the work dir, by kind of file."""
        return {name: content.digest for name, content in self.contents.items()}

    def has_data(self, record: StageRecord) -> bool:
        """Whether the files that the stage reads are those that the result was made from.

        A record that was written by a version without hashes of files counts as unchanged.
        """
        return record.data is None or record.data == self.digests

    def against(self, record: StageRecord, folder: Path) -> list[str]:
        """Why the result of a record in ``folder`` is not up to date, a text per reason."""
        found = []
        if record.seed != self.seed:
            found.append(f'seed: {record.seed} → {self.seed}')
        copy = _copy(folder)
        if record.fingerprint != self.fingerprint and copy is not None:
            found += _config_changes(copy['config'], self._copy['config'])
            found += _data_changes(copy['data'], self._copy['data'])
        found += self._content_changes(record, folder.parent)
        if not self.has_code(record):
            found += code_changes(record.accepted or record.code or {}, self.code)
        found += [
            f"reads '{name}', which is not the one that it read"
            for name in self.reads
            if record.inputs.get(name) != self.inputs[name]
            or record.results_read.get(name) != self.reads[name]
        ]
        return found or [NO_COPY if copy is None else 'config or data']

    def keep_copy(self, folder: Path) -> None:
        """Writes config and data beside the record, so that later runs can name changes."""
        save_json(folder / CONFIG_FILE, self._copy)
        self.keep_contents(folder.parent)

    def keep_contents(self, work_dir: Path) -> None:
        """Writes the hash of each file into the work dir, so that later runs name changes."""
        for content in self.contents.values():
            content.save(work_dir)

    def _content_changes(self, record: StageRecord, work_dir: Path) -> list[str]:
        """Texts of the differences between the present files and those of a result."""
        before, now = record.data, self.digests
        if before is None:
            return []
        said = [
            self.contents[name].changes(work_dir, before.get(name))
            for name in now
            if before.get(name) != now[name]
        ]
        return said + [
            f'data: {n} are not read any more' for n in before if n not in now
        ]

    @property
    def _copy(self) -> dict[str, Any]:
        content = dict(config=by_former_paths(self.config), data=self.data)
        copy: dict[str, Any] = json.loads(json.dumps(content, default=str))
        return copy


def code_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Describes the differences between two sets of code digests, a text per module.

    Args:
        before: Earlier digests, see
            :class:`~wsss_plugins.engine.code_digests.CodeDigests`.
        now: Present digests.
    """
    words: dict[str, list[str]] = {}
    modules = [{key.partition(':')[0] for key in code} for code in (before, now)]
    for key in sorted({*before, *now}):
        module, colon, name = key.partition(':')
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        said = words.setdefault(module, [])
        if colon and module not in modules[1]:
            words[module] = ['no longer imported']
        elif colon and module not in modules[0]:
            words[module] = ['newly imported']
        elif colon:
            said.append(name or 'what is outside of functions and classes')
        else:
            said.append(f'{old or "revision 1"} → {new or "revision 1"}')
    return [f'code: {module} ({some_of(said)})' for module, said in words.items()]


def _copy(folder: Path) -> dict[str, Any] | None:
    try:
        content = load_json(folder / CONFIG_FILE)
    except DataError:
        return None
    whole = isinstance(content, dict) and {'config', 'data'} <= content.keys()
    return content if whole else None


def config_changes(before: Any, now: Any, longest: int = 40) -> list[str]:
    """The keys in which two configs differ, each with its two values.

    Args:
        before: The earlier config, as plain values.
        now: The present one.
        longest: Characters of a value; longer ones are cut off.
    """
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return [
        f'{key} {_short(old, key, longest)} → {_short(new, key, longest)}'
        for key in dict.fromkeys([*new, *old])
        if key not in old or key not in new or old[key] != new[key]
    ]


def _config_changes(before: Any, now: Any) -> list[str]:
    said = config_changes(before, now)
    return [f'config: {some_of(said)}'] if said else []


def _data_changes(before: list[Any], now: list[Any]) -> list[str]:
    old = {tuple(each) for each in before}
    names = dict.fromkeys(name for name, digest in now if (name, digest) not in old)
    known = {name for name, _ in old}
    return [f'images or labels of {name}' for name in names if name in known]


def _leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every value that is neither a dict nor a nested list."""
    nested = isinstance(node, list) and any(isinstance(v, dict | list) for v in node)
    if not (isinstance(node, dict) or nested) or not node:
        yield path, node
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(value, f'{path}.{key}' if path else str(key))


def _short(values: Mapping[str, Any], key: str, longest: int) -> str:
    text = repr(values[key]) if key in values else 'nothing'
    return text if len(text) <= longest else f'{text[: longest - 3]}...'


def some_of(words: list[str]) -> str:
    """Text of the first words of a list, with the number of the others."""
    more = len(words) - MOST
    return ', '.join(words[:MOST]) + (f' and {more} more' if more > 0 else '')
