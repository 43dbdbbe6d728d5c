"""The start that comes with the package: what it is, what it fits, what refuses it."""

from __future__ import annotations

import json

import pytest
import torch

from wsss_plugins.backbones import ExViT, TimmViT, read_weights, weights_file
from wsss_plugins.backbones.weights import header, shipped_weights
from wsss_plugins.config import load_config
from wsss_plugins.errors import CheckpointError
from wsss_plugins.provenance.networks import initial_weights
from wsss_plugins.structures import load_json

ARCH = dict(
    stem='conv', img_size=64, patch_size=8, embed_dim=128, depth=4, num_heads=4,
    mlp_ratio=3,
)  # fmt: skip
PATH = shipped_weights()['synthetic']
TOLD = load_json(PATH.with_suffix('.json'))
CHECK = [-0.00147, 0.90844, 0.89531]  # 2026-11-21, torch 2.12.1


def test_the_file_is_small_finite_and_says_how_it_was_made() -> None:
    assert PATH.stat().st_size < 5e6
    weights = read_weights('synthetic')
    assert all(value.isfinite().all() for value in weights.values())
    assert sum(value.numel() for value in weights.values()) == TOLD['parameters']
    told = header(PATH)
    assert told['supervision'] == 'self-supervised' == TOLD['supervision']
    for key in ('config', 'epochs', 'images', 'seed', 'commit', 'date', 'scores'):
        assert told[key], key
    assert json.loads(told['backbone']) == ARCH == TOLD['backbone']


def test_it_fits_its_backbone_key_by_key(root) -> None:
    vit = TimmViT(pretrained='synthetic', **ARCH)
    report = vit.report
    assert report is not None and len(report.loaded) == len(vit.vit.state_dict())
    assert not (report.missing or report.unexpected or report.other_shape)
    given = read_weights(PATH)
    for name, value in vit.state_dict().items():
        assert torch.equal(value, given[name].to(value)), name
    cfg = load_config(root / 'configs/acr/synthetic.py')
    assert {k: v for k, v in cfg.model.backbone.items() if k != 'type'} == ARCH
    assert load_config(root / TOLD['config']).model.backbone == cfg.model.backbone


def test_its_tokens_are_those_that_were_recorded() -> None:
    vit = TimmViT(pretrained='synthetic', **ARCH).eval()
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(80.0), indexing='ij')
    image = torch.stack([(x / 9).sin(), (y / 7).cos(), (x * y / 300).sin()])
    with torch.no_grad():
        tokens = vit(image[None])
    found = torch.stack([tokens.patch.mean(), tokens.patch.std(), tokens.prefix.std()])
    torch.testing.assert_close(found, torch.tensor(CHECK), rtol=1e-3, atol=1e-4)


def test_subclasses_and_other_image_sizes_begin_with_it() -> None:
    arch = {k: v for k, v in ARCH.items() if k != 'img_size'}
    other = TimmViT(pretrained='synthetic', img_size=(96, 64), **arch)
    assert other.report is not None and not other.report.other_shape
    explicit = ExViT(pretrained='synthetic', **ARCH)
    assert explicit.report is not None
    assert all(key.endswith('.attn.bias') for key in explicit.report.missing)


@pytest.mark.parametrize(
    'changed',
    [
        dict(embed_dim=64), dict(depth=2), dict(depth=6), dict(stem='patch'),
        dict(patch_size=16), dict(mlp_ratio=4), dict(class_token=False, global_pool='avg'),
    ],
)  # fmt: skip
def test_a_backbone_of_another_size_is_told_what_fits(changed) -> None:
    with pytest.raises(
        CheckpointError, match=r'build it with .*embed_dim=128'
    ) as error:
        TimmViT(pretrained='synthetic', **{**ARCH, **changed})
    assert '\n' not in str(error.value)


def test_another_name_lists_what_there_is() -> None:
    with pytest.raises(CheckpointError) as error:
        TimmViT(pretrained='synthetik', **ARCH)
    assert "did you mean 'synthetic'" in str(error.value)
    assert weights_file('nowhere/synthetic').name == 'synthetic', 'a path is a path'


def test_a_file_of_that_name_goes_first(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'synthetic').write_bytes(b'')
    assert weights_file('synthetic') != PATH


def test_cards_say_that_no_label_was_looked_at(root) -> None:
    cfg = load_config(root / 'configs/acr/synthetic_pretrained.py')
    (found,) = initial_weights(cfg.to_dict())
    assert found.source == PATH.name
    assert [str(said.kind.value) for said in found.supervision] == ['self-supervised']
    assert str(found.known_by) == f'card of {PATH.name}' and found.card is not None
    (network,) = found.card.networks
    assert (network.model, str(network.weights)) == ('MaskedDenoiser', 'from scratch')
    assert str(network.learnt_from) == 'images alone' and not found.card.pixels
