#!/usr/bin/env python
"""Measures a trained model: tools/test.py configs/acr/synthetic.py CHECKPOINT."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from wsss_plugins.cli import config_parser, parse_options, run_tool, with_place
from wsss_plugins.errors import ConfigError


def main() -> None:
    """Loads the checkpoint and prints the metrics of the config's test (or val) data."""
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='weights.safetensors or resume.pth')
    args = parser.parse_args()

    from wsss_plugins.config import check_config, load_config, set_everywhere
    from wsss_plugins.stages.distributed import close_workers, init_workers
    from wsss_plugins.stages.train import build_runner

    init_workers()
    try:
        cfg = load_config(args.config, parse_options(args.cfg_options))
        if args.data_root:
            set_everywhere(cfg, 'data_root', args.data_root)
        check_config(cfg.to_dict())
        if cfg.get('test_dataloader') is None:
            for part in ('dataloader', 'evaluator', 'cfg'):
                cfg[f'test_{part}'] = cfg.get(f'val_{part}')
        for part in (
            'train_dataloader',
            'train_cfg',
            'optim_wrapper',
            'param_scheduler',
        ):
            cfg.pop(part, None)
        cfg.load_from = args.checkpoint
        with tempfile.TemporaryDirectory() as scratch:
            work_dir = Path(args.work_dir or scratch)
            runner = build_runner(cfg, work_dir, args.seed or 0, 'test')
            metrics = runner.test()
    except ConfigError as error:
        raise with_place(error, args.config) from error
    if int(os.environ.get('RANK', 0)) == 0:
        print('  '.join(f'{key} {value:.2f}' for key, value in metrics.items()))
    close_workers()


if __name__ == '__main__':
    run_tool(main)
