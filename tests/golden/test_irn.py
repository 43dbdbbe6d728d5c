"""IRN against arrays of its original code: formulas and tolerances of the golden README.

Named here for what is not compared: the network's backbone, and the dense CRF, in whose
place the golden labels have the identity.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from wsss_plugins.affinity import (
    IRNet,
    Transition,
    boundary_affinities,
    cluster_centroids,
    find_centroids,
    fragments,
    pair_indices,
    pair_labels,
    pair_offsets,
    pair_path,
)
from wsss_plugins.losses import AffinityLoss, DisplacementLoss
from wsss_plugins.refiners import ConstantBackground, LargestScore
from wsss_plugins.refiners.random_walk import to_pixels
from wsss_plugins.segmentors import IRNRates, WarmUpPolyLR
from wsss_plugins.stages import InstanceLabelStage
from wsss_plugins.structures import Instances, Seed, agreed_labels

EXACT = dict(rtol=0, atol=1e-9)


def path_order(radius: int) -> Tensor:
    """Index of each of our pairs in IRN's order: by the length of the way, then ours."""
    lengths = [len(pair_path(dy, dx)) for dy, dx in pair_offsets(radius).tolist()]
    return torch.tensor(np.argsort(lengths, kind='stable'))


def leaf(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).requires_grad_()


def phi(size: tuple[int, ...], number: int) -> Tensor:
    """The weights of the golden README that stand for stored ones."""
    i = np.arange(math.prod(size), dtype=np.float64)
    values = np.sin(0.7 * i + 3 * np.sin(0.13 * i) + 0.9 * number + 0.3)
    return torch.from_numpy(values.reshape(size))


