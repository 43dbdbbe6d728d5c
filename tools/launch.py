"""Starts the workers of dist_*.sh as torchrun does, and returns their exit code."""

from __future__ import annotations

import argparse
import logging
import sys


def main() -> None:
    """Reads the command, which is then read by torchrun once more."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('--nnodes', help='machines')
    parser.add_argument('--node_rank', help='which of the machines this is, from 0 on')
    parser.add_argument('--nproc_per_node', help='workers on this machine')
    parser.add_argument('--master_addr', help='the machine with rank 0')
    parser.add_argument('--master_port', help='a free port of that machine')
    parser.add_argument('tool', help='what every worker runs, e.g. tools/train.py')
    parser.add_argument('options', nargs=argparse.REMAINDER, help='of the tool')
    parser.parse_args()
    launch()


def launch() -> None:
    """Runs torchrun's command line; leaves with the exit code of what failed first."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.disable(logging.ERROR)  # a worker says itself what is wrong
    try:
        run(parse_args(None))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            sys.exit(f'error: worker {rank} was killed by signal {-failure.exitcode}')
        sys.exit(failure.exitcode)


if __name__ == '__main__':
    main()
