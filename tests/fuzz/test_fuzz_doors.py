"""The door notices everything that a command may not do."""

from __future__ import annotations

import importlib
from pathlib import Path

import doors
import pytest
import spoiling
from doors import Door, Hang

LINE = "import sys; sys.stderr.write('error: no\\n'); sys.exit(2)"
FAULTS = {
    'a traceback': ('{}[1]', KeyError),
    'another exit code': ('raise SystemExit(1)', AssertionError),
    'no line': ('raise SystemExit(2)', IndexError),
    'two lines': (
        f"import sys; sys.stderr.write('error: a\\n'); {LINE}",
        AssertionError,
    ),
    'a traceback that is shown': (
        f'import traceback\ntry: 1 / 0\nexcept Exception: traceback.print_exc()\n{LINE}',
        AssertionError,
    ),
    'no end': ('while True: pass', Hang),
    'a wait': ('import time; time.sleep(60)', Hang),
    'much memory': ('bytearray(8 << 30)', MemoryError),
    'a file that is lost': ("open('kept/a', 'w').close()", AssertionError),
    'a new file beside the data': ("open('kept/b', 'w').close()", AssertionError),
    'a file that is not whole': ("open('.a.1.part.npz', 'w').close()", AssertionError),
    'code that ran': ("open('it_ran', 'w').close()", AssertionError),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_is_noticed(
    door: Door, tmp_path: Path, monkeypatch, fault: str
) -> None:
    code, error = FAULTS[fault]
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'kept').mkdir()
    (tmp_path / 'kept/a').write_text('a')
    monkeypatch.setattr(doors, 'ROOT', tmp_path)
    monkeypatch.setattr(doors, 'SECONDS', 0.2)
    for tool, text in (('right', 'print(1)'), ('refused', LINE), ('wrong', code)):
        (tmp_path / f'tools/{tool}.py').write_text(text)
    assert not door('right', kept=tmp_path / 'kept').refused
    assert door('refused', kept=tmp_path / 'kept').line == 'no'
    with pytest.raises(error):
        door('wrong', kept=tmp_path / 'kept')


@pytest.mark.skipif(spoiling.SHARE < 0.5, reason='a smaller share was asked for')
def test_three_hundred_cases_are_tried() -> None:
    for path in Path(__file__).parent.glob('test_fuzz_*.py'):
        importlib.import_module(path.stem)
    assert len(spoiling.TRIED) >= 300
