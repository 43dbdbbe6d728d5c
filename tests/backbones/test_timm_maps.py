"""Feature maps of timm's networks: packed, kept, and equal to timm's own."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from wsss_plugins.backbones import (
    CNNBackbone,
    ExViT,
    HybridViT,
    MultiClassTokenViT,
    TimmMaps,
    maps_of,
    reading_features,
)
from wsss_plugins.classifiers import ACRClassifier, ExViTClassifier, WSSSClassifier
from wsss_plugins.errors import CheckpointError, ConfigError, DataError
from wsss_plugins.structures.features import (
    FeatureStore,
    View,
    digest_of,
    write_about,
    write_shard,
)

NET = dict(type=TimmMaps, name='tf_efficientnet_lite0', indices=(2, 3), final=True)
SMALL = dict(type=TimmMaps, name='test_efficientnet', indices=(2, 3), final=True)


@pytest.fixture(scope='module')
def maps() -> TimmMaps:
    torch.manual_seed(0)
    return TimmMaps('test_efficientnet', indices=(2, 3), final=True)


def test_maps_are_those_of_timm(maps) -> None:
    images = 255 * torch.rand(2, 3, 64, 96)
    found = maps(images)
    scaled = (images - maps.mean) / maps.std
    with torch.no_grad():
        last, between = maps.net.forward_intermediates(scaled)
    for got, wanted in zip(found, [between[2], between[3], last], strict=True):
        assert torch.equal(got, wanted)
    assert [m.shape[1] for m in found] == list(maps.channels)
    assert [96 // m.shape[3] for m in found] == list(maps.strides)


def test_the_mean_of_timm_is_the_default(maps) -> None:
    known = timm.create_model('test_efficientnet').pretrained_cfg
    assert maps.mean.flatten().tolist() == pytest.approx(
        [255 * v for v in known['mean']]
    )


def test_packing_loses_nothing_and_is_taken_in_place_of_pixels(maps) -> None:
    images = 255 * torch.rand(2, 3, 64, 96)
    found = maps(images)
    packed = maps.pack(found)
    assert packed.shape == (2, maps.packed_channels, 2, 3)
    assert all(map(torch.equal, found, maps.unpack(packed)))
    assert all(map(torch.equal, found, maps(packed)))
    assert maps.pixels(packed) == maps.pixels(images) == (64, 96)


def test_a_crop_of_packed_cells_crops_all_maps_alike(maps) -> None:
    found = maps(255 * torch.rand(1, 3, 64, 96))
    crop = maps.unpack(maps.pack(found)[..., 1:, 1:3])
    for got, whole, stride in zip(crop, found, maps.strides, strict=True):
        cells = 32 // stride
        assert torch.equal(got, whole[..., cells:, cells : 3 * cells])


def test_sides_that_do_not_fit_are_resized(maps) -> None:
    found = maps(255 * torch.rand(1, 3, 50, 70))
    assert found[-1].shape[-2:] == (2, 3)


def test_a_frozen_network_stays_as_it_is(maps) -> None:
    before = maps.identity()
    maps.train()
    maps(255 * torch.rand(2, 3, 64, 64))
    assert not any(m.training for m in maps.net.modules())
    assert not any(p.requires_grad for p in maps.parameters())
    assert maps.identity() == before


def test_a_network_that_is_trained_gets_gradients() -> None:
    net = TimmMaps('test_efficientnet', frozen=False)
    net(255 * torch.rand(2, 3, 64, 64))[-1].sum().backward()
    assert all(p.grad is not None for p in net.net.conv_stem.parameters())


def test_gradients_reach_the_pixels_of_a_frozen_network(maps) -> None:
    images = (255 * torch.rand(1, 3, 64, 64)).requires_grad_()
    maps(images)[-1].sum().backward()
    assert images.grad.abs().sum() > 0


def kept(folder, maps: TimmMaps, images) -> FeatureStore:
    views = [
        View('a', 1.0, bool(n), (64, 64), digest_of(image.numpy()),
             maps.pack(maps(image[None]))[0].numpy())
        for n, image in enumerate(images)
    ]  # fmt: skip
    write_about(folder, dict(network=maps.identity(), multiple=32, max_side=None))
    write_shard(folder, 0, views)
    return FeatureStore(folder)


def test_kept_features_stand_for_the_network(tmp_path, maps, monkeypatch) -> None:
    images = 255 * torch.rand(2, 3, 64, 64)
    wanted = maps(images)
    store = kept(tmp_path, maps, images)
    with reading_features(maps, store):
        monkeypatch.setattr(maps.net, 'forward_intermediates', None)  # none is computed
        found = maps(images)
        assert (maps.hits, maps.misses) == (2, 0)
    for got, value in zip(found, wanted, strict=True):
        assert (got - value).abs().max() <= 1e-3 * value.abs().max()
    view = store.view('a', 1.0, True)
    assert np.array_equal(view.features, store.of_input(view.digest))


def test_other_pixels_are_computed(tmp_path, maps) -> None:
    images = 255 * torch.rand(2, 3, 64, 64)
    store = kept(tmp_path, maps, images[:1])
    with reading_features(maps, store):
        found = maps(images)
        assert (maps.hits, maps.misses) == (1, 1)
    assert torch.equal(found[-1][1:], maps(images[1:])[-1])
    assert (maps.hits, maps.misses) == (1, 2), 'nothing is read after the block'


def test_features_of_another_network_are_refused(tmp_path, maps) -> None:
    store = kept(tmp_path, maps, 255 * torch.rand(1, 3, 64, 64))
    torch.manual_seed(1)
    other = TimmMaps('test_efficientnet', indices=(2, 3), final=True)
    with pytest.raises(DataError, match='of another network'):
        other.check(store)
    with pytest.raises(DataError, match='frozen=True'):
        TimmMaps('test_efficientnet', frozen=False).check(store)
    with (
        pytest.raises(ConfigError, match='has 0'),
        reading_features(torch.nn.Linear(1, 1), store),
    ):
        pass


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(name='test_eficientnet'), "timm has no model 'test_eficientnet'"),
        (dict(name='test_efficientnet', indices=(9,)), 'has 5 maps'),
        (dict(name='test_efficientnet', indices=()), 'has 5 maps'),
        (dict(name='test_efficientnet', indices=(3, 1)), 'finest first'),
    ],
)
def test_wrong_options_are_one_line(options, words) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        TimmMaps(**options)
    assert '\n' not in str(error.value)


def test_four_channels_are_no_photo(maps) -> None:
    with pytest.raises(DataError, match='not 4 channels'):
        maps(torch.zeros(1, 4, 32, 32))


def test_weights_of_another_network_are_refused(tmp_path, maps) -> None:
    state = maps.net.state_dict()
    state.pop('conv_head.weight')
    torch.save(state, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match='1 tensors are missing'):
        TimmMaps('test_efficientnet', pretrained=str(tmp_path / 'part.pth'))


@pytest.mark.parametrize('name', ['resnet18', 'mobilenetv3_small_050', 'vgg11'])
def test_other_networks_of_timm(name) -> None:
    net = TimmMaps(name, indices=(-1,))
    (found,) = net(255 * torch.rand(1, 3, 64, 96))
    stride = net.strides[0]
    assert found.shape == (1, net.channels[0], 64 // stride, 96 // stride)


@pytest.mark.parametrize('final', [False, True])
def test_a_vision_transformer_as_the_network(final) -> None:
    net = TimmMaps('test_vit', (-1,) if not final else (), final, dynamic_img_size=True)
    (found,) = net(255 * torch.rand(2, 3, 64, 96))
    assert found.shape == (2, net.channels[0], 4, 6)
    if final:
        with torch.no_grad():
            tokens = net.net.forward_features(
                (255 * torch.ones(1, 3, 64, 64) - net.mean) / net.std
            )
        wanted = tokens[0, net.net.num_prefix_tokens :].T.reshape(-1, 4, 4)
        assert torch.allclose(net(255 * torch.ones(1, 3, 64, 64))[0][0], wanted)


HYBRIDS = {
    'softmax': lambda: HybridViT(SMALL, (1, 2), 64, 24, 3),
    'cnn': lambda: CNNBackbone(SMALL),
    'e-mha': lambda: ExViT(
        stem=dict(net=SMALL, in_index=(1, 2)), img_size=64, embed_dim=24, depth=3,
        num_heads=3,
    ),
    'class tokens': lambda: MultiClassTokenViT(
        stem=dict(net=SMALL, in_index=(1, 2)), num_classes=5, img_size=64, embed_dim=24,
        depth=3, num_heads=3,
    ),
}  # fmt: skip


@pytest.mark.parametrize('kind', HYBRIDS)
@pytest.mark.parametrize('size', [(64, 64), (64, 96)])
def test_tokens_from_pixels_and_from_features(kind, size) -> None:
    backbone = HYBRIDS[kind]().eval()
    net = next(m for m in backbone.modules() if isinstance(m, TimmMaps))
    images = 255 * torch.rand(2, 3, *size)
    packed = net.pack(net(images))
    tokens = backbone(images)
    stride = 32 if kind == 'cnn' else 16
    assert backbone.grid(images) == backbone.grid(packed)
    assert tokens.patch.shape[-2:] == (size[0] // stride, size[1] // stride)
    assert backbone.multiple == 32
    assert torch.equal(tokens.patch, backbone(packed).patch)
    alone = torch.cat([backbone(image[None]).patch for image in images])
    assert torch.allclose(tokens.patch, alone, atol=1e-5)


def test_batch_norm_does_not_see_the_batch_in_training() -> None:
    backbone = HYBRIDS['softmax']().train()
    images = 255 * torch.rand(3, 3, 64, 64)
    together, alone = backbone(images).patch, backbone(images[:1]).patch
    assert torch.allclose(together[:1], alone, atol=1e-5)


def test_only_the_transformer_is_trained() -> None:
    model = WSSSClassifier(
        HYBRIDS['softmax'](),
        dict(type='TokenHead', num_classes=5),
        mean=(0.0,),
        std=(1.0,),
    )
    losses = model.loss(255 * torch.rand(2, 3, 64, 64), torch.eye(5)[:2])
    sum(losses.values()).backward()
    names = [name for name, p in model.named_parameters() if p.grad is not None]
    assert names
    assert not any('.patch_embed.backbone.' in name for name in names)


@pytest.mark.parametrize(
    ('stem', 'words'),
    [
        (dict(name='resnet18'), 'a stem of feature maps is dict'),
        (dict(net=SMALL, in_index=(4,)), 'in_index must name some of the 3 maps'),
    ],
)
def test_wrong_stems_are_one_line(stem, words) -> None:
    with pytest.raises(ConfigError, match=words):
        ExViT(stem=stem, img_size=64, embed_dim=24, depth=1, num_heads=3)


def test_positions_need_a_grid() -> None:
    with pytest.raises(ConfigError, match='multiples of 32'):
        HybridViT(SMALL, img_size=50)


def test_acr_sees_kept_features_and_their_mirror_image() -> None:
    model = ACRClassifier(
        backbone=HYBRIDS['softmax'](),
        head=dict(type='TokenHead', num_classes=5),
        mean=(0.0,),
        std=(1.0,),
    )
    net = model.backbone.vit.patch_embed.backbone
    packed = net.pack(net(255 * torch.rand(2, 3, 64, 96)))
    mirrored, placement = model._viewed(packed)
    for one, other in zip(net.unpack(packed), net.unpack(mirrored), strict=True):
        assert torch.equal(one.flip(-1), other)
    order = torch.arange(24).reshape(1, 1, 4, 6)
    assert torch.equal(placement.maps(order.flip(-1).float()), order.float())
    losses = model.loss(packed, torch.eye(5)[:2])
    assert {'loss_act', 'loss_aff'} <= {*losses}
    assert all(torch.isfinite(value) for value in losses.values())
    grey = ACRClassifier(
        backbone=HYBRIDS['softmax'](),
        head=dict(type='TokenHead', num_classes=5),
        view='grey',
        mean=(0.0,),
        std=(1.0,),
    )
    with pytest.raises(ConfigError, match='GreyView changes pixels'):
        grey.loss(packed, torch.eye(5)[:2])


def test_the_network_of_both_branches_of_exvit_is_one() -> None:
    model = ExViTClassifier(
        backbone=HYBRIDS['e-mha'](),
        head=dict(type='AttributeHead', num_classes=5, channels=8, attributes=2),
        mean=(0.0,),
        std=(1.0,),
    )
    net = model.backbone.vit.patch_embed.backbone
    assert maps_of(model) is net
    views = torch.stack([net.pack(net(255 * torch.rand(2, 3, 64, 64)))] * 2, 1)
    losses = model.loss(views, torch.eye(5)[:2])
    assert {*losses} == {'loss_global', 'loss_dis', 'loss_div'}
    with torch.no_grad():
        next(net.parameters()).add_(1)
    with pytest.raises(ConfigError, match='has 2: leave features out'):
        maps_of(model)
