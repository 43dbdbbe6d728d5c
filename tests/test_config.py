"""Reading configs: overrides, checks, and where a word stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_script

from wsss_plugins.cli import default_work_dir, parse_options, with_place
from wsss_plugins.config import (
    check_config,
    find_type,
    load_config,
    locate,
    plain,
    set_everywhere,
    typed_nodes,
)
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, REFINERS, SEED_HEADS, STAGES, plugin_names
from wsss_plugins.seeds import CAM


@pytest.fixture
def config(tmp_path) -> Path:
    """A config that reads another one."""
    (tmp_path / 'base').mkdir()
    (tmp_path / 'base/data.py').write_text("data_root = 'data/voc'\nbatch = 4\n")
    path = tmp_path / 'mine.py'
    path.write_text(
        'from mmengine.config import read_base\n'
        'from wsss_plugins.seeds import CAM\n'
        'with read_base():\n'
        '    from .base.data import *\n'
        'head = dict(type=CAM)\n'
        "data = [dict(data_root=data_root, split='train'), dict(split='val')]\n"
    )
    return path


# load_config --------------------------------------------------------------------------


def test_reads_bases_and_remembers_its_file(config) -> None:
    cfg = load_config(config)
    assert cfg.filename == str(config)
    assert cfg.batch == 4
    assert cfg.data[0].data_root == 'data/voc'
    assert cfg.head.type is CAM


def test_a_helper_of_a_config_is_no_part_of_it(config) -> None:
    """It edits what it names, and reaches the configs that read the file."""
    helped = config.with_name('helped.py')
    helped.write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from .mine import *\n'
        '    from .base.data import batch as _batch\n'
        '_, _val = data\n'
        '_val.batch = _batch\n'
    )
    further = config.with_name('further.py')
    further.write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from .helped import *\n'
        'twice = 2 * _batch\n'
    )
    cfg = load_config(further)
    assert cfg.data[1] == dict(split='val', batch=4) and cfg.twice == 8
    assert set(cfg.to_dict()) == {'data_root', 'batch', 'head', 'data', 'twice'}


def test_overrides_reach_into_dicts_and_lists(config) -> None:
    options = {'data.1.split': 'test', 'head.new': 3, 'seed': 7, 'data.0': dict(a=1)}
    cfg = load_config(config, options)
    assert cfg.data[1].split == 'test'
    assert cfg.head.new == 3 and cfg.seed == 7
    assert cfg.data[0] == dict(a=1)


@pytest.mark.parametrize(
    'key, message',
    [
        (
            'haed.type',
            "--cfg-options haed.type: there is no 'haed'; did you mean 'head'? "
            'Allowed: head, CAM, batch, data, data_root, read_base',
        ),
        (
            'data.2.split',
            "--cfg-options data.2.split: there is no '2'; Allowed: 0, 1",
        ),
        ('data.x', "--cfg-options data.x: there is no 'x'; Allowed: 0, 1"),
        ('data.5', "--cfg-options data.5: there is no '5'; Allowed: 0, 1"),
        (
            'batch.size.x',
            "--cfg-options batch.size.x: there is no 'size'; Allowed: nothing",
        ),
        ('batch.size', "--cfg-options batch.size: 'batch' has no parts to set"),
    ],
)
def test_override_of_what_is_not_there(config, key, message) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config, {key: 1})
    assert str(error.value) == message


def test_missing_file_names_its_siblings(config) -> None:
    wrong = config.with_name('mime.py')
    with pytest.raises(ConfigError) as error:
        load_config(wrong)
    assert str(error.value) == (
        f"config {wrong} does not exist: did you mean '{config}'? Allowed: {config}"
    )


@pytest.mark.parametrize('file', ['mine.py', 'base/data.py'])
def test_syntax_error_names_file_and_line(config, file) -> None:
    wrong = config.parent / file
    wrong.write_text(wrong.read_text() + 'x = = 3\n')
    line = wrong.read_text().count('\n')
    with pytest.raises(ConfigError) as error:
        load_config(config)
    assert str(error.value) == f'{wrong}:{line}: no valid Python: invalid syntax'


def test_a_config_that_fails_says_why(config) -> None:
    base = config.parent / 'base/data.py'
    base.write_text('a = 1\nb = a / 0\n')
    with pytest.raises(ConfigError) as error:
        load_config(config)
    assert str(error.value) == (
        f'{base}:2: config {config} cannot be read: division by zero'
    )


# check_config -------------------------------------------------------------------------


def test_right_configs_pass() -> None:
    check_config(
        [
            dict(type='CAM'),
            dict(type=CAM),
            dict(type='RandomFlip', prob=0.5),
            dict(type='IoUMetric', iou_metrics=['mIoU']),
        ]
    )


@pytest.mark.parametrize(
    'cfg, token, message',
    [
        (
            dict(type='ACRGradientMap', start_blok=-2),
            'start_blok',
            "ACRGradientMap takes no argument 'start_blok': did you mean 'start_block'? "
            'Allowed: start_block, affinity, affinity_blocks, clamp, classes_per_pass, '
            'variant',
        ),
        (
            dict(type='AffinityRefined', head=dict(type='CAM', x=1)),
            'x',
            "CAM takes no argument 'x': Allowed: floor",
        ),
    ],
)
def test_misspelt_argument(cfg, token, message) -> None:
    with pytest.raises(ConfigError) as error:
        check_config([dict(a=(cfg,))])
    assert str(error.value) == message
    assert error.value.token == token


def test_unknown_type() -> None:
    with pytest.raises(ConfigError) as error:
        find_type('wsss_plugins.GradCan')
    assert error.value.token == 'GradCan'
    assert str(error.value).startswith("unknown type 'wsss_plugins.GradCan': did you")


def test_arguments_of_builders_and_parents_are_known() -> None:
    """``convert_to_iter_based`` is taken by mmengine, ``data_root`` by a base class."""
    check_config(dict(type='PolyLR', power=0.9, end=8, convert_to_iter_based=True))
    check_config(dict(type='VOC12', data_root='x', split='train', test_mode=True))
    with pytest.raises(ConfigError, match="VOC12 takes no argument 'data_rot'"):
        check_config(dict(type='VOC12', data_rot='x'))


def names_after(message: str) -> set[str]:
    return set(message.split('Allowed: ')[1].split(' and ')[0].split(', '))


@pytest.mark.parametrize(
    'cfg, registry, start',
    [
        (
            dict(type='SeedStage', head=dict(type='CMA')),
            SEED_HEADS,
            "unknown seed head 'CMA': did you mean 'CAM'?",
        ),
        (dict(refiners=[dict(type='PAMRR')]), REFINERS, "unknown refiner 'PAMRR': did"),
        (
            dict(model=dict(type='WSSSClassifier', head=dict(type='TokenHaed'))),
            MODELS,
            "unknown model 'TokenHaed': did you mean 'TokenHead'?",
        ),
        (dict(type='SedStage'), STAGES, "unknown stage 'SedStage': did you mean"),
    ],
)
def test_an_unknown_type_is_answered_with_names_of_its_registry(
    cfg, registry, start
) -> None:
    with pytest.raises(ConfigError) as error:
        check_config([cfg], STAGES)
    assert str(error.value).startswith(start)
    assert names_after(str(error.value)) <= set(plugin_names(registry))


@pytest.mark.parametrize(
    'key, value, kinds',
    [('custom_hooks', 'x', 'a list'), ('param_scheduler', 3, 'a dict or a list')],
)
def test_a_key_of_training_has_its_shape(config, key, value, kinds) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config, {key: value})
    assert str(error.value) == f'{key} must be {kinds}, not {value!r}'
    assert load_config(config, {key: None})[key] is None


# locate, plain, set_everywhere --------------------------------------------------------


def test_locate(config) -> None:
    assert locate(config, 'head') == f'{config}:5'
    assert locate(config, 'split') == f'{config}:6'
    assert locate(config, 'val') == f'{config}:6'
    assert locate(config, 'data/voc') == f'{config.parent / "base/data.py"}:1'
    assert locate(config, 'nothing') is None


def test_with_place_names_file_and_line_once(config) -> None:
    file = str(config)
    assert (
        str(with_place(ConfigError('wrong', token='head'), file)) == f'{file}:5: wrong'
    )
    assert str(with_place(ConfigError('wrong', token='none'), file)) == f'{file}: wrong'
    assert str(with_place(ConfigError(f'{file} is empty'), file)) == f'{file} is empty'


def test_with_place_names_the_option_before_the_file(config) -> None:
    file = str(config)
    options = {'head.type': 'CMA', 'data.0': dict(split=dict(type='a.VOC'))}
    for word, option in (
        ('CMA', 'head.type'),
        ('type', 'head.type'),
        ('VOC', 'data.0'),
    ):
        error = with_place(ConfigError('wrong', token=word), file, options)
        assert str(error) == f'--cfg-options {option}: wrong'
    error = with_place(ConfigError('wrong', token='head'), file, options)
    assert str(error) == f'{file}:5: wrong'
    error = with_place(ConfigError('--cfg-options x: no', token='CMA'), file, options)
    assert str(error) == '--cfg-options x: no'


def test_plain_names_classes_and_keeps_values() -> None:
    node = {'type': CAM, 'sides': (1, 2.5), 'path': Path('a/b'), 3: None, 'f': locate}
    assert plain(node) == {
        'type': 'wsss_plugins.seeds.cam.CAM',
        'sides': [1, 2.5],
        'path': 'a/b',
        '3': None,
        'f': 'wsss_plugins.config.locate',
    }


def test_set_everywhere_in_a_config_and_in_plain_values(config) -> None:
    cfg = load_config(config)
    set_everywhere(cfg, 'data_root', 'new')
    assert cfg.data_root == 'new'
    assert cfg.data[0].data_root == 'new'
    assert 'data_root' not in cfg.data[1]
    node = [dict(data_root=1, b=(dict(data_root=2),)), 'data_root']
    set_everywhere(node, 'data_root', 'x')
    assert node == [dict(data_root='x', b=(dict(data_root='x'),)), 'data_root']


def test_typed_nodes_are_found_at_every_depth() -> None:
    inner = dict(type='A')
    node = dict(type='B', parts=[dict(x=(inner,))], other=dict(y=1))
    assert list(typed_nodes(node)) == [node, inner]


# The command line ---------------------------------------------------------------------


def test_parse_options() -> None:
    pairs = ['a.b=1', 'c=[1, (2, "x")]', 'd=text', 'e=', 'f=a=b', 'g=None', 'h=1e-3']
    assert parse_options(pairs) == {
        'a.b': 1, 'c': [1, (2, 'x')], 'd': 'text', 'e': '', 'f': 'a=b', 'g': None,
        'h': 0.001,
    }  # fmt: skip
    with pytest.raises(ConfigError) as error:
        parse_options(['epochs:3'])
    assert str(error.value) == "--cfg-options takes KEY=VALUE, not 'epochs:3'"


def test_default_work_dir() -> None:
    path = default_work_dir('configs/acr/synthetic_pipeline.py')
    assert path == Path('work_dirs/acr/synthetic_pipeline')


@pytest.mark.slow
def test_a_name_means_mmsegs_class_before_mmcvs() -> None:
    """Whether or not anything of mmseg was imported before."""
    code = (
        'from wsss_plugins.registry import TRANSFORMS, find_type\n'
        "print(find_type('LoadAnnotations', TRANSFORMS).__module__)"
    )
    command = [sys.executable, '-W', 'ignore', '-c', code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == 'mmseg.datasets.transforms.loading'


def test_a_config_may_ask_for_a_room_before_anything_is_imported(
    root, tmp_path
) -> None:
    script = tmp_path / 'script.py'
    script.write_text(
        'from wsss_plugins.config import load_config, set_everywhere\n'
        "cfg = load_config('configs/acr/synthetic.py')\n"
        "set_everywhere(cfg, 'data_root', 'elsewhere')\n"
        'print(cfg.train_dataloader.dataset.data_root)'
    )
    done = run_script([script], root)
    assert done.stdout == 'elsewhere\n', done.stderr
