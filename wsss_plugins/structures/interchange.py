"""Reads and writes seeds in the formats of other projects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError, near_names
from wsss_plugins.structures.pickles import load_pickled_npy, save_pickled_npy
from wsss_plugins.structures.seed import Seed

IRN_STRIDE = 4
"""Pixels of a photo per pixel of IRN's ``cam``."""


ROUNDING = 1e-3
"""Tolerance above 1 of scores in [0, 1], for half precision."""


@dataclass(frozen=True)
class SeedFormat:
    """The file format of a project for the class maps of one image.

    Attributes:
        suffix: Suffix of the files.
        read: Function from a file, and whether its id 0 is the background, to a seed in
            the size of the file.
        write: Function that writes a seed to a file, with the same flag.
        holds: Contents of a file, in a few words.
    """

    suffix: str
    read: Callable[[Path, bool], Seed]
    write: Callable[[Path, Seed, bool], None]
    holds: str


def load_seed(
    path: Path | str,
    layout: str,
    size: tuple[int, int] | None = None,
    num_classes: int | None = None,
    with_background: bool = False,
    normalise: bool | None = None,
    only: Collection[int] | None = None,
) -> Seed:
    """Reads the class maps of one image; pickles are read without running them.

    Args:
        path: The file.
        layout: A name in :data:`SEED_FORMATS`.
        size: ``(H, W)`` of the photo; maps of another size are resized (bilinear).
        num_classes: C; every class id must be below it.
        with_background: Whether id 0 in the file is the background and class c is c + 1,
            as in PSA's maps after the dense CRF.
        normalise: Whether to scale every class to [0, 1]; None does so where a value
            exceeds 1. Negative values become 0 before.
        only: Ids of the classes to keep; None keeps all.

    Returns:
        A seed of ``size``, or else of the size in the file.

    Raises:
        ConfigError: ``layout`` is unknown.
        DataError: The file is missing, refused, damaged, of another layout, of another
            shape than the photo, not finite, or has unknown classes; names it.
    """
    path = Path(path)
    seed = seed_format(layout).read(path, with_background)
    _check(seed, path, num_classes)
    if only is not None:
        seed = _of_classes(seed, only)
    seed = replace(seed, scores=seed.scores.clamp(min=0))
    if size is not None:
        seed = _fitted(seed, size, path)
    elif not seed.scores.shape[1]:
        raise DataError(
            f'{path} shows no class, so that its size is not known: give the photos'
        )
    if normalise is None:
        normalise = bool((seed.scores > 1 + ROUNDING).any())
    return seed.normalised() if normalise else seed


def save_seed(
    path: Path | str, seed: Seed, layout: str, with_background: bool = False
) -> None:
    """Writes a seed in the format of another project, completely or not at all.

    Args:
        path: The file.
        seed: The seed.
        layout: A name in :data:`SEED_FORMATS`.
        with_background: See :func:`load_seed`; the seed must have a background.

    Raises:
        ConfigError: ``layout`` is unknown, or cannot hold a background.
        DataError: The seed has no background.
    """
    seed_format(layout).write(Path(path), seed, with_background)


def seed_format(layout: str) -> SeedFormat:
    """The format of that name.

    Raises:
        ConfigError: No format of seeds has this name.
    """
    if layout not in SEED_FORMATS:
        raise ConfigError(
            f"unknown format '{layout}' of seeds: {near_names(layout, SEED_FORMATS)}",
            token=layout,
        )
    return SEED_FORMATS[layout]


