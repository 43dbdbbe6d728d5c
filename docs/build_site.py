#!/usr/bin/env python
"""Builds the manual of this tree and of every release: docs/build_site.py OUT.

Each version has a folder, ``main`` for the tree as it is and the name of the tag without
its v for a release; every page links to the other versions. ``OUT/index.html`` leads to the
newest release, or to ``main`` where there is none.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRESENT = 'main'
LEAD = (
    '<!doctype html><meta charset="utf-8"><title>{0}</title>'
    '<meta http-equiv="refresh" content="0; url={0}/index.html">'
    '<a href="{0}/index.html">{0}</a>\n'
)


def releases(repository: Path) -> list[str]:
    """The tags ``v*`` of a repository, the newest first."""
    command = ['git', 'tag', '--list', 'v*', '--sort=-version:refname']
    return subprocess.run(
        command, cwd=repository, capture_output=True, text=True, check=True
    ).stdout.split()


def unpack(repository: Path, tag: str, folder: Path) -> None:
    """Writes the files of a tag into ``folder``."""
    archive = subprocess.run(
        ['git', 'archive', '--format=tar', tag],
        cwd=repository,
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter='data')


def build(tree: Path, out: Path, version: str, versions: list[str]) -> None:
    """Builds the manual of one tree with its own package."""
    environment = dict(
        os.environ,
        PYTHONPATH=str(tree),
        DOCS_VERSION=version,
        DOCS_VERSIONS=' '.join(versions),
    )
    command = [sys.executable, '-m', 'sphinx', '-q', 'docs', str(out / version)]
    subprocess.run(command, cwd=tree, env=environment, check=True)


def main() -> None:
    """Builds all versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path)
    parser.add_argument('--repository', type=Path, default=ROOT)
    args = parser.parse_args()
    out = args.out.resolve()
    tags = releases(args.repository)
    versions = [PRESENT, *(tag[1:] for tag in tags)]
    build(args.repository, out, PRESENT, versions)
    for tag in tags:
        with tempfile.TemporaryDirectory() as folder:
            unpack(args.repository, tag, Path(folder))
            build(Path(folder), out, tag[1:], versions)
    first = versions[1] if tags else PRESENT
    (out / 'index.html').write_text(LEAD.format(first), 'utf-8')
    sys.stdout.write(f'{out / "index.html"}\n')


if __name__ == '__main__':
    main()
