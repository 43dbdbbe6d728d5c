"""What a supervision card is made of: typed values, each of which can say itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

W = TypeVar('W', bound='Words')


class Words(Enum):
    """Kinds of facts; a value is the text of its kind, with a place ``{}`` for a detail."""

    def __call__(self: W, detail: str = '') -> Said[W]:
        """The fact of this kind, with its detail."""
        return Said(self, detail)


@dataclass(frozen=True)
class Said(Generic[W]):
    """A fact: its kind and perhaps a detail, such as the name of a stage."""

    kind: W
    detail: str = ''

    def __str__(self) -> str:
        """The text of the fact, as cards show and files keep it."""
        return str(self.kind.value).format(self.detail)


def read(kinds: type[W], text: str) -> Said[W]:
    """The fact that wrote ``text``.

    Raises:
        ValueError: No kind has such a text.
    """
    for kind in kinds:
        pattern = re.escape(kind.value).replace(r'\{\}', '(.*)')
        found = re.fullmatch(pattern, text, re.DOTALL)
        if found:
            return Said(kind, *found.groups())
    raise ValueError(f"'{text}' is none of {[kind.value for kind in kinds]}")


class Learnt(Words):
    """What a network was trained on."""

    TAGS = 'image-level labels'
    TAGS_FROM_MASKS = 'image-level labels, made from masks'
    PIXELS = 'ground-truth masks'
    IMAGES = 'images alone'
    LABEL_MAPS = 'label maps of {}'
    NOTHING = 'nothing here'
    UNKNOWN = 'unknown ({})'
    OTHER = '{}'


class Taught(Words):
    """What weights had been trained on before."""

    NOTHING = 'none'
    SELF = 'self-supervised'
    UNKNOWN = 'unknown ({})'
    LABELS = '{} labels'
    BOXES = '{} boxes'
    PIXELS = '{} pixels'
    TEXTS = '{} texts'
    OTHER = '{}'


class Tags(Words):
    """Image-level labels that an inference was told."""

    NONE = 'none'
    TRUE = 'image-level ground truth'
    TRUE_FROM_MASKS = 'image-level ground truth, made from masks'
    PREDICTED = 'predicted, {}'
    FILES = 'those of the files'
    UNKNOWN = 'unknown ({})'
    OTHER = '{}'


class Source(Enum):
    """Where a threshold between background and objects comes from."""

    FIXED = 'fixed'
    LABEL_FREE = 'label-free'
    MASKS = 'masks'


class AppliedTo(Enum):
    """What a dense CRF refines: what a network predicts, or labels made of seeds."""

    PREDICTIONS = 'predictions'
    LABELS = 'labels'


class TagSource(Enum):
    """Whether image-level labels came with the images or were derived from masks."""

    GIVEN = 'given'
    MASKS = 'masks'


class CodeState(Enum):
    """What is known of the code that made a result, where it is not today's."""

    ACCEPTED = 'accepted'
    """The code changed afterwards; the user kept the result with ``--accept-code``."""

    UNRECORDED = 'unrecorded'
    """The result is of a version that did not record the code it ran."""

    UNKNOWN = 'unknown'
    """The source of a plug-in could not be found, so a change of it goes unnoticed."""


class KnownBy(Words):
    """How it is known what weights had been trained on."""

    DECLARED = 'declared in the config'
    NOT_DECLARED = 'not declared'
    TIMM = 'name of timm'
    SOURCE = 'name of the source'
    CARD = 'card of {}'
    NOTHING = 'nothing is loaded'
    OTHER = '{}'


Supervision = frozenset[Said[Taught]]
"""All that some weights had been trained on."""


def supervision_in(text: str) -> Supervision:
    """The supervision of which :func:`in_words` made ``text``."""
    return frozenset(read(Taught, kind) for kind in text.split(' + ') if kind)


def in_words(supervision: Supervision) -> str:
    """Supervision as a text, such as 'COCO pixels + ImageNet-1k labels'."""
    return ' + '.join(sorted(map(str, supervision)))


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
        tags: Where their image-level labels are from.
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
    """A network on the way, or files that some network made elsewhere.

    Attributes:
        stage: Stage that trained it, or that brought it in.
        model: Its class.
        weights: What it began with.
        supervision: What *those* weights were learnt from.
        known_by: How that is known.
        learnt_from: What it was trained on here.
        split: The images of that training.
        begins_with: Stage whose trained weights it began with, if it did.
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
        stage: The stage that used it.
        source: Where it comes from.
        detail: The criterion, or the stage that was asked.
        factor: What the found one was multiplied by.
        values: What came out, one for each merged run.
        split: The images on whose masks it was found.
        of: Stage that found it on masks, where that is another one.
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
    """A dense CRF: the stage that applied it, to what, its preset and what was changed."""

    stage: str
    on: AppliedTo
    preset: str
    settings: str = ''


@dataclass(frozen=True)
class Method:
    """What a stage did: seed heads and refiners by name. Methods are there to differ."""

    stage: str
    what: str


@dataclass(frozen=True)
class Code:
    """A remark on the code that made the result of a stage."""

    stage: str
    state: CodeState
