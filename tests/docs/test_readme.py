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


def test_first_screen() -> None:
    """An installation, one command, one picture, one table; nothing else before line 40."""
    lines = (ROOT / 'README.md').read_text('utf-8').splitlines()[:40]
    end = next(i for i, line in enumerate(lines) if line.startswith('## '))
    screen = '\n'.join(lines[:end])
    (code,) = re.findall(r'```bash\n(.*?)```', screen, re.DOTALL)
    install, *command = code.replace('\\\n', '').strip().splitlines()
    assert install.startswith('pip install') and len(command) == 1
    (picture,) = re.findall(r'!\[[^]]+\]\(([^)]+)\)', screen)
    assert (ROOT / picture).is_file()
    assert screen.count('|---|') == 1


def test_numbers_of_the_first_table_are_those_of_the_results() -> None:
    text = (ROOT / 'README.md').read_text('utf-8')
    table = text[: text.index('## ')].split('|---|')[1]
    numbers = re.findall(r'\| \*{0,2}([\d.]+(?: ± [\d.]+)?)\*{0,2} \|$', table, re.M)
    assert len(numbers) == 4
    results = (ROOT / 'docs/results.md').read_text('utf-8')
    section = results.split('## Real photos')[1].split('\n## ')[0]
    assert [n for n in numbers if n not in section] == []


def test_example_is_short() -> None:
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
