"""Supervision cards of the tiny pipeline: what ran, and each change of the config by itself."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from safetensors import safe_open
from safetensors.torch import save_file

from wsss_plugins.cli import parse_options
from wsss_plugins.config import load_config
from wsss_plugins.datasets import VOC12
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.provenance.run import Ran, make_card, session_of
from wsss_plugins.refiners import ConstantBackground, DenseCRF, OtsuBackground
from wsss_plugins.seeds import AttentionRollout
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import (
    KnownBy,
    Learnt,
    Source,
    SupervisionCard,
    Tags,
    Taught,
    Threshold,
)
from wsss_plugins.structures.card_text import card_from_json, card_to_json, short_form
from wsss_plugins.structures.masks_read import mask_checksum
from wsss_plugins.structures.measured import Measured

pytestmark = pytest.mark.slow

Edit = Callable[[dict[str, dict[str, Any]]], None]
NOTHING_RAN = dict(versions={}, commit='c', device='d', workers=1)


def tiny_pipeline(data_root: Path, edit: Edit | None = None, seed: int = 0) -> Pipeline:
    """The pipeline, perhaps with stages that ``edit`` changed, given by name."""
    options = parse_options(tiny.small_pipeline()) | dict(seed=seed)
    cfg = load_config(tiny.CONFIG, options)
    if edit is not None:
        for each in cfg.pipeline:  # for edits of the data of one stage alone
            if isinstance(each.get('dataset'), str):
                each['dataset'] = dict(cfg.datasets[each['dataset']])
        edit({stage['name']: stage for stage in cfg.pipeline})
    return Pipeline(cfg, data_root=str(data_root))


def cards_without_running(pipeline: Pipeline, work: Path) -> dict[str, SupervisionCard]:
    """The cards as they would be, had the stages found these numbers."""
    cards = dict[str, SupervisionCard]()
    for step in pipeline.steps:
        stage, measured = step.stage, step.stage.declared()
        kind = type(stage).__name__
        metrics = dict(best_threshold=0.5) if kind == 'EvaluateSeedStage' else dict(x=1)
        if measured is not None:
            ran = Ran(
                stage.name, measured, stage.parts(), step.config, work / stage.name,
                {name: work / name for name in stage.inputs}, metrics,
            )  # fmt: skip
            inputs = {name: cards[name] for name in stage.inputs if name in cards}
            session = session_of(NOTHING_RAN, stage.seed)
            cards[stage.name] = make_card(ran, inputs, pipeline.images, session)
    return cards


@pytest.fixture(scope='module', autouse=True)
def quick():
    """Without the sweep of all garbage that every data set of mmengine begins with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: 0)
        yield


@pytest.fixture(scope='module')
def plain(data_root, tmp_path_factory) -> dict[str, SupervisionCard]:
    work = tmp_path_factory.mktemp('plain')
    return cards_without_running(tiny_pipeline(data_root), work)


@pytest.fixture(scope='module')
def ran(finished) -> dict[str, SupervisionCard]:
    found = {
        name: record.supervision for name, record in tiny.records(finished).items()
    }
    return {name: card for name, card in found.items() if card is not None}


def split(name: str, images: int, masks: bool = False) -> dict[str, Any]:
    kept = dict(data='VOC12', name=name, images=images, left_out=0, tags='given')
    return dict(kept, masks='read' if masks else None)


def told(card: SupervisionCard) -> dict[str, Any]:
    """The card without checksums, which another test computes."""
    content = card_to_json(card)
    for each in (content, *content['networks'], *content['thresholds']):
        if each['split']:
            each['split'].pop('checksum')
            each['split']['masks'] = each['split']['masks'] and 'read'
    return content


CLASSIFIER = dict(
    stage='classifier',
    model='ACRClassifier',
    weights='from scratch',
    supervision='none',
    known_by='nothing is loaded',
    learnt_from='image-level labels',
    split=split('train', 24),
    begins_with='',
)
SEGMENTOR = dict(
    CLASSIFIER,
    stage='segmentor',
    model='EncoderDecoder',
    learnt_from='label maps of pseudo',
)
TAKEN = dict(
    stage='pseudo',
    source='masks',
    detail='the best of cam_score',
    factor=0.8,
    split=split('train', 24, masks=True),
    of='cam_score',
)
CRF = dict(stage='pseudo', on='labels', preset='psa', settings='reference_size 500')


