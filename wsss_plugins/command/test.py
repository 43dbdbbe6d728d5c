"""Measures a trained model: wsss test acr/synthetic CHECKPOINT.

Without further options, the model is measured at one scale on the test images of the
config, or on its validation images. With --multi-scale, a segmentor predicts with the
scales, mirroring and refiners (such as a dense CRF) of the config's `prediction`. With
--format-only, it predicts the test images of Pascal VOC in that way and packs the label
maps for the test server; --check checks such an archive.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from wsss_plugins.cli import (
    add_config_arguments,
    default_work_dir,
    run_config,
    show_looks,
    shown,
)
from wsss_plugins.errors import UserError, require_writable

TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss test``."""
    add_config_arguments(parser)
    parser.add_argument(
        'checkpoint', nargs='?', help='weights.safetensors or resume.pth'
    )
    parser.add_argument(
        '--multi-scale',
        action='store_true',
        help="predict with the settings of the config's `prediction`, and write tables "
        'with all classes',
    )
    server = parser.add_argument_group("the archive for Pascal VOC's test server")
    server.add_argument(
        '--format-only',
        action='store_true',
        help='write the archive --out instead of measuring',
    )
    server.add_argument('--out', help='the archive to write, FILE.tar.gz')
    server.add_argument(
        '--competition',
        type=int,
        default=6,
        help="5: trained on VOC 2012's own data only; 6: on anything else too, such as "
        'weights of ImageNet or the images of SBD (default)',
    )
    server.add_argument(
        '--split',
        default='test',
        help='name of the list of test images (default: test)',
    )
    server.add_argument('--check', metavar='FILE', help='only check this archive')


def run(args: argparse.Namespace) -> None:
    """Runs ``wsss test``."""
    run_config(args, test)


def test(args: argparse.Namespace, cfg: Any) -> None:
    """Runs the test that the options select."""
    from wsss_plugins.config import check_config

    check_config(cfg.to_dict())
    if args.check:
        check(args, cfg)
    elif args.checkpoint is None:
        raise UserError('name a checkpoint: weights.safetensors or resume.pth')
    elif args.format_only:
        pack(args, cfg)
    elif args.multi_scale:
        measure_predictions(args, cfg)
    else:
        measure(args, cfg)


def measure(args: argparse.Namespace, cfg: Any) -> None:
    """Measures the checkpoint on the test data of the config, at one scale."""
    from wsss_plugins.engine.workers import rank
    from wsss_plugins.experiment.testing import card_of_test, refuse_other_classes_of
    from wsss_plugins.provenance.files import save_metrics
    from wsss_plugins.stages import build_runner
    from wsss_plugins.structures.card_text import short_form
    from wsss_plugins.structures.layout import METRICS_FILE

    if args.work_dir:
        require_writable(args.work_dir)
    if cfg.get('test_dataloader') is None:
        for part in ('dataloader', 'evaluator', 'cfg'):
            cfg[f'test_{part}'] = cfg.get(f'val_{part}')
    for part in TRAINING:
        cfg.pop(part, None)
    cfg.load_from = args.checkpoint
    look(cfg.test_dataloader.to_dict())
    with tempfile.TemporaryDirectory() as scratch:
        # In the folder of a training, the Runner would resume that training.
        work_dir = Path(args.work_dir or scratch) / 'test'
        runner = build_runner(cfg, work_dir, cfg.get('seed', 0), 'test')
        images_of = runner.test_loop.dataloader.dataset
        refuse_other_classes_of(Path(args.checkpoint), images_of)
        found = runner.test()
        metrics = {key: float(value) for key, value in found.items()}  # JSON's numbers
        say(shown(metrics))
        if rank() == 0:
            images = cfg.test_dataloader.dataset.to_dict()
            card = card_of_test(Path(args.checkpoint), images)
            save_metrics(work_dir / METRICS_FILE, metrics, card)
            say(short_form(card))


def measure_predictions(args: argparse.Namespace, cfg: Any) -> None:
    """Predicts with the ``prediction`` of the config, and measures the predictions."""
    from wsss_plugins.datasets.configs import bare_config
    from wsss_plugins.experiment.testing import (
        images_to_test,
        predict_images,
        score_predictions,
    )

    images = bare_config(images_to_test(cfg))
    work_dir = place(args)
    require_writable(work_dir)
    look(images)
    folder = predict_images(cfg, Path(args.checkpoint), images, work_dir)
    metrics = score_predictions(images, folder, work_dir)
    say(shown(metrics))
    say(f'tables: {work_dir / "scores"}')


def pack(args: argparse.Namespace, cfg: Any) -> None:
    """Predicts VOC's test images and packs the label maps for its server."""
    from wsss_plugins.experiment.voc_server import pack_test_images

    if args.out is None:
        raise UserError('--format-only needs --out FILE.tar.gz, the archive to write')
    checkpoint, out = Path(args.checkpoint), Path(args.out)
    require_writable(out.parent)
    require_writable(place(args))
    say(
        pack_test_images(
            cfg, checkpoint, out, place(args), args.split, args.competition
        )
    )


def check(args: argparse.Namespace, cfg: Any) -> None:
    """Checks the archive ``args.check`` against the test images."""
    from wsss_plugins.experiment.voc_server import check_packed

    say(check_packed(cfg, Path(args.check), args.split))


def look(images: Any) -> None:
    """Looks at the images to test before the model is built.

    Raises:
        DataError: An image or a mask would make the test fail.
    """
    from wsss_plugins.engine.workers import rank
    from wsss_plugins.experiment.data_look import look_at_data, refuse_problems

    looks = look_at_data([images])
    if rank() == 0:
        show_looks(looks)
    refuse_problems(looks)


def place(args: argparse.Namespace) -> Path:
    """The folder of predictions."""
    return Path(args.work_dir or default_work_dir(args.config))


def say(text: str) -> None:
    """Prints a line on the first worker."""
    from wsss_plugins.engine.workers import rank

    if rank() == 0:
        print(text)
