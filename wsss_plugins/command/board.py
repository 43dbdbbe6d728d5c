"""Shows all work dirs in the browser, live while they run: wsss board work_dirs.

The page lists stages, progress, curves, numbers and the latest seeds of every work dir
below the folder, and filters them by supervision card. It is made from the files in the
work dirs, which it only reads, and answers to this machine alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_plugins.cli import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss board``."""
    parser.add_argument(
        'root',
        nargs='?',
        type=Path,
        default=Path('work_dirs'),
        metavar='ROOT',
        help='folder with work dirs, at any depth (default: work_dirs)',
    )
    parser.add_argument(
        '--port', type=positive, default=8765, help='port of 127.0.0.1 (default: 8765)'
    )


def run(args: argparse.Namespace) -> None:
    """Serves the page until Ctrl-C."""
    from wsss_plugins.board import serve

    serve(args.root, args.port)
