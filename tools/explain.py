#!/usr/bin/env python
"""Shows what a classifier looks at: tools/explain.py PHOTO --model vit_base_patch16_224.

Writes for each photo and class a row with the photo and one overlay per method: all in
one picture, or each in its own. A photo that cannot be read is named and left out.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_plugins.cli import run_tool
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.progress import ProgressBar

if TYPE_CHECKING:
    from wsss_plugins.classifiers import WSSSClassifier
    from wsss_plugins.explain import Explanation
    from wsss_plugins.seeds import SeedHead


def main() -> None:
    """Reads the command and explains the photos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'photos', nargs='+', type=Path, metavar='PHOTO', help='JPEG, PNG ...'
    )
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
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('explained.png'),
        help='one picture, or a folder for one picture per photo and class',
    )
    parser.add_argument(
        '--strict', action='store_true', help='end at a photo that cannot be read'
    )
    explain_photos(parser.parse_args())


def explain_photos(args: argparse.Namespace) -> None:
    """Explains every photo by every method.

    Raises:
        ConfigError: The pictures could not be written under the name given.
    """
    from wsss_plugins.datasets.files import read_lines
    from wsss_plugins.explain import build_method, draw_sheet, load_model
    from wsss_plugins.structures import atomic_path

    _check_out(args.out, args.photos)
    heads = [build_method(name) for name in _parts(args.method)]
    if not heads:
        raise ConfigError('--method names no method: give one or more')
    options = dict(
        classes=None if args.classes is None else _parts(args.classes),
        top=args.top_k,
        size=args.size,
        names=read_lines(args.class_names) if args.class_names else None,
    )
    model = load_model(args.model, args.weights)
    rows = []
    for path, group in _explanations(args.photos, model, heads, options, args.strict):
        shares = zip(group[0].names, group[0].probabilities, strict=True)
        print(f'{path.name}:', ', '.join(f'{n} {100 * p:.1f} %' for n, p in shares))
        if args.out.suffix:
            rows.append((path.name, group))
            continue
        for k, (c, name) in enumerate(
            zip(group[0].classes, group[0].names, strict=True)
        ):
            words = re.sub(r'\W+', '_', name)
            with atomic_path(args.out / f'{path.stem}_{c}_{words}.png') as part:
                one = [(path.name, [each.of(k) for each in group])]
                draw_sheet(one, args.signed).save(part)
    if rows:
        with atomic_path(args.out) as part:
            draw_sheet(rows, args.signed).save(part)
    print(f'{args.out}: written')


def _explanations(
    paths: list[Path],
    model: WSSSClassifier,
    heads: list[SeedHead],
    options: dict[str, Any],
    strict: bool,
) -> Iterator[tuple[Path, list[Explanation]]]:
    """What each method says of each photo that can be read.

    Raises:
        DataError: No photo can be read, or one cannot and ``strict`` is set.
    """
    from wsss_plugins.explain import explain, read_photo

    broken: list[DataError] = []
    with ProgressBar('explain', len(paths) * len(heads)) as bar:
        for path in paths:
            try:
                photo = read_photo(path)
            except DataError as error:
                broken.append(error)
                if strict or len(broken) == len(paths):
                    raise broken[0] from error
                bar.say(f'left out: {error}')
                continue
            group = []
            for head in heads:
                group.append(explain(model, photo, head, **options))
                bar.advance(note=str(path))
            yield path, group
        if broken:
            bar.say(f'explain: {len(broken)} of {len(paths)} photos left out')


def _check_out(out: Path, photos: list[Path]) -> None:
    """Refuses a name that is neither a picture nor a folder for these photos."""
    if out.suffix.lower() not in ('', '.png'):
        raise ConfigError(f'--out {out}: give a name that ends with .png, or a folder')
    stems = Counter(photo.stem for photo in photos)
    stem, count = stems.most_common(1)[0]
    if not out.suffix and count > 1:
        raise ConfigError(
            f"--out {out}: {count} photos are called '{stem}', and one picture would "
            'replace the other: give a name that ends with .png, or rename them'
        )


def _parts(text: str) -> list[str]:
    """The words between the commas."""
    return [word.strip() for word in text.split(',') if word.strip()]


if __name__ == '__main__':
    run_tool(main)
