"""Runs a command with several workers, such as one per GPU: wsss launch 4 train exvit/voc.

The exit code is that of the worker that failed first. On several machines, give the same
command on each, with --nnodes, --node-rank, and the address of the machine with rank 0.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from typing import NoReturn

from wsss_plugins.cli import positive

LIGHT = True
MACHINES = {
    '--nnodes': ('NNODES', '1', 'number of machines'),
    '--node-rank': ('NODE_RANK', '0', 'index of this machine, from 0 on'),
    '--master-addr': (
        'MASTER_ADDR',
        '127.0.0.1',
        'address of the machine with index 0',
    ),
    '--master-port': ('PORT', '29500', 'a free port of that machine'),
}
"""Options, each with the environment variable of its default, and what it says."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss launch``."""
    for option, (variable, default, text) in MACHINES.items():
        said = f'{text} (default: ${variable}, or {default})'
        parser.add_argument(
            option, default=os.environ.get(variable, default), help=said
        )
    parser.add_argument('workers', type=positive, help='number of workers here')
    parser.add_argument(
        'command', help='train, test, run or matrix; or a script, FILE.py'
    )
    parser.add_argument('words', nargs=argparse.REMAINDER, help='its arguments')


def run(args: argparse.Namespace) -> None:
    """Starts the workers by torchrun; exits with the code of the one that failed first.

    A signal that ends a program, such as that of Ctrl-C, ends the workers and becomes one
    line; the exit code is 128 and its number.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args
    from torch.distributed.run import run as run_workers

    os.environ.setdefault('OMP_NUM_THREADS', '1')
    logging.disable(logging.ERROR)  # a worker that fails prints the error itself
    try:
        run_workers(parse_args(_words(args)))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == 128 + signal.SIGINT:
            _leave(signal.SIGINT)
        if failure.exitcode < 0:
            sys.exit(f'error: worker {rank} was killed by signal {-failure.exitcode}')
        sys.exit(failure.exitcode)
    except SignalException as error:
        _leave(signal.Signals(error.sigval))


def _words(args: argparse.Namespace) -> list[str]:
    """The command line of torchrun."""
    words = [
        f'--nnodes={args.nnodes}',
        f'--node_rank={args.node_rank}',
        f'--nproc_per_node={args.workers}',
        f'--master_addr={args.master_addr}',
        f'--master_port={args.master_port}',
    ]
    if args.command.endswith('.py'):
        return [*words, args.command, *args.words]
    words += ['--module', 'wsss_plugins.command', args.command, *args.words]
    return [*words, '--launcher', 'pytorch']


def _leave(number: signal.Signals) -> NoReturn:
    """Ends with one line, which the workers leave to this process."""
    how = 'interrupted' if number == signal.SIGINT else f'ended by {number.name}'
    sys.stderr.write(f'error: {how}: run the same command again to go on\n')
    sys.exit(128 + number)
