"""Supervision cards: how a number was made, as typed facts that can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import chain
from typing import Any, Generic, Literal, TypeVar

from wsss_plugins.errors import UserError

W = TypeVar('W', bound='Words')


class Words(Enum):
    """Kinds of facts: a text, in which ``{}`` stands for a detail, and an abbreviation."""

    short: str

    def __new__(cls: type[W], text: str, short: str | None = None) -> W:
        """Makes a kind whose value is its text, which is also the default abbreviation."""
        kind = object.__new__(cls)
        kind._value_, kind.short = text, text if short is None else short
        return kind

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
    """Reads a fact from its text; the last kind, OTHER, has every text."""
    patterns = ((k, re.escape(k.value).replace(r'\{\}', '(.*)')) for k in kinds)
    found = ((kind, re.fullmatch(p, text, re.DOTALL)) for kind, p in patterns)
    return next(Said(kind, *match.groups()) for kind, match in found if match)


class Learnt(Words):
    """The kind of annotation that a network was trained on."""

    TAGS = 'image-level labels', 'I'
    TAGS_FROM_MASKS = 'image-level labels, made from masks', 'I from masks'
    PIXELS = 'ground-truth masks', 'F'
    IMAGES = 'images alone', ''
    LABEL_MAPS = 'label maps of {}', ''
    NOTHING = 'nothing here', ''
    UNKNOWN = 'unknown ({})', '?'
    OTHER = '{}', '?'


class Taught(Words):
    """The kind of annotation that initial weights were trained on."""

    NOTHING = 'none', 'scratch'
    SELF = 'self-supervised', 'SSL'
    UNKNOWN = 'unknown ({})', 'weights ?'
    LABELS = '{} labels'
    BOXES = '{} boxes'
    PIXELS = '{} pixels'
    TEXTS = '{} texts'
    OTHER = '{}'


class KnownBy(Words):
    """The source from which it is known what initial weights were trained on."""

    DECLARED = 'declared in the config'
    NOT_DECLARED = 'not declared'
    TIMM = 'name of timm'
    SOURCE = 'name of the source'
    CARD = 'card of {}'
    NOTHING = 'nothing is loaded'
    OTHER = '{}'


class Tags(Words):
    """The image-level labels that an inference used."""

    NONE = 'none', ''
    TRUE = 'image-level ground truth', 'true tags'
    TRUE_FROM_MASKS = (
        'image-level ground truth, made from masks',
        'true tags from masks',
    )
    PREDICTED = 'predicted, {}', 'predicted tags'
    FILES = 'those of the files', 'tags ?'
    UNKNOWN = 'unknown ({})', 'tags ?'
    OTHER = '{}', 'tags ?'


class Source(Enum):
    """The source of a threshold between background and objects."""

    FIXED = 'fixed'
    LABEL_FREE = 'label-free'
    MASKS = 'masks'


class AppliedTo(Enum):
    """The input of a dense CRF: predictions of a network, or labels made from seeds."""

    PREDICTIONS = 'predictions'
    LABELS = 'labels'


class CodeState(Words):
    """Why the code of a result may not be the present one, or its labels are doubted."""

    ACCEPTED = 'accepted', 'code accepted'
    UNRECORDED = 'unrecorded', ''
    UNKNOWN = 'unknown', ''
    LOST = 'lost background', 'background lost'


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
    """The images of a result."""

    data: str  # class of the data set, such as 'VOC12'
    name: str  # name of the split, such as 'train'
    images: int  # number of images, without those that were left out
    checksum: str  # of ids, image-level labels and classes, 16 hexadecimal digits
    masks: str | None = None  # checksum of the masks' pixels; None if none was read
    left_out: int = 0  # number of images that were left out because they failed
    tags: Literal['given', 'masks'] = 'given'  # where image-level labels come from

    def __str__(self) -> str:
        """Such as 'VOC12 train_aug 10582 (-3)': data set, split, images, and those left out."""
        less = f' (-{self.left_out})' if self.left_out else ''
        return f'{self.data} {self.name} {self.images}{less}'


@dataclass(frozen=True)
class Network:
    """A network that a result depends on, or an unknown one that made imported files."""

    stage: str  # name of the stage that trained or imported the network
    model: str  # name of the model's class
    weights: str  # names of the initial weights
    supervision: Supervision  # annotations that the initial weights were trained on
    known_by: tuple[Said[KnownBy], ...]  # source of that knowledge
    learnt_from: Said[Learnt]  # annotations that the stage trained the network on
    split: Split | None = None  # the images of the stage's training
    begins_with: str = ''  # stage whose trained weights are the initial weights


@dataclass(frozen=True)
class Threshold:
    """A threshold between background and objects."""

    stage: str  # name of the stage that used the threshold
    source: Source
    detail: str = ''  # name of the criterion, or of the stage that found the threshold
    factor: float = 1.0  # by which the found threshold was multiplied
    values: tuple[float, ...] = ()  # the value in each merged run
    split: Split | None = None  # the images on whose masks the threshold was found
    of: str = ''  # name of the stage that found it on masks, if another one did


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
    """A remark on the code or the label maps of a stage."""

    stage: str
    state: CodeState


APPENDED = ('networks', 'thresholds', 'crf', 'methods', 'code')
SESSION = ('seeds', 'commits', 'versions', 'devices', 'workers')
"""Fields on seeds, code and machines; runs that differ only in these can be averaged."""


@dataclass(frozen=True)
class SupervisionCard:
    """How a number was made.

    A field that a stage leaves None is inherited from the card of its first input.
    """

    split: Split | None = None  # the images on which the number was measured
    networks: tuple[Network, ...] = ()  # all that it depends on, in order of the stages
    thresholds: tuple[Threshold, ...] = ()  # all that the number depends on
    labels: Said[Tags] | None = None  # image-level labels of the last inference
    scales: tuple[float, ...] | None = None  # of the images at the last inference
    flip: bool | None = None  # whether the last inference also used mirrored images
    crf: tuple[CRF, ...] = ()  # all that the number depends on
    methods: tuple[Method, ...] = ()  # of every stage that the number depends on
    protocol: dict[str, str] = field(default_factory=dict)  # of the measuring stage
    seeds: tuple[int, ...] = ()  # random seeds of the runs
    runs: int = 1  # number of runs of which the number is the mean
    commits: tuple[str, ...] = ()  # of the source code that the stages ran
    versions: tuple[str, ...] = ()  # of libraries, such as 'torch 2.12.1'
    devices: tuple[str, ...] = ()  # GPUs or CPUs on which the stages ran
    workers: tuple[int, ...] = ()  # numbers of worker processes
    code: tuple[Code, ...] = ()  # remarks; none if the recorded code made the number

    def after(self, inputs: Mapping[str, SupervisionCard]) -> SupervisionCard:
        """Joins this card of a stage with the cards of the stages that it read, by name."""
        trains = any(n.learnt_from.kind is not Learnt.NOTHING for n in self.networks)
        own, replaced = self.thresholds, {t.of for t in self.thresholds}
        cards = []
        for name, card in inputs.items():
            own = tuple(
                replace(t, split=card.split) if t.of == name else t for t in own
            )
            split, crf = card.split and replace(card.split, masks=None), card.crf
            if trains:  # The earlier inference only taught this network.
                split, on = None, AppliedTo.LABELS
                crf = tuple(replace(each, on=on) for each in crf)
            found = tuple(t for t in card.thresholds if t.stage not in replaced)
            cards.append(replace(card, split=split, crf=crf, thresholds=found))
        joined = replace(self, thresholds=own).joined(cards)
        networks: dict[Network, None] = {}
        for network in joined.networks:
            first = [n.supervision for n in networks if n.stage == network.begins_with]
            if first:
                known_by = (KnownBy.CARD(network.begins_with),)
                supervision = network.supervision.union(*first)
                network = replace(network, supervision=supervision, known_by=known_by)
            networks[network] = None
        return replace(joined, networks=tuple(networks))

    def joined(self, cards: Sequence[SupervisionCard]) -> SupervisionCard:
        """This card with the facts of earlier cards; what is None is that of the first."""
        joined: dict[str, Any] = {}
        for name in SupervisionCard.__dataclass_fields__:
            own, earlier = getattr(self, name), [getattr(card, name) for card in cards]
            if name in SESSION:
                own = tuple(sorted({*chain(*earlier), *own}))
            elif name in APPENDED:
                own = tuple(dict.fromkeys([*chain(*earlier), *own]))
            elif own is None and earlier:
                own = earlier[0]
            joined[name] = own
        return SupervisionCard(**joined)

    def only(self, names: Iterable[str]) -> SupervisionCard:
        """A card with these fields alone."""
        return SupervisionCard(**{name: getattr(self, name) for name in names})

    @property
    def pixels(self) -> tuple[str, ...]:
        """Uses of ground-truth pixels other than to measure, a text for each."""
        learnt = [(n.learnt_from.kind, n.stage) for n in self.networks]
        uses = [f'training of {name}' for kind, name in learnt if kind is Learnt.PIXELS]
        for n in self.networks:
            if any(kind.kind is Taught.PIXELS for kind in n.supervision):
                uses.append(f'initial weights of {n.stage}: {in_words(n.supervision)}')
        tags = Learnt.TAGS_FROM_MASKS
        uses += [
            f'tags that {name} learnt from' for kind, name in learnt if kind is tags
        ]
        best = [t.stage for t in self.thresholds if t.source is Source.MASKS]
        uses += [f'threshold of {name}' for name in best]
        uses += ['tags at inference'] * (self.labels == Tags.TRUE_FROM_MASKS())
        return tuple(dict.fromkeys(uses))

    def key(self) -> dict[str, Any]:
        """The properties, by name, that must be equal for all rows of one table.

        Seed heads, refiners, the CRF of pseudo labels and values of thresholds are left
        out, since tables compare them; versions and machines, since they do not matter.
        """
        split, networks = self.split, self.networks
        passed_on = (Learnt.LABEL_MAPS, Learnt.NOTHING)
        learnt = (
            n.learnt_from for n in networks if n.learnt_from.kind not in passed_on
        )
        return {
            'images': split and split.checksum,
            'masks': split and split.masks,
            'initial weights': frozenset(t for n in networks for t in n.supervision),
            'learnt from': frozenset(learnt),
            'training images': frozenset(n.split.checksum for n in networks if n.split),
            'threshold': frozenset(map(self.source_of, self.thresholds)),
            'tags at inference': self.labels,
            'scales': self.scales,
            'flip': self.flip,
            'CRF on predictions': any(c.on is AppliedTo.PREDICTIONS for c in self.crf),
            'protocol': tuple(sorted(self.protocol.items())),
        }

    def source_of(self, threshold: Threshold) -> str:
        """Text of a threshold's source; 'these masks' are those of the measured split."""
        if threshold.source is not Source.MASKS:
            return threshold.source.value
        # By name as well: images that failed change the checksum.
        found, measured = (
            {split.checksum, (split.data, split.name)} if split else set()
            for split in (threshold.split, self.split)
        )
        return 'other masks' if found.isdisjoint(measured) else 'these masks'

    def unlike(self, other: SupervisionCard) -> list[str]:
        """Names in :meth:`key` that differ; empty if one table may hold both numbers."""
        mine, theirs = self.key(), other.key()
        return [name for name in mine if mine[name] != theirs[name]]

    def differences(self, other: SupervisionCard) -> list[str]:
        """Names of all fields that differ between the two cards."""
        mine, theirs = vars(self), vars(other)
        return [name for name in mine if mine[name] != theirs[name]]


def merge_runs(cards: Sequence[SupervisionCard]) -> SupervisionCard:
    """Merges the cards of runs; at least one.

    Raises:
        UserError: The cards differ in something other than seeds, machines, versions,
            code and values of thresholds.
    """
    bare = [replace(card, thresholds=history(card).thresholds) for card in cards]
    may_differ = {*SESSION, 'runs', 'code'}
    for other in bare[1:]:
        wrong = [n for n in bare[0].differences(other) if n not in may_differ]
        if wrong:
            raise UserError(
                f'these runs differ in more than the seed ({", ".join(wrong)}): a mean over '
                'them means nothing; make them from one config'
            )
    thresholds = (
        replace(same[0], values=tuple(chain(*(t.values for t in same))))
        for same in zip(*(card.thresholds for card in cards), strict=True)
    )
    joined = replace(bare[0], code=()).joined(cards)
    runs = sum(card.runs for card in cards)
    return replace(joined, thresholds=tuple(thresholds), runs=runs)


def history(card: SupervisionCard) -> SupervisionCard:
    """The part of a card that trained weights carry: not how and where they were measured."""
    thresholds = tuple(replace(t, values=()) for t in card.thresholds)
    return replace(card.only(APPENDED), thresholds=thresholds)
