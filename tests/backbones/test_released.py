"""Weights in the layouts of other people: the released ACR code, hybrids of ViT's authors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed

from wsss_plugins.backbones import TimmViT, load_weights, read_weights
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import CheckpointError

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)


def classifier(**arch) -> WSSSClassifier:
    backbone = TimmViT(final_norm=False, pos_embed='bilinear', **{**SMALL, **arch})
    head = dict(type='TokenHead', num_classes=4, sources=('class',), shared=True)
    return WSSSClassifier(backbone, head).eval()


def released(model: WSSSClassifier) -> dict[str, torch.Tensor]:
    """The weights of ``model`` as a training of the released code stores them."""
    weights = {
        f'pretrained.model.{k}': v for k, v in model.backbone.vit.state_dict().items()
    }
    weights |= {f'cls_head.{k}': v for k, v in model.head.fc.state_dict().items()}
    weights['pretrained.model.bkg_token'] = torch.zeros(1, 1, 24)
    weights['pretrained.model.head.weight'] = torch.zeros(1000, 24)
    weights['pretrained.model.head.bias'] = torch.zeros(1000)
    weights['pretrained.act_postprocess1.0.weight'] = torch.zeros(3)
    weights['scratch.layer1_rn.weight'] = torch.zeros(3)
    return weights


@pytest.mark.parametrize('wrapper', [None, 'module', 'state_dict'])
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_a_released_checkpoint_becomes_ours(tmp_path, wrapper, suffix) -> None:
    torch.manual_seed(1)
    trained, fresh = classifier(), classifier()
    weights = released(trained)
    path = tmp_path / f'acr.{suffix}'
    if wrapper == 'module':
        weights = {f'module.{k}': v for k, v in weights.items()}
    if suffix == 'safetensors':
        save_file(weights, path)
    else:
        torch.save(
            {'state_dict': weights} if wrapper == 'state_dict' else weights, path
        )
    report = load_weights(fresh, read_weights(path), str(path), strict=True)
    assert not (report.missing or report.unexpected or report.other_shape)
    images = torch.randn(1, 3, 24, 40)
    with torch.no_grad():
        expected, found = trained(images), fresh(images)
    torch.testing.assert_close(found['class'], expected['class'])


def test_its_encoder_alone(tmp_path) -> None:
    """For a backbone; position embeddings are resampled, the rest is reported."""
    torch.manual_seed(1)
    trained = classifier()
    torch.save(released(trained), tmp_path / 'acr.pth')
    vit = TimmViT(
        pretrained=str(tmp_path / 'acr.pth'), **{**SMALL, 'img_size': (24, 40)}
    )
    assert vit.report is not None
    assert vit.report.unexpected == ('head.fc.weight', 'head.fc.bias')
    assert not vit.report.missing and not vit.report.other_shape
    torch.testing.assert_close(
        vit.vit.blocks[1].attn.qkv.weight,
        trained.backbone.vit.blocks[1].attn.qkv.weight,
    )


def test_released_weights_of_another_model(tmp_path) -> None:
    torch.save(released(classifier(depth=3)), tmp_path / 'acr.pth')
    weights = read_weights(tmp_path / 'acr.pth')
    with pytest.raises(CheckpointError) as error:
        load_weights(classifier(), weights, 'acr.pth', strict=True)
    assert 'unexpected (backbone.vit.blocks.2' in str(error.value)


def test_other_checkpoints_keep_their_names(tmp_path) -> None:
    weights = {'cls_head.weight': torch.ones(2), 'pretrained': torch.ones(1)}
    torch.save(weights, tmp_path / 'x.pth')
    assert set(read_weights(tmp_path / 'x.pth')) == set(weights)


def hybrid() -> VisionTransformer:
    from timm.layers import GroupNormAct, StdConv2dSame
    from timm.models.resnetv2 import ResNetV2

    cnn = ResNetV2(
        layers=(1, 2),
        channels=(16, 32),
        stem_chs=16,
        num_classes=0,
        global_pool='',
        preact=False,
        stem_type='same',
        conv_layer=StdConv2dSame,
        norm_layer=lambda *a, **k: GroupNormAct(*a, num_groups=4, **k),
    )
    arch = dict(SMALL, patch_size=1)
    return VisionTransformer(
        num_classes=0, embed_layer=lambda **k: HybridEmbed(cnn, **k), **arch
    )


def in_jax(vit: VisionTransformer) -> dict[str, np.ndarray]:
    """The arrays of ``vit`` as the authors of ViT store those of their hybrids."""
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, tensor: torch.Tensor) -> None:
        arrays[name] = tensor.detach().numpy()

    def conv(name: str, module) -> None:
        add(f'{name}/kernel', module.weight.permute(2, 3, 1, 0))
        if module.bias is not None:
            add(f'{name}/bias', module.bias)

    def norm(name: str, module) -> None:
        add(f'{name}/scale', module.weight)
        add(f'{name}/bias', module.bias)

    cnn = vit.patch_embed.backbone
    conv('conv_root', cnn.stem.conv)
    norm('gn_root', cnn.stem.norm)
    for i, stage in enumerate(cnn.stages, 1):
        for j, unit in enumerate(stage.blocks, 1):
            at = f'block{i}/unit{j}'
            for k in (1, 2, 3):
                conv(f'{at}/conv{k}', getattr(unit, f'conv{k}'))
                norm(f'{at}/gn{k}', getattr(unit, f'norm{k}'))
            if unit.downsample is not None:
                conv(f'{at}/conv_proj', unit.downsample.conv)
                norm(f'{at}/gn_proj', unit.downsample.norm)
    conv('embedding', vit.patch_embed.proj)
    add('cls', vit.cls_token)
    add('Transformer/posembed_input/pos_embedding', vit.pos_embed)
    norm('Transformer/encoder_norm', vit.norm)
    for i, block in enumerate(vit.blocks):
        at = f'Transformer/encoderblock_{i}'
        norm(f'{at}/LayerNorm_0', block.norm1)
        norm(f'{at}/LayerNorm_2', block.norm2)
        heads = block.attn.num_heads
        names = ('query', 'key', 'value')
        for name, weight, bias in zip(
            names,
            block.attn.qkv.weight.chunk(3),
            block.attn.qkv.bias.chunk(3),
            strict=True,
        ):
            where = f'{at}/MultiHeadDotProductAttention_1/{name}'
            add(f'{where}/kernel', weight.T.unflatten(1, (heads, -1)))
            add(f'{where}/bias', bias.unflatten(0, (heads, -1)))
        where = f'{at}/MultiHeadDotProductAttention_1/out'
        add(f'{where}/kernel', block.attn.proj.weight.T.unflatten(0, (heads, -1)))
        add(f'{where}/bias', block.attn.proj.bias)
        for k, layer in enumerate((block.mlp.fc1, block.mlp.fc2)):
            add(f'{at}/MlpBlock_3/Dense_{k}/kernel', layer.weight.T)
            add(f'{at}/MlpBlock_3/Dense_{k}/bias', layer.bias)
    return arrays


@pytest.mark.parametrize('std_eps', [None, 1e-5])
def test_a_hybrid_of_the_authors_of_vit(tmp_path, std_eps) -> None:
    torch.manual_seed(1)
    trained = TimmViT(hybrid(), std_eps=std_eps).eval()
    for p in trained.parameters():
        torch.nn.init.normal_(p, std=0.1)
    np.savez(tmp_path / 'R_ViT.npz', **in_jax(trained.vit))
    fresh = TimmViT(
        hybrid(), std_eps=std_eps, pretrained=str(tmp_path / 'R_ViT.npz')
    ).eval()
    assert not fresh.report.missing
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(fresh(images).patch, trained(images).patch)
