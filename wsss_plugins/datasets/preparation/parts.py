"""Steps that every preparation takes: photos, sizes, counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath

from wsss_plugins.datasets.preparation.pictures import check_photo
from wsss_plugins.datasets.preparation.sources import Member
from wsss_plugins.datasets.preparation.tree import Tree
from wsss_plugins.errors import DataError

MASK_BYTES = 5000
"""Bytes of a mask as PNG, for the estimate of space; those of VOC val have 4.8 kB."""

Sizes = dict[str, tuple[int, int]]
"""``(H, W)`` of each picture, by its id."""


def check_count(what: str, found: int, official: int, any_count: bool) -> None:
    """Refuses another number than the official one.

    Raises:
        DataError: The numbers differ, and ``any_count`` is not set.
    """
    if found != official and not any_count:
        raise DataError(
            f'{what} has {found:,} images, the official one {official:,}: give the whole data '
            'set, or add --any-count for a part of it'
        )


def require_names(
    names: Iterable[str], there: Iterable[str], what: str, hint: str
) -> None:
    """Refuses sources that lack files.

    Raises:
        DataError: Files are missing; the message counts them and names the first.
    """
    names, known = list(names), set(there)
    if missing := [name for name in names if name not in known]:
        raise DataError(
            f'{len(missing):,} of {len(names):,} {what} are missing, the first is '
            f'{missing[0]}: {hint}'
        )


def write_photos(
    tree: Tree, members: Iterable[Member], total: int, folder: str = 'JPEGImages'
) -> Sizes:
    """Decodes photos and writes them as ``folder/<name>``.

    Returns:
        The size of each.

    Raises:
        DataError: A photo cannot be decoded.
    """
    sizes: Sizes = {}

    def write(member: Member) -> None:
        """Writes one photo once it is known to be whole, and notes its size."""
        target = f'{folder}/{member.name}'
        data, where = tree.content(target, member)
        sizes[PurePath(member.name).stem] = check_photo(data, where).size
        tree.put(target, data, member.path)

    tree.each(members, write, f'photos of {folder}', total)
    return sizes


def compare_sizes(
    tree: Tree, photos: Mapping[str, tuple[int, int]], masks: Sizes, folder: str
) -> None:
    """Refuses masks of another size than their photo.

    Raises:
        DataError: A mask is of another size than its photo; the message names the mask,
            which is removed.
    """
    for name in sorted(masks):
        if masks[name] != photos.get(name, masks[name]):
            tree.discard(f'{folder}/{name}.png')
            raise DataError(
                f'the mask {folder}/{name}.png is {masks[name][0]} x {masks[name][1]} (H x W), '
                f'its photo {photos[name][0]} x {photos[name][1]}: replace the one that is '
                'wrong, then run the same command again'
            )
