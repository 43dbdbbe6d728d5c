"""Draws explanations of a classifier: wsss explain PHOTO --model vit_base_patch16_224.

For each photo and class it draws a row with the photo and one overlay per method. All rows
are written to one picture, or each row to its own. A photo that cannot be read is reported
and left out.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_plugins.errors import ConfigError, DataError, require_writable
from wsss_plugins.progress import ProgressBar

if TYPE_CHECKING:
    from PIL import Image

    from wsss_plugins.explain import Explanation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss explain``."""
    parser.add_argument(
        'photos', nargs='+', type=Path, metavar='PHOTO', help='JPEG, PNG ...'
    )
    parser.add_argument(
        '--model',
        required=True,
        help='the name of a vision transformer of timm or of a trained model of this '
        'package (voc_animals), the folder of a training, a checkpoint in it, or a config',
    )
    parser.add_argument(
        '--weights',
        default=True,
        metavar='FILE',
        help='.pth, .safetensors or .npz (default: the weights of the model)',
    )
    parser.add_argument(
        '--untrained',
        dest='weights',
        action='store_const',
        const=False,
        help='use random weights, to try the tool out',
    )
    _add_what_is_shown(parser)
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help="size of the model's input (default: the number of patches of the training)",
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('explained.png'),
        help='one picture, or a folder for one picture per photo and class',
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='end with an error at a photo that cannot be read',
    )


def _add_what_is_shown(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        '--attributes',
        action='store_true',
        help='split the maps of an eX-ViT into the contributions of its attributes',
    )
    how.add_argument(
        '--affinity-of',
        type=int,
        nargs=2,
        action='append',
        metavar=('ROW', 'COLUMN'),
        help='draw the attention of the patch at this pixel of the photo, along which '
        'maps of all classes are refined; may be given several times',
    )
    how.add_argument(
        '--method',
        default='transformer_attribution',
        help='one or more seed heads, e.g. transformer_attribution,attention_rollout',
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        '--classes', help='names or ids of the classes, e.g. goldfish,207'
    )
    which.add_argument(
        '--top-k',
        type=int,
        default=1,
        help='number of the most probable classes to explain (default: 1)',
    )
    parser.add_argument(
        '--class-names',
        type=Path,
        metavar='FILE',
        help='file with the name of each class, one per line, in order',
    )
    parser.add_argument(
        '--signed', action='store_true', help='also draw negative values of the maps'
    )


def run(args: argparse.Namespace) -> None:
    """Explains every photo by every method.

    Raises:
        ConfigError: ``--out`` is neither a .png nor a folder in which every photo gets
            its own name, or ``--method`` is empty.
    """
    from wsss_plugins.explain import build_method, draw_sheet, explain, load_model

    _check_out(args.out, args.photos)
    require_writable(args.out.parent if args.out.suffix else args.out)
    if args.attributes or args.affinity_of:
        (_explain_attributes if args.attributes else _explain_affinity)(args)
        return
    heads = [build_method(name) for name in _parts(args.method)]
    if not heads:
        raise ConfigError('--method names no method: give one or more')
    options = _options(args)
    model = load_model(args.model, args.weights)
    looks = [partial(explain, model, method=head, **options) for head in heads]
    rows = []
    for path, group in _answers(args.photos, looks, args.strict):
        _tell(path, group[0])
        if args.out.suffix:
            rows.append((path.name, group))
            continue
        for k, (c, name) in enumerate(
            zip(group[0].classes, group[0].names, strict=True)
        ):
            words = re.sub(r'\W+', '_', name)
            one = [(path.name, [each.of(k) for each in group])]
            picture = draw_sheet(one, args.signed)
            _save(picture, args.out / f'{path.stem}_{c}_{words}.png')
    if rows:
        _save(draw_sheet(rows, args.signed), args.out)
    print(f'{args.out}: written')


def _explain_attributes(args: argparse.Namespace) -> None:
    """Draws the contribution of each attribute to the maps of every photo."""
    from wsss_plugins.explain import draw_attributes, explain_attributes, load_model

    model = load_model(args.model, args.weights)
    looks = [partial(explain_attributes, model, **_options(args))]
    rows = []
    for path, (found,) in _answers(args.photos, looks, args.strict):
        _tell(path, found.whole)
        row = (path.name, found)
        if args.out.suffix:
            rows.append(row)
        else:
            _save(draw_attributes([row]), args.out / f'{path.stem}_attributes.png')
    if rows:
        _save(draw_attributes(rows), args.out)
    print(f'{args.out}: written')


def _explain_affinity(args: argparse.Namespace) -> None:
    """Draws the attention of given patches of every photo."""
    from wsss_plugins.explain import draw_affinity, explain_affinity, load_model

    model = load_model(args.model, args.weights)
    points = [tuple(point) for point in args.affinity_of]
    looks = [partial(explain_affinity, model, points=points, size=args.size)]
    rows = []
    for path, (found,) in _answers(args.photos, looks, args.strict):
        h, w = found.grid
        where = ', '.join(f'({r}, {c})' for r, c in found.patches)
        print(f'{path.name}: patches {where} of {h} x {w}')
        if args.out.suffix:
            rows.append((path.name, found))
        else:
            picture = draw_affinity([(path.name, found)])
            _save(picture, args.out / f'{path.stem}_affinity.png')
    if rows:
        _save(draw_affinity(rows), args.out)
    print(f'{args.out}: written')


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The options that all kinds of explanations share."""
    from wsss_plugins.datasets.files import read_lines

    return dict(
        classes=None if args.classes is None else _parts(args.classes),
        top=args.top_k,
        size=args.size,
        names=read_lines(args.class_names) if args.class_names else None,
    )


def _tell(path: Path, said: Explanation) -> None:
    shares = zip(said.names, said.probabilities, strict=True)
    print(f'{path.name}:', ', '.join(f'{n} {100 * p:.1f} %' for n, p in shares))


def _save(picture: Image.Image, path: Path) -> None:
    from wsss_plugins.structures import atomic_path

    with atomic_path(path) as part:
        picture.save(part)


def _answers(
    paths: list[Path], looks: Sequence[Callable[[Any], Any]], strict: bool
) -> Iterator[tuple[Path, list[Any]]]:
    """Yields the explanations of each photo that can be read.

    Raises:
        DataError: No photo can be read, or ``strict`` is set and one cannot be read.
    """
    from wsss_plugins.explain import read_photo

    broken: list[DataError] = []
    with ProgressBar('explain', len(paths) * len(looks)) as bar:
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
            for look in looks:
                group.append(look(photo))
                bar.advance(note=str(path))
            yield path, group
        if broken:
            bar.say(f'explain: {len(broken)} of {len(paths)} photos left out')


def _check_out(out: Path, photos: list[Path]) -> None:
    """Refuses an ``--out`` that is neither a .png nor a folder.

    Raises:
        ConfigError: ``out`` has another suffix, or two photos would get the same name in
            the folder.
    """
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
    """Splits a text at commas."""
    return [word.strip() for word in text.split(',') if word.strip()]
