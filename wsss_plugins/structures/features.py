"""Feature maps of photos, computed once and kept on disk in half precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.errors import DataError, described
from wsss_plugins.structures.files import atomic_path, load_json

FOLDER = 'features'
"""Folder of the shards within the folder of a stage."""

ABOUT = 'about.json'
"""File that names the network and the views whose features are kept."""


@dataclass(frozen=True)
class View:
    """One view of a photo and its features.

    Attributes:
        photo: Id of the photo.
        scale: Factor of the sides.
        flip: Whether the photo is mirrored.
        size: ``(H, W)`` of the view in pixels.
        digest: Digest of the pixels that the network was given; see :func:`digest_of`.
        features: ``(C, h, w)`` float16.
    """

    photo: str
    scale: float
    flip: bool
    size: tuple[int, int]
    digest: str
    features: np.ndarray


def digest_of(pixels: np.ndarray) -> str:
    """A text that is equal for equal pixels ``(3, H, W)`` only.

    Args:
        pixels: What a network is given, in any type.
    """
    found = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    found.update(np.ascontiguousarray(pixels).tobytes())
    return found.hexdigest()


class FeatureStore:
    """Features of the views of many photos, read from memory-mapped shards.

    A shard is a file ``<number>.npy`` of float16 values and ``<number>.json``, which says
    where each view begins. Nothing is read before it is asked for.

    Args:
        folder: Folder of the stage that wrote the features.

    Attributes:
        network: Digest of the network that computed the features.
        about: Further facts: ``max_side``, ``multiple``, ``scales`` and ``flip``.

    Raises:
        DataError: ``folder`` holds no features, or a shard is incomplete.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder) / FOLDER
        about = self.folder / ABOUT
        if not about.is_file():
            raise DataError(
                f'{folder} holds no features: run a FeatureStage and name its folder'
            )
        self.about: dict[str, Any] = load_json(about)
        self._places: dict[tuple[str, float, bool], tuple[str, dict[str, Any]]] = {}
        self._digests: dict[str, tuple[str, dict[str, Any]]] = {}
        self._shards: dict[str, np.ndarray] = {}
        try:
            self.network = str(self.about['network'])
            for index in sorted(self.folder.glob('[0-9]*.json')):
                for entry in load_json(index):
                    place = (index.stem, entry)
                    self._places[entry['photo'], entry['scale'], entry['flip']] = place
                    self._digests[entry['digest']] = place
        except (KeyError, TypeError) as error:
            raise DataError(
                f'{self.folder} has a list of features that is damaged '
                f'({described(error)}): delete the folder and run the FeatureStage again'
            ) from error

    def __len__(self) -> int:
        """Number of views."""
        return len(self._places)

    def view(self, photo: str, scale: float = 1.0, flip: bool = False) -> View:
        """The features of one view of a photo.

        Args:
            photo: Id of the photo.
            scale: One of the scales that were kept.
            flip: Whether to take the mirrored photo.

        Raises:
            DataError: The view was not kept.
        """
        place = self._places.get((photo, float(scale), flip))
        if place is None:
            kept = sorted({(s, f) for _, s, f in self._places})
            raise DataError(
                f'{self.folder} has no features of {photo} at scale {scale:g}'
                f'{", mirrored" if flip else ""}; kept are (scale, mirrored): {kept}. '
                'Add the scale to the FeatureStage, or the photo to its data set'
            )
        return self._read(*place)

    def of_input(self, digest: str) -> np.ndarray | None:
        """Features ``(C, h, w)`` of the pixels with this digest; None if not kept."""
        place = self._digests.get(digest)
        return None if place is None else self._read(*place).features

    def _read(self, shard: str, entry: dict[str, Any]) -> View:
        if shard not in self._shards:
            path = self.folder / f'{shard}.npy'
            try:
                self._shards[shard] = np.load(path, mmap_mode='r', allow_pickle=False)
            except (OSError, ValueError) as error:
                raise DataError(
                    f'{path} is missing or damaged: delete it with its .json and run the '
                    'FeatureStage again'
                ) from error
        shape = tuple(entry['shape'])
        begin = entry['begin']
        flat = self._shards[shard][begin : begin + int(np.prod(shape))]
        if flat.size != np.prod(shape):
            raise DataError(
                f'{self.folder / shard}.npy is shorter than its .json says: delete both '
                'and run the FeatureStage again'
            )
        return View(
            entry['photo'],
            entry['scale'],
            entry['flip'],
            (entry['size'][0], entry['size'][1]),
            entry['digest'],
            flat.reshape(shape),
        )


def write_about(folder: Path, about: dict[str, Any]) -> None:
    """Writes what the features of a folder are of.

    Args:
        folder: Folder of the stage.
        about: ``network`` and further facts, as plain JSON.
    """
    path = folder / FOLDER / ABOUT
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        part.write_text(json.dumps(about, sort_keys=True), encoding='utf-8')


def has_shard(folder: Path, number: int) -> bool:
    """Whether a shard was written to the end."""
    return (folder / FOLDER / f'{number:06d}.json').is_file()


def write_shard(folder: Path, number: int, views: Sequence[View]) -> None:
    """Writes one shard: its values, then the file that says where each view begins.

    Args:
        folder: Folder of the stage.
        number: Number of the shard.
        views: The views, with their features.
    """
    path = folder / FOLDER / f'{number:06d}.npy'
    path.parent.mkdir(parents=True, exist_ok=True)
    values = [view.features.astype(np.float16).ravel() for view in views]
    flat = np.concatenate(values) if values else np.zeros(0, np.float16)
    with atomic_path(path) as part, part.open('wb') as file:
        np.save(file, flat)
    with atomic_path(path.with_suffix('.json')) as part:
        part.write_text(json.dumps(list(_entries(views))), encoding='utf-8')


def _entries(views: Sequence[View]) -> Iterator[dict[str, Any]]:
    begin = 0
    for view in views:
        yield dict(
            photo=view.photo,
            scale=view.scale,
            flip=view.flip,
            size=list(view.size),
            digest=view.digest,
            shape=list(view.features.shape),
            begin=begin,
        )
        begin += view.features.size
