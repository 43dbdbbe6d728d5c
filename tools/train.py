#!/usr/bin/env python
"""Trains the model of one config: tools/train.py configs/acr/synthetic.py."""

from __future__ import annotations

import os
from pathlib import Path

from wsss_plugins.cli import (
    config_parser,
    default_work_dir,
    parse_options,
    run_tool,
    with_place,
)
from wsss_plugins.errors import ConfigError


def main() -> None:
    """Trains, or continues an interrupted training."""
    args = config_parser(__doc__).parse_args()

    from wsss_plugins.config import check_config, load_config, set_everywhere
    from wsss_plugins.stages.distributed import close_workers, init_workers
    from wsss_plugins.stages.pipeline import claim, experiment_name
    from wsss_plugins.stages.train import build_runner, save_model_config

    init_workers()
    try:
        cfg = load_config(args.config, parse_options(args.cfg_options))
        if args.data_root:
            set_everywhere(cfg, 'data_root', args.data_root)
        if 'model' not in cfg:
            tool = 'tools/run_pipeline.py' if 'pipeline' in cfg else 'a training config'
            raise ConfigError(f"{args.config} has no 'model' to train: use {tool}")
        check_config(cfg.to_dict())
        work_dir = Path(args.work_dir or default_work_dir(args.config))
        claim(work_dir, experiment_name(Path(args.config)))
        save_model_config(cfg.model, work_dir)
        seed = cfg.get('seed', 0) if args.seed is None else args.seed
        runner = build_runner(cfg, work_dir, seed, 'train')
        runner.train()
        if cfg.get('val_dataloader') is not None:
            metrics = runner.val()
            if int(os.environ.get('RANK', 0)) == 0:
                print('  '.join(f'{key} {value:.2f}' for key, value in metrics.items()))
    except ConfigError as error:
        raise with_place(error, args.config) from error
    close_workers()


if __name__ == '__main__':
    run_tool(main)
