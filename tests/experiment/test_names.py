"""Names in a pipeline: legs, data sets and trainings, and how stages are addressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from wsss_plugins.config import load_config, spread_legs
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.names import named_stages

TRAINING = "model = dict(type='M', depth=3)\nepochs = 5\n"
PIPELINE = """
datasets = dict(images=dict(type='VOC12', split='train'), masks=dict(type='VOC12'))
trainings = dict(net='net.py', short=dict(config='net.py', options={'epochs': 1}))
maps = dict(
    net=dict(type='TrainStage', config='net'),
    cam=dict(type='SeedStage', model='net', dataset='images'),
)
report = dict(
    type='ReportStage', name='report', dataset='masks', prediction_dataset='images'
)
pipeline = [maps, report]
"""


@pytest.fixture
def config(tmp_path) -> Path:
    (tmp_path / 'net.py').write_text(TRAINING)
    path = tmp_path / 'mine.py'
    path.write_text(PIPELINE)
    return path


def stages(config: Path, options: dict[str, Any] | None = None) -> dict[str, Any]:
    return {s['name']: s for s in named_stages(load_config(config, options))}


# Legs ---------------------------------------------------------------------------------


def test_a_pipeline_is_stages_and_legs_or_one_leg() -> None:
    one, two = dict(type='A'), dict(type='B', x=1)
    named = [dict(type='A', name='a'), dict(type='B', x=1, name='b')]
    assert spread_legs([dict(a=one, b=two)]) == named
    assert spread_legs(dict(a=one, b=two)) == named
    assert spread_legs([named[0], dict(b=two)]) == named
    assert one == dict(type='A'), 'what is given stays as it was'


def test_what_is_no_leg_is_left_as_it_is() -> None:
    wrong = [dict(name='a', type='A', head=dict(type='B')), {}, 3, dict(a=1)]
    assert spread_legs(wrong) == wrong


def test_a_stage_of_a_leg_has_one_name() -> None:
    with pytest.raises(ConfigError) as error:
        spread_legs([dict(a=dict(type='A', name='b'))])
    assert str(error.value) == (
        "the stage 'a' of a leg may not be named otherwise, 'b': leave its name out"
    )


def test_a_pipeline_in_python_may_have_legs_too() -> None:
    cfg = Config(dict(pipeline=dict(a=dict(type='A'))))
    assert named_stages(cfg) == [dict(type='A', name='a')]
    for wrong in (None, [], {}, dict(a=1), 'a'):
        with pytest.raises(ConfigError, match="has no list 'pipeline' of stages"):
            named_stages(Config(dict(pipeline=wrong)))


# Data sets and trainings --------------------------------------------------------------


def test_names_are_what_they_name(config) -> None:
    found = stages(config)
    assert list(found) == ['net', 'cam', 'report']
    assert found['net']['config']['model'] == dict(type='M', depth=3)
    assert found['cam']['dataset'] == dict(type='VOC12', split='train')
    assert found['report']['dataset'] == dict(type='VOC12')
    assert found['report']['prediction_dataset'] == dict(type='VOC12', split='train')


def test_one_override_reaches_every_stage_that_reads_a_data_set(config) -> None:
    found = stages(config, {'datasets.images.split': 'val'})
    assert found['cam']['dataset']['split'] == 'val'
    assert found['report']['prediction_dataset']['split'] == 'val'
    assert 'split' not in found['report']['dataset']


def test_nothing_is_shared_between_stages(config) -> None:
    options = {'pipeline.report.dataset': 'images'}
    found = stages(config, options)
    found['cam']['dataset']['split'] = 'x'
    assert found['report']['dataset']['split'] == 'train'
    assert stages(config, options)['cam']['dataset']['split'] == 'train'


def test_options_of_the_stage_come_after_those_of_the_training(config) -> None:
    def epochs(**options: Any) -> int:
        given = {f'pipeline.net.{key}': value for key, value in options.items()}
        return stages(config, given)['net']['config']['epochs']

    assert epochs() == 5
    assert epochs(config='short') == 1
    assert epochs(config='short', options={'epochs': 2}) == 2
    assert epochs(config='net.py', options={'epochs': 3}) == 3
    assert 'options' not in stages(config, {'pipeline.net.config': 'short'})['net']


def test_what_is_written_out_needs_no_names(config) -> None:
    plain = {
        'trainings': {},
        'datasets': {},
        'pipeline.net.config': 'net.py',
        'pipeline.cam.dataset': dict(type='COCO14'),
        'pipeline.report': dict(type='R', name='report', dataset=None),
    }
    found = stages(config, plain)
    assert found['net']['config']['epochs'] == 5
    assert found['cam']['dataset'] == dict(type='COCO14')
    written = stages(config, {'trainings.net': dict(model=1), **plain, 'trainings': {}})
    assert written['net']['config']['epochs'] == 5


@pytest.mark.parametrize(
    'options, message',
    [
        (
            {'pipeline.cam.dataset': 'imges'},
            "stage 'cam': dataset='imges' is none of the config's datasets: did you "
            "mean 'images'? Allowed: images, masks",
        ),
        (
            {'pipeline.net.config': 'shrt'},
            "stage 'net': config='shrt' is none of the config's trainings, and no file: "
            "did you mean 'short'? Allowed: short, net",
        ),
        (
            {'pipeline.net.options': {'modle.depth': 1}},
            "options of stage 'net', modle.depth: there is no 'modle'; did you mean "
            "'model'? Allowed: model, epochs",
        ),
        (
            {'pipeline.net.options': 'epochs=1'},
            "options of stage 'net' must be a dict from dotted keys to values, not "
            "'epochs=1'",
        ),
        ({'trainings.net': 3}, "training 'net' must be the file of a training config"),
        ({'datasets': 3}, 'datasets must be a dict from names to configs, not 3'),
        (
            {'trainings.net': dict(model=1), 'pipeline.net.options': {'model': 2}},
            "stage 'net': options change a training config that is a file",
        ),
    ],
)
def test_a_wrong_name_is_answered_with_near_ones(config, options, message) -> None:
    with pytest.raises(ConfigError) as error:
        stages(config, options)
    assert str(error.value).startswith(message)
    assert error.value.token


# On the command line ------------------------------------------------------------------


def test_a_stage_is_addressed_by_name_and_by_number(config) -> None:
    for key in ('pipeline.cam.scales', 'pipeline.1.scales'):
        assert stages(config, {key: (1.0, 1.5)})['cam']['scales'] == (1.0, 1.5)
    with pytest.raises(ConfigError) as error:
        load_config(config, {'pipeline.cma.scales': 1})
    assert str(error.value) == (
        "--cfg-options pipeline.cma.scales: there is no 'cma'; did you mean 'cam'? "
        'Allowed: cam, net, report'
    )


def test_a_loaded_pipeline_dumps_and_reloads(config, tmp_path) -> None:
    cfg = load_config(config)
    cfg.dump(str(tmp_path / 'dumped.py'))
    again = load_config(tmp_path / 'dumped.py')
    assert [s['name'] for s in again.pipeline] == ['net', 'cam', 'report']
    assert named_stages(again) == named_stages(cfg)
