"""Label maps of a folder, whether it holds label maps or seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from wsss_plugins.errors import DataError, UserError
from wsss_plugins.structures import Seed, load_label_map
from wsss_plugins.structures.layout import LABELS, SEEDS


@dataclass(frozen=True)
class MadeLabels:
    """The label map of each image, read from a folder.

    Attributes:
        folder: Folder of ``<id>.png`` label maps or of ``<id>.npz`` seeds.
        seeds: Whether it holds seeds.
        num_classes: L, the number of labels, background counted.
        threshold: Score above which a pixel of a seed is foreground; None for the
            background that the seeds have.
    """

    folder: Path
    seeds: bool
    num_classes: int
    threshold: float | None = None

    def load(self, name: str) -> np.ndarray:
        """The label map of image ``name``, ``(H, W)`` uint8.

        Raises:
            DataError: The file is missing or damaged, or has a class that the data set
                does not have.
            UserError: A seed has no background, and no threshold is given.
        """
        if not self.seeds:
            return load_label_map(self.folder / f'{name}.png', self.num_classes)
        path = self.folder / f'{name}.npz'
        seed = Seed.load(path)
        if len(seed.classes) and int(seed.classes.max()) >= self.num_classes - 1:
            raise DataError(
                f'{path} has the class {int(seed.classes.max())}: allowed are 0 to '
                f'{self.num_classes - 2}; check the number of classes'
            )
        if self.threshold is not None:
            level = torch.full(seed.size, float(self.threshold))
            seed = replace(seed, background=level)
        elif seed.background is None:
            raise UserError(
                f'{self.folder} holds seeds without a background: give a threshold, or '
                'the name of a stage that swept one'
            )
        return seed.to_label().numpy()


def made_labels(
    place: Path, num_classes: int, threshold: float | None = None
) -> MadeLabels:
    """Finds the label maps or the seeds in a folder.

    Args:
        place: Folder of a stage, or of the files themselves.
        num_classes: L, the number of labels, background counted.
        threshold: See :class:`MadeLabels`.

    Raises:
        DataError: The folder holds neither.
    """
    for folder in (place / LABELS, place):
        if next(folder.glob('*.png'), None) is not None:
            return MadeLabels(folder, False, num_classes)
    for folder in (place / SEEDS, place):
        if next(folder.glob('*.npz'), None) is not None:
            return MadeLabels(folder, True, num_classes, threshold)
    raise DataError(
        f'{place} holds no label maps (.png) and no seeds (.npz): name the folder of a '
        'stage that made some, or of the files'
    )