def test_the_card_of_the_final_number_is_as_written_here(ran, finished) -> None:
    card = told(ran['prediction_score'])
    threshold = tiny.records(finished)['pseudo'].metrics['threshold']
    environment = tiny.records(finished)['prediction_score'].environment
    versions = sorted(f'{k} {v}' for k, v in environment['versions'].items())
    assert card == dict(
        short='VOC12 val 12 · I · scratch · thr: masks×0.8 · label CRF · ms+flip · 1 seed',
        split=split('val', 12, masks=True),
        networks=[CLASSIFIER, SEGMENTOR],
        thresholds=[dict(TAKEN, values=[threshold])],
        labels='none',
        scales=[0.75, 1.0, 1.25],
        flip=True,
        crf=[CRF],
        methods=[
            dict(stage='cam', what='CAM'),
            dict(stage='pseudo', what='ConstantBackground, DenseCRF'),
        ],
        protocol=dict(convention='acr'),
        seeds=[0],
        runs=1,
        commits=[environment['commit']],
        versions=versions,
        devices=[environment['device']],
        workers=[1],
        pixels=['threshold of pseudo'],
    )


def test_all_cards_are_those_of_the_version_before_typed_cards(finished) -> None:
    tiny.assert_cards_as_before(finished, 'tiny')


def test_the_other_cards_are_as_written_here(ran, finished) -> None:
    best = tiny.records(finished)['cam_score'].metrics['best_threshold']
    sweep = dict(
        stage='cam_score', source='masks', detail='the best', factor=1.0, values=[best],
        split=split('train', 24, masks=True), of='',
    )  # fmt: skip
    seeds = told(ran['cam_score'])
    assert seeds['networks'] == [CLASSIFIER] and seeds['thresholds'] == [sweep]
    assert seeds['labels'] == 'image-level ground truth'
    assert (seeds['scales'], seeds['flip'], seeds['crf']) == ([1.0], True, [])
    classifier = told(ran['classifier'])
    assert classifier['split'] == split('val', 12)
    assert classifier['labels'] == 'none' and classifier['flip'] is False
    assert classifier['thresholds'] == [] and classifier['pixels'] == []
    assert told(ran['segmentor'])['split'] == split('val', 12, masks=True)
    assert told(ran['cam'])['split'] == split('train', 24)
    assert told(ran['pseudo'])['split'] == split('train', 24)
    assert told(ran['prediction'])['split'] == split('val', 12), 'it read no mask'
    assert told(ran['prediction'])['thresholds'] == [dict(TAKEN, values=[best * 0.8])]
    assert 'report' not in ran


def test_checksums_are_those_of_what_lies_there(ran, data_root) -> None:
    import hashlib

    images = VOC12(data_root, 'val', label_maps='SegmentationClass', test_mode=True)
    total = hashlib.sha256('\n'.join(images.metainfo['classes']).encode())
    sums = []
    for index, name in sorted(enumerate(images.ids), key=lambda pair: pair[1]):
        total.update(f'\n{name}\n'.encode() + images.labels(index).tobytes())
        sums.append([name, mask_checksum(images.load_mask(index))])
    masks = hashlib.sha256(json.dumps(sums).encode()).hexdigest()
    for name in ('segmentor', 'prediction_score'):
        assert ran[name].split.checksum == total.hexdigest()[:16]
        assert ran[name].split.masks == masks[:16]
    assert ran['cam_score'].split.checksum != total.hexdigest()[:16]


def test_what_ran_is_what_the_config_promises(ran, plain) -> None:
    """But for the session, the values found, and masks that were really read."""
    session = {'seeds', 'commits', 'versions', 'devices', 'workers', 'thresholds'}
    for name, card in ran.items():
        assert set(card.differences(plain[name])) <= session, name
        assert card.unlike(plain[name]) == [], name


def test_metrics_files_tables_and_weights_carry_the_card(ran, finished) -> None:
    for name in ('cam_score', 'pseudo_score', 'prediction_score'):
        content = load_json(finished / name / 'scores.json')
        assert card_from_json(content['card']) == ran[name]
        with (finished / name / 'classes.csv').open(newline='') as file:
            assert {r['card'] for r in csv.DictReader(file)} == {short_form(ran[name])}
    with safe_open(str(finished / 'segmentor/weights.safetensors'), 'pt') as file:
        card = card_from_json(json.loads(file.metadata()['card']))
    assert card.networks == ran['segmentor'].networks
    assert card.split is None and card.seeds == () and card.thresholds[0].values == ()