def _check(seed: Seed, path: Path, num_classes: int | None) -> None:
    """Refuses scores that are not finite, and ids that are unknown or occur twice."""
    ids = seed.classes.tolist()
    wrong = [c for c in ids if c < 0 or (num_classes is not None and c >= num_classes)]
    if wrong:
        allowed = 'from 0' if num_classes is None else f'0 to {num_classes - 1}'
        raise DataError(
            f'{path} has the class id {wrong[0]}: allowed are ids {allowed}; where id 0 is '
            'the background, say so (with_background)'
        )
    if len(set(ids)) < len(ids):
        raise DataError(f'{path} has one class twice: keep one map of each')
    maps = [seed.scores] + ([] if seed.background is None else [seed.background])
    if not all(each.isfinite().all() for each in maps):
        raise DataError(f'{path} holds scores that are not finite: make it again')


def _of_classes(seed: Seed, only: Collection[int]) -> Seed:
    """The seed without the classes that are not in ``only``."""
    keep = torch.tensor([c in only for c in seed.classes.tolist()], dtype=torch.bool)
    confidence = None if seed.confidence is None else seed.confidence[keep]
    return replace(
        seed,
        scores=seed.scores[keep],
        classes=seed.classes[keep],
        confidence=confidence,
    )


def _fitted(seed: Seed, size: tuple[int, int], path: Path) -> Seed:
    """The seed at the size of its photo."""
    if not len(seed.classes) and seed.background is None:
        return replace(seed, scores=torch.zeros(0, *size))
    if _alike(seed.size, size[::-1]) and not _alike(seed.size, size):
        raise DataError(
            f'{path} is {seed.size} (height, width) but its photo is {size}: the maps '
            'are turned by 90 degrees or of another photo'
        )
    return seed.resized(size)


