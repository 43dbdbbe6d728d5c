#!/usr/bin/env python
"""The numbers of the synthetic pipeline over several seeds, as a Markdown table.

    python benchmarks/synthetic_pipeline.py --seeds 0 1 2 --out docs/generated/synthetic_seeds.md
    python benchmarks/synthetic_pipeline.py --config configs/psa/synthetic_refiners_pipeline.py \\
        --work-dir work_dirs/refiner_seeds --only miou --out docs/generated/refiners.md

Runs what is missing in WORK_DIR/seed_N and prints mean and spread
(sample standard deviation) of every metric. Interrupt it and run it again: it goes on.
"""

from __future__ import annotations

import argparse
import statistics
from datetime import date
from pathlib import Path

from wsss_plugins.cli import run_tool

CONFIG = 'configs/acr/synthetic_pipeline.py'


def main() -> None:
    """Runs the seeds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/synthetic_seeds')
    )
    parser.add_argument(
        '--only', nargs='+', metavar='METRIC', help='leave the other metrics out'
    )
    parser.add_argument('--out', type=Path, help='also write the table to this file')
    args = parser.parse_args()

    from wsss_plugins.config import load_config
    from wsss_plugins.stages import Pipeline
    from wsss_plugins.structures import atomic_path

    runs = []
    for seed in args.seeds:
        pipeline = Pipeline(load_config(args.config, dict(seed=seed)))
        runs.append(pipeline.run(args.work_dir / f'seed_{seed}'))
    text = table(runs, args)
    print(text)
    if args.out:
        with atomic_path(args.out) as part:
            part.write_text(text, encoding='utf-8')


def command(args: argparse.Namespace) -> str:
    """What to type for the table."""
    parts = ['python benchmarks/synthetic_pipeline.py']
    if args.config != CONFIG:
        parts.append(f'--config {args.config} --work-dir {args.work_dir}')
    parts.append(f'--seeds {" ".join(map(str, args.seeds))}')
    return ' '.join(parts + ([f'--only {" ".join(args.only)}'] if args.only else []))


def table(runs, args: argparse.Namespace) -> str:
    """Markdown: one line per metric, mean and spread over the runs."""
    places = [record.environment for run in runs for record in run.values()]
    place, commits = places[-1], sorted({p['commit'] for p in places})
    lines = [
        f'`{command(args)}` on {date.today().isoformat()}, '
        f'{place["device"]}, {place["threads"]} threads, '
        f'torch {place["versions"]["torch"]}, commit {", ".join(commits)}; `{args.config}`.',
        '',
        '| stage | metric | mean ± spread | runs |',
        '|---|---|---|---|',
    ]
    for stage, record in runs[0].items():
        for metric, value in record.metrics.items():
            values = [run[stage].metrics[metric] for run in runs]
            if metric in ('images', 'failed') or not isinstance(value, (int, float)):
                continue
            if args.only and metric not in args.only:
                continue
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            each = ', '.join(f'{v:.2f}' for v in values)
            mean = statistics.mean(values)
            lines.append(f'| {stage} | {metric} | {mean:.2f} ± {spread:.2f} | {each} |')
    seconds = [sum(record.seconds for record in run.values()) for run in runs]
    lines.append(
        f'| all | seconds | {statistics.mean(seconds):.0f} | '
        f'{", ".join(f"{s:.0f}" for s in seconds)} |'
    )
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    run_tool(main)
