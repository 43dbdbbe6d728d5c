"""Cards of what is measured outside of a pipeline, on trained weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wsss_plugins.engine.record import environment
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import world_size
from wsss_plugins.errors import UserError
from wsss_plugins.provenance.initial import card_of_weights
from wsss_plugins.provenance.maker import CardMaker, Ran, unknown_card
from wsss_plugins.structures.card import SupervisionCard


class OneView(Stage):
    """Stands for a measurement by mmengine's Runner: whole images, one view, no labels.

    Args:
        dataset: Config of the images; with label maps these are read.
    """

    needs_masks = True

    def __init__(self, dataset: Mapping[str, Any]) -> None:
        super().__init__('test')
        self.inputs = ('checkpoint',)
        self.dataset = dataset

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """It is the Runner that runs."""
        raise UserError('a measurement by the Runner is no stage of a pipeline')

    def card(self) -> SupervisionCard:
        """One view, no labels."""
        return SupervisionCard(labels='none', scales=(1.0,), flip=False)


def card_of_test(
    checkpoint: Path, steps: Sequence[tuple[Stage, Mapping[str, Any]]]
) -> SupervisionCard:
    """The card of a number that was measured on trained weights.

    Args:
        checkpoint: Their file; without a card of its own it is not known what they
            learnt from.
        steps: Every stage that ran on it, the measuring one last, and its metrics. Each
            has the config of its images as ``dataset``.

    Returns:
        The card of the last stage.
    """
    card = card_of_weights(checkpoint) or unknown_card(checkpoint.name, 'no card')
    seeds, maker = card.seeds, CardMaker()
    where = environment(world_size())
    for stage, metrics in steps:
        config = dict(dataset=vars(stage)['dataset'])
        ran = Ran(stage, config, checkpoint.parent, {}, metrics, where, {})
        card = maker.make(ran, {stage.inputs[0]: card}) or card
    return replace(card, seeds=seeds)
