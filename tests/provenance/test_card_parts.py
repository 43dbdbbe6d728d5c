"""What stages say for their cards, and what is found in them without running."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsss_plugins.engine import Stage
from wsss_plugins.errors import DataError
from wsss_plugins.provenance.methods import crfs_of, methods_of
from wsss_plugins.provenance.renew import renewed
from wsss_plugins.stages import (
    ConfidentLabelStage,
    PredictStage,
    RefineStage,
    SegmentationTestStage,
)
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import Network, Threshold
from wsss_plugins.structures.masks_read import mask_checksum, note_mask, watch_masks

IMAGES = dict(type='VOC12', data_root='data', split='train')


def test_thresholds_of_policies() -> None:
    def told(**more: Any) -> list[tuple[str, str]]:
        stage = RefineStage('pseudo', 'seeds', IMAGES, **more)
        return [(t.source, t.detail) for t in stage.card().thresholds]

    power = dict(type='PowerBackground', alpha=4)
    assert told(refiners=[power]) == [('fixed', 'PowerBackground, alpha 4')]
    assert told(refiners=[dict(type='ConstantBackground')]) == [('fixed', '')]
    quantile = dict(type='QuantileBackground')
    assert told(refiners=[quantile]) == [('label-free', 'QuantileBackground')]
    assert told(refiners=[dict(type='DenseCRF')]) == [], 'the seeds have a background'
    constant = dict(type='ConstantBackground')
    assert told(refiners=[constant], threshold='score') == [
        ('masks', 'the best of score')
    ]
    confident = ConfidentLabelStage('sure', 'seeds', IMAGES, 4, 24).card()
    assert [t.detail for t in confident.thresholds] == [
        'PowerBackground, alpha 4 and 24'
    ]


def test_words_of_a_provenance_are_taken_only_where_they_are_about_tags() -> None:
    class Says(Stage):
        words: dict[str, Any] = {}

        def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
            return {}

        def provenance(self) -> dict[str, Any]:
            return self.words

    def card(**words: Any) -> SupervisionCard:
        stage = Says('says')
        stage.words = words
        return stage.card()

    assert card(labels='predicted_labels/here').labels is None, 'a folder'
    assert card(labels='predicted, probability >= 0.5').labels.startswith('predicted')
    assert card(labels='none', scales=[1, 2], flip=False).scales == (1.0, 2.0)
    assert card(threshold=0.3).thresholds == (
        Threshold('says', 'fixed', values=(0.3,)),
    )
    assert card(threshold='otsu').thresholds == (
        Threshold('says', 'label-free', 'otsu'),
    )
    assert card(threshold='the best on ground truth').thresholds == ()
    assert card(convention='irn').protocol == dict(convention='irn')


def test_a_crf_of_a_stage_that_infers_is_on_predictions() -> None:
    chain = [dict(type='DenseCRF', preset='deeplab', iterations=3, reference_size=500)]
    stage = PredictStage('prediction', 'net', IMAGES, refiners=chain)
    (crf,) = crfs_of(stage, stage.card().scales is not None)
    assert crf.on == 'predictions' and crf.preset == 'deeplab'
    assert crf.settings == 'iterations 3, reference_size 500'
    assert methods_of(stage)[0].what == 'DenseCRF'
    default = ConfidentLabelStage('sure', 'seeds', IMAGES)
    assert methods_of(default)[0].what == 'PowerBackground, DenseCRF'
    assert [c.preset for c in crfs_of(default, False)] == ['psa']


def test_explanation_tests_say_what_they_explain() -> None:
    model = dict(type='TimmClassifier', name='vit_tiny_patch16_224')
    methods = dict(cam=dict(type='CAM'))
    stage = SegmentationTestStage('test', model, methods, IMAGES, explained='target')
    card = stage.card()
    (network,) = card.networks
    assert network.weights == 'vit_tiny_patch16_224.augreg_in21k_ft_in1k (timm)'
    assert network.supervision == 'ImageNet-1k labels + ImageNet-21k labels'
    assert network.learnt_from == 'nothing here'
    assert card.labels == 'image-level ground truth'
    assert card.protocol == dict(
        input_size='224x224', explained='target', foreground='any'
    )
    again = SegmentationTestStage('test', model, methods, IMAGES).card()
    assert again.labels == 'none' and card.unlike(again) == [
        'tags at inference', 'protocol',
    ]  # fmt: skip


def test_only_watchers_hear_of_masks() -> None:
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    note_mask('nobody', 'a', mask)
    with watch_masks() as outer:
        with watch_masks() as inner:
            note_mask('f', 'a', mask)
        note_mask('f', 'b', mask.T)
    note_mask('f', 'c', mask)
    assert inner == {('f', 'a'): mask_checksum(mask)}
    assert set(outer) == {('f', 'a'), ('f', 'b')}
    assert mask_checksum(mask) != mask_checksum(mask.reshape(3, 2)), 'the size counts'
    assert outer['f', 'b'] == mask_checksum(np.ascontiguousarray(mask.T))
    with pytest.raises(DataError), watch_masks() as broken:
        raise DataError('x')
    note_mask('f', 'a', mask)
    assert broken == {}


def test_what_is_declared_later_reaches_the_cards_of_what_is_done() -> None:
    unknown = Network(
        'net', 'M', 'w.pth', 'unknown (w.pth, not declared)', 'not declared', 'image-level labels'
    )  # fmt: skip
    follower = replace(unknown, stage='next', known_by='card of net', begins_with='net')
    fixed = replace(unknown, stage='timm', supervision='none', known_by='name of timm')
    card = SupervisionCard(networks=(unknown, follower, fixed))
    now = {
        name: replace(
            unknown, supervision='COCO pixels', known_by='declared in the config'
        )
        for name in ('net', 'timm')
    }
    found = renewed(card, now)
    assert [n.supervision for n in found.networks] == ['COCO pixels'] * 2 + ['none']
    assert [n.known_by for n in found.networks] == [
        'declared in the config', 'card of net', 'name of timm',
    ]  # fmt: skip
    assert renewed(found, {'net': unknown}) == card, 'and taken back'
