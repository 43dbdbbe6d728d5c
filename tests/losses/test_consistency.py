"""The consistency losses of ACR against the original's values and the paper's formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import (
    AttentionConsistencyLoss,
    MultiLabelSoftMarginLoss,
    restore_order,
    view_permutation,
)


@pytest.mark.parametrize('case', ['a_', 'b_'])
def test_released_losses_and_gradients(golden, case):
    arrays = {
        k[2:]: v for k, v in golden('acr_losses_hflip').items() if k.startswith(case)
    }
    names = ('attn1', 'attn2', 'logits1', 'logits2')
    leaves = {n: torch.from_numpy(arrays[n]).double().requires_grad_() for n in names}
    label = torch.from_numpy(arrays['label']).double()
    alpha = float(arrays['alpha'])
    order = view_permutation('hflip', tuple(arrays['grid']))
    other = restore_order(leaves['attn2'], order)
    np.testing.assert_allclose(
        other[:, :, 0, 1:].detach(), arrays['attn2_cls_reordered']
    )
    np.testing.assert_allclose(
        other[:, :, 1:, 1:].detach(), arrays['attn2_aff_reordered']
    )
    losses = AttentionConsistencyLoss(alpha, alpha)(leaves['attn1'], other)
    np.testing.assert_allclose(
        losses['loss_act'].item(), alpha * arrays['L_act'], rtol=1e-6
    )
    np.testing.assert_allclose(
        losses['loss_aff'].item(), alpha * arrays['L_aff'], rtol=1e-6
    )
    classify = MultiLabelSoftMarginLoss()
    total = sum(losses.values()) + classify(leaves['logits1'], label)
    total = total + classify(leaves['logits2'], label)
    np.testing.assert_allclose(total.item(), arrays['loss'], rtol=1e-6)
    total.backward()
    for name, leaf in leaves.items():
        np.testing.assert_allclose(
            leaf.grad, arrays[f'grad_{name}'], rtol=1e-5, atol=1e-8, err_msg=name
        )


@pytest.mark.parametrize('grid', ['sq', 'ns'])
@pytest.mark.parametrize('view', ['hflip', 'vflip', 'rot90', 'rot180', 'rot270'])
def test_every_view(golden, grid, view):
    arrays = golden('acr_losses_ext_nonofficial')
    order = view_permutation(view, tuple(arrays[f'{grid}_grid']))
    np.testing.assert_array_equal(order, arrays[f'{grid}_{view}_perm'])
    back = restore_order(torch.from_numpy(arrays[f'{grid}_{view}_attn2']), order)
    np.testing.assert_array_equal(back, arrays[f'{grid}_{view}_attn2_inv'])
    attn = torch.from_numpy(arrays[f'{grid}_attn1'])
    losses = AttentionConsistencyLoss(1.0, 1.0)(attn, back)
    np.testing.assert_allclose(
        losses['loss_act'], arrays[f'{grid}_{view}_L_act'], rtol=1e-5
    )
    np.testing.assert_allclose(
        losses['loss_aff'], arrays[f'{grid}_{view}_L_aff'], rtol=1e-5
    )


def test_zero_when_views_agree_and_switches():
    attn = torch.rand(2, 3, 10, 10)
    losses = AttentionConsistencyLoss()(attn, attn)
    assert losses['loss_act'] == 0 and losses['loss_aff'] == 0
    assert set(AttentionConsistencyLoss(1, 0)(attn, attn)) == {'loss_act'}
    assert set(AttentionConsistencyLoss(0, 1)(attn, attn)) == {'loss_aff'}


def test_common_permutation_leaves_the_loss():
    attn, other = torch.rand(2, 2, 2, 10, 10, dtype=torch.float64)
    shuffle = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(9)])
    loss = AttentionConsistencyLoss()
    before = loss(attn, other)
    after = loss(
        attn[..., shuffle, :][..., shuffle], other[..., shuffle, :][..., shuffle]
    )
    for name in before:
        torch.testing.assert_close(before[name], after[name])


def test_unknown_distance():
    with pytest.raises(
        ConfigError, match="unknown distance 'l3': Allowed: l1, l2, smooth_l1"
    ):
        AttentionConsistencyLoss(distance='l3')


@pytest.mark.parametrize('distance', ['l1', 'l2', 'smooth_l1'])
def test_entry_by_entry(distance):
    """Two prefix tokens, of which one or two are class tokens; heads one by one."""
    attn, other = torch.rand(2, 2, 3, 4, 8, 8, dtype=torch.float64)
    cost = {
        'l1': lambda d: abs(d),
        'l2': lambda d: d * d,
        'smooth_l1': lambda d: d * d / 2,  # every difference is below 1
    }[distance]
    for classes in (1, 2):
        rows = {'loss_act': range(classes), 'loss_aff': range(2, 8)}
        loss = AttentionConsistencyLoss(3.0, 5.0, distance, heads='each')
        got = loss(attn, other, num_prefix=2, num_class_tokens=classes)
        for (name, chosen), weight in zip(rows.items(), (3.0, 5.0), strict=True):
            costs = [
                cost(a[i, j].item() - b[i, j].item())
                for a, b in zip(attn.view(-1, 8, 8), other.view(-1, 8, 8), strict=True)
                for i in chosen
                for j in range(2, 8)
            ]
            expected = weight * sum(costs) / len(costs)
            assert got[name].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('distance', ['l2', 'smooth_l1'])
def test_gradients(distance):
    attn, other = torch.rand(2, 1, 2, 5, 5, dtype=torch.float64).requires_grad_()
    loss = AttentionConsistencyLoss(3.0, 5.0, distance)

    def total(a, b):
        return sum(loss(a, b).values())

    assert torch.autograd.gradcheck(total, (attn, other))


def test_which_blocks():
    assert AttentionConsistencyLoss().blocks_of(3) == [0, 1, 2]
    assert AttentionConsistencyLoss(blocks=[-1, 0]).blocks_of(3) == [0, 2]
    assert not AttentionConsistencyLoss(0, 0).needs_attention
    assert AttentionConsistencyLoss(0, 1).needs_attention
    with pytest.raises(ConfigError, match=r'blocks 0 to 2 \(or -3 to -1\), not -4'):
        AttentionConsistencyLoss(blocks=[-4]).blocks_of(3)
    with pytest.raises(ConfigError, match='name one of 3 blocks twice'):
        AttentionConsistencyLoss(blocks=(2, -1)).blocks_of(3)


@pytest.mark.parametrize(
    'argument',
    [
        dict(blocks=[]),
        dict(blocks=3),
        dict(blocks='last'),
        dict(blocks=[0.5]),
        dict(heads='max'),
        dict(activation_weight=-1.0),
        dict(affinity_weight=float('nan')),
    ],
)
def test_bad_arguments(argument):
    (name,) = argument
    with pytest.raises(ConfigError, match=f'^{name} must be') as error:
        AttentionConsistencyLoss(**argument)
    assert error.value.token == name and '\n' not in str(error.value)
