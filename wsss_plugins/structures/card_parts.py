"""The typed values of which a supervision card consists, and their texts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

W = TypeVar('W', bound='Words')


class Words(Enum):
    """Kinds of facts; each value is a text, in which ``{}`` stands for a detail."""

    def __call__(self: W, detail: str = '') -> Said[W]:
        """Makes a fact of this kind with the given detail."""
        return Said(self, detail)


@dataclass(frozen=True)
class Said(Generic[W]):
    """A fact of a certain kind, perhaps with a detail such as the name of a stage."""

    kind: W
    detail: str = ''

    def __str__(self) -> str:
        """Text of the fact, as cards show it and files hold it."""
        return str(self.kind.value).format(self.detail)


def read(kinds: type[W], text: str) -> Said[W]:
    """Reads a fact from its text.

    Raises:
        ValueError: ``text`` matches the text of no kind in ``kinds``.
    """
    for kind in kinds:
        pattern = re.escape(kind.value).replace(r'\{\}', '(.*)')
        found = re.fullmatch(pattern, text, re.DOTALL)
        if found:
            return Said(kind, *found.groups())
    raise ValueError(f"'{text}' is none of {[kind.value for kind in kinds]}")


class Learnt(Words):
    """The kind of annotation that a network was trained on."""

    TAGS = 'image-level labels'
    TAGS_FROM_MASKS = 'image-level labels, made from masks'
    PIXELS = 'ground-truth masks'
    IMAGES = 'images alone'
    LABEL_MAPS = 'label maps of {}'
    NOTHING = 'nothing here'
    UNKNOWN = 'unknown ({})'
    OTHER = '{}'


class Taught(Words):
    """The kind of annotation that initial weights were trained on."""

    NOTHING = 'none'
    SELF = 'self-supervised'
    UNKNOWN = 'unknown ({})'
    LABELS = '{} labels'
    BOXES = '{} boxes'
    PIXELS = '{} pixels'
    TEXTS = '{} texts'
    OTHER = '{}'


class Tags(Words):
    """The image-level labels that an inference used."""

    NONE = 'none'
    TRUE = 'image-level ground truth'
    TRUE_FROM_MASKS = 'image-level ground truth, made from masks'
    PREDICTED = 'predicted, {}'
    FILES = 'those of the files'
    UNKNOWN = 'unknown ({})'
    OTHER = '{}'


class Source(Enum):
    """The source of a threshold between background and objects."""

    FIXED = 'fixed'
    LABEL_FREE = 'label-free'
    MASKS = 'masks'


class AppliedTo(Enum):
    """The input of a dense CRF: predictions of a network, or labels made from seeds."""

    PREDICTIONS = 'predictions'
    LABELS = 'labels'


class TagSource(Enum):
    """Whether image-level labels came with the images or were derived from masks."""

    GIVEN = 'given'
    MASKS = 'masks'


class CodeState(Enum):
    """Why the code that made a result may differ from the present code."""

    ACCEPTED = 'accepted'
    """The code changed afterwards; the user kept the result with ``--accept-code``."""

    UNRECORDED = 'unrecorded'
    """The result was made by a version that did not record the code it ran."""

    UNKNOWN = 'unknown'
    """The source of a plug-in was not found, so changes of it cannot be detected."""


class KnownBy(Words):
    """The source from which it is known what initial weights were trained on."""

    DECLARED = 'declared in the config'
    NOT_DECLARED = 'not declared'
    TIMM = 'name of timm'
    SOURCE = 'name of the source'
    CARD = 'card of {}'
    NOTHING = 'nothing is loaded'
    OTHER = '{}'


Supervision = frozenset[Said[Taught]]
"""The kinds of annotations that initial weights were trained on."""


def supervision_in(text: str) -> Supervision:
    """Reads a supervision from the text that :func:`in_words` makes."""
    return frozenset(read(Taught, kind) for kind in text.split(' + ') if kind)


def in_words(supervision: Supervision) -> str:
    """Text of a supervision, such as 'COCO pixels + ImageNet-1k labels'."""
    return ' + '.join(sorted(map(str, supervision)))


@dataclass(frozen=True)
class Split:
    """The images of a result.

    Attributes:
        data: Class of the data set, such as 'VOC12'.
        name: Name of the split, such as 'train'.
        images: Number of images, without those that were left out.
        checksum: Checksum of ids, image-level labels and classes, 16 hexadecimal digits.
        masks: Checksum of the pixels of the ground-truth masks; None if none was read.
        left_out: Number of images of the split that were left out because they failed.
        tags: Where the image-level labels are from.
    """

    data: str
    name: str
    images: int
    checksum: str
    masks: str | None = None
    left_out: int = 0
    tags: TagSource = TagSource.GIVEN

    def __str__(self) -> str:
        """Such as 'VOC12 train_aug 10582 (-3)': data set, split, images, and those left out."""
        less = f' (-{self.left_out})' if self.left_out else ''
        return f'{self.data} {self.name} {self.images}{less}'


@dataclass(frozen=True)
class Network:
    """A network that a result depends on, or an unknown one that made imported files.

    Attributes:
        stage: Name of the stage that trained or imported the network.
        model: Name of the model's class.
        weights: Names of the initial weights.
        supervision: Annotations that the initial weights were trained on.
        known_by: Source of that knowledge.
        learnt_from: Annotations that the stage trained the network on.
        split: The images of the stage's training.
        begins_with: Stage whose trained weights are the initial weights; '' for none.
    """

    stage: str
    model: str
    weights: str
    supervision: Supervision
    known_by: tuple[Said[KnownBy], ...]
    learnt_from: Said[Learnt]
    split: Split | None = None
    begins_with: str = ''


@dataclass(frozen=True)
class Threshold:
    """A threshold between background and objects.

    Attributes:
        stage: Name of the stage that used the threshold.
        source: Where the threshold comes from.
        detail: Name of the criterion, or of the stage that found the threshold.
        factor: Factor by which the found threshold was multiplied.
        values: Value of the threshold in each merged run.
        split: The images on whose masks the threshold was found.
        of: Name of the stage that found the threshold on masks, if another one did.
    """

    stage: str
    source: Source
    detail: str = ''
    factor: float = 1.0
    values: tuple[float, ...] = ()
    split: Split | None = None
    of: str = ''


@dataclass(frozen=True)
class CRF:
    """A dense CRF: its stage, what it was applied to, its preset and changed settings."""

    stage: str
    on: AppliedTo
    preset: str
    settings: str = ''


@dataclass(frozen=True)
class Method:
    """Names of the seed heads and refiners of a stage; rows of a table may differ in it."""

    stage: str
    what: str


@dataclass(frozen=True)
class Code:
    """A remark on the code that made the result of a stage."""

    stage: str
    state: CodeState
