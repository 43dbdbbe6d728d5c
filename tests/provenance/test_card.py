"""Supervision cards of small pipelines: what is found out, and what can not be denied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from trees import make_voc

from wsss_plugins.datasets import VOC12
from wsss_plugins.engine import Stage, StageRecord
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.provenance.files import renew
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages import (
    EvaluateLabelStage,
    EvaluateSeedStage,
    ExportSeedStage,
    FolderStage,
    RefineStage,
    TrainStage,
)
from wsss_plugins.structures import Seed, load_json, save_json, save_label_map
from wsss_plugins.structures.card import (
    CRF,
    AppliedTo,
    Code,
    CodeState,
    KnownBy,
    Learnt,
    Network,
    Source,
    SupervisionCard,
    Tags,
    Taught,
    Threshold,
    supervision_in,
)
from wsss_plugins.structures.card_text import card_from_json, card_to_json, short_form
from wsss_plugins.structures.layout import label_path, seed_path
from wsss_plugins.structures.measured import Measured

OBJECTS = {'a': ['aeroplane'], 'b': ['bicycle'], 'c': ['aeroplane']}
SIZE = (6, 10)


class Silent(Stage):
    """Copies what it reads, and says nothing of itself."""

    def __init__(
        self,
        name: str,
        reads: tuple[str, ...] = (),
        dataset: Any = None,
        masks: int = 0,
    ) -> None:
        super().__init__(name)
        self.inputs, self.dataset, self.masks = tuple(reads), dataset, masks

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        metrics = {}
        if self.masks:
            images = build_as(DATASETS, self.dataset, VOC12)
            for index in range(self.masks):
                images.load_mask(index)
            metrics = dict(best_of_all=1.0)
        save_json(out / 'scores.json', dict(value=1))
        return metrics


class Liar(Silent):
    """Claims a fixed threshold."""

    def measured(self) -> Measured:
        wrong = Threshold(self.name, Source.FIXED, of=self.inputs[-1])
        return Measured(thresholds=(wrong,), labels=Tags.NONE())


class Breaks(Silent):
    """Stops in the middle, the first time."""

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        if not (out / 'begun').exists():
            (out / 'begun').touch()
            raise UserError('stop')
        return {}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: 0)
    for kind in (Silent, Liar, Breaks):
        STAGES.register_module(name=kind.__name__, module=kind)
    yield
    for kind in (Silent, Liar, Breaks):
        STAGES.module_dict.pop(kind.__name__)


@pytest.fixture
def images(tmp_path) -> dict[str, Any]:
    root = make_voc(tmp_path / 'voc', OBJECTS)
    rng = np.random.default_rng(0)
    for name, (tag,) in OBJECTS.items():
        scores = torch.tensor(rng.random((1, *SIZE)), dtype=torch.float32)
        seed = Seed(scores, torch.tensor([['aeroplane', 'bicycle'].index(tag)]))
        seed.save(seed_path(tmp_path / 'made', name))
    return dict(type='VOC12', data_root=str(root), split='train')


@pytest.fixture
def masks(images) -> dict[str, Any]:
    return dict(images, label_maps='SegmentationClass', test_mode=True)


@pytest.fixture
def run(tmp_path):
    """Runs stages in a work dir; their cards."""

    def pipeline(
        *stages: dict[str, Any], seed: int = 0, file: str = 'mine.py'
    ) -> Pipeline:
        path = tmp_path / file
        path.touch()
        cfg = Config(dict(pipeline=list(stages), seed=seed), filename=str(path))
        return Pipeline(cfg)

    def run(*stages: dict[str, Any], work: str = 'work', **more: Any) -> dict[str, Any]:
        records = pipeline(*stages, **more).run(tmp_path / work)
        return {name: record.supervision for name, record in records.items()}

    run.pipeline = pipeline
    return run


def folder(tmp_path: Path, name: str = 'seeds') -> dict[str, Any]:
    return dict(type=FolderStage, name=name, path=str(tmp_path / 'made/seeds'))


def test_files_made_elsewhere_are_unknown_to_the_end(
    run, images, masks, tmp_path
) -> None:
    cards = run(
        folder(tmp_path),
        dict(type=RefineStage, name='pseudo', seeds='seeds', dataset=images, workers=1,
             refiners=[dict(type='ConstantBackground', threshold=0.4)]),
        dict(type=EvaluateLabelStage, name='score', labels='pseudo', dataset=masks),
    )  # fmt: skip
    card = cards['score']
    assert (
        short_form(card)
        == 'VOC12 train 3 · ? · weights ? · thr: fixed · tags ? · 1 seed'
    )
    assert card.labels == Tags.UNKNOWN('made elsewhere')
    assert card.thresholds == (Threshold('pseudo', Source.FIXED, values=(0.4,)),)


def test_files_of_another_experiment_bring_their_card(
    run, images, masks, tmp_path
) -> None:
    made = SupervisionCard(
        networks=(
            Network('net', 'M', 'from scratch', supervision_in('none'), (KnownBy.NOTHING(),), Learnt.TAGS()),
        ),
        labels=Tags.TRUE(), scales=(1.0,), flip=True, seeds=(7,),
    )  # fmt: skip
    StageRecord(
        'cam', 'SeedStage', 'mark', {}, 7, done=True, card=card_to_json(made)
    ).save(tmp_path / 'made')  # fmt: skip
    score = dict(type=EvaluateSeedStage, name='score', seeds='seeds', dataset=masks)
    card = run(folder(tmp_path), score)['score']
    assert card.networks == made.networks and card.labels == made.labels
    assert short_form(card).endswith(
        'I · scratch · thr: these masks · true tags · flip · 1 seed'
    )


def test_a_stage_that_says_nothing_has_the_card_of_what_it_reads(
    run, images, masks, tmp_path
) -> None:
    refine = dict(
        type=RefineStage, name='pseudo', seeds='seeds', dataset=images, threshold='otsu',
        refiners=[dict(type='ConstantBackground'), dict(type='DenseCRF', preset='irn')],
        workers=1,
    )  # fmt: skip
    cards = run(
        folder(tmp_path),
        refine,
        dict(type='Silent', name='silent', reads=['pseudo']),
        dict(
            type='Silent',
            name='half',
            reads=['pseudo'],
            dataset=dict(images, indices=2),
        ),
    )
    assert cards['silent'] == cards['pseudo']
    assert cards['half'].differences(cards['pseudo']) == ['split']
    assert cards['half'].split.images == 2
    assert cards['silent'].crf == (CRF('pseudo', AppliedTo.LABELS, 'irn'),)
    scores = load_json(tmp_path / 'work/silent/scores.json')
    assert card_from_json(scores['card']) == cards['silent']


def test_masks_that_are_read_are_noticed(run, images, masks, tmp_path) -> None:
    """Of all images, also where the stage stopped looking."""
    cards = run(
        folder(tmp_path),
        dict(type='Silent', name='reader', reads=['seeds'], dataset=masks, masks=1),
        dict(type='Silent', name='other', reads=['seeds'], dataset=masks),
        dict(type=EvaluateSeedStage, name='score', seeds='seeds', dataset=masks),
    )
    assert cards['reader'].split.masks == cards['score'].split.masks
    assert cards['reader'].split.masks is not None
    assert cards['other'].split.masks is None, 'it may, and did not'
    assert cards['reader'].thresholds == (), 'a name of a metric is no declaration'


@pytest.mark.parametrize('kind', ['Silent', 'Liar'])
def test_who_reads_a_measurement_owes_something_to_masks(
    kind, run, images, masks, tmp_path
) -> None:
    cards = run(
        folder(tmp_path),
        dict(type=EvaluateSeedStage, name='score', seeds='seeds', dataset=masks),
        dict(type=kind, name='choice', reads=['seeds', 'score'], dataset=images),
        dict(type=EvaluateSeedStage, name='again', seeds='seeds', dataset=masks),
    )
    assert 'threshold of choice' in cards['choice'].pixels
    assert 'these masks' in cards['choice'].key()['threshold']
    assert cards['again'].pixels == ('threshold of again',)


def test_checksums_follow_pixels_not_files(run, images, masks, tmp_path) -> None:
    def card(work: str) -> SupervisionCard:
        score = dict(type=EvaluateSeedStage, name='score', seeds='seeds', dataset=masks)
        return run(folder(tmp_path), score, work=work)['score']

    first = card('one')
    path = Path(images['data_root']) / 'SegmentationClass/a.png'
    mask = np.array(VOC12(images['data_root'], 'train', label_maps='SegmentationClass', test_mode=True).load_mask(0))  # fmt: skip
    from PIL import Image

    Image.fromarray(mask).save(path, optimize=True)  # grey, without a palette
    assert card('two').split == first.split
    mask[0, 0] = 7
    save_label_map(path, mask)
    other = card('three')
    assert other.split.checksum == first.split.checksum
    assert other.unlike(first) == ['masks']


def test_images_that_failed_are_counted_and_change_the_checksum(
    run, images, masks, tmp_path
) -> None:
    stages = [
        folder(tmp_path),
        dict(type=RefineStage, name='pseudo', seeds='seeds', dataset=images, workers=1,
             refiners=[dict(type='ConstantBackground')]),
        dict(type=EvaluateLabelStage, name='score', labels='pseudo', dataset=masks),
    ]  # fmt: skip
    whole = run(*stages)['score']
    (tmp_path / 'made/seeds/b.npz').write_bytes(b'broken')
    less = run(*stages, work='less')
    assert less['pseudo'].split.left_out == less['score'].split.left_out == 1
    assert less['score'].split.images == 2 and whole.split.left_out == 0
    assert less['score'].unlike(whole) == ['images', 'masks']
    assert str(less['score'].split) == 'VOC12 train 2 (-1)'


def test_done_stages_keep_their_card_and_old_records_have_none(
    run, images, masks, tmp_path
) -> None:
    score = dict(type=EvaluateSeedStage, name='score', seeds='seeds', dataset=masks)
    first = run(folder(tmp_path), score)
    path = tmp_path / 'work/score/record.json'
    record = load_json(path)
    assert run(folder(tmp_path), score) == first
    assert load_json(path) == record, 'nothing was written again'
    del record['card']  # as of an earlier version
    save_json(path, record)
    assert run(folder(tmp_path), score)['score'] is None
    stage = dict(type='Silent', name='late', reads=['score'])
    late = run(folder(tmp_path), score, stage)['late']
    assert late.networks[0].supervision == {Taught.UNKNOWN('no card')}
    save_json(path, dict(record, card=dict(networks=[3])))
    assert run(folder(tmp_path), score)['score'] is None, 'damaged'


def test_all_who_took_part_are_named_after_an_interruption(
    run, tmp_path, monkeypatch
) -> None:
    stage = dict(type='Breaks', name='only')
    module = 'wsss_plugins.experiment.pipeline.environment'
    where = dict(versions=dict(torch='1'), commit='first', device='CPU', workers=2)
    monkeypatch.setattr(module, lambda workers: where)
    with pytest.raises(UserError, match='stop'):
        run(stage)
    now = dict(where, commit='second', workers=1, device='GPU')
    monkeypatch.setattr(module, lambda workers: now)
    card = run(stage)['only']
    assert card.commits == ('first', 'second') and card.workers == (1, 2)
    assert card.devices == ('CPU', 'GPU') and card.versions == ('torch 1',)
    monkeypatch.setattr(module, lambda workers: dict(now, commit='third'))
    assert run(stage)['only'].commits == ('first', 'second'), 'it is done'


def training(**more: Any) -> dict[str, Any]:
    return dict(
        type=TrainStage, name='net',
        config=dict(
            model=dict(type='WSSSClassifier', backbone=dict(type='TimmViT'), head=dict(type='TokenHead')),
            train_dataloader=dict(dataset=dict()), **more,
        ),
    )  # fmt: skip


def test_a_declaration_is_no_part_of_the_fingerprint(run) -> None:
    def mark(**more: Any) -> str:
        return run.pipeline(training(**more)).steps[0].fingerprint

    plain = mark()
    assert mark(pretrained_supervision='ImageNet labels') == plain
    assert mark(train_cfg=dict(max_epochs=3)) != plain
    with pytest.raises(ConfigError, match="such as 'ImageNet labels'"):
        mark(pretrained_supervision='pixel')


def test_a_pipeline_renews_the_cards_of_done_stages(
    run, images, masks, tmp_path
) -> None:
    """Record and metrics file; the work itself is not done again."""
    score = dict(type=EvaluateSeedStage, name='score', seeds='seeds', dataset=masks)
    run(folder(tmp_path), score)
    work = tmp_path / 'work'
    record = StageRecord.load(work / 'score')
    network = Network(
        'net', 'M', 'w.pth', supervision_in('unknown (w.pth)'), (KnownBy.NOT_DECLARED(),), Learnt.TAGS()
    )  # fmt: skip
    card = replace(record.supervision, networks=(network,))
    record.card = card_to_json(card)
    record.save(work / 'score')
    known = replace(
        network,
        supervision=supervision_in('COCO pixels'),
        known_by=(KnownBy.DECLARED(),),
    )
    pipeline = run.pipeline(folder(tmp_path), score)
    pipeline._networks = lambda: {'net': known}
    found = pipeline.run(work)['score']
    assert found.finished == record.finished
    assert found.supervision.networks == (known,)
    scores = load_json(work / 'score/scores.json')
    assert card_from_json(scores['card']) == found.supervision


def test_a_remark_on_code_is_put_into_record_and_scores(run, images, masks, tmp_path):
    score = dict(type=EvaluateSeedStage, name='score', seeds='seeds', dataset=masks)
    run(folder(tmp_path), score)
    out, names = tmp_path / 'work/score', ['seeds', 'score']
    for known, state in (
        (dict(code=None), CodeState.UNRECORDED),
        (dict(code={}, accepted={'heads:Head': '1'}), CodeState.ACCEPTED),
        (dict(code={'notebook': 'unknown'}, accepted=None), CodeState.UNKNOWN),
    ):
        replace(StageRecord.load(out), **known).save(out)
        renew(out, [tmp_path / 'work/seeds'], names, {})
        card = StageRecord.load(out).supervision
        assert card.code == (Code('score', state),)
        assert card_from_json(load_json(out / 'scores.json')['card']) == card
    replace(StageRecord.load(out), code={}).save(out)
    renew(out, [tmp_path / 'work/seeds'], names, {})
    assert StageRecord.load(out).supervision.code == ()


def test_a_stage_that_only_exports_keeps_the_history(
    run, images, masks, tmp_path
) -> None:
    cards = run(
        folder(tmp_path),
        dict(type=ExportSeedStage, name='out', seeds='seeds'),
    )
    assert cards['out'].networks == cards['seeds'].networks
    assert cards['out'].split is None
    assert len(list((tmp_path / 'work/out/maps').iterdir())) == 3
    assert not label_path(tmp_path / 'work/out', 'a').exists()
