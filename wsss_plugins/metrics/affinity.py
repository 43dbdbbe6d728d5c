"""Measures how well the affinity of patches separates objects and background."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F

from wsss_plugins.errors import DataError
from wsss_plugins.metrics.per_image import PerImage, mean_over_images
from wsss_plugins.structures import IGNORE

MEASURES = (
    'objects', 'object_to_object', 'object_to_own_class', 'ground_to_object',
    'left_by_take', 'left_by_give',
)  # fmt: skip


def patch_labels(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The label that most pixels of each patch have.

    Args:
        mask: ``(H, W)``, 0 the ground, 255 ignored.
        grid: Rows and columns of patches; where they do not divide the sides, patches
            overlap by a pixel.

    Returns:
        ``(rows * columns,)`` labels in row-major order; of a tie the lowest.
    """
    values = np.unique(mask)
    shares = torch.from_numpy((mask == values[:, None, None]).astype(np.float64))
    return values[F.adaptive_avg_pool2d(shares, grid).flatten(1).argmax(0).numpy()]


@dataclass(frozen=True)
class AffinityScores:
    """Means over images, in percent.

    For uniform attention both shares of attention to objects equal ``objects``, and the
    last two measures are 0.

    Attributes:
        objects: Share of the patches that show an object.
        object_to_object: Share of their attention that patches of objects give to
            patches of objects.
        object_to_own_class: Share that patches of objects give to patches of their own
            class.
        ground_to_object: Share that patches of the ground give to patches of objects.
        left_by_take: Contrast of a perfect map after every patch receives the scores of
            the patches that it attends to: 1 - mean on the background / mean on
            objects. 100 is full contrast; below 0 the background has higher scores than
            the objects.
        left_by_give: The same contrast after every patch passes its score to the
            patches that it attends to.
    """

    objects: float
    object_to_object: float
    object_to_own_class: float
    ground_to_object: float
    left_by_take: float
    left_by_give: float

    def to_dict(self) -> dict[str, float]:
        """The measures by name."""
        return asdict(self)


class AffinityContrast(PerImage):
    """Measures, with ground-truth masks, which patches attend to which.

    The measures show whether propagation along attention helps or harms. A perfect map
    is 1 on the patches of objects and 0 elsewhere. After propagation along the affinity
    A, the score of a patch is the sum of its row over the objects (take), or of its
    column (give). Images without objects or without background are left out, and so are
    patches that are mostly ignored.
    """

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(MEASURES, ()))

    def update(self, affinity: np.ndarray, labels: np.ndarray) -> None:
        """Adds an image.

        Args:
            affinity: ``(n, n)`` attention between patches, row = the patch that attends.
            labels: ``(n,)`` of :func:`patch_labels`.

        Raises:
            DataError: The shapes do not match, or a value is below 0.
        """
        n = len(labels)
        if affinity.shape != (n, n):
            raise DataError(
                f'an affinity of {n} labelled patches must be {(n, n)}, not '
                f'{affinity.shape}'
            )
        if affinity.min() < 0:
            raise DataError(
                'the affinity is negative in places, and shares of attention are of what '
                'sums to one: measure a model with softmax attention'
            )
        known = labels != IGNORE
        labels = labels[known]
        matrix = affinity[np.ix_(known, known)].astype(np.float64)
        found = labels > 0
        if found.all() or not found.any():
            return
        same = labels[:, None] == labels
        given = matrix.sum(1)
        taken, received = matrix[:, found].sum(1), matrix[found].sum(0)
        own = (matrix * same).sum(1)
        values = (
            found.mean(),
            taken[found].sum() / given[found].sum(),
            own[found].sum() / given[found].sum(),
            taken[~found].sum() / given[~found].sum(),
            1 - taken[~found].mean() / taken[found].mean(),
            1 - received[~found].mean() / received[found].mean(),
        )
        self._parts.append(
            {k: np.array([v]) for k, v in zip(MEASURES, values, strict=True)}
        )

    def compute(self) -> AffinityScores:
        """The means over the images.

        Raises:
            DataError: No image had both objects and background.
        """
        if not len(self):
            raise DataError(
                'no image shows both an object and the ground in its mask: affinity '
                'cannot be measured on them'
            )
        rows = self.state()
        return AffinityScores(
            **{key: 100 * float(mean_over_images(rows[key])) for key in MEASURES}
        )
