"""Configs of one experiment share a work dir: a stage's name means the same in all of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from wsss_plugins.config import load_config, plain
from wsss_plugins.experiment.names import named_stages


def test_stages_of_one_name_are_the_same_stage(root: Path) -> None:
    meanings = defaultdict[tuple[str, str], list[tuple[str, Any]]](list)
    for path in sorted((root / 'configs/voc_animals').glob('*.py')):
        cfg = load_config(path)
        if experiment := cfg.get('experiment'):
            for stage in named_stages(cfg):
                key = experiment, stage['name']
                meanings[key].append((path.name, plain(stage)))
    names = {name for found in meanings.values() for name, _ in found}
    assert {'pipeline.py', 'supervised_pipeline.py', 'claims_acr.py'} <= names
    for (_, name), found in meanings.items():
        first, meaning = found[0]
        for other, content in found[1:]:
            assert content == meaning, f'{name} differs in {first} and {other}'
