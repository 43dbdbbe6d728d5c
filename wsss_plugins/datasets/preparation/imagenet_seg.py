"""ImageNet-Segmentation: one MATLAB file, linked to and read to the last pixel."""

from __future__ import annotations

from pathlib import Path

from wsss_plugins.datasets.imagenet_seg import (
    IMAGENET_SEG_COUNT,
    MAT_FILE,
    ImageNetSeg,
)
from wsss_plugins.datasets.preparation.opening import kind_of
from wsss_plugins.datasets.preparation.parts import check_count
from wsss_plugins.datasets.preparation.sources import FileSource, Pool
from wsss_plugins.datasets.preparation.tree import Prepared, Tree
from wsss_plugins.errors import DataError
from wsss_plugins.progress import track

CLASSES = 445
"""WordNet ids in the official file."""


def prepare_imagenet_seg(
    source: Path | str, out: Path | str, copy: bool = False, any_count: bool = False
) -> Prepared:
    """Puts ``gtsegs_ijcv.mat`` where ``ImageNetSeg`` reads it, after reading all of it.

    Args:
        source: The file, or the folder that it lies in.
        out: The data root.
        copy: Copy it instead of linking to it.
        any_count: Accept another number of images or classes than the published one.

    Returns:
        The data root, and how many images and classes there are.

    Raises:
        DataError: The file is missing, damaged, another one, or an image and its mask
            differ in size.
    """
    path = Path(source)
    path = path / MAT_FILE if path.is_dir() else path
    if (kind := kind_of(path)) != 'an HDF5 file' and not _is_mat73(path):
        raise DataError(
            f'{path} is {kind}, not MATLAB 7.3 (HDF5): take {MAT_FILE} of calvin-vision.net'
        )
    found = FileSource(path)
    tree = Tree(Path(out), 'imagenet-seg', [Pool([found])], {}, copy)
    tree.require_space(path.stat().st_size if copy else 0, [MAT_FILE])
    counts = verify(path, any_count)
    if done := tree.begin([]):
        return done
    tree.put_file(MAT_FILE, found, '', path.name)
    return tree.finish(counts)


def _is_mat73(path: Path) -> bool:
    """MATLAB 7.3 begins with 512 bytes of its own; then comes HDF5."""
    with path.open('rb') as file:
        head = file.read(520)
    return head[512:516] == b'\x89HDF'


def verify(path: Path, any_count: bool = False) -> dict[str, int]:
    """Reads every image and mask.

    Args:
        path: The file.
        any_count: Accept any number of images.

    Returns:
        Number of images and classes.

    Raises:
        DataError: The file is damaged, has another number of images or classes than the
            official one, or a mask of another size than its image.
    """
    dataset = ImageNetSeg(path.parent, path.name, label_maps='gt', test_mode=True)
    classes = len(dataset.foreground_classes)
    check_count(str(path), len(dataset), IMAGENET_SEG_COUNT, any_count)
    if classes != CLASSES and not any_count:
        raise DataError(
            f'{path} has {classes} classes, the official file {CLASSES}: download it again'
        )
    for index in track(range(len(dataset)), 'images and masks', len(dataset)):
        image, mask = dataset.load_image(index), dataset.load_mask(index)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{path}: the mask of '{dataset.ids[index]}' is {mask.shape}, its image "
                f'{image.shape[:2]} (H, W): download the file again'
            )
    return dict(images=len(dataset), classes=classes)
