"""Writes a small project of your own: wsss init my_project.

The project is a package with a seed head, a config that inherits one of this package, a
test, and a README that says how to run them.
"""

from __future__ import annotations

import argparse
import keyword
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from wsss_plugins.errors import UserError, require_writable

LIGHT = True
PROJECT = Path(__file__).parent / 'project'
NAME = 'my_project'
"""What the files of ``PROJECT`` call the package."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss init``."""
    parser.add_argument(
        'folder',
        type=Path,
        help='the folder to make; its name becomes the name of the package',
    )


def run(args: argparse.Namespace) -> None:
    """Writes the project and prints its files.

    Raises:
        UserError: The folder has files in it, or its name is none of a Python package or
            that of an installed one.
    """
    folder, name = args.folder, args.folder.resolve().name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(
            f"'{name}' cannot be the name of a Python package: use letters, digits and _"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f'{folder} is there already: name a new folder')
    if find_spec(name) is not None:
        raise UserError(f"an installed package is called '{name}': choose another name")
    require_writable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{name}.part', dir=folder.parent) as part:
        whole = Path(part) / name
        for path, text in _files(name):
            (whole / path).parent.mkdir(parents=True, exist_ok=True)
            (whole / path).write_text(text, 'utf-8')
        if folder.exists():
            folder.rmdir()
        shutil.move(whole, folder)
    for path, _ in _files(name):
        print(folder / path)
    print(f'{folder / "README.md"} says how to run it')


def _files(name: str) -> Iterator[tuple[Path, str]]:
    """Paths and texts of the files of a project, in order."""
    for file in sorted(PROJECT.rglob('*')):
        if file.is_file() and file.suffix in ('.py', '.md', '.toml'):
            path = file.relative_to(PROJECT).as_posix().replace(NAME, name)
            yield Path(path), file.read_text('utf-8').replace(NAME, name)
