"""Every config resolves to what it resolved to before configs named things once.

``configs.json`` was made at commit d557e48: of every pipeline the fingerprints of its
stages, and of every other config a hash of its content. A config that is meant to change
gets a new line there; one that is only said otherwise keeps its line. New since then: scores of
``psa/voc_affinity.py`` are resized bilinearly, ``exvit/voc_backbones.py`` averages all
patches.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from wsss_plugins.config import load_config, plain
from wsss_plugins.engine.fingerprint import DataDigests, fingerprint, without_remarks
from wsss_plugins.experiment import Pipeline

CONFIGS = Path(__file__).parents[2] / 'configs'
GOLDEN = json.loads(Path(__file__).with_name('configs.json').read_text())


class NoData(DataDigests):
    """Digests of no data set: what a pipeline is does not depend on the disk here."""

    def __call__(self, config: dict[str, Any], images: bool = True) -> list[str]:
        return []


def stages(cfg: Config) -> str:
    """``name:fingerprint`` of every stage, as the golden file has them."""
    pipeline = Pipeline(cfg, digests=NoData())
    marks: dict[str, str] = {}
    for step in pipeline.steps:
        says = without_remarks(step.config, step.stage.arguments_of_speed)
        inputs = {name: marks[name] for name in step.stage.inputs}
        marks[step.stage.name] = fingerprint([plain(says), []], pipeline.seed, inputs)
    return ' '.join(f'{name}:{mark[:8]}' for name, mark in marks.items())


def content(cfg: Config) -> str:
    """A hash of all that a config says."""
    said = json.dumps(plain(cfg.to_dict()), sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:8]


@pytest.mark.parametrize('name', GOLDEN['pipelines'])
def test_a_pipeline_has_the_same_stages(name: str) -> None:
    assert stages(load_config(CONFIGS / name)) == GOLDEN['pipelines'][name]


@pytest.mark.parametrize('name', GOLDEN['trainings'])
def test_a_training_config_says_the_same(name: str) -> None:
    assert content(load_config(CONFIGS / name)) == GOLDEN['trainings'][name]


def test_an_edited_pipeline_is_noticed() -> None:
    name = 'exvit/voc_pipeline.py'
    edited = load_config(CONFIGS / name, {'pipeline.1.batch_size': 5})
    before, now = GOLDEN['pipelines'][name].split(), stages(edited).split()
    assert [a == b for a, b in zip(before, now, strict=True)] == [True] + 15 * [False]
