"""Runs a grid of classifiers, seed heads, refiners and seeds: wsss matrix CONFIG.

Stages that are done are skipped, and stages that several cells share run once. The table
is written as .md, .csv and .html after every random seed. A cell that is impossible, such
as an attention map of a CNN, is left out. A cell that fails does not stop the others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as Grid

from wsss_plugins.cli import (
    add_config_arguments,
    add_redo_options,
    command_line,
    default_work_dir,
    run_config,
    show_looks,
)
from wsss_plugins.errors import require_writable

if TYPE_CHECKING:
    from wsss_plugins.experiment.matrix import MatrixRun, Table

KINDS = ('heads', 'classifiers', 'refiners')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss matrix``."""
    add_config_arguments(parser)
    for kind in KINDS:
        parser.add_argument(
            f'--{kind}',
            nargs='+',
            metavar='NAME',
            help=f'names of the {kind} to run (default: all)',
        )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        help='random seeds (default: those of the config)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='path of the table, without its suffix (default: WORK_DIR/table)',
    )
    parser.add_argument(
        '--mix',
        action='store_true',
        help='mark numbers that cannot be compared, do not refuse them',
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='count a stage as failed if it left images out',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='show which stages would run, without running them',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='decode all photos and masks before work, not a sample of them',
    )
    parser.add_argument(
        '--no-run',
        action='store_true',
        help='only write the table of the stages that are done',
    )
    add_redo_options(parser)


def run(args: argparse.Namespace) -> None:
    """Runs ``wsss matrix``."""
    run_config(args, run_matrix)


def run_matrix(args: argparse.Namespace, cfg: Any) -> None:
    """Runs the grid of a config, or shows which stages would run."""
    from wsss_plugins.engine.lock import only_run
    from wsss_plugins.engine.workers import rank
    from wsss_plugins.errors import ConfigError
    from wsss_plugins.experiment.matrix import Matrix, MatrixRun

    if args.seed is not None:
        raise ConfigError(
            '--seed is for one run: give --seeds, with one seed or several'
        )
    matrix = Matrix.of(cfg).select(
        args.classifiers, args.heads, args.refiners, args.seeds
    )
    work_dir = Path(args.work_dir or default_work_dir(args.config))
    out = _table_name(args.out, work_dir)
    if not (args.dry_run or args.no_run):
        require_writable(work_dir)
        require_writable(out.parent)
    say = _say if rank() == 0 else lambda line: None
    runs = MatrixRun(
        matrix,
        args.config,
        work_dir,
        data_root=args.data_root,
        strict=args.strict,
        say=say,
        accept_code=args.accept_code,
        redo=args.redo,
    )
    if not args.mix:
        runs.refuse_unlike()
    if args.dry_run:
        _look(runs, args.check)
        _show_plan(runs)
    elif args.no_run:
        _write(runs.table(), out, args.mix)
        _finish(runs.table(), out)
    else:
        with only_run(work_dir):
            _look(runs, args.check)
            _run(runs, out, args.mix)


def _look(runs: MatrixRun, everything: bool) -> None:
    """Looks at the data of all stages that are not done.

    Raises:
        DataError: The look found what makes a stage fail.
    """
    from wsss_plugins.engine.workers import rank
    from wsss_plugins.experiment.data_look import refuse_problems

    looks = runs.look(everything)
    if rank() == 0:
        show_looks(looks)
    refuse_problems(looks)


def _run(runs: MatrixRun, out: Path, mix: bool) -> None:
    """Runs the random seeds in order, and writes the table after each."""
    for seed in runs.seeds:
        begin = time.monotonic()
        runs.run(seed)
        _write(runs.table(), out, mix)
        runs.say(f'seed {seed}: done in {time.monotonic() - begin:.0f} s')
    _finish(runs.table(), out)


def _table_name(given: Path | None, work_dir: Path) -> Path:
    """Path of the table's files without a suffix."""
    from wsss_plugins.errors import UserError

    out = given or work_dir / 'table'
    if out.suffix in ('.md', '.csv', '.html'):
        out = out.with_suffix('')
    if out.is_dir():
        raise UserError(f'--out {out} is a folder: name a file in it, without a suffix')
    return out


def _write(table: Table, out: Path, mix: bool) -> None:
    """Writes the table.

    Raises:
        UserError: ``mix`` is False, and numbers of a column differ in supervision or
            protocol.
    """
    from wsss_plugins.engine.workers import barrier, rank
    from wsss_plugins.experiment.matrix import write_tables

    if not mix:
        table.refuse_unlike()
    if rank() == 0:
        write_tables(table, out, command_line())
    barrier()


def _finish(table: Table, out: Path) -> None:
    """Prints the table and the paths of its files.

    Raises:
        UserError: A stage failed.
    """
    from wsss_plugins.engine.workers import rank
    from wsss_plugins.errors import UserError

    if rank() == 0:
        print(out.with_name(f'{out.name}.md').read_text('utf-8'))
        ends = ('.md', '.csv', '.html', '_correlation.csv')
        files = (out.with_name(out.name + end) for end in ends)
        print(f'table: {", ".join(str(file) for file in files if file.is_file())}')
    failed = [
        f'seed {seed}, {name}: {reason}'
        for seed, of_seed in table.failed.items()
        for name, reason in of_seed.items()
    ]
    if failed:
        raise UserError(
            f'{len(failed)} stages failed, first {failed[0]}; the table has the others; '
            'mend it and run the same command again'
        )


def _show_plan(runs: MatrixRun) -> None:
    """Prints the state of every cell, and the number of stages to run."""
    found = {seed: runs.examine(seed) for seed in runs.seeds}
    states = {s: {name: f.state for name, f in of.items()} for s, of in found.items()}
    plan = runs.plan
    grid = Grid('classifier', 'seed head', *plan.columns)
    for choice in plan.choices:
        shown = []
        for column in plan.columns:
            cell = plan.cells[choice, column]
            known = [states[seed].get(cell.score, '-') for seed in runs.seeds]
            counted = Counter(known).items()
            several = len(set(known)) > 1
            shown.append(', '.join(f'{n} {s}' if several else s for s, n in counted))
        grid.add_row(choice.classifier, choice.head, *shown)
    console = Console()
    console.print(grid)
    for choice in plan.choices:
        reason = runs.refused.get(plan.maps[choice])
        if reason:
            print(f'- {choice.classifier}, {choice.head}: {reason}')
    for seed, of_seed in states.items():
        todo = [name for name, state in of_seed.items() if state != 'done']
        trained = [name for name in todo if name in plan.matrix.classifiers]
        print(
            f'seed {seed}: {len(todo)} of {len(of_seed)} stages to run'
            + (f', with the training of {", ".join(trained)}' if trained else '')
        )
        for name, stage in found[seed].items():
            if stage.why:
                print(f'seed {seed}: {name} has changed: {"; ".join(stage.why)}')


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
