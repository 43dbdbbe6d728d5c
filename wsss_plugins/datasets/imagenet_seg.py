"""ImageNet-Segmentation: the masks of Guillaumin et al. in one MATLAB file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.listing import Listing
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS
from wsss_plugins.structures.masks_read import note_mask

MAT_FILE = 'gtsegs_ijcv.mat'
FIELDS = ('img', 'gt', 'id', 'target')
IMAGENET_SEG_COUNT = 4276
"""Images of the official file; they show 445 classes."""


@DATASETS.register_module()
class ImageNetSeg(WSSSDataset):
    """Images of one object each, with a mask of it, read out of ``gtsegs_ijcv.mat``.

    The file is MATLAB's version 7.3, that is HDF5: ``value`` has the fields ``img``,
    ``gt``, ``id`` and ``target``, each ``(N, 1)`` references, to an image
    ``(3, W, H)`` uint8, to references of masks ``(W, H)`` in {0, 1} (the first counts,
    as in the released code of Chefer et al.), to an image name and to the WordNet id of
    its class. The classes are the WordNet ids of the file in ascending order; there are
    more classes than values of a label map, so **every object has label 1** in the
    masks, whatever its class.

    The images are not separate files: :meth:`load_image` returns them, and the data set
    has no ``pipeline``. ``label_maps='gt'`` selects the masks of the file, which are
    refused in training.

    Source: Guillaumin, Kuettel & Ferrari 2014, ImageNet Auto-Annotation with
    Segmentation Propagation, IJCV 110.

    Args:
        data_root: The folder with the file.
        split: Name of the file.
        verify_count: Whether to refuse a file without the official number of images.
        **kwargs: See :class:`WSSSDataset`.
    """

    ground_truth_folders: ClassVar[tuple[str, ...]] = ('gt',)
    images_are_files: ClassVar[bool] = False
    how_to_get: ClassVar[str] = (
        f'download {MAT_FILE} of calvin-vision.net (ImageNet auto-annotation) to {{root}}'
    )

    def __init__(
        self,
        data_root: str | Path,
        split: str = MAT_FILE,
        verify_count: bool = False,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        if pipeline:
            raise DataError(
                f'{type(self).__name__} takes no pipeline, since its images are no files '
                'of their own: read them by load_image'
            )
        self.verify_count = verify_count
        self.row_of: dict[str, int] = {}
        super().__init__(data_root, split, **kwargs)

    @property
    def file(self) -> Path:
        """The MATLAB file."""
        return self.root / self.split

    def read_split(self) -> Listing:
        """All images of the file in its order, with the class of each."""
        if not self.file.is_file():
            raise DataError(
                f'{self.file} does not exist: ' + self.how_to_get.format(root=self.root)
            )
        with self._opened() as file:
            fields = _check_layout(file, self.file)
            ids = [_text(file[ref]) for ref in fields['id'][:, 0]]
            targets = [_text(file[ref]) for ref in fields['target'][:, 0]]
        if self.verify_count and len(ids) != IMAGENET_SEG_COUNT:
            raise DataError(
                f'{self.file} has {len(ids)} images, the official file '
                f'{IMAGENET_SEG_COUNT}: download it anew, or set verify_count=False'
            )
        self.row_of = {name: row for row, name in enumerate(ids)}
        classes = sorted(set(targets))
        labels = np.array(targets)[:, None] == np.array(classes)
        return Listing(classes, ids, [self.file] * len(ids), labels, self.file)

    def load_image(self, index: int) -> np.ndarray:
        """Image ``index``, ``(H, W, 3)`` uint8 RGB.

        Raises:
            DataError: The file is damaged there.
        """
        pixels = self._read(index, 'img')
        if pixels.ndim != 3 or len(pixels) != 3 or pixels.dtype != np.uint8:
            raise DataError(
                f'{self._place(index)} has an image of shape {pixels.shape} and type '
                f'{pixels.dtype} instead of (3, W, H) and uint8: download the file anew'
            )
        return np.ascontiguousarray(pixels.transpose(2, 1, 0))

    def image_size(self, index: int) -> tuple[int, int]:
        """``(H, W)`` of image ``index``, without reading its pixels."""
        with self._opened() as file:
            shape = self._cell(file, index, 'img').shape
        return shape[-1], shape[-2]

    def load_mask(self, index: int) -> np.ndarray:
        """Mask of image ``index``, ``(H, W)`` uint8: 1 on the object, 0 elsewhere.

        Raises:
            DataError: The data set was built without ``label_maps``, or the mask in the
                file is damaged. With ``label_maps=FOLDER`` see
                :meth:`WSSSDataset.load_mask`.
        """
        if not self._masks_in_file:
            return super().load_mask(index)
        mask = self._read(index, 'gt')
        if mask.ndim != 2 or not np.isin(mask, (0, 1)).all():
            raise DataError(
                f'{self._place(index)} has a mask of shape {mask.shape} with values up '
                f'to {mask.max()} instead of (W, H) and 0 or 1: download the file anew'
            )
        mask = np.ascontiguousarray(mask.T.astype(np.uint8))
        name = self.get_data_info(index)['img_id']
        note_mask(self._mask_lists, self.label_map_folder, name, mask)
        return mask

    @property
    def _masks_in_file(self) -> bool:
        return self.label_map_folder == self.root / 'gt'

    def _add_label_maps(self, samples: list[dict[str, Any]], folder: Path) -> None:
        if not self._masks_in_file:
            super()._add_label_maps(samples, folder)

    def _place(self, index: int) -> str:
        return f"{self.file}: '{self.get_data_info(index)['img_id']}'"

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        """The file; each reading opens it, so that workers share no handle."""
        try:
            with h5py.File(self.file, 'r') as file:
                yield file
        except OSError as error:
            raise DataError(
                f'{self.file} is no whole HDF5 file, as MATLAB 7.3 writes them '
                f'({error}): download it anew'
            ) from error

    def _cell(self, file: h5py.File, index: int, field: str) -> h5py.Dataset:
        """The array of one field of image ``index``."""
        row = self.row_of[self.get_data_info(index)['img_id']]
        try:
            cell = file[file['value'][field][row, 0]]
            return file[cell[()].flat[0]] if cell.dtype == h5py.ref_dtype else cell
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(
                f'{self._place(index)} has no readable value/{field} ({error}): '
                'download the file anew'
            ) from error

    def _read(self, index: int, field: str) -> np.ndarray:
        with self._opened() as file:
            return self._cell(file, index, field)[()]


def _check_layout(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """The fields of ``value``.

    Raises:
        DataError: A field is missing, or is not a column of references; the message
            names the field.
    """
    value = file.get('value')
    there = sorted(value) if isinstance(value, h5py.Group) else []
    missing = [f'value/{name}' for name in FIELDS if name not in there]
    if missing:
        found = ', '.join(f'value/{name}' for name in there) or ', '.join(file)
        raise DataError(
            f'{path} lacks {", ".join(missing)}: it has {found or "nothing"}; '
            f'take {MAT_FILE} of calvin-vision.net'
        )
    fields = {name: value[name] for name in FIELDS}
    shape = (len(fields['id']), 1)
    for name, field in fields.items():
        if field.shape != shape or field.dtype != h5py.ref_dtype:
            raise DataError(
                f'{path}: value/{name} is {field.dtype} of shape {field.shape}, not '
                f'references of shape {shape}: take {MAT_FILE} of calvin-vision.net'
            )
    return fields


def _text(characters: h5py.Dataset) -> str:
    """A character array of MATLAB: UTF-16 code units."""
    return characters[()].astype('<u2').tobytes().decode('utf-16-le')