def classifier(**options: Any) -> Edit:
    return lambda stages: stages['classifier']['options'].update(options)


def segmentor(**options: Any) -> Edit:
    return lambda stages: stages['segmentor']['options'].update(options)


def stage(name: str, **changes: Any) -> Edit:
    return lambda stages: stages[name].update(changes)


def data(name: str, **changes: Any) -> Edit:
    return lambda stages: stages[name].update(
        dataset=dict(stages[name]['dataset'], **changes)
    )


def refiners(*chain: dict[str, Any]) -> Edit:
    return lambda stages: stages['pseudo'].update(refiners=list(chain))


BACKGROUND, DENSE = (
    dict(type=ConstantBackground),
    dict(type=DenseCRF, reference_size=500),
)


@pytest.mark.parametrize(
    ('edit', 'changed'),
    [
        (stage('cam', scales=(1.0, 1.5)), dict(cam_score='scales', pseudo_score='scales')),
        (stage('cam', flip=False), dict(cam_score='flip', pseudo_score='flip')),
        (stage('cam', min_probability=0.5), dict(cam_score='labels', pseudo_score='labels')),
        (stage('cam', head=dict(type=AttentionRollout)),
         dict(cam_score='methods', pseudo_score='methods', prediction_score='methods')),
        (stage('pseudo', threshold=0.3), dict(pseudo_score='thresholds', prediction_score='thresholds')),
        (stage('pseudo', threshold='otsu'), dict(pseudo_score='thresholds', prediction_score='thresholds')),
        (stage('pseudo', threshold_factor=1.0), dict(pseudo_score='thresholds', prediction_score='thresholds')),
        (refiners(BACKGROUND, dict(DENSE, preset='acr')), dict(pseudo_score='crf', prediction_score='crf')),
        (refiners(BACKGROUND, dict(DENSE, iterations=3)), dict(pseudo_score='crf', prediction_score='crf')),
        (refiners(BACKGROUND), dict(pseudo_score='crf methods', prediction_score='crf methods')),
        (stage('prediction', scales=(1.0,)), dict(prediction_score='scales')),
        (stage('prediction', flip=False), dict(prediction_score='flip')),
        (stage('prediction', refiners=[DENSE]), dict(prediction_score='crf methods')),
        (stage('prediction_score', convention='irn'), dict(prediction_score='protocol')),
        (data('prediction_score', indices=6), dict(prediction_score='split')),
        (data('cam_score', indices=6), dict(cam_score='split thresholds', pseudo_score='thresholds', prediction_score='thresholds')),
        (classifier(**{'train_dataloader.dataset.indices': 20}),
         dict(cam_score='networks', pseudo_score='networks', prediction_score='networks')),
        (classifier(**{'train_dataloader.dataset.labels': 'masks'}),
         dict(cam_score='networks', pseudo_score='networks', prediction_score='networks')),
        (classifier(**{'train_cfg.max_epochs': 2}), dict()),
    ],
)  # fmt: skip
def test_a_change_of_the_config_changes_its_part_of_the_card(
    edit, changed, plain, data_root, tmp_path
) -> None:
    cards = cards_without_running(tiny_pipeline(data_root, edit), tmp_path)
    for name in ('cam_score', 'pseudo_score', 'prediction_score'):
        assert ' '.join(plain[name].differences(cards[name])) == changed.get(name, '')


def test_the_seed_is_all_that_another_seed_changes(plain, data_root, tmp_path) -> None:
    cards = cards_without_running(tiny_pipeline(data_root, seed=3), tmp_path)
    for name, card in cards.items():
        assert card.differences(plain[name]) == ['seeds'] and card.seeds == (3,)


@pytest.mark.parametrize('factor', [1.0, 0.8])
def test_a_threshold_of_a_sweep_is_one_of_masks_whatever_is_said(
    factor, data_root, tmp_path, monkeypatch
) -> None:
    """Also where a stage denies it: it has read the measurement."""
    from wsss_plugins.stages import RefineStage

    liar = Threshold('pseudo', Source.FIXED, 'honestly', of='cam_score')
    monkeypatch.setattr(
        RefineStage,
        'measured',
        lambda self: Measured(thresholds=(liar,), labels=Tags.NONE()),
    )
    pipeline = tiny_pipeline(data_root, stage('pseudo', threshold_factor=factor))
    card = cards_without_running(pipeline, tmp_path)['pseudo_score']
    assert Source.MASKS in {t.source for t in card.thresholds}
    assert 'threshold of pseudo' in card.pixels