@pytest.mark.parametrize('radius', [3, 5])
def test_paths_of_pairs(golden, radius: int) -> None:
    case = golden('irn_path_index')
    order = path_order(radius)
    offsets = pair_offsets(radius)[order]
    assert np.array_equal(offsets, case[f'r{radius}_search_dst'])
    height, width = case[f'r{radius}_size'].tolist()
    source, target = pair_indices(height, width, radius, 'psa')
    assert np.array_equal(source, case[f'r{radius}_src_indices'])
    assert np.array_equal(target[order], case[f'r{radius}_dst_indices'])
    golden_paths = [
        path.tolist()
        for group in range(sum(f'r{radius}_group' in key for key in case) // 2)
        for path in case[f'r{radius}_group{group}_paths']
    ]
    ours = [[list(at) for at in pair_path(*offset)] for offset in offsets.tolist()]
    assert ours == golden_paths


def test_paths_of_the_training_radius(golden) -> None:
    case = golden('irn_path_index')
    offsets = pair_offsets(10)[path_order(10)]
    assert np.array_equal(offsets, case['r10_search_dst'])
    lengths = [len(pair_path(dy, dx)) for dy, dx in offsets.tolist()]
    found, counts = np.unique(lengths, return_counts=True)
    assert np.array_equal(found, case['r10_path_lengths'])
    assert np.array_equal(counts, case['r10_group_sizes'])


def test_losses_and_gradients(golden) -> None:
    case = golden('irn_losses')
    radius, label = 4, torch.from_numpy(case['label'])
    edge, field = leaf(case['edge_logits']), leaf(case['dp'])
    order = path_order(radius)
    net = Given(edge, field, radius)
    affinities, differences = net.pairs(torch.zeros(2, 3, 32, 40))
    kinds = pair_labels(label, radius, 'psa')
    for name, kind in zip(('bg_pos', 'fg_pos', 'neg'), kinds, strict=True):
        assert np.array_equal(kind[:, order], case[f'{name}_label'].astype(bool)), name
    close = np.testing.assert_allclose
    close(affinities[:, order].detach(), case['affinity'], **EXACT)
    close(differences[:, :, order].detach(), case['pair_disp'], **EXACT)
    pairs = AffinityLoss()(affinities, *kinds)
    ways = DisplacementLoss()(differences, pair_offsets(radius), *kinds[:2])
    wanted = dict(
        loss_bg=0.25 * case['bg_pos_aff_loss'],
        loss_fg=0.25 * case['fg_pos_aff_loss'],
        loss_neg=0.5 * case['neg_aff_loss'],
        loss_dp_bg=0.5 * case['dp_bg_loss'],
        loss_dp_fg=0.5 * case['dp_fg_loss'],
    )
    for name, value in (pairs | ways).items():
        close(value.item(), wanted[name], **EXACT, err_msg=name)
    total = sum((pairs | ways).values())
    close(total.item(), case['total_loss'], **EXACT)
    total.backward()
    close(edge.grad, case['grad_edge_logits'], **EXACT)
    close(field.grad, case['grad_dp'], **EXACT)


class Given(IRNet):
    """An IRNet whose branches answer with what they were given."""

    def __init__(self, edge: Tensor, field: Tensor, train_radius: int) -> None:
        nn.Module.__init__(self)
        self.edge_map, self.field_map = edge, field
        self.train_radius = train_radius

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.edge_map, self.field_map


def test_of_equal_boundaries_one_gets_the_gradient(golden) -> None:
    case = golden('irn_affinity_ties')
    edge = leaf(case['edge'])
    height, width = edge.shape[-2:]
    source, _ = pair_indices(height, width, 4, 'psa')
    affinities = boundary_affinities(edge[:, 0], 4).flatten(2)[..., source]
    affinities = affinities[:, path_order(4)]
    np.testing.assert_allclose(affinities.detach(), case['affinity'], **EXACT)
    (affinities * torch.from_numpy(case['probe'])).sum().backward()
    np.testing.assert_allclose(edge.grad, case['grad_edge'], **EXACT)


class Features(nn.Module):
    """A backbone that answers with given maps."""

    def __init__(self, maps: list[Tensor]) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.maps


def irn_with_golden_weights(meta: dict[str, Any], monkeypatch) -> IRNet:
    shapes = meta['feature_shapes']
    maps = [phi(tuple(shape), 100 + k).abs() for k, shape in enumerate(shapes)]
    monkeypatch.setattr('wsss_plugins.affinity.irn.build_as', built(maps))
    net = IRNet(dict()).double()
    parts = [*net.edges, net.edge, *net.displacements, net.coarse, net.mixed]
    tensors = [p for part in parts for p in part.parameters()]
    tensors.append(net.displacement.weight)
    for number, ((name, shape), tensor) in enumerate(
        zip(meta['parameters'], tensors, strict=True)
    ):
        assert list(tensor.shape) == shape, name
        values = phi(tuple(shape), number)
        if name.endswith('bias'):
            values = 0.2 * values
        elif len(shape) == 4:
            values = 2 / math.sqrt(shape[1]) * values
        else:
            values = 1 + 0.2 * values
        tensor.data.copy_(values)
    return net


def built(maps: list[Tensor]):
    """Builds the losses as they are, and a backbone that answers with ``maps``."""
    from wsss_plugins.registry import build_as

    return lambda registry, cfg, kind: (
        build_as(registry, cfg, kind) if cfg else Features(maps)
    )


def test_heads(golden, monkeypatch) -> None:
    case = golden('irn_heads')
    net = irn_with_golden_weights(json.loads(str(case['meta'])), monkeypatch)
    first = next(iter(net.edges[0].parameters())).detach().flatten()[:5]
    np.testing.assert_allclose(first, case['check_first_weights'], **EXACT)
    np.testing.assert_allclose(
        net.backbone.maps[4].flatten()[-5:], case['check_feature4'], **EXACT
    )
    image = torch.zeros(1, 3, 52, 40)
    with torch.no_grad():
        edge, field = net.maps(image)
        np.testing.assert_allclose(edge, case['edge_out'], **EXACT)
        np.testing.assert_allclose(field, case['dp_out_train'], **EXACT)
        net.mean_displacement.copy_(torch.from_numpy(case['running_mean']))
        _, field = net.eval().maps(image)
    np.testing.assert_allclose(field, case['dp_out_eval'], **EXACT)


def test_two_views_of_an_image(golden) -> None:
    case = golden('irn_edge_displacement')
    image = torch.from_numpy(case['image'])[None]

    class Convolutions(IRNet):
        stride, multiple, crop_size = 4, 16, (48, 48)

        def __init__(self) -> None:
            nn.Module.__init__(self)

        def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
            assert images.shape[2:] == (48, 48)
            weights = (torch.from_numpy(case[name]) for name in ('w_edge', 'w_dp'))
            biases = (
                torch.tensor(b, dtype=torch.float64) for b in ([0.1], [0.2, -0.1])
            )
            convolve = torch.nn.functional.conv2d
            edge, field = (
                convolve(images, weight, bias, stride=4)
                for weight, bias in zip(weights, biases, strict=True)
            )
            return edge, field

    boundaries, field = Convolutions().boundaries_and_displacements(image)
    np.testing.assert_allclose(boundaries, case['edge'], **EXACT)
    np.testing.assert_allclose(field[0], case['dp'], **EXACT)


@pytest.mark.parametrize('preset', ['released', 'paper'])
def test_optimiser(golden, preset: str) -> None:
    """The released one has the weight decay as its momentum; the other differs."""
    case = golden('irn_poly_optimizer')

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.edge = nn.Parameter(torch.tensor([1.0, -2.0]).double())
            self.displacement = nn.Parameter(torch.tensor([0.5]).double())

    model = Two()
    rates = IRNRates(
        dict(type=OptimWrapper, optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01)),
        dict(preset=preset),
    )
    wrapper = rates(model)
    schedule = WarmUpPolyLR(wrapper.optimizer, power=0.9, end=6)
    path, used = [], []
    for _ in range(8):
        groups = wrapper.optimizer.param_groups
        used.append([group['lr'] for group in groups])
        loss = 0.3 * (model.edge**2).sum() + 0.2 * (model.displacement - 1) ** 2
        wrapper.update_params(loss.sum())
        schedule.step()
        path.append(torch.cat([model.edge, model.displacement]).tolist())
    np.testing.assert_allclose(used, case['lr_used'], **EXACT)
    gap = np.abs(np.array(path) - case['trajectory']).max()
    assert gap < 1e-9 if preset == 'released' else gap > 0.1