def _alike(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether two sizes have the same aspect ratio, up to the rounding of a grid."""
    across = abs(small[0] * large[1] - small[1] * large[0])
    return across <= 1.5 * max(large)


def _read_wsss(path: Path, with_background: bool) -> Seed:
    _refuse_background('wsss', with_background)
    return Seed.load(path)


def _write_wsss(path: Path, seed: Seed, with_background: bool) -> None:
    _refuse_background('wsss', with_background)
    seed.save(path)


def _refuse_background(layout: str, with_background: bool) -> None:
    if with_background:
        raise ConfigError(
            f'in files of the format {layout} no id is the background: leave '
            'with_background out',
            token='with_background',
        )


def _read_by_class(path: Path, with_background: bool) -> Seed:
    """``{class id: map}``, or an array ``(C, H, W)`` of which zero maps are left out."""
    content = load_pickled_npy(path)
    if isinstance(content, np.ndarray) and content.ndim == 3:
        shown = [i for i, m in enumerate(content) if (m > 0).any()]
        content = {i: content[i] for i in shown}
    if not isinstance(content, dict) or any(not _is_id(key) for key in content):
        raise DataError(
            f'{path} holds {_described(content)}: a file of this format is a dict from '
            'class ids to maps (H, W)'
        )
    maps = {int(key): _map(value, path) for key, value in content.items()}
    if len(maps) < len(content):
        raise DataError(f'{path} has one class twice: keep one map of each')
    background = maps.pop(0, None) if with_background else None
    return _seed(
        path, [c - with_background for c in maps], list(maps.values()), background
    )


def _write_by_class(path: Path, seed: Seed, with_background: bool) -> None:
    maps = {
        c: s for c, s in zip(seed.classes.tolist(), _float32(seed.scores), strict=True)
    }
    if with_background:
        first, *others = _float32(seed.probabilities())
        maps = {0: first} | {
            c + 1: s for c, s in zip(seed.classes.tolist(), others, strict=True)
        }
    save_pickled_npy(path, maps)


def _read_irn(path: Path, with_background: bool) -> Seed:
    """``keys``, ``cam`` at a quarter of the size, ``high_res`` at the photo's."""
    content = load_pickled_npy(path)
    name = 'high_res' if isinstance(content, dict) and 'high_res' in content else 'cam'
    if not isinstance(content, dict) or not {'keys', name} <= set(content):
        raise DataError(
            f"{path} holds {_described(content)}: a file of IRN has 'keys' and 'high_res' "
            "or 'cam'; a dict from class ids to maps is the format psa"
        )
    ids = np.atleast_1d(np.asarray(content['keys'])).astype(np.int64).tolist()
    maps = np.asarray(content[name])
    if len(ids) == len(maps) + 1 and ids[0] == 0:  # of copies that pad the keys
        ids = [i - 1 for i in ids[1:]]
    if len(ids) != len(maps):
        raise DataError(f'{path} has {len(ids)} keys for {len(maps)} maps')
    layers = [_map(each, path) for each in maps]
    background = None
    if with_background:
        if 0 in ids:
            background = layers.pop(ids.index(0))
            ids.remove(0)
        ids = [i - 1 for i in ids]
    return _seed(path, ids, layers, background)


def _write_irn(path: Path, seed: Seed, with_background: bool) -> None:
    _refuse_background('irn', with_background)
    height, width = ((side - 1) // IRN_STRIDE + 1 for side in seed.size)
    scores = seed.scores.float().cpu()
    strided = scores.new_zeros(0, height, width)
    if len(scores):
        strided = F.interpolate(
            scores[None], size=(height, width), mode='bilinear', align_corners=False
        )[0]
    content: dict[str, Any] = dict(
        keys=seed.classes.cpu().numpy(),
        cam=strided,  # IRN sends it to the GPU as the tensor that it is
        high_res=scores.numpy(),
    )
    save_pickled_npy(path, content)


_BY_CLASS = SeedFormat(
    '.npy', _read_by_class, _write_by_class, 'a pickled dict {class id: map (H, W)}'
)

SEED_FORMATS: Mapping[str, SeedFormat] = MappingProxyType(
    {
        'wsss': SeedFormat(
            '.npz', _read_wsss, _write_wsss, 'arrays scores, classes, background'
        ),
        'irn': SeedFormat(
            '.npy',
            _read_irn,
            _write_irn,
            "a pickled dict with 'keys', 'cam', 'high_res'",
        ),
        'psa': _BY_CLASS,
        'seam': _BY_CLASS,
        'mctformer': _BY_CLASS,
        'acr': _BY_CLASS,
    }
)
"""How seeds are kept, by project. Class ids count from 0, without background.

'wsss' is this package's own. 'irn' is for IRN and those that build on it (AdvCAM,
CLIMS ...), the others for a dict of maps, also for an array ``(C, H, W)``.
"""


def _is_id(key: Any) -> bool:
    return isinstance(key, int) or (isinstance(key, str) and key.isdigit())


def _described(content: Any) -> str:
    """What a file holds, for a message."""
    if isinstance(content, dict):
        keys = ', '.join(repr(key) for key in list(content)[:6])
        return f'a dict with the keys {keys or "none"}'
    if isinstance(content, np.ndarray):
        return f'an array {content.shape}'
    return f'a {type(content).__name__}'


def _map(value: Any, path: Path) -> Tensor:
    """One map ``(H, W)`` float32."""
    array = np.asarray(value)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim != 2 or array.dtype.kind not in 'biuf' or not array.size:
        raise DataError(
            f'{path} has a map of shape {array.shape} and type {array.dtype}: a map is '
            '(height, width) numbers'
        )
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _seed(
    path: Path, ids: list[int], maps: list[Tensor], background: Tensor | None
) -> Seed:
    """A seed of maps of one size."""
    every = maps + ([] if background is None else [background])
    sizes = sorted({tuple(each.shape) for each in every})
    if len(sizes) > 1:
        raise DataError(
            f'{path} has maps of {sizes[0]} and {sizes[1]}: they must be of one size'
        )
    size = sizes[0] if sizes else (0, 0)
    scores = torch.stack(maps) if maps else torch.zeros(0, *size)
    return Seed(scores, torch.tensor(ids, dtype=torch.int64), background)


def _float32(maps: Tensor) -> list[np.ndarray]:
    return list(maps.detach().cpu().float().numpy())
