#!/usr/bin/env python
"""Exports a trained backbone as initial weights: tools/export_weights.py CONFIG --out FILE.

Other configs name the file under `pretrained=`. Its header, and the .json beside it, state
which annotations the weights were trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsss_plugins.cli import config_parser, default_work_dir, run_config_tool
from wsss_plugins.errors import UserError, require_writable


def main() -> None:
    """Reads the options and exports the weights."""
    parser = config_parser((__doc__ or '').splitlines()[0])
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
    run_config_tool(parser, export)


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


if __name__ == '__main__':
    main()
