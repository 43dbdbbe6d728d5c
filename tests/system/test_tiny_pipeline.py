"""The repository's synthetic pipeline, shrunk, through its command-line tool."""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.torch import load_file

from wsss_plugins.cli import parse_options
from wsss_plugins.config import load_config
from wsss_plugins.errors import UserError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.explain import load_model
from wsss_plugins.structures import Seed, load_label_map

pytestmark = pytest.mark.slow
NAMES = [stage['name'] for stage in tiny.stages()]
# What stands and falls with the refiners: the pseudo labels and all that read them.
DESCENDANTS = {'pseudo'}
for stage in tiny.stages():
    values = [v for v in stage.values() if isinstance(v, (str, list, tuple))]
    words = {
        w for v in values for w in ([v] if isinstance(v, str) else v) if str(w) == w
    }
    if words & DESCENDANTS:
        DESCENDANTS.add(stage['name'])


def pipeline(data_root: Path, *options: str, seed: int | None = None) -> Pipeline:
    """The tiny pipeline in this process."""
    overrides = parse_options([*tiny.small_pipeline(), *options])
    cfg = load_config(tiny.CONFIG, overrides)
    if seed is not None:
        cfg.seed = seed
    return Pipeline(cfg, data_root=str(data_root))


@pytest.fixture
def work_dir(finished, tmp_path) -> Path:
    """A copy of the finished work dir."""
    return Path(shutil.copytree(finished, tmp_path / 'work'))


def test_trained_classifier_knows_its_classes(finished, data_root) -> None:
    names = (data_root / 'classes.txt').read_text().split()
    assert names == list(load_model(finished / 'classifier').class_names)


def test_every_stage_is_done_and_its_metrics_are_numbers(finished) -> None:
    records = tiny.records(finished)
    assert list(records) == NAMES
    for record in records.values():
        assert record.done and record.finished and record.seconds > 0
        assert record.environment['versions']['torch']
        numbers = [v for v in record.metrics.values() if not isinstance(v, (dict, str))]
        assert all(math.isfinite(number) for number in numbers), record
    assert 0 <= records['cam_score'].metrics['best_threshold'] < 1
    assert 0 < records['prediction_score'].metrics['miou'] <= 100


def test_artefacts_are_valid(finished, data_root) -> None:
    ids = (data_root / 'ImageSets/Segmentation/train.txt').read_text().split()
    peaks = []
    for name in ids:
        seed = Seed.load(finished / 'cam/seeds' / f'{name}.npz')
        assert seed.size == (32, 40)
        assert seed.scores.min() >= 0 and seed.scores.max() <= 1
        peaks.append(float(seed.scores.max()))
        label = load_label_map(finished / 'pseudo/labels' / f'{name}.png', 7)
        assert label.shape == (32, 40)
        assert set(np.unique(label)) <= {0, *(seed.classes + 1).tolist(), 255}
    assert max(peaks) > 0.99, 'normalised by their maximum'
    assert len(list((finished / 'cam/seeds').iterdir())) == 24
    assert len(list((finished / 'prediction/labels').iterdir())) == 12
    assert load_file(finished / 'classifier/weights.safetensors')
    scores = json.loads((finished / 'cam_score/scores.json').read_text())
    assert scores['classes'][0] == 'background' and len(scores['classes']) == 7


def test_second_run_does_nothing_and_prints_the_same_numbers(
    finished, data_root
) -> None:
    before = tiny.finish_times(finished)
    begin = time.monotonic()
    command = tiny.arguments(data_root, finished)
    shown = tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command)
    assert time.monotonic() - begin < 30
    assert tiny.finish_times(finished) == before
    assert shown.stderr == '', 'no bar of any stage'
    for name in NAMES:
        assert name in shown.stdout
    assert f'results in {finished}' in shown.stdout


