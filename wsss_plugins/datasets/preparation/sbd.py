"""The Semantic Boundaries Dataset: masks in MATLAB files, as palette PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from wsss_plugins.datasets.preparation.opening import open_source
from wsss_plugins.datasets.preparation.parts import (
    MASK_BYTES,
    Sizes,
    check_count,
    compare_sizes,
    require_names,
    write_photos,
)
from wsss_plugins.datasets.preparation.pictures import check_values, decode_mask
from wsss_plugins.datasets.preparation.sources import Member, Pool
from wsss_plugins.datasets.preparation.tree import Prepared, Tree
from wsss_plugins.datasets.voc12 import VOC_CLASSES
from wsss_plugins.errors import DataError
from wsss_plugins.structures import save_label_map

SBD_COUNTS = {'train': 8498, 'val': 2857}
"""Images of SBD's own split, 11,355 together; it is not VOC's."""

NO_SBD = (
    'give benchmark.tgz of the Semantic Boundaries Dataset, its folder benchmark_RELEASE, '
    'or a folder or zip SegmentationClassAug of PNG masks'
)


AGAIN = 'copy or download SBD again'


class SBDMasks:
    """The masks of SBD in any of several sources and formats.

    Reads ``cls/<id>.mat`` as published (MATLAB 5, the struct ``GTcls`` with the field
    ``Segmentation``), or PNG files that others made of them, in a folder
    ``SegmentationClassAug``.

    Source: Hariharan et al. 2011, Semantic Contours from Inverse Detectors, ICCV.

    Args:
        pool: The sources.

    Raises:
        DataError: The sources hold no masks of SBD.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        for folder, suffix in (('cls', '.mat'), ('SegmentationClassAug', '.png')):
            files = pool.files(folder)
            self.files = {
                name.removesuffix(suffix): at
                for name, at in files.items()
                if name.endswith(suffix)
            }
            self.suffix, self.folder = suffix, folder
            if self.files:
                return
        there = '; '.join(source.summary for source in pool.sources)
        raise DataError(
            f'{pool.paths} has no masks of SBD, cls/<id>.mat (it holds {there}): {NO_SBD}'
        )

    @property
    def ids(self) -> set[str]:
        """Ids of all images with a mask."""
        return set(self.files)

    def wanted(self, ids: Sequence[str]) -> list[dict[str, set[str]]]:
        """What to read of the sources for ``ids``."""
        files = {f'{name}{self.suffix}': at for name, at in self.files.items()}
        return self.pool.wanted(files, (f'{name}{self.suffix}' for name in ids))

    def labels(self, member: Member) -> np.ndarray:
        """The mask in a file, ``(H, W)`` uint8.

        Raises:
            DataError: The file is damaged, or has a value that is not a class.
        """
        if self.suffix == '.mat':
            return read_sbd_mask(member.read(), member.where)
        labels = decode_mask(member.read(), member.where).labels
        check_values(labels, 1 + len(VOC_CLASSES), member.where)
        return labels


def read_sbd_mask(data: bytes, where: str) -> np.ndarray:
    """Reads ``GTcls.Segmentation``.

    Args:
        data: Content of a ``.mat`` of the folder ``cls``.
        where: Its place, for messages.

    Returns:
        ``(H, W)`` uint8: 0 background, 1 to 20 the classes of VOC.

    Raises:
        DataError: The file is damaged or of another structure.
    """
    try:
        found: Any = loadmat(io.BytesIO(data), variable_names=['GTcls'])['GTcls']
        labels = found['Segmentation'][0, 0]
    except Exception as error:  # scipy raises what it meets in a broken file
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise DataError(
            f'{where} is no MATLAB file of SBD with GTcls.Segmentation ({reason}): '
            + AGAIN
        ) from error
    if labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise DataError(
            f'{where}: GTcls.Segmentation is {labels.dtype} of shape {labels.shape}, not '
            'uint8 of shape (H, W): ' + AGAIN
        )
    check_values(labels, 1 + len(VOC_CLASSES), where)
    return labels


def write_masks(tree: Tree, masks: SBDMasks, ids: Sequence[str], folder: str) -> Sizes:
    """Writes masks as ``folder/<id>.png``.

    Returns:
        ``(H, W)`` of each.
    """
    sizes: Sizes = {}

    def convert(member: Member) -> None:
        """Writes one mask as a label map, unless it is there, and notes its size."""
        name = member.name.removesuffix(masks.suffix)
        target = f'{folder}/{name}.png'
        if not tree.has(target):
            save_label_map(tree.root / target, masks.labels(member))
        data = (tree.root / target).read_bytes()
        sizes[name] = decode_mask(data, str(tree.root / target)).labels.shape
        tree.put(target, data)

    members = masks.pool.members(masks.wanted(ids))
    tree.each(members, convert, 'masks of SBD', len(ids))
    return sizes


def prepare_sbd(
    sources: Sequence[Path | str],
    out: Path | str,
    copy: bool = False,
    any_count: bool = False,
    workers: int | None = None,
) -> Prepared:
    """Turns SBD alone into a tree that ``VOC12(labels='masks')`` reads.

    ``SegmentationClass/<id>.png``, SBD's own lists in ``ImageSets/Segmentation`` and, where
    the sources have ``img/``, ``JPEGImages/<id>.jpg``.

    Args:
        sources: ``benchmark.tgz`` or its folder.
        out: The tree.
        copy: Copy photos of a folder instead of linking to them.
        any_count: Accept another number of images than the published one.
        workers: Threads that decode.

    Returns:
        Where it is and how many images it has.

    Raises:
        DataError: Anything is missing, damaged or of another size.
    """
    pool = Pool(open_source(Path(path)) for path in sources)
    masks = SBDMasks(pool)
    tree = Tree(Path(out), 'sbd', [pool], {}, copy, workers)
    splits = _own_splits(masks, any_count)
    ids = sorted(name for names in splits.values() for name in names)
    photos = {n: at for n, at in pool.files('img').items() if n.endswith('.jpg')}
    names = [f'{name}.jpg' for name in ids] if photos else []
    require_names(names, photos, 'photos in img/', AGAIN)
    wanted = pool.wanted(photos, names)
    space = tree.bytes_for(pool, wanted) + MASK_BYTES * len(ids)
    tree.require_space(space, [f'JPEGImages/{name}' for name in names])
    if done := tree.begin(['SegmentationClass', 'ImageSets']):
        return done
    sizes = write_masks(tree, masks, ids, 'SegmentationClass')
    if names:
        shown = write_photos(tree, pool.members(wanted), len(names))
        compare_sizes(tree, shown, sizes, 'SegmentationClass')
    for split, members in splits.items():
        text = ''.join(f'{name}\n' for name in members)
        tree.make(f'ImageSets/Segmentation/{split}.txt', text.encode())
    return tree.finish({split: len(members) for split, members in splits.items()})


def _own_splits(masks: SBDMasks, any_count: bool) -> dict[str, list[str]]:
    """SBD's ``train.txt`` and ``val.txt``, beside the folder of its masks."""
    index, folder = next(iter(masks.files.values()))
    source = masks.pool.sources[index]
    splits = {}
    for split, official in SBD_COUNTS.items():
        names = source.ids(folder.rpartition('/')[0], f'{split}.txt')
        require_names(names, masks.files, f'masks of {split}.txt', AGAIN)
        check_count(f'{split}.txt of SBD', len(names), official, any_count)
        splits[split] = names
    return splits
