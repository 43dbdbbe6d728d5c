"""What a supervision card is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

TRUE_TAGS = 'image-level ground truth'
"""What :attr:`SupervisionCard.labels` says of tags that were given with the images."""

FROM_MASKS = ', made from masks'
"""Added to tags that were derived from ground-truth masks."""

IMAGE_LEVEL = 'image-level labels'
PIXELS = 'ground-truth masks'
IMAGES = 'images alone'
"""What a network learnt from that never looks at a label."""

UNKNOWN = 'unknown'
"""Begins what nobody declared and nothing tells."""


@dataclass(frozen=True)
class Split:
    """Images, and what is known of them.

    Attributes:
        data: Kind of the data set, such as 'VOC12'.
        name: Which split of it.
        images: How many, without those that were left out.
        checksum: Of ids, image-level labels and classes, 16 hexadecimal digits.
        masks: Of the pixels of their ground-truth masks, where these were read.
        left_out: Images of the split that are not among them, since they failed.
        tags: 'given', or 'masks' where the image-level labels were derived from masks.
    """

    data: str
    name: str
    images: int
    checksum: str
    masks: str | None = None
    left_out: int = 0
    tags: str = 'given'

    def __str__(self) -> str:
        """Such as 'VOC12 train_aug 10582 (-3)': data set, split, images, and those left out."""
        less = f' (-{self.left_out})' if self.left_out else ''
        return f'{self.data} {self.name} {self.images}{less}'


@dataclass(frozen=True)
class Network:
    """A network on the way, or files that some network made elsewhere.

    Attributes:
        stage: Stage that trained it, or that brought it in.
        model: Its class.
        weights: What it began with.
        supervision: What *those* weights were learnt from: 'none' for a random start, or
            kinds such as 'ImageNet-1k labels', divided by ' + '.
        known_by: How that is known.
        learnt_from: What it was trained on here.
        split: The images of that training.
        begins_with: Stage whose trained weights it began with, if it did.
    """

    stage: str
    model: str
    weights: str
    supervision: str
    known_by: str
    learnt_from: str
    split: Split | None = None
    begins_with: str = ''


@dataclass(frozen=True)
class Threshold:
    """Where a threshold between background and objects comes from.

    Attributes:
        stage: The stage that used it.
        source: 'fixed', 'label-free' or 'masks'.
        detail: The criterion, or the stage that was asked.
        factor: What the found one was multiplied by.
        values: What came out, one for each merged run.
        split: The images on whose masks it was found.
        of: Stage that found it on masks, where that is another one.
    """

    stage: str
    source: str
    detail: str = ''
    factor: float = 1.0
    values: tuple[float, ...] = ()
    split: Split | None = None
    of: str = ''


@dataclass(frozen=True)
class CRF:
    """A dense CRF.

    Attributes:
        stage: The stage that applied it.
        on: 'predictions' of a network at test, or 'labels' that are made of seeds.
        preset: Name of its published settings.
        settings: Those that were changed.
    """

    stage: str
    on: str
    preset: str
    settings: str = ''


@dataclass(frozen=True)
class Method:
    """What a stage did: seed heads and refiners by name. Methods are there to differ."""

    stage: str
    what: str


class CodeState(str, Enum):
    """What is known of the code that made a result, where it is not today's."""

    ACCEPTED = 'accepted'
    """The code changed afterwards; the user kept the result with ``--accept-code``."""

    UNRECORDED = 'unrecorded'
    """The result is of a version that did not record the code it ran."""

    UNKNOWN = 'unknown'
    """The source of a plug-in could not be found, so a change of it goes unnoticed."""


@dataclass(frozen=True)
class Code:
    """A remark on the code that made the result of one stage.

    Attributes:
        stage: Name of the stage.
        state: What is known.
    """

    stage: str
    state: CodeState


def kinds(supervisions: Iterable[str]) -> frozenset[str]:
    """The kinds of supervision that some weights were learnt from."""
    return frozenset(kind for text in supervisions for kind in text.split(' + '))
