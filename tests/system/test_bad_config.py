"""Mistakes in a config: one line with its file and line, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny


def write_config(folder: Path, body: str) -> Path:
    """A config of our own whose first line is ``# a config``."""
    path = folder / 'mine.py'
    path.write_text(f'# a config\n{body}')
    return path


STAGE = "pipeline = [\n    dict(type='{type}', name='x', {rest})\n]\n"
IMAGES = "dict(type='VOC12', data_root='{root}', split='train')"


def test_config_that_does_not_exist(refused) -> None:
    message = refused('run_pipeline.py', 'configs/acr/sinthetic_pipeline.py')
    assert message.startswith(
        'config configs/acr/sinthetic_pipeline.py does not exist: did you'
    )
    assert "did you mean 'configs/acr/synthetic_pipeline.py'?" in message


def test_config_with_a_syntax_error(refused, tmp_path) -> None:
    path = write_config(tmp_path, 'pipeline = [\n')
    message = refused('run_pipeline.py', path)
    assert message.startswith(f'{path}:2: no valid Python: ')
    assert 'was never closed' in message


MISTAKES = {
    'key': (
        STAGE.format(type='SeedStage', rest="model='m', haed=dict(type='CAM')"),
        "SeedStage takes no argument 'haed': did you mean 'head'?",
    ),
    'type': (
        STAGE.format(type='SedStage', rest="model='m'"),
        "unknown stage 'SedStage': did you mean 'SeedStage'?",
    ),
    'type of a part': (
        STAGE.format(type='SeedStage', rest="head=dict(type='CAMM'), model='m'"),
        "unknown seed head 'CAMM': did you mean 'CAM'?",
    ),
    'key of a part': (
        STAGE.format(
            type='SeedStage',
            rest="head=dict(type='ACRGradientMap', afinity=True), model='m'",
        ),
        "ACRGradientMap takes no argument 'afinity': did you mean 'affinity'?",
    ),
    'kind by name': (
        STAGE.format(
            type='SeedStage',
            rest="head=dict(type='DenseCRF'), model='m', dataset={images}",
        ),
        "unknown seed head 'DenseCRF': Allowed: ACRGradientMap, ",
    ),
    'kind by class': (
        'from wsss_plugins.refiners import DenseCRF; '
        + STAGE.format(
            type='SeedStage',
            rest="head=dict(type=DenseCRF), model='m', dataset={images}",
        ),
        'DenseCRF is no seed head: a subclass of SeedHead is needed; Allowed: ACRGrad',
    ),
    'import': (
        'from wsss_plugins.stages import SedStage; '
        + STAGE.format(type='SeedStage', rest='').replace("'SeedStage'", 'SedStage'),
        "unknown stage 'wsss_plugins.stages.SedStage': did you mean 'SeedStage'?",
    ),
    'stage': (
        STAGE.format(type='EvaluateSeedStage', rest="seeds='camm', dataset={images}"),
        "stage 'x' reads 'camm', which is no earlier stage",
    ),
    'argument left out': (
        STAGE.format(type='SeedStage', rest="model='m'"),
        "SeedStage needs also 'head', 'dataset'",
    ),
    'no list': ('pipeline = dict(a=1)\n', "has no list 'pipeline' of stages"),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistake_in_a_config(refused, data_root, tmp_path, mistake) -> None:
    body, expected = MISTAKES[mistake]
    images = IMAGES.format(root=data_root)
    path = write_config(tmp_path, body.replace('{images}', images))
    message = refused('run_pipeline.py', path, '--work-dir', tmp_path / 'work')
    assert expected in message
    place = f'{path} ' if mistake == 'no list' else f'{path}:3: '
    assert message.startswith(place), message
    assert not (tmp_path / 'work').exists()


def test_mistake_in_a_training_config(refused, data_root, tmp_path) -> None:
    message = refused(
        'train.py', *tiny.train(data_root, tmp_path, 'model.drop_patch=0.5')
    )
    assert (
        "ACRClassifier takes no argument 'drop_patch': did you mean 'drop_patches'?"
        in message
    )


def test_option_with_an_unknown_path(refused, pipeline) -> None:
    message = pipeline('pipelin.0.name=x')
    assert "--cfg-options pipelin.0.name: there is no 'pipelin'" in message
    assert "did you mean 'pipeline'?" in message
    assert "there is no '99'" in pipeline('pipeline.99.name=x')
    assert "--cfg-options takes KEY=VALUE, not 'seed'" in pipeline('seed')


def test_tools_that_do_not_fit_their_config(refused, data_root, tmp_path) -> None:
    message = refused('train.py', tiny.CONFIG, '--work-dir', tmp_path / 'a')
    assert "there is no 'model' to train: use wsss run" in message
    message = refused('run_pipeline.py', tiny.CLASSIFIER, '--work-dir', tmp_path / 'b')
    assert 'to train one model use wsss train' in message


def test_a_network_that_cannot_be_built(refused, data_root, tmp_path) -> None:
    """Another library's assertion is one line, and nothing is written but the lock."""
    work = tmp_path / 'work'
    message = refused(
        'train.py', 'configs/acr/synthetic.py', '--data-root', data_root,
        '--work-dir', work, '--cfg-options', 'model.backbone.num_heads=5',
    )  # fmt: skip
    assert "stage 'training', model: TimmViT cannot be built, AssertionError" in message
    assert {path.name for path in work.rglob('*')} <= {'.lock'}
