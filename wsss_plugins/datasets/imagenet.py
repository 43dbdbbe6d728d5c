"""ImageNet: the validation images of ILSVRC 2012, in either of their two layouts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.io import loadmat
from timm.data import ImageNetInfo

from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.files import check_classes, read_lines
from wsss_plugins.datasets.listing import Listing
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS

IMAGENET_COUNTS = {'val': 50000, 'train': 1281167}
"""Images of the official archives."""

GROUND_TRUTH = 'ILSVRC2012_validation_ground_truth.txt'
META = 'meta.mat'
DEVKIT = Path('ILSVRC2012_devkit_t12') / 'data'
SUFFIXES = {'.jpeg', '.jpg', '.png'}

_GET_DEVKIT = (
    'unpack ILSVRC2012_devkit_t12.tar.gz of image-net.org into {root}, or sort the '
    'images into folders of their WordNet ids'
)


@DATASETS.register_module()
class ImageNet(WSSSDataset):
    """ILSVRC 2012, with one class per image.

    Reads ``<split>/n01440764/ILSVRC2012_val_00000293.JPEG``, or the archive as it is,
    ``<split>/ILSVRC2012_val_00000293.JPEG``, with the two files of the development kit
    that hold the labels. Both give the same samples in the same order, that of the file
    names. The classes are the 1,000 WordNet ids in ascending order, as timm's and
    torchvision's classifiers count them; the ids 1 to 1,000 of the development kit
    follow another order.

    Source: Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge,
    IJCV 115.

    Args:
        data_root: The folder with the folder of the split.
        split: The folder of the images, 'val'.
        devkit: Folder with ``ILSVRC2012_validation_ground_truth.txt`` and ``meta.mat``,
            absolute or below ``data_root``; needed by the flat layout. Default:
            ``ILSVRC2012_devkit_t12/data``, else ``data_root`` itself.
        verify_count: Whether to refuse a split without its official number of images
            (:data:`IMAGENET_COUNTS`).
        **kwargs: See :class:`WSSSDataset`.
    """

    ground_truth_folders: ClassVar[tuple[str, ...]] = ('SegmentationClass', 'masks')
    has_label_maps: ClassVar[bool] = False
    how_to_get: ClassVar[str] = (
        'unpack ILSVRC2012_img_val.tar of image-net.org into {root}/val'
    )

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'val',
        devkit: str | Path | None = None,
        verify_count: bool = False,
        **kwargs: Any,
    ) -> None:
        self.devkit = devkit
        self.verify_count = verify_count
        super().__init__(data_root, split, **kwargs)

    def read_split(self) -> Listing:
        """The images of the split in the order of their file names, with their class."""
        classes = imagenet_classes()
        folder = self.root / self.split
        if not folder.is_dir():
            raise DataError(
                f'{folder} does not exist: ' + self.how_to_get.format(root=self.root)
            )
        entries = sorted(folder.iterdir())
        folders = [entry for entry in entries if entry.is_dir()]
        if folders:
            found = [(path, f.name) for f in folders for path in _images(f.iterdir())]
        else:
            found = self._labelled(_images(entries))
        shown = {name for _, name in found}
        check_classes(shown, classes, f'{folder} has images of')
        found.sort(key=lambda item: item[0].name)
        self._check_count(len(found), folder)
        position = {name: c for c, name in enumerate(classes)}
        labels = np.zeros((len(found), len(classes)), np.float32)
        labels[np.arange(len(found)), [position[name] for _, name in found]] = 1
        paths = [path for path, _ in found]
        return Listing(classes, [path.stem for path in paths], paths, labels, folder)

    def _check_count(self, count: int, folder: Path) -> None:
        expected = IMAGENET_COUNTS.get(self.split, count)
        if self.verify_count and count != expected:
            raise DataError(
                f'{folder} has {count} images, the official split {expected}: complete '
                'it, or set verify_count=False'
            )

    def _labelled(self, paths: list[Path]) -> list[tuple[Path, str]]:
        """The images of the flat layout, each with the WordNet id of its class."""
        devkit = self._devkit_folder()
        lines = read_lines(devkit / GROUND_TRUTH)
        wnid_of = read_synsets(devkit / META)
        try:
            return [(p, wnid_of[int(lines[_number(p) - 1])]) for p in paths]
        except (IndexError, KeyError, ValueError) as error:
            raise DataError(
                f'{devkit / GROUND_TRUTH} has {len(lines)} lines and does not fit '
                f'{paths[0].parent} or {META} ({error}): '
                + _GET_DEVKIT.format(root=self.root)
            ) from error

    def _devkit_folder(self) -> Path:
        given = self.devkit
        places = (
            [self.root / DEVKIT, self.root] if given is None else [self.root / given]
        )
        for place in places:
            if (place / GROUND_TRUTH).is_file() and (place / META).is_file():
                return place
        place = next((p for p in places if (p / GROUND_TRUTH).is_file()), places[0])
        missing = [n for n in (GROUND_TRUTH, META) if not (place / n).is_file()]
        raise DataError(
            f'{self.root / self.split} has no folders of classes, and without '
            f'{" and ".join(missing)} in {place} its images have no labels: '
            + _GET_DEVKIT.format(root=self.root)
        )


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 WordNet ids, ascending."""
    return tuple(ImageNetInfo('imagenet-1k').label_names())


def _images(paths: Any) -> list[Path]:
    return [p for p in paths if p.suffix.lower() in SUFFIXES and p.name[0] != '.']


def _number(path: Path) -> int:
    """293 of ``ILSVRC2012_val_00000293.JPEG``.

    Raises:
        DataError: The file name does not have this form.
    """
    found = re.fullmatch(r'ILSVRC2012_val_(\d{8})', path.stem)
    if found is None or int(found[1]) < 1:
        raise DataError(
            f'{path} is not named as ILSVRC2012_val_00000293.JPEG, so that it has no '
            'line in the ground truth: restore its name or remove it'
        )
    return int(found[1])


def read_synsets(path: Path) -> dict[int, str]:
    """WordNet id of each ``ILSVRC2012_ID`` in the development kit's ``meta.mat``.

    Args:
        path: A MATLAB file (version 5) with the struct array ``synsets``.

    Returns:
        The WordNet ids of the 1,000 classes and of the synsets above them.

    Raises:
        DataError: The file is missing, is not such a file, or lacks a field.
    """
    try:
        synsets = np.atleast_1d(loadmat(path, squeeze_me=True)['synsets'])
        return {
            int(number): str(wnid)
            for number, wnid in zip(
                synsets['ILSVRC2012_ID'], synsets['WNID'], strict=True
            )
        }
    except FileNotFoundError as error:
        raise DataError(f'{path} does not exist') from error
    except Exception as error:  # scipy raises what it meets in a broken file
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise DataError(
            f'{path} is no table of synsets with ILSVRC2012_ID and WNID ({reason}): '
            'take it from ILSVRC2012_devkit_t12.tar.gz of image-net.org'
        ) from error
