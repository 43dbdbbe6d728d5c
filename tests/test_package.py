"""What ``import wsss_plugins`` gives: rooms on demand, nothing before."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import run_script

import wsss_plugins

SCRIPT = """
import sys
from mmengine.config import Config
import wsss_plugins
cfg = Config.fromfile(sys.argv[1], lazy_import=True)
print(cfg.plain.head.type.__module__, wsss_plugins.losses.__name__)
"""


def test_a_config_finds_a_room_that_nothing_has_imported(
    tmp_path: Path, root: Path
) -> None:
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)
    done = run_script([script, 'configs/_base_/road/acr.py'], root)
    assert done.stdout.split() == ['wsss_plugins.seeds.acr', 'wsss_plugins.losses'], (
        done.stderr
    )


@pytest.mark.parametrize('name', ['seed', '_seeds', '__path'])
def test_what_is_no_room_is_no_attribute(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(wsss_plugins, name)
