"""Runs a command with several workers, such as one per GPU: wsss launch 4 train exvit/voc.

The exit code is that of the worker that failed first, and all machines end with it. On
several machines, give the same command on each, with --nnodes, --node-rank, and the address
of machine 0.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from wsss_plugins.cli import positive
from wsss_plugins.errors import near_names
from wsss_plugins.launch import DEFAULT_PORT, Place, launch

LIGHT = True
MACHINES: dict[str, tuple[str, Callable[[str], Any], str | None, str]] = {
    '--nnodes': ('NNODES', positive, '1', 'number of machines'),
    '--node-rank': ('NODE_RANK', int, '0', 'index of this machine, from 0 on'),
    '--master-addr': ('MASTER_ADDR', str, '127.0.0.1', 'address of machine 0'),
    '--master-port': ('PORT', positive, None, 'a free port of machine 0'),
}
"""Options, each with the variable of its default, its type, and what it says."""
COMMANDS = ('train', 'test', 'run', 'matrix')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss launch``."""
    for option, (variable, kind, default, text) in MACHINES.items():
        least = default or f'any; {DEFAULT_PORT} for several machines'
        said = f'{text} (default: ${variable}, or {least})'
        # An empty variable is none, and argparse applies the type to a text.
        default = os.environ.get(variable) or default
        parser.add_argument(option, type=kind, default=default, help=said)
    parser.add_argument('workers', type=positive, help='number of workers here')
    parser.add_argument(
        'command',
        type=launchable,
        help=f'{", ".join(COMMANDS)}; or a script, FILE.py',
    )
    parser.add_argument('words', nargs=argparse.REMAINDER, help='its arguments')


def launchable(text: str) -> str:
    """The type of the argument for what is started: a command, or the file of a script."""
    if text not in COMMANDS and not text.endswith('.py'):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no command for several workers: {near_names(text, COMMANDS)}; or "
            'name a script, FILE.py'
        )
    return text


def run(args: argparse.Namespace) -> None:
    """Starts the workers by torchrun; exits with the code of the one that failed first."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    command = [args.command, *args.words]
    if not args.command.endswith('.py'):
        command = [
            '--module',
            'wsss_plugins.command',
            *command,
            '--launcher',
            'pytorch',
        ]
    place = Place(args.nnodes, args.node_rank, args.master_addr, args.master_port)
    launch(place, args.workers, command)
