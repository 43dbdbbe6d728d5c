#!/usr/bin/env python
"""Times an epoch on kept features, and says how large they are: configs/voc_animals.

python benchmarks/kept_features.py --data-root VOC2012 --work-dir work_dirs/kept_features

The features are computed once and stay in the work dir. An epoch is timed as the difference
between a training of three epochs and one of one epoch, divided by two, so that building the
model does not count.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from wsss_plugins.cli import run_tool
from wsss_plugins.config import load_config
from wsss_plugins.experiment import Pipeline
from wsss_plugins.structures import load_json

CONFIGS = Path(__file__).parents[1] / 'configs/voc_animals'
MODELS = {'linear head': 'cam.py', 'hybrid transformer': 'hybrid.py'}


def main() -> None:
    """Reads the options and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data-root', required=True)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/kept_features')
    )
    run_tool(parser, measure)


def measure(args: argparse.Namespace) -> None:
    """Prints a table: seconds per epoch, seconds of the features, kilobytes per photo."""
    cfg = load_config(CONFIGS / 'pipeline.py')
    begin = time.perf_counter()
    run(cfg, dict(features=cfg.features), args)
    lines = [f'features: {time.perf_counter() - begin:.1f} s (0 if they were there)']
    metrics = load_json(args.work_dir / 'features/record.json')['metrics']
    kilobytes = metrics['kilobytes_per_image']
    lines.append(f'disk: {kilobytes} kB per photo, its mirror image included')
    for name, config in MODELS.items():
        seconds = [epochs(cfg, config, many, args) for many in (1, 3)]
        lines.append(f'{name}: {(seconds[1] - seconds[0]) / 2:.2f} s per epoch')
    lines.append(f'{torch.get_num_threads()} threads of PyTorch')
    sys.stdout.write('\n'.join(lines) + '\n')


def epochs(cfg: Any, config: str, many: int, args: argparse.Namespace) -> float:
    """Seconds of a training of so many epochs."""
    options = {
        'train_cfg.max_epochs': many,
        'param_scheduler': [],
        'val_dataloader': None,
        'val_evaluator': None,
        'val_cfg': None,
    }
    stage = dict(cfg.train, config=str(CONFIGS / config), options=options)
    shutil.rmtree(args.work_dir / 'timed', ignore_errors=True)
    begin = time.perf_counter()
    run(cfg, dict(features=cfg.features, timed=stage), args)
    return time.perf_counter() - begin


def run(cfg: Any, stages: dict[str, Any], args: argparse.Namespace) -> None:
    """Runs some stages of the pipeline."""
    part = cfg.copy()
    part.pipeline = stages
    Pipeline(part, data_root=args.data_root).run(args.work_dir)


if __name__ == '__main__':
    main()
