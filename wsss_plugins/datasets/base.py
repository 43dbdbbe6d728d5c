"""The base class of data sets: samples, checks, and no ground-truth masks in training."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset

from wsss_plugins.datasets.files import check_class_count, check_ids, require_files
from wsss_plugins.datasets.listing import Listing
from wsss_plugins.datasets.photos import read_image, read_image_size
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import TRANSFORMS, build_as
from wsss_plugins.structures import load_label_map, voc_palette
from wsss_plugins.structures.masks_read import note_mask, open_lists

FORMER_METHODS = ('find_classes', 'find_images', 'find_labels')
"""Methods of an earlier contract, which :meth:`WSSSDataset.read_split` replaces."""


class WSSSDataset(BaseDataset, ABC):
    """Images with image-level labels and, with ``label_maps``, a label map for each image.

    A sample is a dict that the transforms of this package and those of mmseg accept:
    ``img_path``, ``img_id`` (str), ``gt_label`` (``(C,)`` float32 in {0, 1}) and, only
    with ``label_maps``, ``seg_map_path`` with the keys that mmseg's ``LoadAnnotations``
    needs. ``metainfo['classes']`` begins with 'background', which is label 0; class c of
    ``gt_label`` is label c + 1.

    Ground-truth masks are not available in training: a folder named in
    :attr:`ground_truth_folders` is refused unless ``test_mode`` is set. The constructor
    checks everything except the pixels of images and label maps.

    A subclass overrides :meth:`read_split`, which returns a :class:`Listing`, and names
    its folders of masks in :attr:`ground_truth_folders`. It sets its own attributes
    before it calls ``super().__init__``, since that calls :meth:`read_split`.

    Args:
        data_root: The folder of the data set.
        split: Name of the subset of its images, such as 'train'.
        label_maps: Folder of ``<id>.png`` label maps, relative to ``data_root`` or any
            other path: pseudo labels to train on, or ground truth to evaluate.
        pipeline: Transforms, as dicts or objects.
        test_mode: True for evaluation, which may read ground truth; False for training.
        indices: Keep only the first ``indices`` images, or those at ``indices``.
        sample: Keep only this many images, drawn at random among those that ``indices``
            keeps and the same ones every time; all if there are no more. For measurements
            that take long.
        allow_ground_truth: Permit training on ground truth, for a fully supervised
            reference.
        leave_out: Ids of images to leave out, such as those without a label map.
        require_images: True to raise an error if a listed image does not exist; False
            for stages that skip such an image.

    Raises:
        DataError: ``data_root``, an image, a label map or an image-level label is
            missing; no image is listed; an id is listed twice; a label is no class of
            the data set; or ``label_maps`` is ground truth in training.
        ConfigError: A transform of the pipeline is not registered, or not a transform;
            ``sample`` is below 1; or one of ``indices`` is below 0.
    """

    ground_truth_folders: ClassVar[tuple[str, ...]] = ()
    """Names of the folders with ground-truth masks; they are refused in training."""

    has_label_maps: ClassVar[bool] = True
    """Whether label maps with 8 bits per pixel are made, which limit the number of classes."""

    images_are_files: ClassVar[bool] = True
    """Whether each image is a file of its own; otherwise only :meth:`load_image` reads them."""

    fixed_classes: ClassVar[bool] = True
    """Whether the classes are those of a benchmark, whose evaluations count every class; of
    one's own data a class that no mask shows and nothing predicts is not in a mean."""

    how_to_get: ClassVar[str] = ''
    """End of the message for a missing ``data_root``: what to do; ``{root}`` is its path."""

    how_to_get_label_maps: ClassVar[str] = (
        'run the stage that writes it, or correct label_maps'
    )
    """End of the message for a missing label map; ``{root}``, ``{split}`` are filled in."""

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        label_maps: str | Path | None = None,
        pipeline: Sequence[Any] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
        sample: int | None = None,
        allow_ground_truth: bool = False,
        leave_out: Collection[str] = (),
        require_images: bool = True,
    ) -> None:
        self.root = Path(data_root)
        self.split = split
        self.test_mode = test_mode
        self.leave_out = frozenset(leave_out)
        self.sample = _positive(sample)
        self._sampled_from = _from_zero(indices)
        self.require_images = require_images
        self._mask_lists = open_lists()
        if not self.root.is_dir():
            raise DataError(
                f'data root {self.root} does not exist: '
                + self.how_to_get.format(root=self.root)
            )
        self.label_map_folder = self._label_map_folder(label_maps, allow_ground_truth)
        super().__init__(
            data_root=str(self.root),
            pipeline=[build_as(TRANSFORMS, cfg, BaseTransform) for cfg in pipeline],
            test_mode=test_mode,
            indices=None if sample else indices,
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a subclass that is written against an earlier contract.

        Raises:
            ConfigError: The class defines a method in :data:`FORMER_METHODS`, which is no
                longer called.
        """
        super().__init_subclass__(**kwargs)
        former = [name for name in FORMER_METHODS if name in cls.__dict__]
        if former:
            raise ConfigError(
                f'data set {cls.__name__} has {", ".join(former)}, which nothing calls '
                'any more: return what they found from one method read_split(), as '
                'Listing(classes, ids, images, labels, source); see '
                'docs/how-to/add_a_data_set.md',
                token=cls.__name__,
            )

    @abstractmethod
    def read_split(self) -> Listing:
        """Reads the images of :attr:`split` and their labels from :attr:`root`.

        The constructor calls this method once. :attr:`root`, :attr:`split`,
        :attr:`test_mode` and :attr:`label_map_folder` are set before; the classes are
        not, since this method returns them. It need not read pixels. The base class
        checks the listing with :meth:`Listing.check`.

        Raises:
            DataError: The split cannot be read; the message names the file and the
                remedy.
        """

    @property
    def foreground_classes(self) -> tuple[str, ...]:
        """The class names without background, in the order of ``gt_label``."""
        return tuple(self._metainfo['classes'][1:])

    @property
    def ids(self) -> list[str]:
        """Ids of all images, in order; every access builds a new list."""
        return [self.get_data_info(i)['img_id'] for i in range(len(self))]

    def image_path(self, index: int) -> Path:
        """Path of the file of image ``index``."""
        return Path(self.get_data_info(index)['img_path'])

    def load_image(self, index: int) -> np.ndarray:
        """Image ``index``, ``(H, W, 3)`` uint8 RGB.

        Raises:
            DataError: The file is missing or cannot be decoded.
        """
        return read_image(self.image_path(index))

    def image_size(self, index: int) -> tuple[int, int]:
        """``(H, W)`` of image ``index``, from the file's header.

        Raises:
            DataError: The file is missing or cannot be decoded.
        """
        return read_image_size(self.image_path(index))

    def digest(self) -> str:
        """A hash of the ids, image-level labels and classes, part of fingerprints."""
        content = hashlib.sha256(repr(self._metainfo['classes']).encode())
        for index in range(len(self)):
            info = self.get_data_info(index)
            content.update(info['img_id'].encode() + info['gt_label'].tobytes())
        return content.hexdigest()[:16]

    def labels(self, index: int) -> np.ndarray:
        """Image-level labels of image ``index``, ``(C,)`` float32 in {0, 1}."""
        return self.get_data_info(index)['gt_label']

    def load_mask(self, index: int) -> np.ndarray:
        """Label map of image ``index``, ``(H, W)`` uint8, with checked values.

        Raises:
            DataError: The data set was made without ``label_maps``, or the map cannot be
                decoded or holds a value that is neither a class nor 255 (ignored).
        """
        info = self.get_data_info(index)
        path = info.get('seg_map_path')
        if path is None:
            raise DataError(
                f'{type(self).__name__} was made without label maps: '
                'give label_maps=FOLDER to load masks'
            )
        mask = load_label_map(path, num_classes=len(self._metainfo['classes']))
        note_mask(self._mask_lists, self.label_map_folder, info['img_id'], mask)
        return mask

    def load_data_list(self) -> list[dict[str, Any]]:
        """Checks the data set and lists its samples; called by mmengine."""
        listing = self.read_split()
        listing.check()
        if self.has_label_maps:
            check_class_count(len(listing.classes), f'data set {self.root}')
        ids, images = listing.ids, listing.images
        self.check_images(ids, images, listing.source)
        classes = ('background', *listing.classes)
        palette = np.resize(voc_palette(), (len(classes), 3)).tolist()
        self._metainfo.update(classes=classes, palette=palette)
        labels = np.asarray(listing.labels, dtype=np.float32)
        samples: list[dict[str, Any]] = [
            dict(img_path=str(path), img_id=name, gt_label=label)
            for name, path, label in zip(ids, images, labels, strict=True)
        ]
        samples = self._sampled(samples)  # first, so that the others stay the same
        samples = [s for s in samples if s['img_id'] not in self.leave_out]
        if self.test_mode:
            for sample in samples:
                sample['test_mode'] = True  # crops and padding are then in the middle
        if self.label_map_folder is not None:
            self._add_label_maps(samples, self.label_map_folder)
        return samples

    def _sampled(self, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The samples of :attr:`sample`, which are among those at ``indices``."""
        if self.sample is None:
            return samples
        chosen = self._sampled_from
        if isinstance(chosen, int):
            samples = samples[:chosen]
        elif chosen is not None:
            samples = [samples[i] for i in chosen]
        order = np.random.default_rng(0).permutation(len(samples))
        return [samples[i] for i in sorted(order[: self.sample])]

    def check_images(
        self, ids: Sequence[str], images: Sequence[Path], source: Path
    ) -> None:
        """Refuses ids that occur twice, and images that do not exist.

        A :meth:`read_split` that reads one file of labels per image may call this method
        first, so that a missing image is reported as such and not as a missing label.

        Args:
            ids: Ids of the images, as in :class:`Listing`.
            images: Path of each image.
            source: The file that lists the images; messages name it.

        Raises:
            DataError: ``ids`` is empty, an id occurs twice, or, with ``require_images``,
                an image does not exist whose id is not in ``leave_out``.
        """
        check_ids(ids, source)
        if self.require_images:
            needed = (
                path
                for name, path in zip(ids, images, strict=True)
                if name not in self.leave_out
            )
            require_files(needed, 'image', f'it is listed in {source}')

    def label_map_path(self, folder: Path, name: str, image: Path) -> Path:
        """Path of the label map of an image: ``<folder>/<name>.png``.

        Args:
            folder: The folder of label maps.
            name: The id of the image.
            image: Its file.
        """
        return folder / f'{name}.png'

    def _add_label_maps(self, samples: list[dict[str, Any]], folder: Path) -> None:
        paths = [
            self.label_map_path(folder, s['img_id'], Path(s['img_path']))
            for s in samples
        ]
        hint = self.how_to_get_label_maps.format(root=self.root, split=self.split)
        require_files(paths, 'label map', hint)
        for sample, path in zip(samples, paths, strict=True):
            sample.update(
                seg_map_path=str(path),
                reduce_zero_label=False,
                label_map=None,
                seg_fields=[],
            )

    def _label_map_folder(
        self, given: str | Path | None, allow_ground_truth: bool
    ) -> Path | None:
        """The folder of label maps; refuses ground-truth masks in training."""
        if given is None:
            return None
        folder = self.root / given
        if not folder.is_dir() and Path(given).is_dir():
            folder = Path(given)
        # Unlike Path.resolve, this does not fail on a link that leads to itself.
        real = Path(os.path.realpath(folder))
        parts = {*Path(given).parts, *real.parts, folder.name}
        is_ground_truth = not parts.isdisjoint(self.ground_truth_folders)
        if is_ground_truth and not (self.test_mode or allow_ground_truth):
            raise DataError(
                f'training on ground-truth masks {folder} is no weak supervision: '
                'use test_mode=True to evaluate or pass allow_ground_truth=True '
                'for a fully supervised reference'
            )
        return folder


def _from_zero(indices: int | Sequence[int] | None) -> int | Sequence[int] | None:
    """The indices of a data set, if none of them counts from the end."""
    given = [indices] if isinstance(indices, int) else indices or ()
    if any(index < 0 for index in given):
        raise ConfigError(
            f'indices must be a number of images or places from 0 on, not {indices!r}',
            token='indices',
        )
    return indices


def _positive(sample: int | None) -> int | None:
    """The number of images of a sample, if it is one."""
    if sample is not None and (type(sample) is not int or sample < 1):
        raise ConfigError(
            f'sample must be a whole number of images from 1 on, not {sample!r}',
            token='sample',
        )
    return sample
