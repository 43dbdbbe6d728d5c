"""What stages say for their cards, and what is found in them without running."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from trees import make_voc

from wsss_plugins.datasets import VOC12
from wsss_plugins.engine import Stage
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.provenance.files import renewed
from wsss_plugins.provenance.images import ImageRegister
from wsss_plugins.provenance.run import (
    Ran,
    crfs_of,
    declared_card,
    make_card,
    methods_of,
)
from wsss_plugins.registry import STAGES
from wsss_plugins.seeds import AttentionRollout
from wsss_plugins.stages import (
    ConfidentLabelStage,
    PredictStage,
    RefineStage,
    SeedStage,
    SegmentationTestStage,
    TrainStage,
)
from wsss_plugins.structures.card import (
    CRF,
    AppliedTo,
    Code,
    CodeState,
    KnownBy,
    Learnt,
    Method,
    Network,
    Source,
    SupervisionCard,
    Tags,
    Taught,
    Threshold,
    in_words,
    supervision_in,
)
from wsss_plugins.structures.masks_read import (
    mask_checksum,
    note_mask,
    open_lists,
    watch_masks,
)
from wsss_plugins.structures.measured import Measured

IMAGES = dict(type='VOC12', data_root='data', split='train')


def test_thresholds_of_policies() -> None:
    def told(**more: Any) -> list[tuple[Source, str]]:
        stage = RefineStage('pseudo', 'seeds', IMAGES, **more)
        return [(t.source, t.detail) for t in stage.measured().thresholds]

    power = dict(type='PowerBackground', alpha=4)
    assert told(refiners=[power]) == [(Source.FIXED, 'PowerBackground, alpha 4')]
    constant = dict(type='ConstantBackground')
    assert told(refiners=[constant]) == [(Source.FIXED, '')]
    quantile = dict(type='QuantileBackground')
    assert told(refiners=[quantile]) == [(Source.LABEL_FREE, 'QuantileBackground')]
    assert told(refiners=[dict(type='DenseCRF')]) == [], 'the seeds have a background'
    assert told(refiners=[constant], threshold='score') == [
        (Source.MASKS, 'the best of score')
    ]
    confident = ConfidentLabelStage('sure', 'seeds', IMAGES, 4, 24).measured()
    assert [t.detail for t in confident.thresholds] == [
        'PowerBackground, alpha 4 and 24'
    ]


class Says(Stage):
    """A stage of the contract before: a run, and a provenance in words."""

    words: ClassVar[dict[str, Any]] = {}

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        return {}

    def provenance(self) -> dict[str, Any]:
        return dict(super().provenance(), **self.words)


def test_a_stage_of_the_contract_before_says_it_in_its_provenance() -> None:
    def card(**words: Any) -> SupervisionCard:
        Says.words = words
        return declared_card(Says('says'), ImageRegister())

    assert card(labels='predicted_labels/here').labels is None, 'a folder'
    found = card(labels='predicted, probability >= 0.5').labels
    assert found == Tags.PREDICTED('probability >= 0.5')
    assert card(labels='none', scales=[1, 2], flip=False).scales == (1.0, 2.0)
    assert card(threshold=0.3).thresholds == (
        Threshold('says', Source.FIXED, values=(0.3,)),
    )
    assert card(threshold='otsu').thresholds == (
        Threshold('says', Source.LABEL_FREE, 'otsu'),
    )
    assert card(threshold='the best on ground truth').thresholds == ()
    assert card(convention='irn').protocol == dict(convention='irn')
    assert card() == SupervisionCard()


def test_no_stage_of_this_package_is_of_the_contract_before() -> None:
    for name, kind in STAGES.module_dict.items():
        if kind.__module__.startswith('wsss_plugins.'):
            assert kind.measured is not Stage.measured, name


def test_the_words_of_a_declaration_are_derived_from_it() -> None:
    given = dict(IMAGES, label_maps='masks')
    best = Threshold('x', Source.MASKS, 'the best')
    measured = Measured(
        images=given, masks=True, thresholds=(best, replace(best, of='y', factor=0.8)),
        labels=Tags.TRUE(), scales=(1.0, 1.5), flip=True, protocol=dict(convention='irn'),
        details=dict(merge='max'),
    )  # fmt: skip
    assert measured.words() == dict(
        data='data train', ground_truth='masks', labels='image-level ground truth',
        threshold='0.8 times the best on ground truth (y)', scales=[1.0, 1.5], flip=True,
        convention='irn', merge='max',
    )  # fmt: skip
    assert Measured().words() == {}


@pytest.mark.parametrize('name', ['card', 'ground_truth_files'])
def test_a_method_that_nobody_asks_any_more_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf'Old\.{name}\(\) has no effect any more'):
        type('Old', (Says,), {name: lambda self: None})


def test_what_a_stage_holds_under_any_name_is_no_declaration() -> None:
    """Renamed attributes and metrics change nothing; methods and their content do."""

    class Holds(Stage):
        def __init__(self, name: str, place: str) -> None:
            super().__init__(name)
            setattr(self, place, AttentionRollout())
            self.path, self.best = Path('elsewhere'), dict(type='DenseCRF')

        def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
            return {}

    def card(stage: Stage) -> SupervisionCard:
        ran = Ran(stage.name, stage.declared(), stage.parts(), metrics=dict(best_x=1))
        return make_card(ran, {}, ImageRegister(), SupervisionCard())

    class Declares(Holds):
        def parts(self) -> tuple[object, ...]:
            return (vars(self)[place],)

    plain = card(Holds('s', 'head'))
    assert plain == card(Holds('s', 'renamed'))
    assert (plain.methods, plain.crf, plain.thresholds) == ((), (), ())
    for place in ('head', 'renamed'):
        assert card(Declares('s', place)).methods == (Method('s', 'AttentionRollout'),)


def test_a_crf_of_a_stage_that_infers_is_on_predictions() -> None:
    chain = [dict(type='DenseCRF', preset='deeplab', iterations=3, reference_size=500)]
    stage = PredictStage('prediction', 'net', IMAGES, refiners=chain)
    assert stage.measured().scales is not None
    assert crfs_of('prediction', stage.parts(), True) == (
        CRF('prediction', AppliedTo.PREDICTIONS, 'deeplab', 'iterations 3, reference_size 500'),
    )  # fmt: skip
    assert methods_of('x', stage.parts())[0].what == 'DenseCRF'
    default = ConfidentLabelStage('sure', 'seeds', IMAGES).parts()
    assert methods_of('x', default)[0].what == 'PowerBackground, DenseCRF'
    assert [c.preset for c in crfs_of('x', default, False)] == ['psa']


def test_a_head_is_followed_by_the_head_that_it_refines() -> None:
    stage = SeedStage(
        'cam', 'net', dict(type='AffinityRefined', head=dict(type='CAM')), IMAGES
    )
    assert methods_of('cam', stage.parts())[0].what == 'AffinityRefined, CAM'


def test_explanation_tests_say_what_they_explain() -> None:
    model = dict(type='TimmClassifier', name='vit_tiny_patch16_224')
    methods = dict(cam=dict(type='CAM'))
    stage = SegmentationTestStage('test', model, methods, IMAGES, explained='target')
    card = declared_card(stage, ImageRegister())
    (network,) = card.networks
    assert network.weights == 'vit_tiny_patch16_224.augreg_in21k_ft_in1k (timm)'
    assert in_words(network.supervision) == 'ImageNet-1k labels + ImageNet-21k labels'
    assert network.learnt_from == Learnt.NOTHING()
    assert card.labels == Tags.TRUE()
    assert card.protocol == dict(
        input_size='224x224', explained='target', foreground='any'
    )
    stage = SegmentationTestStage('test', model, methods, IMAGES)
    again = declared_card(stage, ImageRegister())
    assert again.labels == Tags.NONE() and card.unlike(again) == [
        'tags at inference', 'protocol',
    ]  # fmt: skip


def test_a_data_set_is_made_and_looked_at_once(monkeypatch) -> None:
    made = []

    class Counted(VOC12):
        def __init__(self, **arguments: Any) -> None:
            made.append(arguments)

        def __len__(self) -> int:
            return 0

        split, leave_out, label_map_folder = 'train', (), None
        metainfo: ClassVar[dict[str, Any]] = dict(classes=['background'])

    register = ImageRegister()
    config = dict(
        type=Counted, data_root='x', split='train', pipeline=[1], label_maps='y'
    )
    first = register.find([config], set())
    again = dict(config, pipeline=[2], label_maps='z')
    assert register.find([again], set()) is first
    stage = TrainStage('net', training(dict(config)))
    for _ in range(2):
        assert declared_card(stage, register).networks[0].split == first.split
    assert len(made) == 1 and 'pipeline' not in made[0]


def training(dataset: dict[str, Any]) -> dict[str, Any]:
    model = dict(type='WSSSClassifier', backbone=dict(type='TimmViT'))
    return dict(
        model=model, train_dataloader=dict(dataset=dict(dataset, label_maps=None))
    )


def test_only_those_who_watch_hear_of_masks() -> None:
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    note_mask((), 'nobody', 'a', mask)
    with watch_masks() as outer:
        with watch_masks() as inner:
            note_mask((), 'f', 'a', mask)
        note_mask((), 'f', 'b', mask.T)
    note_mask((), 'f', 'c', mask)
    assert inner == {('f', 'a'): mask_checksum(mask)}
    assert set(outer) == {('f', 'a'), ('f', 'b')}
    assert mask_checksum(mask) != mask_checksum(mask.reshape(3, 2)), 'the size counts'
    assert outer['f', 'b'] == mask_checksum(np.ascontiguousarray(mask.T))
    with pytest.raises(DataError), watch_masks() as broken:
        raise DataError('x')
    note_mask((), 'f', 'a', mask)
    assert broken == {} and open_lists() == ()


def test_masks_that_a_thread_loads_are_heard_of_and_other_threads_are_apart(
    tmp_path,
) -> None:
    objects = {'a': ['aeroplane'], 'b': ['bicycle']}
    root = make_voc(tmp_path / 'voc', objects)
    given = dict(label_maps='SegmentationClass', test_mode=True)
    with watch_masks() as listed, ThreadPoolExecutor(1) as pool:
        images = VOC12(root, 'train', **given)
        pool.submit(images.load_mask, 0).result()
        other = pool.submit(VOC12, root, 'train', **given).result()
        pool.submit(other.load_mask, 1).result()
    assert {name for _, name in listed} == {'a'}


def test_what_is_declared_later_reaches_the_cards_of_what_is_done() -> None:
    unknown = Network(
        'net', 'M', 'w.pth', supervision_in('unknown (w.pth, not declared)'),
        (KnownBy.NOT_DECLARED(),), Learnt.TAGS(),
    )  # fmt: skip
    of_net = (KnownBy.CARD('net'),)
    follower = replace(unknown, stage='next', known_by=of_net, begins_with='net')
    scratch = frozenset([Taught.NOTHING()])
    of_timm = (KnownBy.TIMM(),)
    fixed = replace(unknown, stage='timm', supervision=scratch, known_by=of_timm)
    card = SupervisionCard(networks=(unknown, follower, fixed))
    coco, said = frozenset([Taught.PIXELS('COCO')]), (KnownBy.DECLARED(),)
    now = {
        name: replace(unknown, supervision=coco, known_by=said)
        for name in ('net', 'timm')
    }
    found = renewed(card, now)
    assert [n.supervision for n in found.networks] == [coco, coco, scratch]
    assert [n.known_by for n in found.networks] == [said, of_net, of_timm]
    assert renewed(found, {'net': unknown}) == card, 'and taken back'


def test_a_network_keeps_its_supervision_while_that_of_its_start_is_the_same() -> None:
    """It may have weights of its own beside those of the stage it begins with."""
    first = Network(
        'net', 'M', 'w.pth', supervision_in('COCO pixels'), (KnownBy.DECLARED(),), Learnt.TAGS()
    )  # fmt: skip
    both = supervision_in('COCO pixels + ImageNet-1k labels')
    follower = replace(first, stage='next', supervision=both, begins_with='net')
    card = SupervisionCard(networks=(first, follower))
    assert renewed(card, {}) == card
    assert renewed(card, {'net': first}) == card


def test_label_maps_that_lost_the_background_have_a_remark() -> None:
    lost = dict(background_share=0.1, seed_background_share=0.8)
    for metrics, remarks in ((lost, (Code('pseudo', CodeState.LOST),)), ({}, ())):
        ran = Ran('pseudo', Measured(), metrics=metrics)
        card = make_card(
            ran, {'cam': SupervisionCard()}, ImageRegister(), SupervisionCard()
        )
        assert card.code == remarks
