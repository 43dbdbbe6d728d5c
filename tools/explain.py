#!/usr/bin/env python
"""Shows what a classifier looks at: tools/explain.py PHOTO --model vit_base_patch16_224.

Writes one picture: for each photo and class a row with the photo and one overlay per
method.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_plugins.cli import run_tool
from wsss_plugins.errors import ConfigError
from wsss_plugins.progress import ProgressBar


def main() -> None:
    """Explains the photos and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('photos', nargs='+', metavar='PHOTO', help='JPEG, PNG ...')
    parser.add_argument(
        '--model',
        required=True,
        help='a vision transformer of timm by name, the folder of a training, a '
        'checkpoint in it, or a config',
    )
    parser.add_argument(
        '--weights',
        default=True,
        metavar='FILE',
        help='.pth, .safetensors or .npz (default: those that belong to the model)',
    )
    parser.add_argument(
        '--untrained',
        dest='weights',
        action='store_const',
        const=False,
        help='use random weights, to try the tool out',
    )
    parser.add_argument(
        '--method',
        default='transformer_attribution',
        help='one or more seed heads, e.g. transformer_attribution,attention_rollout',
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--classes', help='names or ids, e.g. goldfish,207')
    which.add_argument('--top-k', type=int, default=1, help='the most probable classes')
    parser.add_argument(
        '--class-names', type=Path, metavar='FILE', help='one name a line, in order'
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help="size of the model's input (default: as many patches as in training)",
    )
    parser.add_argument(
        '--signed', action='store_true', help='show what speaks against a class too'
    )
    parser.add_argument('--out', type=Path, default=Path('explained.png'))
    explain_photos(parser.parse_args())


def explain_photos(args: argparse.Namespace) -> None:
    """Explains every photo by every method.

    Raises:
        ConfigError: The picture could not be written under the name given.
    """
    from wsss_plugins.datasets.files import read_lines
    from wsss_plugins.explain import (
        build_method,
        draw_sheet,
        explain,
        load_model,
        read_photo,
    )
    from wsss_plugins.structures import atomic_path

    if args.out.suffix.lower() != '.png':
        raise ConfigError(f'--out {args.out}: give a name that ends with .png')
    heads = [build_method(name) for name in _parts(args.method)]
    if not heads:
        raise ConfigError('--method names no method: give one or more')
    names = read_lines(args.class_names) if args.class_names else None
    photos = [read_photo(path) for path in args.photos]
    model = load_model(args.model, args.weights)
    chosen = dict(
        classes=None if args.classes is None else _parts(args.classes),
        top=args.top_k,
        size=args.size,
        names=names,
    )
    rows = []
    with ProgressBar('explain', len(photos) * len(heads)) as bar:
        for path, photo in zip(args.photos, photos, strict=True):
            group = []
            for head in heads:
                group.append(explain(model, photo, head, **chosen))
                bar.advance(note=path)
            rows.append((Path(path).name, group))
    with atomic_path(args.out) as part:
        draw_sheet(rows, args.signed).save(part)
    for title, group in rows:
        shares = zip(group[0].names, group[0].probabilities, strict=True)
        print(f'{title}:', ', '.join(f'{name} {100 * p:.1f} %' for name, p in shares))
    print(f'{args.out}: written')


def _parts(text: str) -> list[str]:
    """The words between the commas."""
    return [word.strip() for word in text.split(',') if word.strip()]


if __name__ == '__main__':
    run_tool(main)
