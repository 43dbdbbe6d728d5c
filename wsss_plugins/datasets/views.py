"""Transforms that train on views of whole photos, from pixels or from kept features."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import DefaultSampler

from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.photos import read_image
from wsss_plugins.datasets.transforms import box_of, place_span
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import DATA_SAMPLERS, TRANSFORMS
from wsss_plugins.structures import IGNORE
from wsss_plugins.structures.features import FeatureStore
from wsss_plugins.structures.views import view_of, view_size


@TRANSFORMS.register_module()
class LoadView(BaseTransform):
    """Loads a view of a photo: its pixels, or the features that were kept of it.

    With ``features`` no photo is decoded and no network computes them: ``img`` is then
    ``(h, w, C)`` float16, the packed maps of a
    :class:`~wsss_plugins.backbones.TimmMaps`, which takes them in place of pixels.
    Otherwise ``img`` is ``(H, W, 3)`` float32 RGB. Maps in ``seg_fields`` are resized to
    the view (labels nearest, scores bilinear) and mirrored with it. Samples of a data set
    in ``test_mode`` are neither scaled nor mirrored.

    Args:
        multiple: What the sides of a view are multiples of: the largest stride of the
            network.
        max_side: Longest side of the reduced copy of a photo, in pixels.
        scales: Factors of the copy's sides, one of which is drawn at random.
        flip: Probability of the mirrored view.
        features: Folder of a :class:`~wsss_plugins.stages.FeatureStage`; a
            ``TrainStage(features=...)`` fills it in. None to load pixels.
        label_stride: Pixels of the view per pixel of the maps in ``seg_fields``: with 4,
            the loss of a segmentor covers a sixteenth of the pixels.

    Raises:
        ConfigError: ``flip`` is no probability, ``scales`` is empty or not positive, or
            ``label_stride`` does not divide ``multiple``.
    """

    def __init__(
        self,
        multiple: int = 32,
        max_side: int | None = 448,
        scales: Sequence[float] = (1.0,),
        flip: float = 0.5,
        features: str | None = None,
        label_stride: int = 1,
    ) -> None:
        if label_stride < 1 or multiple % label_stride:
            raise ConfigError(
                f'label_stride of LoadView must divide multiple={multiple}, not be '
                f'{label_stride}',
                token='label_stride',
            )
        if not 0 <= flip <= 1 or not scales or min(scales) <= 0:
            raise ConfigError(
                f'LoadView needs scales > 0 and flip in [0, 1], not {tuple(scales)} and '
                f'{flip}',
                token='LoadView',
            )
        self.multiple, self.max_side = multiple, max_side
        self.scales, self.flip, self.features = tuple(scales), flip, features
        self.label_stride = label_stride
        self._store: FeatureStore | None = None

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, ``img_shape`` and ``ori_shape``, ``(H, W)`` in pixels."""
        scale, mirrored = 1.0, False
        if not results.get('test_mode', False):
            scale = float(self.scales[int(np.random.randint(len(self.scales)))])
            mirrored = bool(np.random.random() < self.flip)
        if self.features:
            kept = self._kept().view(results['img_id'], scale, mirrored)
            image = np.array(kept.features).transpose(1, 2, 0)
            size = kept.size
        else:
            photo = read_image(results['img_path'])
            view = view_of(photo, self.multiple, self.max_side, scale, mirrored)
            image = view.numpy().transpose(1, 2, 0)
            size = image.shape[:2]
        results.update(img=image, img_shape=size, ori_shape=size, flip=mirrored)
        rows, columns = (side // self.label_stride for side in size)
        for key in results.get('seg_fields', ()):
            smooth = results[key].dtype.kind == 'f'
            found = cv2.resize(
                results[key],
                (columns, rows),
                interpolation=cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST,
            )
            results[key] = found[:, ::-1].copy() if mirrored else found
        return results

    def _kept(self) -> FeatureStore:
        """The features; each process of a data loader opens them once.

        Raises:
            DataError: The features are of photos of another size.
        """
        if self._store is None:
            store = FeatureStore(Path(str(self.features)))
            about = (store.about['multiple'], store.about['max_side'])
            if about != (self.multiple, self.max_side):
                raise DataError(
                    f'features of {self.features} are of photos with multiple and '
                    f'max_side {about}, and LoadView has {self.multiple} and '
                    f'{self.max_side}: give both stages the same'
                )
            self._store = store
        return self._store


@TRANSFORMS.register_module()
class LoadPhoto(BaseTransform):
    """Adds the photo that a view is of, for models that look at colours.

    It follows :class:`LoadView`, and stands in for the pixels where that reads features.

    Args:
        stride: Pixels of the view per pixel of the photo.

    Raises:
        ConfigError: ``stride`` is not positive.
    """

    def __init__(self, stride: int = 2) -> None:
        if stride < 1:
            raise ConfigError(
                f'LoadPhoto needs a stride >= 1, not {stride}', token='stride'
            )
        self.stride = stride

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``photo``, ``(H // stride, W // stride, 3)`` uint8 RGB."""
        rows, columns = (side // self.stride for side in results['img_shape'])
        photo = read_image(results['img_path'])
        photo = cv2.resize(photo, (columns, rows), interpolation=cv2.INTER_AREA)
        results['photo'] = photo[:, ::-1].copy() if results.get('flip') else photo
        return results


@TRANSFORMS.register_module()
class CropView(BaseTransform):
    """Crops a random window of whole cells from a view; pads where the view is smaller.

    It crops pixels and features alike: what the network would compute of the whole view is
    cropped, not computed of the crop. In ``test_mode`` the middle is taken.

    Args:
        size: ``(H, W)`` of the window in pixels, or one number for both.
        multiple: Pixels per cell of the features.
        seg_pad: Label of the padding.

    Raises:
        ConfigError: ``size`` is no multiple of ``multiple``.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        multiple: int = 32,
        seg_pad: int = IGNORE,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        if any(side <= 0 or side % multiple for side in self.size):
            raise ConfigError(
                f'CropView needs sides that are multiples of {multiple}, not {self.size}',
                token='CropView',
            )
        self.multiple, self.seg_pad = multiple, seg_pad

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crops ``img``, the photo and every map of ``seg_fields`` alike; adds ``img_box``."""
        image, cell = results['img'], self.multiple
        grid = [side // cell for side in results['img_shape']]
        step = results['img_shape'][0] // image.shape[0]  # 1 for pixels
        fixed = results.get('test_mode', False)
        spans = [
            place_span(old, new // cell, fixed)
            for old, new in zip(grid, self.size, strict=True)
        ]

        def place(array: np.ndarray, per_cell: int, fill: float) -> np.ndarray:
            """The crop of an array with ``per_cell`` rows and columns in a cell."""
            rows, columns = (side // cell * per_cell for side in self.size)
            canvas = np.full((rows, columns, *array.shape[2:]), fill, array.dtype)
            target = tuple(_times(span[1], per_cell) for span in spans)
            canvas[target] = array[tuple(_times(span[0], per_cell) for span in spans)]
            return canvas

        fill = 0.0 if step > 1 else float(np.mean(image))
        results['img'] = place(image, cell // step, fill)
        photo = [key for key in ('photo',) if key in results]
        for key in (*results.get('seg_fields', ()), *photo):
            per_cell = results[key].shape[0] // grid[0]
            results[key] = place(results[key], per_cell, self.seg_pad)
        box = box_of([span[1] for span in spans], cell)
        results.update(img_shape=self.size, img_box=box)
        return results


def _times(span: slice, factor: int) -> slice:
    return slice(span.start * factor, span.stop * factor)


@DATA_SAMPLERS.register_module()
class SameSizeBatches:
    """Batches of photos whose views are of one size, so that none is padded or cropped.

    Give it as ``batch_sampler`` of a data loader. Photos keep the random order of the
    sampler; a batch is complete when enough photos of its size have come. The last
    batches of each size may be smaller.

    Args:
        sampler: Sampler of indices, which mmengine fills in.
        batch_size: Largest number of photos in a batch, which mmengine fills in.
        multiple: See :class:`LoadView`.
        max_side: See :class:`LoadView`.

    Raises:
        DataError: The size of a photo cannot be read.
    """

    def __init__(
        self,
        sampler: DefaultSampler,
        batch_size: int,
        multiple: int = 32,
        max_side: int | None = 448,
    ) -> None:
        self.sampler, self.batch_size = sampler, batch_size
        dataset = _innermost(sampler.dataset)
        sizes = [dataset.image_size(index) for index in range(len(dataset))]
        self._sizes = [view_size(size, multiple, max_side) for size in sizes]

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the indices of each batch of this worker."""
        workers, own = self.sampler.world_size, self.sampler.rank
        for batch in self._batches(self.batch_size * workers):
            while len(batch) % workers:
                batch.append(batch[0])  # every worker has the same number of batches
            yield batch[own::workers]

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        many = Counter(self._sizes).values()
        together = self.batch_size * self.sampler.world_size
        return sum(-(-count // together) for count in many)

    def _batches(self, together: int) -> Iterator[list[int]]:
        """Batches of all workers together, in the random order of the sampler."""
        sampler = self.sampler
        order = torch.arange(len(self._sizes))
        if sampler.shuffle:
            random = torch.Generator().manual_seed(sampler.seed + sampler.epoch)
            order = torch.randperm(len(order), generator=random)
        waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index in order.tolist():
            group = waiting[self._sizes[index]]
            group.append(index)
            if len(group) == together:
                yield list(group)
                group.clear()
        yield from (list(group) for group in waiting.values() if group)


def _innermost(dataset: Any) -> WSSSDataset:
    """The data set within its wrappers."""
    while not isinstance(dataset, WSSSDataset):
        dataset = dataset.dataset
    return dataset
