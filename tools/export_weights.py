#!/usr/bin/env python
"""Makes a start of a trained backbone: tools/export_weights.py CONFIG --out START.safetensors.

The file is named by `pretrained=` of other configs. What it was learnt from is in its
header and, to be read, in the .json beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsss_plugins.cli import config_parser, default_work_dir, run_config_tool
from wsss_plugins.errors import UserError


def main() -> None:
    """Reads the options and exports."""
    parser = config_parser((__doc__ or '').splitlines()[0])
    parser.add_argument(
        '--out', type=Path, required=True, help='file to write, .safetensors'
    )
    parser.add_argument(
        '--supervision',
        required=True,
        help="what it was learnt from, e.g. 'self-supervised' or 'ImageNet labels'",
    )
    parser.add_argument(
        '--precision', choices=('float16', 'float32'), default='float16'
    )
    run_config_tool(parser, export)


def export(args: argparse.Namespace, cfg: Any) -> None:
    """Writes the weights and their card.

    Raises:
        UserError: ``--out`` has another suffix.
    """
    from wsss_plugins.experiment.backbone_export import export_backbone

    if args.out.suffix != '.safetensors':
        raise UserError(f'--out must end in .safetensors, not be {args.out}')
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