def test_random_walk(golden) -> None:
    """Ours is float64 throughout; the golden matrix was squared in float64 too."""
    case = golden('irn_random_walk')
    edge = torch.from_numpy(case['edge'])
    maps = torch.from_numpy(case['cams']) * (1 - edge)
    for name, radius, beta, steps in (
        ('rw_default', 5, 10, 8),
        ('rw_r3_b4_t2', 3, 4, 2),
        ('rw_r5_b10_t0', 5, 10, 0),
    ):
        affinities = boundary_affinities(edge, radius)[0]
        walk = Transition(affinities, radius, beta, 'irn')
        found = walk.walk(maps, 2**steps)
        np.testing.assert_allclose(found[:, None], case[name], **EXACT, err_msg=name)
    affinities = boundary_affinities(edge, 5)[0]
    plain = Transition(affinities, 5, 1, 'irn')
    dense = plain.to_dense() * plain._sums
    np.testing.assert_allclose(dense, case['dense_affinity'], **EXACT)
    power = torch.linalg.matrix_power(Transition(affinities, 5, 10).to_dense(), 256)
    np.testing.assert_allclose(power, case['trans_mat'], rtol=0, atol=1e-6)


def test_centroids_and_clusters(golden) -> None:
    case = golden('irn_centroids')
    field = case['displacement']
    for steps in (1, 2, 10, 100, 300):
        found = find_centroids(field, steps)
        assert np.array_equal(found, case[f'centroids_it{steps}']), steps
    for name, threshold in (('', 2.5), ('_alt', 1.2)):
        masks = cluster_centroids(found, field, threshold)
        assert np.array_equal(masks, case[f'cluster_masks{name}'].astype(bool))
    field = case['displacement_case2']
    found = find_centroids(field)
    assert np.array_equal(found, case['centroids_case2'])
    masks = cluster_centroids(found, field)
    assert np.array_equal(masks, case['cluster_masks_case2'].astype(bool))


def test_fragments(golden) -> None:
    case = golden('irn_detect_instance')
    masks, owners, scores = fragments(
        case['scores'], case['masks'].astype(bool), fewest=4.4
    )
    assert np.array_equal(masks, case['det_mask'].astype(bool))
    assert np.array_equal(case['class_id'][owners], case['det_class'])
    assert np.array_equal(scores, case['det_score'])


def test_instance_labels(golden) -> None:
    case = golden('irn_instance_labels')
    stage = InstanceLabelStage('objects', 'maps', 'irn', dict(type='VOC12'))
    names = ('cam', 'keys', 'edge', 'displacement')
    cams, keys, edge, field = (torch.from_numpy(case[name]) for name in names)
    found = stage.cut(cams, keys, edge, field, (95, 110), stride=4, radius=5)
    assert isinstance(found, Instances)
    bits = np.unpackbits(case['det_mask_packed'], axis=1)[:, : 95 * 110]
    assert np.array_equal(found.masks.reshape(len(bits), -1), bits.astype(bool))
    assert np.array_equal(found.classes, case['det_class'])
    np.testing.assert_allclose(found.scores, case['det_score'], rtol=0, atol=1e-4)


def test_semantic_labels(golden) -> None:
    case = golden('irn_instance_labels')
    edge, cams = torch.from_numpy(case['edge']), torch.from_numpy(case['cam'])
    affinities = boundary_affinities(edge[None], 5)[0]
    walked = Transition(affinities, 5, 10, 'irn').walk(cams * (1 - edge), 256)
    np.testing.assert_allclose(walked[:, None], case['sem_rw'], rtol=0, atol=1e-4)
    seed = Seed(to_pixels(walked, 4, (95, 110)), torch.from_numpy(case['keys']))
    image = torch.zeros(3, 95, 110, dtype=torch.uint8)
    background = ConstantBackground(0.25, normalise=False)
    label = background(image, LargestScore()(image, seed)).to_label()
    assert np.array_equal(label, case['sem_label'])


def test_confident_labels(golden) -> None:
    case = golden('irn_ir_label')
    keys = torch.from_numpy(case['keys']).long()
    seed = Seed(torch.from_numpy(case['high_res_cam']), keys)
    image = torch.zeros(3, *seed.size, dtype=torch.uint8)
    high, low = (
        ConstantBackground(number, normalise=False)(image, seed).to_label().numpy()
        for number in (0.3, 0.05)
    )
    assert np.array_equal(high, case['fg_conf'])
    assert np.array_equal(low, case['bg_conf'])
    assert np.array_equal(agreed_labels(high, low), case['label'])
