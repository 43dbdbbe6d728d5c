"""Exports a trained backbone as initial weights: wsss export CONFIG --out FILE.

Other configs name the file under `pretrained=`. Its header, and the .json beside it, state
which annotations the weights were trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsss_plugins.cli import add_config_arguments, default_work_dir, run_config
from wsss_plugins.errors import UserError, require_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss export``."""
    add_config_arguments(parser)
    parser.add_argument(
        '--out', type=Path, required=True, help='file to write, .safetensors'
    )
    parser.add_argument(
        '--supervision',
        required=True,
        help='annotations that the weights were trained on, such as '
        "'self-supervised' or 'ImageNet labels'",
    )
    parser.add_argument(
        '--precision', choices=('float16', 'float32'), default='float16'
    )


def run(args: argparse.Namespace) -> None:
    """Runs ``wsss export``."""
    run_config(args, export)


def export(args: argparse.Namespace, cfg: Any) -> None:
    """Writes the weights and their card.

    Raises:
        UserError: The name of ``--out`` does not end in '.safetensors'.
    """
    from wsss_plugins.experiment.backbone_export import export_backbone

    if args.out.suffix != '.safetensors':
        raise UserError(f'--out must end in .safetensors, not be {args.out}')
    require_writable(args.out.parent)
    folder = Path(args.work_dir or default_work_dir(args.config))
    told = export_backbone(
        folder, args.out, args.config, cfg, args.supervision, args.precision
    )
    size = args.out.stat().st_size / 1e6
    print(
        f'{args.out}: {told["parameters"]:,} numbers, {size:.1f} MB, {told["supervision"]}'
    )