def test_edited_stage_reruns_with_its_descendants_only(
    finished, work_dir, data_root
) -> None:
    before = tiny.finish_times(work_dir)
    edited = 'pipeline.pseudo.threshold=0.2'
    changed = pipeline(data_root, edited)
    states = {s.stage.name: changed.state(s, work_dir) for s in changed.steps}
    assert {name for name in NAMES if states[name] == 'changed'} == DESCENDANTS
    assert {states[name] for name in set(NAMES) - DESCENDANTS} == {'done'}

    records = changed.run(work_dir)
    after = tiny.finish_times(work_dir)
    assert {name for name in NAMES if after[name] != before[name]} == DESCENDANTS
    assert records['pseudo'].metrics['threshold'] == 0.2

    # Back to the first config: the first result is there again, nothing is computed.
    began = tiny.finish_times(finished)
    pipeline(data_root).run(work_dir)
    tiny.assert_same_results(finished, work_dir, NAMES)
    assert {n: tiny.records(work_dir)[n].finished for n in NAMES} == {
        n: tiny.records(finished)[n].finished for n in began
    }


def test_start_and_stop(work_dir, data_root) -> None:
    for name in DESCENDANTS | {'grad_cam_score'}:
        shutil.rmtree(work_dir / name)
    tool = pipeline(data_root)
    with pytest.raises(UserError, match="'grad_cam_score' is new; start there"):
        tool.run(work_dir, start='pseudo')
    tool.run(work_dir, start='grad_cam_score', stop='grad_cam_score')
    assert tool.state(tool.steps[NAMES.index('grad_cam_score')], work_dir) == 'done'
    records = tool.run(work_dir, start='pseudo', stop='pseudo_score')
    assert set(records) == set(NAMES) - DESCENDANTS | {'pseudo', 'pseudo_score'}
    assert not (work_dir / 'segmentor').exists()
    with pytest.raises(UserError, match="'cam' comes before 'pseudo'"):
        tool.run(work_dir, start='pseudo', stop='cam')
    with pytest.raises(UserError, match="no stage 'psuedo': did you mean 'pseudo'"):
        tool.run(work_dir, stop='psuedo')


def test_dry_run_shows_states_and_writes_nothing(finished, work_dir, data_root) -> None:
    shutil.rmtree(work_dir / 'prediction')
    before = {p: p.stat().st_mtime_ns for p in work_dir.rglob('*')}
    option = 'pipeline.pseudo.threshold=0.2'
    command = tiny.arguments(data_root, work_dir, option)
    shown = tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command, '--dry-run')
    rows = [line for line in shown.stdout.splitlines() if line.startswith('│')]
    states = {row.split('│')[1].strip(): row.split('│')[-2].strip() for row in rows}
    assert states['cam'] == 'done' and states['pseudo'] == 'changed'
    assert states['prediction'] == 'new' and states['segmentor'] == 'changed'
    assert {p: p.stat().st_mtime_ns for p in work_dir.rglob('*')} == before


def test_seed_changes_weights_and_is_part_of_every_fingerprint(
    finished, data_root, tmp_path
) -> None:
    pipeline(data_root, seed=1).run(tmp_path / 'one', stop='classifier')
    pipeline(data_root).run(tmp_path / 'zero', stop='classifier')
    first = tiny.records(finished)['classifier']
    zero, one = (tiny.records(tmp_path / n)['classifier'] for n in ('zero', 'one'))
    assert zero.fingerprint == first.fingerprint != one.fingerprint
    weights = 'classifier/weights.safetensors'
    same = (finished / weights).read_bytes()
    assert (tmp_path / 'zero' / weights).read_bytes() == same
    assert (tmp_path / 'one' / weights).read_bytes() != same


def test_every_stage_writes_below_its_own_folder_only(data_root, tmp_path) -> None:
    """And reports numbers that JSON knows."""
    work_dir = tmp_path / 'work'
    tool = pipeline(data_root)

    def files() -> dict[Path, int]:
        folders = (work_dir, data_root)
        found = [p for folder in folders for p in folder.rglob('*') if p.is_file()]
        return {p: p.stat().st_mtime_ns for p in found}

    for name in NAMES:
        before = files()
        records = tool.run(work_dir, start=name, stop=name)
        after = files()
        touched = {p for p in before | after if before.get(p) != after.get(p)}
        touched -= {work_dir / 'experiment.json', *(work_dir / '.data').iterdir()}
        assert touched and all(p.is_relative_to(work_dir / name) for p in touched)
        for said in (records[name].metrics, records[name].provenance):
            assert json.loads(json.dumps(said)) == said
    assert {p.name for p in work_dir.iterdir()} == {'experiment.json', '.data', *NAMES}
