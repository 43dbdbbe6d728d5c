"""SEPL's votes of segments against the label maps of its original code."""

from __future__ import annotations

import numpy as np
import pytest

from wsss_plugins.refiners import segment_vote


@pytest.mark.parametrize('rule', ['max_iou', 'max_iou_imp', 'max_iou_imp2'])
@pytest.mark.parametrize('case', ['all', 'no_big', 'no_mask'])
def test_votes(golden, rule: str, case: str) -> None:
    arrays = golden('sepl_merge')
    label = arrays['predict'].astype(np.uint8)
    segments = np.zeros((0, *label.shape), bool)
    if case != 'no_mask':
        segments = arrays[f'masks_{case}'].astype(bool)
    found = segment_vote(label, segments, rule)
    assert np.array_equal(found, arrays[f'{rule}_{case}'])
    backwards = segment_vote(label, segments[::-1], rule)
    assert np.array_equal(backwards, found), 'the order of segments does not matter'
