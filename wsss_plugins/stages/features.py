"""A stage that computes the features of a frozen network once and keeps them."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wsss_plugins.backbones import TimmMaps, maps_of, reading_features
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.flow import in_threads
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import barrier, device, gather, rank, share_of
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.progress import ProgressBar, say
from wsss_plugins.provenance.networks import begun_network
from wsss_plugins.registry import DATASETS, MODELS, STAGES, build_as
from wsss_plugins.structures.card import Tags
from wsss_plugins.structures.features import (
    FOLDER,
    FeatureStore,
    View,
    digest_of,
    has_shard,
    write_about,
    write_shard,
)
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.views import view_of

PHOTOS_PER_SHARD = 16

WRITTEN = 2
"""Shards that are written at a time."""

Pixels = tuple[Tensor, tuple[str, float, bool, tuple[int, int], str]]
"""The pixels ``(3, H, W)`` of a view, and the fields of its :class:`View` but features."""


@STAGES.register_module()
class FeatureStage(Stage):
    """Keeps the maps of a frozen network for every view of every photo, in half precision.

    Stages that name this one as ``features`` read them: a :class:`TrainStage` trains
    without decoding a photo or running the network, :class:`SeedStage` and
    :class:`PredictStage` run the network only on views that were not kept. Whatever they
    make equals what they would make without, up to half precision (a relative 5e-4 of a
    feature). An interrupted stage loses the shard of 16 photos in work, and those that are
    being written (:func:`~wsss_plugins.engine.flow.in_threads`), at most two.
    Features of pretrained weights are those of every random seed; weights that are not
    pretrained follow from the seed.

    Args:
        name: Name of the stage.
        network: Config of the :class:`TimmMaps`, the same as in the models that are
            trained on its features.
        dataset: Config of the photos, or a list of configs. One id may be in several of
            them only where it is the same photo.
        max_side: Longest side of the reduced copy of a photo, in pixels, as in
            :class:`SeedStage` and :class:`~wsss_plugins.datasets.LoadView`.
        scales: Factors of the copy's sides.
        flip: Whether to keep the mirrored views as well.

    Raises:
        ConfigError: ``scales`` is empty or not positive, or the network is not frozen.
    """

    reads_masks = False

    def __init__(
        self,
        name: str,
        network: dict[str, Any],
        dataset: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        max_side: int | None = 448,
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
    ) -> None:
        super().__init__(name)
        if not scales or min(scales) <= 0:
            raise ConfigError(
                f"stage '{name}' needs scales > 0, not {tuple(scales)}", token='scales'
            )
        if not network.get('frozen', True):
            raise ConfigError(
                f"stage '{name}' keeps features of a network that does not change: leave "
                'frozen=False out',
                token='frozen',
            )
        self.network = network
        self.depends_on_seed = not network.get('pretrained')
        each = [dataset] if isinstance(dataset, Mapping) else dataset
        self.datasets = [dict(one) for one in each]
        self.max_side = max_side
        self.scales, self.flip = tuple(map(float, scales)), flip

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Computes the shards that are not there yet.

        Raises:
            DataError: An id is of different photos in two data sets.
        """
        datasets = [build_as(DATASETS, cfg, WSSSDataset) for cfg in self.datasets]
        _refuse_other_photos(datasets)
        net = self._build()
        photos = [(each, index) for each in datasets for index in range(len(each))]
        if rank() == 0:
            write_about(out, self._about(net))
        count = PHOTOS_PER_SHARD
        shards = [photos[i : i + count] for i in range(0, len(photos), count)]
        mine = share_of(list(enumerate(shards)))
        todo = [(number, each) for number, each in mine if not has_shard(out, number)]
        total = sum(len(each) for _, each in mine)
        with ProgressBar(self.name, total, quiet=rank() != 0) as bar:
            bar.begin_at(total - sum(len(each) for _, each in todo))
            read = in_threads(
                lambda photo: self._pixels(net.multiple, *photo),
                chain.from_iterable(each for _, each in todo),
            )

            def views_of(shard: tuple[int, Sequence[object]]) -> tuple[int, list[View]]:
                """The number and the views of a shard, with their features."""
                views: list[View] = []
                for pixels in islice(read, len(shard[1])):
                    views += self._views(net, pixels)
                    bar.advance()
                return shard[0], views

            made = map(views_of, todo)
            for _ in in_threads(lambda shard: write_shard(out, *shard), made, WRITTEN):
                pass
        barrier()
        size = sum(path.stat().st_size for path in (out / FOLDER).iterdir())
        return dict(
            images=len(photos), kilobytes_per_image=round(size / 1e3 / len(photos))
        )

    def measured(self) -> Measured:
        """Declares the photos, the views, the network, and that no labels are read."""
        network, cards = begun_network(self.name, dict(model=self.network))
        return Measured(
            images=self.datasets,
            networks=(network,),
            begun_with=cards,
            scales=self.scales,
            flip=self.flip,
            labels=Tags.NONE(),
            details=dict(network=self.network.get('name'), max_side=self.max_side),
        )

    def _build(self) -> TimmMaps:
        """The network, with the same weights in every process and after a resumption."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return build_as(MODELS, self.network, TimmMaps).to(device())

    def _about(self, net: TimmMaps) -> dict[str, Any]:
        return dict(
            network=net.identity(),
            multiple=net.multiple,
            max_side=self.max_side,
            scales=list(self.scales),
            flip=self.flip,
        )

    def _pixels(self, multiple: int, dataset: WSSSDataset, index: int) -> list[Pixels]:
        """The pixels of every view of one photo, without features."""
        photo, name = dataset.load_image(index), dataset.ids[index]
        found = []
        for scale in self.scales:
            for flip in (False, True)[: 1 + self.flip]:
                pixels = view_of(photo, multiple, self.max_side, scale, flip)
                size = (pixels.shape[1], pixels.shape[2])
                about = (name, scale, flip, size, digest_of(pixels.numpy()))
                found.append((pixels, about))
        return found

    @torch.no_grad()
    def _views(self, net: TimmMaps, views: Sequence[Pixels]) -> Iterator[View]:
        """Features of the views of one photo."""
        for pixels, about in views:
            packed = net.pack(net(pixels[None].to(device())))[0]
            yield View(*about, packed.cpu().numpy().astype(np.float16))


def _refuse_other_photos(datasets: Sequence[WSSSDataset]) -> None:
    """Refuses an id that is of different photos in two data sets.

    Raises:
        DataError: Naming the first such id; features are found by the id of their photo.
    """
    seen: dict[str, tuple[Path, WSSSDataset]] = {}
    for dataset in datasets:
        for index, name in enumerate(dataset.ids):
            path = dataset.image_path(index)
            first, other = seen.setdefault(name, (path, dataset))
            if first != path and not _same(first, path):
                raise DataError(
                    f"photo id '{name}' is {first} in {_title(other)} and {path} in "
                    f'{_title(dataset)}, and features are kept by id: rename one of the '
                    'photos, or give each data set a FeatureStage of its own'
                )


def _same(first: Path, other: Path) -> bool:
    """Whether two files have the same content; files that are missing have none."""
    there = first.is_file() and other.is_file()
    return there and filecmp.cmp(first, other, shallow=False)


def _title(dataset: WSSSDataset) -> str:
    return f"{type(dataset).__name__} {dataset.root}, split '{dataset.split}'"


@contextmanager
def reading_kept(
    model: nn.Module, inputs: Mapping[str, Path], stage: str | None, reader: str
) -> Iterator[None]:
    """Lets a model read the features that a stage kept, and says how many it read.

    Every worker enters and leaves the block.

    Args:
        model: A model with a frozen :class:`TimmMaps`.
        inputs: Folder of each stage, by name.
        stage: Name of the :class:`FeatureStage`; None changes nothing.
        reader: Name of the stage that reads the features, for the line that is said.
    """
    if stage is None:
        yield
        return
    with reading_features(model, FeatureStore(inputs[stage])):
        yield
    used = features_used(model)
    if rank() == 0:
        say(f'{reader}: {used}')


def features_used(model: nn.Module) -> str:
    """For how many images features were read, and for how many they were computed.

    Every worker calls this function.

    Args:
        model: A model with a :class:`TimmMaps`.

    Returns:
        Such as 'features: 40 read, 2 computed', summed over the workers.
    """
    maps = maps_of(model)
    pairs = gather((maps.hits, maps.misses))
    read, computed = map(sum, zip(*pairs, strict=True))
    return f'features: {read} read, {computed} computed'
