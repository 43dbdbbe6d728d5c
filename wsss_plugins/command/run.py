"""Runs the stages of a pipeline: wsss run acr/synthetic_pipeline.

Stages that are done are skipped. A stage whose config or plug-ins were edited runs again,
and so do the stages that read it. An interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from wsss_plugins.cli import (
    add_config_arguments,
    add_redo_options,
    default_work_dir,
    run_config,
    show_looks,
)
from wsss_plugins.errors import require_writable

if TYPE_CHECKING:
    from wsss_plugins.engine import StageRecord
    from wsss_plugins.experiment import Pipeline
    from wsss_plugins.experiment.step import Step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss run``."""
    add_config_arguments(parser)
    parser.add_argument('--start', help='first stage to run; earlier ones must be done')
    parser.add_argument('--stop', help='last stage to run')
    parser.add_argument(
        '--strict',
        action='store_true',
        help='end with an error after a stage that left images out',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check the experiment and its data, and show which stages would run',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='decode all photos and masks before work, not a sample of them',
    )
    add_redo_options(parser)


def run(args: argparse.Namespace) -> None:
    """Runs ``wsss run``."""
    run_config(args, run_pipeline)


def run_pipeline(args: argparse.Namespace, cfg: Any) -> None:
    """Runs the pipeline of a config, or shows which stages would run."""
    from wsss_plugins.engine.workers import rank
    from wsss_plugins.experiment import Pipeline
    from wsss_plugins.experiment.data_look import refuse_problems

    work_dir = Path(args.work_dir or default_work_dir(args.config))
    if not args.dry_run:
        require_writable(work_dir)
    pipeline = Pipeline(
        cfg,
        data_root=args.data_root,
        strict=args.strict,
        accept_code=args.accept_code,
        redo=args.redo,
    )
    if args.dry_run:
        steps = pipeline.select(args.start, args.stop)
        looks = pipeline.look(steps, work_dir, args.check)
        show_looks(looks)
        refuse_problems(looks)
        pipeline.refuse_mistakes(steps, work_dir)
        _show_plan(pipeline, work_dir, steps)
        return
    tell = show_looks if rank() == 0 else lambda looks: None
    records = pipeline.run(work_dir, args.start, args.stop, args.check, tell)
    if rank() == 0:
        _show_records(records, work_dir)


def _show_plan(pipeline: Pipeline, work_dir: Path, steps: Iterable[Step]) -> None:
    found = pipeline.examine(work_dir)
    table = Table('stage', 'kind', 'reads', 'state')
    for step in steps:
        stage = step.stage
        reads = ', '.join(stage.inputs)
        table.add_row(stage.name, type(stage).__name__, reads, found[stage.name].state)
    Console().print(table)
    for step in steps:
        why = found[step.stage.name].why
        if why:
            print(f'{step.stage.name} has changed: {"; ".join(why)}')


def _show_records(records: Mapping[str, StageRecord], work_dir: Path) -> None:
    from wsss_plugins.report.rows import headline
    from wsss_plugins.structures.card_text import short_form
    from wsss_plugins.structures.layout import (
        FIGURE_FILE,
        REPORT_FILE,
        TEXT_TABLE_FILE,
    )

    table = Table('stage', 'numbers', 'seconds')
    for record in records.values():
        numbers = '  '.join(f'{key} {value}' for key, value in record.metrics.items())
        if record.supervision is not None and headline(record.metrics):
            numbers += f'\n[dim]{short_form(record.supervision)}[/dim]'
        table.add_row(record.stage, numbers, f'{record.seconds:.1f}')
    Console().print(table)
    total = sum(record.seconds for record in records.values())
    print(f'{total:.0f} s in all; results in {work_dir}')
    for record in records.values():
        for what, file in (
            ('report', REPORT_FILE),
            ('table', TEXT_TABLE_FILE),
            ('figure', FIGURE_FILE),
        ):
            path = work_dir / record.stage / file
            if path.is_file():
                print(f'{what}: {path}')
