#!/usr/bin/env python
"""Measures a trained model: tools/test.py configs/acr/synthetic.py CHECKPOINT."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from wsss_plugins.cli import config_parser, run_config, run_tool

TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')


def main() -> None:
    """Loads the checkpoint and prints the metrics of the config's test (or val) data."""
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='weights.safetensors or resume.pth')
    run_config(parser.parse_args(), test)


def test(args: argparse.Namespace, cfg: Any) -> None:
    """Measures ``args.checkpoint`` on the config's test data."""
    from wsss_plugins.config import check_config
    from wsss_plugins.stages import build_runner
    from wsss_plugins.stages.distributed import rank

    check_config(cfg.to_dict())
    if cfg.get('test_dataloader') is None:
        for part in ('dataloader', 'evaluator', 'cfg'):
            cfg[f'test_{part}'] = cfg.get(f'val_{part}')
    for part in TRAINING:
        cfg.pop(part, None)
    cfg.load_from = args.checkpoint
    with tempfile.TemporaryDirectory() as scratch:
        work_dir = Path(args.work_dir or scratch)
        metrics = build_runner(cfg, work_dir, cfg.get('seed', 0), 'test').test()
    if rank() == 0:
        print('  '.join(f'{key} {value:.2f}' for key, value in metrics.items()))


if __name__ == '__main__':
    run_tool(main)
