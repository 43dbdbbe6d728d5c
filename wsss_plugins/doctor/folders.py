"""Checks of every data set: files of other programs, checksums, lists."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from wsss_plugins.datasets.preparation.tree import CHECKSUMS, RECORD
from wsss_plugins.doctor.pictures import Ward, names_in
from wsss_plugins.errors import DataError
from wsss_plugins.structures import PART_FILES, load_json

SUFFIX = re.compile(r'\.(jpe?g|png)$', re.IGNORECASE)


def examine_folder(ward: Ward, folders: Iterable[Path]) -> None:
    """Looks for remains in the folders of a data set, and for how it was prepared."""
    for folder in sorted({ward.root, *folders}):
        for path in folder.glob('._*') if folder.is_dir() else ():
            ward.findings.add('macos', path.name, root=ward.root)
        for path in folder.glob(PART_FILES) if folder.is_dir() else ():
            ward.findings.add('left-behind', path.name, root=ward.root)
    record = ward.root / RECORD
    if (ward.root / 'incomplete.json').is_file():
        ward.findings.add('interrupted')
    elif record.is_file():
        _examine_record(ward, record)


def _examine_record(ward: Ward, record: Path) -> None:
    try:
        content = load_json(record)
        complete = content['complete']
    except (DataError, KeyError, TypeError) as error:
        ward.findings.add('file-broken', message=f'{record} is no record ({error})')
        return
    if not complete:
        ward.findings.add('interrupted')
        return
    ward.prepared = True
    ward.facts.append('prepared by `wsss prepare`')
    if (ward.root / CHECKSUMS).is_file():
        _examine_checksums(ward)


def _examine_checksums(ward: Ward) -> None:
    text = (ward.root / CHECKSUMS).read_text('utf-8', errors='replace')
    lines = [line.split('  ', 1) for line in text.splitlines() if '  ' in line]

    def compare(line: list[str]) -> None:
        """Notes a file that is missing or has another checksum than is listed."""
        expected, name = line
        content = hashlib.sha256()
        try:
            with (ward.root / name).open('rb') as file:
                while chunk := file.read(1 << 20):
                    content.update(chunk)
        except OSError:
            ward.findings.add('checksum-missing', name, root=ward.root)
            return
        if content.hexdigest() != expected:
            ward.findings.add('checksum', name, root=ward.root)

    chosen = ward.sample(lines)
    ward.each(compare, chosen, 'checksums')
    ward.facts.append(f'{len(chosen):,} of {len(lines):,} checksums compared')


def read_list(
    ward: Ward, path: Path, is_image: Callable[[str], bool] = lambda line: False
) -> list[str]:
    """Reads a list of ids and reports irregularities.

    Args:
        ward: Of the data set.
        path: The list.
        is_image: Whether there is an image of the id that is a whole line with blanks.

    Returns:
        The ids without doubles.
    """
    try:
        data = path.read_bytes()
        words = [
            line.strip() if is_image(line.strip()) else line.split()[0]
            for line in data.decode('utf-8-sig').split('\n')
            if line.strip()
        ]
    except (OSError, UnicodeDecodeError) as error:
        ward.findings.add('list-broken', message=f'{path} cannot be read ({error})')
        return []
    if b'\r' in data:
        ward.findings.add('list-crlf', path=path)
    ids = []
    for word in words:
        if '/' in word:  # /JPEGImages/<id>.jpg of PSA and IRN
            word = Path(word).stem
        elif SUFFIX.search(word):
            ward.findings.add('list-suffix', word, path=path)
            word = SUFFIX.sub('', word)
        ids.append(word)
    for name, count in Counter(ids).items():
        if count > 1:
            ward.findings.add('list-twice', name, path=path)
    if not ids:
        ward.findings.add('list-empty', path=path)
    return list(dict.fromkeys(ids))


def _same_but_suffix(actual: str, name: str) -> bool:
    """Whether two names differ in nothing but .jpg, .JPG and .jpeg."""
    first, second = (n.lower().replace('.jpeg', '.jpg') for n in (actual, name))
    return first == second


def find_photos(
    ward: Ward, folder: Path, names: Sequence[str], lists: str
) -> list[Path]:
    """Looks for photos by their names, and for those that differ in the case of the suffix.

    Args:
        ward: Of the data set.
        folder: Of the photos.
        names: Their file names.
        lists: What asks for them, for the message.

    Returns:
        Those that are there, under the name asked for or the other one.
    """
    there = names_in(folder)
    other = {
        Path(n).stem: n for n in there if SUFFIX.search(n) and not n.startswith('.')
    }
    found = []
    for name in names:
        path = folder / name
        if name in there:
            if path.exists():
                found.append(path)
            else:
                ward.findings.add('link-broken', name, folder=folder)
        elif _same_but_suffix(other.get(path.stem, ''), name):
            actual = other[path.stem]
            ward.findings.add(
                'photo-case',
                actual,
                folder=folder,
                suffix=Path(actual).suffix,
                asked=path.suffix,
            )
            found.append(folder / actual)
        else:
            ward.findings.add(
                'photo-missing', name, folder=folder, path=lists, total=len(names)
            )
    return found
