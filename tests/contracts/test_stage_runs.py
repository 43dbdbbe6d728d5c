"""What a stage must keep to when it runs, on the finished work dir of an earlier version.

Every stage of tests/earlier_version/pipeline.py but the report, 14 kinds of them, runs once
more into a folder of its own, on what the earlier version left in the folders of its inputs.
"""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from wsss_plugins.config import load_config
from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
from wsss_plugins.engine import Stage, StageRecord
from wsss_plugins.errors import UserError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.provenance.run import run_with_card
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_text import card_from_json, card_to_json

EARLIER = Path(__file__).parents[1] / 'earlier_version'
with zipfile.ZipFile(EARLIER / 'work.zip') as file:
    NAMES = sorted(
        name.split('/')[0] for name in file.namelist() if name.endswith('/record.json')
    )
NAMES.remove('report')  # it reads the folders beside its own; see tests/report
TRAININGS = ('affinity', 'classifier', 'segmentor')
TIMED = ('.log', 'scalars.json', 'resume.pth')
"""Ends of names of files that hold times, or that a finished training writes again."""


class Ran(NamedTuple):
    """A stage that ran, its folder and its results."""

    stage: Stage
    config: dict[str, Any]
    out: Path
    inputs: dict[str, Path]
    metrics: dict[str, Any]
    card: SupervisionCard | None
    changed_inputs: list[str]


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Iterator[Path]:
    """The folder of the data and the work dir, which the stages run in."""
    folder, before = tmp_path_factory.mktemp('stages'), Path.cwd()
    spec = SyntheticSpec(size=(32, 40))
    write_devkit(folder / 'data', spec, train=6, val=4, workers=1)
    with zipfile.ZipFile(EARLIER / 'work.zip') as file:
        file.extractall(folder / 'work')
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope='module')
def steps(home) -> dict[str, Any]:
    found = Pipeline(load_config(EARLIER / 'pipeline.py')).steps
    return {step.stage.name: step for step in found}


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in TRAININGS else [])
        for name in NAMES
    ],
)
def ran(request, home, steps) -> Ran:
    """The stage, run once for all tests of it."""
    step = steps[request.param]
    out = Path('again') / request.param
    out.mkdir(parents=True)
    inputs = {name: Path('work') / name for name in step.stage.inputs}
    before = files(Path('work')) | files(Path('data'))
    metrics, card = run_with_card(step.stage, out, inputs, config=step.config)
    after = files(Path('work')) | files(Path('data'))
    changed = [n for n in before | after if before.get(n) != after.get(n)]
    return Ran(step.stage, step.config, out, inputs, metrics, card, changed)


def files(folder: Path) -> dict[str, bytes]:
    """Content by path, but for the dated logs and configs that mmengine writes."""
    paths = sorted(path for path in folder.rglob('*') if path.is_file())
    dated = re.compile(r'/20\d{6}_\d{6}')
    return {str(p): p.read_bytes() for p in paths if not dated.search(f'/{p}')}


def test_every_stage_is_tested(steps) -> None:
    assert sorted(steps) == sorted([*NAMES, 'report'])
    assert len({type(step.stage) for step in steps.values()}) == 15


def test_writes_in_its_own_folder_alone(ran: Ran) -> None:
    assert ran.changed_inputs == []
    assert any(ran.out.rglob('*.*')), 'it leaves something'
    names = [path.name for path in ran.out.rglob('*')]
    assert not [n for n in names if '.part' in n or n.startswith('.')], 'renamed'


def test_makes_the_files_that_it_made_before(ran: Ran) -> None:
    """Those that other stages and people read keep their names from version to version."""
    earlier = Path('work') / ran.stage.name
    made = {p.relative_to(earlier) for p in earlier.rglob('*') if p.is_file()}
    # The pipeline writes the record; model.json took the place of model.py.
    made -= {Path('record.json'), Path('model.py')}
    again = {p.relative_to(ran.out) for p in ran.out.rglob('*') if p.is_file()}
    assert made - again == set()


def test_metrics_are_plain_numbers_as_before(ran: Ran) -> None:
    assert json.loads(json.dumps(ran.metrics)) == ran.metrics
    for value in ran.metrics.values():
        assert type(value) in (bool, int, float) and math.isfinite(value)
    record = StageRecord.load(Path('work') / ran.stage.name)
    assert record is not None
    assert record.metrics.keys() <= ran.metrics.keys()
    if ran.stage.name not in TRAININGS:
        shared = {key: ran.metrics[key] for key in record.metrics}
        # An older torch rounds otherwise, which moves the best threshold of a sweep.
        older = tuple(map(int, torch.__version__.split('.')[:2])) < (2, 8)
        assert shared == pytest.approx(record.metrics, abs=0.1 if older else 0.01)


def test_its_card_names_it_and_survives_json(ran: Ran) -> None:
    assert ran.card is not None
    content = json.loads(json.dumps(card_to_json(ran.card)))
    assert card_from_json(content) == ran.card
    assert ran.card.seeds == (0,)


def test_run_again_it_changes_nothing(ran: Ran) -> None:
    """A run that was killed after its last file is finished by the next one."""
    before = files(ran.out)
    metrics, card = run_with_card(ran.stage, ran.out, ran.inputs, config=ran.config)
    assert metrics == ran.metrics and card == ran.card
    after = files(ran.out)
    kept = {name: said for name, said in before.items() if not name.endswith(TIMED)}
    assert {name: after[name] for name in kept} == kept


def test_an_empty_folder_of_an_input_is_one_line(ran: Ran, tmp_path: Path) -> None:
    if not ran.inputs:
        return  # it reads data sets alone
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'out').mkdir()
    empty = {name: tmp_path / 'empty' for name in ran.inputs}
    with pytest.raises(UserError) as error:
        run_with_card(ran.stage, tmp_path / 'out', empty, config=ran.config)
    assert '\n' not in str(error.value)
