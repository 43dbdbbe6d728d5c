#!/usr/bin/env python
"""The numbers of a pipeline over several random seeds, as a Markdown table.

    python benchmarks/pipeline_seeds.py --seeds 0 1 2 --mix \\
        --out docs/generated/synthetic_seeds.md
    python benchmarks/pipeline_seeds.py --config configs/psa/synthetic_refiners_pipeline.py \\
        --work-dir work_dirs/refiner_seeds --only miou --out docs/generated/refiners.md
    python benchmarks/pipeline_seeds.py --config configs/voc_animals/pipeline.py --mix \\
        --data-root VOC2012 --work-dir work_dirs/animal_seeds --out docs/generated/animals.md

Runs what is missing in WORK_DIR/seed_N and prints mean and spread
(sample standard deviation) of every metric, and how each was made. Stages that were
measured unlike one another, say on train and on val, share a table only with --mix, which
marks them. Interrupt it and run it again: it goes on.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_plugins.cli import run_tool
from wsss_plugins.structures.card_text import short_form

if TYPE_CHECKING:
    from wsss_plugins.engine import StageRecord
    from wsss_plugins.experiment import Pipeline

CONFIG = 'configs/acr/synthetic_pipeline.py'


def main() -> None:
    """Reads the command and runs the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--data-root', help='replaces every data_root of the config')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/synthetic_seeds')
    )
    parser.add_argument(
        '--only', nargs='+', metavar='METRIC', help='leave the other metrics out'
    )
    parser.add_argument(
        '--mix', action='store_true', help='mark unlike rows, do not refuse them'
    )
    parser.add_argument('--out', type=Path, help='also write the table to this file')
    run_tool(parser, run)


def run(args: argparse.Namespace) -> None:
    """Runs the seeds and prints the table."""
    from wsss_plugins.config import load_config
    from wsss_plugins.experiment import Pipeline
    from wsss_plugins.structures import atomic_path

    runs = []
    for seed in args.seeds:
        config = load_config(args.config, dict(seed=seed))
        pipeline = Pipeline(config, data_root=args.data_root)
        link_equal_stages(pipeline, args.work_dir, seed, args.seeds[0])
        runs.append(pipeline.run(args.work_dir / f'seed_{seed}'))
    text = table(runs, args)
    print(text)
    if args.out:
        with atomic_path(args.out) as part:
            part.write_text(text, encoding='utf-8')


def link_equal_stages(
    pipeline: Pipeline, work_dir: Path, seed: int, first: int
) -> None:
    """Links stages that are the same for every seed to those of the first seed."""
    for step in pipeline.steps:
        name = step.stage.name
        found = work_dir / f'seed_{first}' / name
        link = work_dir / f'seed_{seed}' / name
        if not step.stage.depends_on_seed and found.is_dir() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(found.resolve(), target_is_directory=True)


def command(args: argparse.Namespace) -> str:
    """What to type for the table."""
    parts = ['python benchmarks/pipeline_seeds.py']
    if args.config != CONFIG:
        parts.append(f'--config {args.config} --work-dir {args.work_dir}')
    parts += [f'--data-root {Path(args.data_root).name}'] if args.data_root else []
    parts.append(f'--seeds {" ".join(map(str, args.seeds))}')
    parts += [f'--only {" ".join(args.only)}'] if args.only else []
    return ' '.join(parts + (['--mix'] if args.mix else []))


def stage_rows(runs: Sequence[Mapping[str, StageRecord]], only: Sequence[str] | None):
    """A row for each stage that measured something: means, spreads and their card."""
    from wsss_plugins.report.rows import COUNTS, Row, mean_rows

    rows = []
    for run in runs:
        for stage, record in run.items():
            numbers = {
                name: float(value)
                for name, value in record.metrics.items()
                if isinstance(value, int | float) and name not in COUNTS
                if not only or name in only
            }
            if numbers:
                rows.append(Row(stage, numbers, record.supervision))
    return mean_rows(rows)


def table(runs: Sequence[Mapping[str, StageRecord]], args: argparse.Namespace) -> str:
    """Markdown: one line per metric, mean and spread over the runs."""
    from wsss_plugins.provenance.compare import NO_CARD, mark_unlike
    from wsss_plugins.report.comparison import refuse_unlike

    rows = stage_rows(runs, args.only)
    if not args.mix:
        refuse_unlike(rows, 'choose metrics with --only, or give --mix to mark them')
    marks = mark_unlike([row.card for row in rows])
    lines = [
        head(runs, args),
        '',
        '| stage | metric | mean ± spread | runs | how it was made |',
        '|---|---|---|---|---|',
    ]
    for row, sign in zip(rows, marks.signs, strict=True):
        made = NO_CARD if row.card is None else short_form(row.card)
        for metric, mean in row.metrics.items():
            each = ', '.join(f'{run[row.title].metrics[metric]:.2f}' for run in runs)
            spread = 0.0 if row.spreads is None else row.spreads[metric]
            name = f'{row.title} {sign}'.strip()
            lines.append(
                f'| {name} | {metric} | {mean:.2f} ± {spread:.2f} | {each} | {made} |'
            )
            made = ''
    seconds = [sum(record.seconds for record in run.values()) for run in runs]
    each = ', '.join(f'{s:.0f}' for s in seconds)
    lines.append(f'| all | seconds | {statistics.mean(seconds):.0f} | {each} | |')
    return '\n'.join(lines) + '\n' + ''.join(f'\n{note}\n' for note in marks.notes)


def head(runs: Sequence[Mapping[str, StageRecord]], args: argparse.Namespace) -> str:
    """The command, and where it ran."""
    places = [record.environment for run in runs for record in run.values()]
    place, commits = places[-1], sorted({p['commit'] for p in places})
    return (
        f'`{command(args)}` on {date.today().isoformat()}, '
        f'{place["device"]}, {place["threads"]} threads, '
        f'torch {place["versions"]["torch"]}, commit {", ".join(commits)}; `{args.config}`.'
    )


if __name__ == '__main__':
    main()
