"""Configs with anything wrong in them, through ``run_pipeline.py`` and ``train.py``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from bench import THRESHOLD, Bench, wrong_results
from doors import Door
from safetensors.torch import load_file
from spoiling import (
    BYTES,
    FILES,
    WRONG,
    cases,
    dotted,
    leaves,
    replaced,
    rng_of,
    rounds,
    without,
)

from wsss_plugins.structures import load_json

Content = dict[str, Any]


def chosen(paths: list[tuple[Any, ...]], count: int) -> list[tuple[str, str, int]]:
    """Some wrong values for each place of a config: the place, the value, the round."""
    names, found = list(WRONG), []
    for path in paths:
        for word, number in rounds(range(count)):
            rng = rng_of('value', path, word, number)
            found.append((dotted(path), names[rng.integers(len(names))], number))
    return list(dict.fromkeys(found))


def run_and_judge(bench: Bench, door: Door, *options: str) -> bool:
    """Runs the experiment; whether it was refused. What it has written is right."""
    words = bench.command(*options)[1:]
    ended = door('run_pipeline', bench.file, *words, kept=bench.place)
    assert wrong_results(bench) == []
    return ended.refused


def threshold_used(bench: Bench) -> float:
    return load_json(bench.work / 'pseudo/record.json')['metrics']['threshold']


# The config of a pipeline --------------------------------------------------------------

PIPELINE = Bench(Path('/nowhere')).config()
PLACES = {dotted(path): path for path in leaves(PIPELINE)}
QUICK = ('pipeline.pseudo.workers-text-0',)


def spoilt(bench: Bench, path: tuple[Any, ...], value: Any) -> Content:
    return replaced(bench.config(), path, value)


@pytest.mark.parametrize(
    ('place', 'value', 'number'), cases(chosen(list(PLACES.values()), 2))
)
def test_a_wrong_value(bench: Bench, door: Door, place, value, number) -> None:
    content = spoilt(bench, PLACES[place], WRONG[value])
    config = bench.write(content)
    ended = door('run_pipeline', config, '--work-dir', bench.work, kept=bench.place)
    assert wrong_results(bench) == []
    if place.endswith('.threshold') and not ended.refused:
        assert threshold_used(bench) == WRONG[value]


@pytest.mark.parametrize('place', cases([(place,) for place in PLACES]))
def test_a_missing_key(bench: Bench, door: Door, place: str) -> None:
    config = bench.write(without(bench.config(), PLACES[place]))
    ended = door('run_pipeline', config, '--work-dir', bench.work, kept=bench.place)
    assert wrong_results(bench) == []
    if place.endswith(('.type', '.dataset', '.seeds', '.labels', '.data_root')):
        assert ended.refused


@pytest.mark.parametrize(
    'place', cases([(p,) for p in PLACES if not p.endswith('.0') and '.' in p])
)
def test_a_misspelt_key(bench: Bench, door: Door, place: str) -> None:
    """A letter is lost; the line names what was meant, where it can be known."""
    *above, key = PLACES[place]
    node: Any = bench.config()
    for step in above:
        node = node[step]
    whole = without(bench.config(), PLACES[place])
    wrong = {**{k: v for k, v in node.items() if k != key}, key[:-1]: node[key]}
    config = bench.write(replaced(whole, tuple(above), wrong))
    ended = door('run_pipeline', config, '--work-dir', bench.work, kept=bench.place)
    assert wrong_results(bench) == []
    alone = 'pipeline.score', 'pipeline.sweep'  # names of stages that no other reads
    assert ended.refused or place in alone


# Dotted overrides ----------------------------------------------------------------------

OVERRIDES = {
    'no sign': 'seed', 'no key': '=5', 'no value': 'pipeline=', 'dots': '.=1',
    'two dots': 'pipeline..x=1', 'a dot behind': 'pipeline.=1',
    'into text': 'pipeline.maps.path.x=1', 'into a number': 'pipeline.pseudo.workers.x=1',
    'a number below zero': 'pipeline.-1.name=x', 'beyond': 'pipeline.99.name=x',
    'a stage as a number': 'pipeline.0=5', 'no stages': 'pipeline=[]', 'text': 'pipeline=x',
    'stages as numbers': 'pipeline=[1,2]', 'a stage of nothing': 'pipeline.maps={}',
    'data sets as text': 'datasets=x', 'a data set as a number': 'datasets.images=5',
    'a data set of another name': 'pipeline.pseudo.dataset=imags',
    'refiners as text': 'pipeline.pseudo.refiners=x',
    'a refiner as a number': 'pipeline.pseudo.refiners.0=3',
    'a number as text': "pipeline.pseudo.refiners.0.threshold='0.3'",
    'a new refiner': 'pipeline.pseudo.refiners.1={}', 'seed as text': 'seed=x',
    'seed below zero': 'seed=-1', 'a huge seed': f'seed={10**30}', 'half a seed': 'seed=0.5',
    'a list as seed': 'seed=[1]', 'a list as experiment': 'experiment=[1]',
    'a class of Python': '__class__=1', 'the file name': 'filename=1', 'hidden': '_x=1',
    'a variable': 'max_epochs=3', 'indices beyond': 'datasets.images.indices=[0,99]',
    'indices below zero': 'datasets.images.indices=-1', 'no sample': 'datasets.masks.sample=0',
    'half a sample': 'datasets.masks.sample=1.5', 'left out as text': 'datasets.images.leave_out=ab',
    'a name that leads out': 'pipeline.pseudo.name=../x', 'a name of another': 'pipeline.pseudo.name=maps',
    'no batch': 'pipeline.pseudo.batch_size=0', 'no workers': 'pipeline.pseudo.workers=0',
    'a criterion of no name': 'pipeline.pseudo.threshold=otso',
    'a factor as text': 'pipeline.pseudo.threshold_factor=x',
    'thresholds as text': 'pipeline.sweep.thresholds=abc',
    'thresholds that fall': 'pipeline.sweep.thresholds=[0.5,0.1]',
    'thresholds in lists': 'pipeline.sweep.thresholds=[[0.1],[0.2]]',
    'no thresholds': 'pipeline.sweep.thresholds=[]',
    'infinite thresholds': 'pipeline.sweep.thresholds=[0,1e999]',
    'a convention of no name': 'pipeline.sweep.convention=acrr',
    'a share beyond': 'pipeline.sweep.foreground_share=7',
    'a mean over nothing': "pipeline.score.mean_over=['fish']",
    'a mean over text': 'pipeline.score.mean_over=cat',
    'itself': 'pipeline.pseudo.seeds=pseudo', 'a later stage': 'pipeline.pseudo.seeds=score',
    'labels that hold seeds': 'pipeline.maps.holds=labels',
    'many digits': 'seed=' + '9' * 6000, 'deep lists': 'seed=' + '[' * 3000 + ']' * 3000,
    'code': "seed=__import__('os').system('touch it_ran')", 'a long key': 'x' * 4000 + '=1',
    'control characters': 'pipeline.maps.path=a\x1b[2J\nb', 'no text': 'pipeline.maps.path=\udcff',
}  # fmt: skip
HARMLESS = {
    'a soft result': 'pipeline.pseudo.soft=True', 'two at once': 'pipeline.pseudo.batch_size=2',
    'another seed': 'seed=7', 'a tuple': 'pipeline.sweep.thresholds=(0.2,0.5)',
    'whole numbers': 'pipeline.sweep.thresholds=[0,1]',
    'another threshold': 'pipeline.pseudo.refiners.0.threshold=0.7',
    'a whole threshold': 'pipeline.pseudo.refiners.0.threshold=1',
    'a new key': 'more=1',
}  # fmt: skip


@pytest.mark.parametrize(
    'kind',
    cases([(kind,) for kind in OVERRIDES], quick=('seed_as_text', 'a_number_as_text')),
)
def test_a_wrong_option(bench: Bench, door: Door, kind: str) -> None:
    refused = run_and_judge(bench, door, OVERRIDES[kind])
    known = ('a class of Python',)
    known += (
        'the file name',
        'hidden',
        'a list as experiment',
        'a long key',
        'a variable',
    )
    assert refused or kind in known


@pytest.mark.parametrize('kind', cases([(kind,) for kind in HARMLESS]))
def test_a_right_option(bench: Bench, door: Door, kind: str) -> None:
    assert not run_and_judge(bench, door, HARMLESS[kind])
    expected = {'another threshold': 0.7, 'a whole threshold': 1}.get(kind, THRESHOLD)
    assert threshold_used(bench) == expected


# The file itself -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('spoil', 'number'),
    cases(
        [
            *rounds(BYTES),
            *((kind, 0) for kind in FILES if kind.__name__ != 'other_file'),
        ]
    ),
)
def test_a_spoilt_config_file(bench: Bench, door: Door, spoil, number) -> None:
    """A config is a program: whatever is left of it is run, and its mistakes are a line."""
    config = bench.write()
    spoil(config, rng_of('config', spoil.__name__, number))
    words = ('--work-dir', bench.work, '--data-root', bench.data)
    door('run_pipeline', config, *words, kept=bench.place)
    assert wrong_results(bench) == []


# The config of a training --------------------------------------------------------------


TRAINING = {
    dotted(path): path
    for path in leaves(Bench(Path('/nowhere')).training())
    if path[0] != 'val_dataloader' or len(path) < 3
}


@pytest.mark.parametrize(
    ('place', 'value', 'number'), cases(chosen(list(TRAINING.values()), 1))
)
def test_a_wrong_training(bench: Bench, door: Door, place, value, number) -> None:
    content = replaced(bench.training(), TRAINING[place], WRONG[value])
    config = bench.write(content)
    ended = door('train', config, '--work-dir', bench.work, kept=bench.place)
    if ended.refused:
        return
    weights = load_file(bench.work / 'weights.safetensors')
    assert all(w.isfinite().all() for w in weights.values() if w.is_floating_point())
    for metric in load_json(bench.work / 'metrics.json')['metrics'].values():
        assert math.isfinite(metric) and 0 <= metric <= 100
