"""Supervision cards: records of how a number was made, which can be compared.

:mod:`wsss_plugins.provenance` makes the card of a stage's results while the stage runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from wsss_plugins.errors import UserError
from wsss_plugins.structures.card_parts import (
    CRF,
    AppliedTo,
    Code,
    KnownBy,
    Learnt,
    Method,
    Network,
    Said,
    Source,
    Split,
    Tags,
    Taught,
    Threshold,
    in_words,
)

T = TypeVar('T')


@dataclass(frozen=True)
class SupervisionCard:
    """How a number was made.

    A stage fills in the fields that it determines. A field left None is inherited from
    the card of its first input; :meth:`after` joins the cards.

    Attributes:
        split: The images on which the number was measured.
        networks: Every network that the number depends on, in order of the stages.
        thresholds: Every threshold that the number depends on.
        labels: Image-level labels that the last inference used.
        scales: Scale factors of the images at the last inference.
        flip: True if the last inference also used the mirrored image.
        crf: Every dense CRF that the number depends on.
        methods: Seed heads and refiners of every stage that the number depends on.
        protocol: Conventions of the stage that measured, such as how means are taken.
        seeds: Random seeds of the runs.
        runs: Number of runs of which the number is the mean.
        commits: Commits of the source code that the stages ran.
        versions: Versions of libraries, such as 'torch 2.12.1'.
        devices: Names of the GPUs or CPUs on which the stages ran.
        workers: Numbers of worker processes.
        code: Remarks on stages whose code changed after they ran, or was not recorded.
            Empty if every stage ran the code that its record names.
    """

    split: Split | None = None
    networks: tuple[Network, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    labels: Said[Tags] | None = None
    scales: tuple[float, ...] | None = None
    flip: bool | None = None
    crf: tuple[CRF, ...] = ()
    methods: tuple[Method, ...] = ()
    protocol: dict[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    runs: int = 1
    commits: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    workers: tuple[int, ...] = ()
    code: tuple[Code, ...] = ()

    def after(self, inputs: Mapping[str, SupervisionCard]) -> SupervisionCard:
        """Joins this card of a stage with the cards of the stages that it read.

        Args:
            inputs: Card of each stage that was read, by name. Fields that are None in
                this card are taken from the first of them.

        Returns:
            The card of the stage's results.
        """
        cards = list(inputs.values())
        first = cards[0] if cards else SupervisionCard()
        replaced = {t.of for t in self.thresholds}
        crf = _joined(c.crf for c in cards)
        split = first.split and replace(first.split, masks=None)
        if any(n.learnt_from.kind is not Learnt.NOTHING for n in self.networks):
            # The earlier inference only taught this network.
            crf = tuple(replace(each, on=AppliedTo.LABELS) for each in crf)
            split = None
        own = replace(
            self,
            split=self.split or split,
            networks=begun([*_joined(c.networks for c in cards), *self.networks]),
            thresholds=_joined(
                [
                    (t for c in cards for t in c.thresholds if t.stage not in replaced),
                    (
                        replace(t, split=inputs[t.of].split) if t.of in inputs else t
                        for t in self.thresholds
                    ),
                ]
            ),
            labels=first.labels if self.labels is None else self.labels,
            scales=first.scales if self.scales is None else self.scales,
            flip=first.flip if self.flip is None else self.flip,
            crf=_joined([crf, self.crf]),
            methods=_joined([*(c.methods for c in cards), self.methods]),
            code=_joined([*(c.code for c in cards), self.code]),
        )
        for card in cards:
            own = own.also_by(card)
        return own

    def also_by(self, other: SupervisionCard) -> SupervisionCard:
        """This card with the seeds, commits, versions and machines of ``other`` added."""
        joined: dict[str, Any] = {
            name: tuple(sorted({*getattr(self, name), *getattr(other, name)}))
            for name in SESSION
        }
        return replace(self, **joined)

    @property
    def pixels(self) -> tuple[str, ...]:
        """Uses of ground-truth pixels other than to measure, a text for each."""
        learnt = [(n.learnt_from.kind, n.stage) for n in self.networks]
        uses = [f'training of {name}' for kind, name in learnt if kind is Learnt.PIXELS]
        uses += [
            f'initial weights of {n.stage}: {in_words(n.supervision)}'
            for n in self.networks
            if any(kind.kind is Taught.PIXELS for kind in n.supervision)
        ]
        uses += [
            f'tags that {name} learnt from'
            for kind, name in learnt
            if kind is Learnt.TAGS_FROM_MASKS
        ]
        uses += [
            f'threshold of {t.stage}'
            for t in self.thresholds
            if t.source is Source.MASKS
        ]
        if self.labels == Tags.TRUE_FROM_MASKS():
            uses.append('tags at inference')
        return _joined([uses])

    def key(self) -> dict[str, Any]:
        """The properties, by name, that must be equal for all rows of one table.

        Seed heads, refiners, the CRF of pseudo labels and values of thresholds are left
        out, since tables compare them; versions and machines, since they do not matter.
        """
        measured = self.split or Split('', '', 0, '')
        passed_on = (Learnt.LABEL_MAPS, Learnt.NOTHING)
        return {
            'images': measured.checksum,
            'masks': measured.masks,
            'initial weights': frozenset(
                kind for n in self.networks for kind in n.supervision
            ),
            'learnt from': frozenset(
                n.learnt_from
                for n in self.networks
                if n.learnt_from.kind not in passed_on
            ),
            'training images': frozenset(
                n.split.checksum for n in self.networks if n.split
            ),
            'threshold': frozenset(self.source_of(t) for t in self.thresholds),
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
        found, measured = threshold.split, self.split
        if found is None or measured is None:
            return 'other masks'
        # By name as well: images that failed change the checksum.
        same = (found.data, found.name) == (measured.data, measured.name)
        same |= found.checksum == measured.checksum
        return 'these masks' if same else 'other masks'

    def unlike(self, other: SupervisionCard) -> list[str]:
        """Names in :meth:`key` that differ; empty if one table may hold both numbers."""
        mine, theirs = self.key(), other.key()
        return [name for name in mine if mine[name] != theirs[name]]

    def differences(self, other: SupervisionCard) -> list[str]:
        """Names of all fields that differ between the two cards."""
        names = [f.name for f in fields(self)]
        return [n for n in names if getattr(self, n) != getattr(other, n)]


SESSION = ('seeds', 'commits', 'versions', 'devices', 'workers')
"""Fields on seeds, code and machines; runs that differ only in these can be averaged."""


def merge_runs(cards: Sequence[SupervisionCard]) -> SupervisionCard:
    """Merges the cards of runs that differ only in seed, machine, versions and code.

    Args:
        cards: The card of each run; at least one.

    Raises:
        UserError: The cards differ in something other than seeds, workers, devices,
            versions, commits, remarks on code and values of thresholds.
    """
    nobody: dict[str, Any] = dict.fromkeys(SESSION, ())
    bare = [
        replace(card, thresholds=_unknown(card), runs=1, code=(), **nobody)
        for card in cards
    ]
    for each in bare[1:]:
        wrong = bare[0].differences(each)
        if wrong:
            raise UserError(
                f'these runs differ in more than the seed ({", ".join(wrong)}): a mean over '
                'them means nothing; make them from one config'
            )
    thresholds = tuple(
        replace(t, values=tuple(v for card in cards for v in card.thresholds[i].values))
        for i, t in enumerate(bare[0].thresholds)
    )
    merged = replace(
        bare[0],
        thresholds=thresholds,
        runs=sum(card.runs for card in cards),
        code=_joined(card.code for card in cards),
    )
    for card in cards:
        merged = merged.also_by(card)
    return merged


def history(card: SupervisionCard) -> SupervisionCard:
    """The part of a card that trained weights carry: not how and where they were measured."""
    return SupervisionCard(
        networks=card.networks,
        thresholds=_unknown(card),
        crf=card.crf,
        methods=card.methods,
        code=card.code,
    )


def begun(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Adds to each network the supervision of the network whose weights it starts from."""
    found: dict[Network, None] = {}
    for network in networks:
        first = [n for n in found if n.stage == network.begins_with]
        if network.begins_with and first:
            network = replace(
                network,
                supervision=network.supervision.union(*(n.supervision for n in first)),
                known_by=(KnownBy.CARD(network.begins_with),),
            )
        found[network] = None
    return tuple(found)


def _unknown(card: SupervisionCard) -> tuple[Threshold, ...]:
    """The thresholds of a card without their values."""
    return tuple(replace(t, values=()) for t in card.thresholds)


def _joined(groups: Iterable[Iterable[T]]) -> tuple[T, ...]:
    """The items of all groups in order, without repetitions."""
    return tuple(dict.fromkeys(item for group in groups for item in group))
