"""The repository's own synthetic pipeline, shrunk so that it runs in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from processes import run_script
from safetensors.torch import load_file

from wsss_plugins.config import load_config, plain
from wsss_plugins.engine import StageRecord
from wsss_plugins.structures import load_json, load_npz
from wsss_plugins.structures.card import SESSION

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools'
CONFIG = ROOT / 'configs/acr/synthetic_pipeline.py'
CLASSIFIER = ROOT / 'configs/acr/synthetic.py'
MACHINE = ('commits', 'versions', 'devices', 'workers')
SMALL = dict(
    embed_dim=24, num_heads=2, img_size=32, base_channels=4, stem_channels=4,
    crop_size=(32, 32), scale=(32, 32), batch_size=8, max_epochs=3,
    in_channels=32, num_workers=0,
)  # fmt: skip


def small_options(config: Path) -> dict[str, Any]:
    """Overrides that shrink a training config: models, crops, batches and epochs."""
    options: dict[str, Any] = {}
    for key, value in _leaves(plain(load_config(config).to_dict())):
        name = key.rsplit('.', 1)[-1]
        if name in SMALL:
            options[key] = SMALL[name]
        elif name == 'size':
            options[key] = 32 if isinstance(value, int) else (32, 32)
        elif name == 'depth' and value < 18:  # of a transformer
            options[key] = 2
    return options


def _leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yields the dotted key and the value of everything that is no dict of dicts."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        here = f'{path}.{key}' if path else str(key)
        nested = isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(v, dict) for v in value)
        )
        if nested:
            yield from _leaves(value, here)
        else:
            yield here, value


def stages() -> list[dict[str, Any]]:
    """The stages of the pipeline's config."""
    return load_config(CONFIG).pipeline


def training(config: Path, cfg: Any, stage: Any) -> tuple[Path, dict[str, Any]]:
    """File and options of the training that a stage of a pipeline's config names."""
    named = cfg.trainings[stage['config']]
    named = dict(config=named) if isinstance(named, str) else named
    options = {**named.get('options', {}), **stage.get('options', {})}
    return config.parent / named['config'], options


def small_pipeline() -> list[str]:
    """``--cfg-options`` that shrink the pipeline's config."""
    pairs = []
    cfg = load_config(CONFIG)
    for stage in cfg.pipeline:
        kind, name = stage['type'].__name__, stage['name']
        if kind == 'TrainStage':
            file, options = training(CONFIG, cfg, stage)
            pairs.append(f'pipeline.{name}.options={small_options(file) | options!r}')
        elif kind == 'RefineStage':
            pairs.append(f'pipeline.{name}.workers=1')
        elif kind == 'SeedStage':
            pairs.append(f'pipeline.{name}.batch_size=4')
    return pairs


def arguments(data_root: Path, work_dir: Path, *options: str) -> list[str]:
    """The command line of ``tools/run_pipeline.py`` on the tiny pipeline."""
    return [
        str(CONFIG), '--data-root', str(data_root), '--work-dir', str(work_dir),
        '--cfg-options', *small_pipeline(), *options,
    ]  # fmt: skip


def train(data_root: Path, work_dir: Path, *options: str) -> list[str]:
    """The command line of ``tools/train.py`` on the tiny classifier."""
    small = small_options(CLASSIFIER)
    return [
        str(CLASSIFIER), '--data-root', str(data_root), '--work-dir', str(work_dir),
        '--cfg-options', *(f'{key}={value}' for key, value in small.items()), *options,
    ]  # fmt: skip


def run(
    *command: object, code: int = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command with one thread per process and insists on its exit code."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT, text=True, capture_output=True, timeout=300,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable} | env,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def run_python(*command: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a Python script in a process of its own and insists on its exit code."""
    done = run_script(command, ROOT)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def records(work_dir: Path) -> dict[str, StageRecord]:
    """The record of every stage that has one."""
    loaded = {s['name']: StageRecord.load(work_dir / s['name']) for s in stages()}
    return {name: record for name, record in loaded.items() if record}


def assert_cards_as_before(work_dir: Path, name: str) -> None:
    """The cards in a work dir are those that commit d557e48 made of the same pipeline.

    Machine, commit and versions are left out, and of the thresholds the values.
    """
    expected = load_json(ROOT / f'tests/golden/cards/{name}.json')
    assert cards_to_compare(work_dir) == expected


def cards_to_compare(work_dir: Path) -> dict[str, Any]:
    """The card of every stage of a work dir, as JSON, without what machines differ in."""
    found = {}
    for path in sorted(work_dir.glob('*/record.json')):
        card = load_json(path)['card']
        if card is not None:
            card = {k: v for k, v in card.items() if k not in MACHINE}
            for threshold in card['thresholds']:
                threshold['values'] = len(threshold['values'])
        found[path.parent.name] = card
    return found


def finish_times(work_dir: Path) -> dict[str, int]:
    """When the record of every stage was written, in ns."""
    return {
        name: (work_dir / name / 'record.json').stat().st_mtime_ns
        for name in records(work_dir)
    }


def assert_same_results(one: Path, other: Path, names: list[str]) -> None:
    """Weights bit for bit, arrays, label maps byte for byte, scores and metrics."""
    for name in names:
        files = _artefacts(one / name)
        assert files == _artefacts(other / name), name
        assert files or name == 'report', 'a page is no number'
        for file in files:
            _assert_same_file(one / name / file, other / name / file)
        first, second = StageRecord.load(one / name), StageRecord.load(other / name)
        assert first and second and first.done and second.done
        assert first.metrics == second.metrics, name


def _artefacts(folder: Path) -> list[Path]:
    """The files that are results: no logs, records, pages or files to resume from."""
    kinds = {'.npz', '.png', '.safetensors', '.json'}
    skip = {'record.json'}
    return sorted(
        path.relative_to(folder)
        for path in folder.rglob('*')
        if path.suffix in kinds
        and path.name not in skip
        and not path.name.startswith('.')
        and 'vis_data' not in path.parts
        and path.name != 'rates.png'
    )


def _assert_same_file(one: Path, other: Path) -> None:
    if one.suffix == '.safetensors':
        first, second = load_file(one), load_file(other)
        assert first.keys() == second.keys()
        assert all(first[key].equal(second[key]) for key in first), one
    elif one.suffix == '.npz':
        arrays, others = load_npz(one), load_npz(other)
        assert arrays.keys() == others.keys()
        assert all(np.array_equal(arrays[key], others[key]) for key in arrays), one
    elif one.suffix == '.json':
        assert without_session(load_json(one)) == without_session(load_json(other)), one
    else:
        assert one.read_bytes() == other.read_bytes(), one


def without_session(scores: Any) -> Any:
    """Scores whose card does not say who made them where."""
    if isinstance(scores, dict) and isinstance(scores.get('card'), dict):
        card = {k: v for k, v in scores['card'].items() if k not in SESSION}
        return {**scores, 'card': card}
    return scores