def test_sources_of_thresholds(data_root, tmp_path) -> None:
    def source(edit: Edit) -> tuple[str, ...]:
        cards = cards_without_running(tiny_pipeline(data_root, edit), tmp_path)
        (found,) = cards['pseudo_score'].thresholds
        short = short_form(cards['pseudo'])
        return found.source.value, found.detail, str(found.factor), short

    fixed = source(stage('pseudo', threshold=0.3))
    assert fixed[:3] == ('fixed', '', '1.0') and 'thr: fixed' in fixed[3]
    free = source(stage('pseudo', threshold='otsu'))
    assert free[:3] == ('label-free', 'otsu', '0.8') and 'thr: otsu×0.8' in free[3]

    def per_image(stages: dict[str, dict[str, Any]]) -> None:
        stages['pseudo'].update(threshold=None, refiners=[dict(type=OtsuBackground)])

    assert source(per_image)[:2] == ('label-free', 'OtsuBackground')


def test_tags_made_from_masks_are_no_plain_tags(data_root, tmp_path) -> None:
    def edit(stages: dict[str, dict[str, Any]]) -> None:
        classifier(**{'train_dataloader.dataset.labels': 'masks'})(stages)
        data('cam', labels='masks')(stages)

    cards = cards_without_running(tiny_pipeline(data_root, edit), tmp_path)
    assert cards['pseudo_score'].pixels == (
        'tags that classifier learnt from', 'threshold of pseudo', 'tags at inference',
    )  # fmt: skip
    assert 'I from masks' in short_form(cards['prediction_score'])
    assert 'true tags from masks' in short_form(cards['cam_score'])


def test_a_segmentor_of_ground_truth_is_said_to_be_one(data_root, tmp_path) -> None:
    def edit(stages: dict[str, dict[str, Any]]) -> None:
        del stages['segmentor']['label_maps']
        place = 'train_dataloader.dataset.'
        asked = {'label_maps': 'SegmentationClass', 'allow_ground_truth': True}
        segmentor(**{place + key: value for key, value in asked.items()})(stages)

    card = cards_without_running(tiny_pipeline(data_root, edit), tmp_path)
    (network,) = card['prediction_score'].networks
    assert network.learnt_from == Learnt.PIXELS()
    assert card['prediction_score'].pixels == ('training of segmentor',)
    assert short_form(card['prediction_score']) == (
        'VOC12 val 12 · F · scratch · ms+flip · 1 seed'
    )


def test_weights_from_a_file(data_root, tmp_path, finished) -> None:
    """Unknown, declared, or with a card of their own, which goes before."""
    weights = tmp_path / 'resnet18.safetensors'
    import torch

    save_file({'conv1.weight': torch.zeros(3)}, weights)

    def of(**more: Any) -> SupervisionCard:
        edit = segmentor(pretrained=dict(backbone=str(weights)), **more)
        cards = cards_without_running(tiny_pipeline(data_root, edit), tmp_path)
        return cards['prediction_score']

    network = of().networks[-1]
    assert network.weights == 'resnet18.safetensors'
    assert network.supervision == {Taught.UNKNOWN(f'{weights.name}, not declared')}
    assert 'scratch+weights ?' in short_form(of())
    declared = of(pretrained_supervision='ImageNet labels')
    assert declared.networks[-1].supervision == {Taught.LABELS('ImageNet-1k')}
    assert declared.networks[-1].known_by == (KnownBy.DECLARED(),)
    assert 'IN-1k+scratch' in short_form(declared)
    pixels = of(pretrained_supervision=dict(backbone='COCO pixels + ImageNet labels'))
    assert (
        'initial weights of segmentor: COCO pixels + ImageNet-1k labels'
        in pixels.pixels
    )
    with pytest.raises(
        ConfigError, match=r"such as 'ImageNet labels' .* not 'imagenett'"
    ):
        of(pretrained_supervision='imagenett')
    shutil.copy(finished / 'segmentor/weights.safetensors', weights)
    known = of(pretrained_supervision='COCO pixels')
    own = known.networks[-1]
    assert own.supervision == {Taught.NOTHING()}, 'the card of the file knows better'
    assert own.known_by == (KnownBy.CARD(weights.name),)
    assert 'threshold of pseudo' in known.pixels
