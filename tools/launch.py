"""Starts the workers of tools/dist_*.sh with torchrun, and returns their exit code."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from typing import NoReturn


def main() -> None:
    """Checks the command line, which torchrun then reads, and starts the workers."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('--nnodes', help='number of machines')
    parser.add_argument('--node_rank', help='index of this machine, from 0 on')
    parser.add_argument('--nproc_per_node', help='number of workers on this machine')
    parser.add_argument('--master_addr', help='address of the machine with index 0')
    parser.add_argument('--master_port', help='a free port of that machine')
    parser.add_argument(
        'tool', help='script that every worker runs: tools/train.py ...'
    )
    parser.add_argument('options', nargs=argparse.REMAINDER, help='options of the tool')
    parser.parse_args()
    launch()


def launch() -> None:
    """Runs torchrun; exits with the code of the worker that failed first.

    A signal that ends a program, such as that of Ctrl-C, ends the workers and becomes one
    line; the exit code is 128 and its number.
    """
    try:
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.run import parse_args, run

        logging.disable(logging.ERROR)  # a worker that fails prints the error itself
        try:
            run(parse_args(None))
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode == 128 + signal.SIGINT:
                _leave(signal.SIGINT)
            if failure.exitcode < 0:
                sys.exit(
                    f'error: worker {rank} was killed by signal {-failure.exitcode}'
                )
            sys.exit(failure.exitcode)
        except SignalException as error:
            _leave(signal.Signals(error.sigval))
    except KeyboardInterrupt:  # before torchrun listens to signals
        _leave(signal.SIGINT)


def _leave(number: signal.Signals) -> NoReturn:
    """Ends with one line, which the workers leave to this process."""
    how = 'interrupted' if number == signal.SIGINT else f'ended by {number.name}'
    sys.stderr.write(f'error: {how}: run the same command again to go on\n')
    sys.exit(128 + number)


if __name__ == '__main__':
    main()
