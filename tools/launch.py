"""Starts the workers of dist_*.sh as torchrun does, and ends as they end."""

from __future__ import annotations

import logging
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def main() -> None:
    """Runs torchrun's command line; leaves with the exit code of what failed first."""
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
