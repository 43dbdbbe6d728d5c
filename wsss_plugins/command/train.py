"""Trains the model of one config: wsss train acr/synthetic.

A training that was interrupted is resumed, and nothing is done if the training is finished. A
work dir whose model was trained with another config, seed, data or code is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsss_plugins.cli import (
    add_config_arguments,
    default_work_dir,
    run_config,
    show_looks,
    shown,
)
from wsss_plugins.errors import ConfigError, require_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss train``."""
    add_config_arguments(parser)
    parser.add_argument(
        '--redo',
        action='store_true',
        help='train again from the start; files in the work dir move to its folder '
        '.previous',
    )
    parser.add_argument(
        '--accept-code',
        action='store_true',
        help='keep a model whose code has changed if nothing else has; its card has a '
        'remark',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='decode all photos and masks before the training, not a sample of them',
    )


def run(args: argparse.Namespace) -> None:
    """Runs ``wsss train``."""
    run_config(args, train)


def train(args: argparse.Namespace, cfg: Any) -> None:
    """Trains the config's model and prints its validation metrics."""
    from wsss_plugins.config import check_config
    from wsss_plugins.engine.lock import only_run
    from wsss_plugins.engine.work_dir import claim
    from wsss_plugins.engine.workers import rank
    from wsss_plugins.experiment.lone_training import LoneTraining
    from wsss_plugins.experiment.pipeline import experiment_name
    from wsss_plugins.experiment.trial import refuse_mistakes
    from wsss_plugins.stages.train import TrainStage
    from wsss_plugins.structures.card_text import short_form

    if 'model' not in cfg:
        tool = 'wsss run' if 'pipeline' in cfg else 'a training config'
        raise ConfigError(f"there is no 'model' to train: use {tool}")
    check_config(cfg.to_dict())
    work_dir = Path(args.work_dir or default_work_dir(args.config))
    require_writable(work_dir)
    # Builds the data sets, so that errors in them come before weights are downloaded.
    training = LoneTraining(cfg, args.accept_code)
    with only_run(work_dir):
        refuse_mistakes([TrainStage('training', cfg.to_dict())])
        claim(work_dir, experiment_name(Path(args.config)))
        tell = show_looks if rank() == 0 else lambda looks: None
        metrics, card = training.run(work_dir, args.redo, args.check, tell)
    if metrics and card is not None:
        print(shown(metrics))
        print(short_form(card))
