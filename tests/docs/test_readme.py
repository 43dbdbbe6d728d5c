"""The Python example at the top of the README, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_how_to import ROOT, blocks

DOWNLOADS = 'pretrained=True'


def example() -> str:
    """The first Python code of the README."""
    return blocks(ROOT / 'README.md', 'python')[0]


def test_example_is_short_and_near_the_top() -> None:
    text = (ROOT / 'README.md').read_text('utf-8')
    assert text.index('```python') < text.index('```bash'), 'examples come first'
    code = [line for line in example().splitlines() if line.strip()]
    assert len(code) <= 6, 'two imports and four lines'


@pytest.mark.slow
def test_example_explains_a_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With random weights, since tests have no network; the README says how."""
    code = example()
    assert code.count(DOWNLOADS) == 1
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(noise).save('photo.jpg')
    seen: dict[str, Any] = {}
    exec(
        compile(code.replace(DOWNLOADS, 'pretrained=False'), 'README.md', 'exec'), seen
    )
    found = seen['found']
    assert found.maps.shape == (2, 60, 90) and np.isfinite(found.maps).all()
    assert (np.ptp(found.maps, axis=(1, 2)) > 0).all(), 'a map for each class'
    assert found.probabilities[0] >= found.probabilities[1]
    assert re.search(r"\('[^']+', '[^']+'\) \(2, 60, 90\)", capsys.readouterr().out)
    with Image.open('explained.png') as sheet:
        assert sheet.width > 2 * 300 and sheet.height > 2 * 200, 'two rows of pictures'
