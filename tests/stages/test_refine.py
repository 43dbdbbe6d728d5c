"""The refine stage: what it writes, batches, thresholds, models and processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from PIL import Image
from refining import CHAIN, IDS, SIZES, Picky, files, make, pair, run, write_world
from safetensors.torch import save_file
from torch import Tensor, nn

from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.errors import ConfigError, DataError, UserError
from wsss_plugins.refiners import ConstantBackground, DenseCRF, Refiner, RefinerChain
from wsss_plugins.refiners.threshold import label_free_threshold, score_histogram
from wsss_plugins.stages import FolderStage, RefineStage
from wsss_plugins.stages.refine_jobs import RefineTask, refine_here
from wsss_plugins.structures import Seed, load_label_map, voc_palette
from wsss_plugins.structures.layout import seed_path


@pytest.fixture
def world(tmp_path) -> Path:
    """Photos and seeds."""
    return write_world(tmp_path)


def test_writes_labels_in_the_colours_of_voc_and_soft_seeds(world) -> None:
    metrics = run(world, soft=True, threshold=0.6)
    assert dict(images=5, failed=0, threshold=0.6).items() <= metrics.items()
    chain = RefinerChain([ConstantBackground(0.6), DenseCRF(iterations=2)])
    for name, size in zip(IDS, SIZES, strict=True):
        expected = chain(*pair(world, name))
        path = world / f'pseudo/labels/{name}.png'
        label = load_label_map(path, num_classes=3)
        assert label.shape == size and np.array_equal(label, expected.to_label())
        with Image.open(path) as png:
            assert png.mode == 'P'
            assert np.array_equal(np.array(png.getpalette()), voc_palette().ravel())
        soft = Seed.load(seed_path(world / 'pseudo', name))
        assert torch.equal(soft.probabilities(), expected.probabilities())
        assert torch.equal(soft.classes, expected.classes)
    run(world, 'hard', threshold=0.6)
    assert {p.name for p in (world / 'hard').iterdir()} == {'labels'}


def test_what_is_there_is_not_made_again(world) -> None:
    run(world, soft=True)
    whole = files(world / 'pseudo')
    (world / 'pseudo/labels/image_1.png').unlink()
    seed_path(world / 'pseudo', 'image_3').unlink()
    kept = world / 'pseudo/labels/image_2.png'
    before = kept.stat().st_mtime_ns
    run(world, soft=True)
    assert files(world / 'pseudo') == whole
    assert kept.stat().st_mtime_ns == before


def test_uses_one_thread_and_gives_them_back(world, monkeypatch) -> None:
    threads = []

    def refine(self: Refiner, image: Tensor, seed: Seed) -> Seed:
        threads.append(torch.get_num_threads())
        return replace(seed, background=seed.scores.new_zeros(seed.size))

    monkeypatch.setattr(ConstantBackground, 'refine', refine)
    monkeypatch.setattr(RefineStage, 'measures_background', False)
    torch.set_num_threads(2)
    try:
        run(world, refiners=CHAIN[:1])
        assert threads == [1] * 5 and torch.get_num_threads() == 2
        task = RefineTask(CHAIN[:1], {}, world / 'cam', 2, world / 'out', soft=False)
        batches = [[(name, world / f'data/images/{name}.png')] for name in IDS[:2]]
        two = [refine_here(task, batches, torch.device('cpu')) for _ in range(2)]
        assert len(list(zip(*two, strict=True))) == 2
        assert threads == [1] * 9 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


# Batches ------------------------------------------------------------------------------


@pytest.fixture
def batches(monkeypatch) -> list[list[tuple[int, int]]]:
    """The sizes of the images of every batch that is refined."""
    seen: list[list[tuple[int, int]]] = []

    def refine_batch(
        self: RefinerChain, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        seen.append([(image.shape[1], image.shape[2]) for image in images])
        return [self(image, seed) for image, seed in zip(images, seeds, strict=True)]

    monkeypatch.setattr(RefinerChain, 'refine_batch', refine_batch)
    return seen


def test_batches_are_of_one_size_and_the_same_when_it_goes_on(world, batches) -> None:
    run(world, batch_size=2)
    assert batches == [[(6, 10)] * 2, [(9, 7)] * 2, [(6, 10)]]
    whole = files(world / 'pseudo')
    run(world, 'one_by_one')
    assert files(world / 'one_by_one') == whole
    (world / 'pseudo/labels/image_3.png').unlink()
    batches.clear()
    run(world, batch_size=2)
    assert batches == [[(9, 7)] * 2], 'with its company'
    assert files(world / 'pseudo') == whole


# Thresholds ---------------------------------------------------------------------------


def sum_of_histograms(world: Path, names: list[str]) -> np.ndarray:
    seeds = [pair(world, name)[1].normalised() for name in names]
    return np.sum([score_histogram(seed.scores) for seed in seeds], axis=0)


def test_threshold_without_masks(world) -> None:
    stage = make(world, threshold='otsu', threshold_factor=0.5)
    assert stage.inputs == ('cam',)
    assert stage.provenance()['threshold'] == '0.5 times label-free (otsu)'
    metrics = run(world, threshold='otsu', threshold_factor=0.5)
    found = label_free_threshold(sum_of_histograms(world, IDS), 'otsu')
    assert 0.2 < found < 0.8 and metrics['threshold'] == round(found / 2, 4)
    run(world, 'number', threshold=metrics['threshold'])
    assert files(world / 'number/labels') == files(world / 'pseudo/labels')


def test_the_share_of_foreground_is_given(world) -> None:
    few, many = (
        run(world, f'share_{i}', threshold='foreground_share', foreground_share=share)
        for i, share in enumerate((0.2, 0.7))
    )
    histogram = sum_of_histograms(world, IDS)
    expected = label_free_threshold(histogram, 'foreground_share', 0.2)
    assert many['threshold'] < few['threshold'] == round(expected, 4)


def test_threshold_of_broken_seeds_only(world) -> None:
    for name in IDS:
        seed_path(world / 'cam', name).unlink()
    with pytest.raises(DataError, match=r'image_0\.npz does not exist'):
        run(world, threshold='otsu')


def test_threshold_stays_when_a_broken_seed_is_mended(world) -> None:
    path, aside = seed_path(world / 'cam', 'image_4'), world / 'aside'
    shutil.move(path, aside)
    first = run(world, threshold='max_entropy')
    found = label_free_threshold(sum_of_histograms(world, IDS[:4]), 'max_entropy')
    expected = dict(images=5, failed=1, threshold=round(found, 4))
    assert expected.items() <= first.items()
    before = files(world / 'pseudo/labels')
    shutil.move(aside, path)
    again = run(world, threshold='max_entropy')
    assert (expected | dict(failed=0)).items() <= again.items()
    after = files(world / 'pseudo/labels')
    assert after.pop('image_4.png') and after == before
    again = run(world, 'new', threshold='max_entropy')
    assert again['threshold'] != first['threshold']


def test_threshold_of_an_evaluation_goes_to_the_policy_wherever_it_is(world) -> None:
    record = StageRecord('score', 'EvaluateSeedStage', '', {}, 0)
    record.metrics['best_threshold'] = 0.8
    record.save(world / 'score')
    refiners = [dict(type=Picky), dict(type='ConstantBackground')]
    arguments = dict(refiners=refiners, threshold='score', threshold_factor=0.75)
    stage = make(world, **arguments)
    assert stage.inputs == ('cam', 'score')
    said = stage.provenance()
    assert said.pop('data').startswith(str(stage.dataset['data_root']))
    assert said == dict(
        refiners=['Picky', 'ConstantBackground'],
        threshold='0.75 times the best on ground truth (score)',
    )
    assert run(world, **arguments)['threshold'] == 0.6
    with pytest.raises(DataError, match='cam has no best threshold: name a stage'):
        run(world, 'other', threshold='cam')


def test_a_threshold_that_is_found_is_written_into_no_config(world) -> None:
    given = [dict(type='ConstantBackground'), dict(type='DenseCRF', iterations=1)]
    stage = make(world, refiners=given, threshold='otsu')
    for name in ('first', 'second'):
        (world / name).mkdir()
    seeds = dict(cam=world / 'cam')
    first = stage.run(world / 'first', seeds)['threshold']
    assert stage.refiners == given and first != 0.5
    Seed(torch.full((1, 6, 10), 0.9), torch.arange(1)).save(
        seed_path(world / 'cam', 'image_0')
    )
    second = stage.run(world / 'second', seeds)['threshold']
    assert second != first and 'threshold' not in stage.refiners[0]


def test_refiners_are_built_once_before_work(world) -> None:
    Counted.made = 0
    make(world, refiners=[dict(type='ConstantBackground'), dict(type=Counted)])
    assert Counted.made == 1


class Counted(Refiner):
    """Knows how often it was made."""

    made = 0

    def __init__(self) -> None:
        Counted.made += 1

    def refine(self, image, seed):
        return seed


# Models -------------------------------------------------------------------------------


class Gain(BaseModel):
    """A trained number."""

    def __init__(self, bias: float = 0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.bias = bias

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Tensor:
        return inputs * self.gain + self.bias


class Gained(Refiner):
    """Makes a background of what a trained model says."""

    stages = ('gain',)

    def bind(self, models: Mapping[str, nn.Module]) -> None:
        self.model = models['gain']

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        background = self.model(seed.scores.amax(0)).clamp(min=0)
        return replace(seed, background=background)


@pytest.mark.parametrize('workers', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_models_of_earlier_stages_are_loaded(world, workers) -> None:
    """Also in the processes of a pool."""
    (world / 'gain').mkdir()
    save_model_config(dict(type=f'{__name__}.Gain', bias=-1.0), world / 'gain')
    save_file(dict(gain=torch.tensor(2.5)), world / 'gain/weights.safetensors')
    refiners = [dict(type=Gained)]
    assert make(world, refiners=refiners).inputs == ('cam', 'gain')
    assert run(world, refiners=refiners, workers=workers)['failed'] == 0
    shares = []
    for name in IDS:
        seed = pair(world, name)[1]
        background = (seed.scores.amax(0) * 2.5 - 1).clamp(min=0)
        expected = replace(seed, background=background).to_label()
        label = load_label_map(world / f'pseudo/labels/{name}.png')
        assert np.array_equal(label, expected)
        shares.append(float((expected > 0).float().mean()))
    assert 0.1 < np.mean(shares) < 0.9


def test_model_that_is_not_trained(world) -> None:
    (world / 'gain').mkdir()
    for workers in (1, 2):
        with pytest.raises(UserError, match='gain holds no trained model'):
            run(world, refiners=[dict(type=Gained)], workers=workers)


# Processes ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pool_writes_the_same_bytes(world) -> None:
    seed_path(world / 'cam', 'image_1').write_text('no')
    one = run(world, 'one', soft=True, threshold='otsu')
    assert run(world, 'two', soft=True, threshold='otsu', workers=2) == one
    assert one['failed'] == 1
    assert files(world / 'one') == files(world / 'two')


class Mortal(Refiner):
    """Kills its process."""

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        os._exit(1)


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_of_one_line(world) -> None:
    with pytest.raises(UserError) as error:
        run(world, refiners=[dict(type=Mortal)], workers=2)
    assert str(error.value) == (
        'a process of pseudo died, perhaps for lack of memory: give fewer workers than '
        '2, then run the same command again'
    )


def test_where_it_runs(world, monkeypatch) -> None:
    """By default in as many processes as cores, or on the GPU; never in idle ones."""
    places = []
    for name in ('refine_here', 'refine_in_pool'):

        def note(task, batches, where, name=name):
            places.append((name, str(where)))
            return iter(())

        monkeypatch.setattr(f'wsss_plugins.stages.refine.{name}', note)
    monkeypatch.setattr('os.cpu_count', lambda: 2)
    run(world, workers=None)
    run(world, workers=1)
    run(world, workers=3)  # for 5 images
    monkeypatch.setattr(
        'wsss_plugins.stages.refine.device', lambda: torch.device('cuda')
    )
    run(world, workers=None)
    run(world, workers=2)
    pool = 'refine_in_pool'
    here = 'refine_here'
    assert places == [
        (pool, '2'),
        (here, 'cpu'),
        (here, 'cpu'),
        (here, 'cuda'),
        (pool, '2'),
    ]


# Configs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(refiners=[]), 'has no refiners: begin with a background policy'),
        (dict(workers=0), 'needs workers and batch_size >= 1, not 0 and 1'),
        (dict(batch_size=0), 'needs workers and batch_size >= 1, not 1 and 0'),
        (dict(refiners=[dict(type='DenseCRV')]), "did you mean 'DenseCRF'?"),
        (dict(refiners=[dict(type=Picky)], threshold=0.5), 'threshold'),
    ],
)
def test_mistakes_show_before_any_work(world, arguments, message) -> None:
    with pytest.raises(ConfigError) as error:
        make(world, **arguments)
    assert message in str(error.value)


def test_folder_of_seeds_made_elsewhere(world) -> None:
    stage = FolderStage('mine', world / 'cam/seeds')
    (world / 'mine').mkdir()
    for _ in range(2):  # the second goes on
        assert stage.run(world / 'mine', {}) == dict(files=5)
    assert Seed.load(seed_path(world / 'mine', 'image_1')).size == (9, 7)
    assert stage.provenance() == dict(seeds=str(world / 'cam/seeds'))
    with pytest.raises(
        DataError, match=r'holds no labels \(\*.png\): correct its path'
    ):
        FolderStage('mine', world / 'cam/seeds', holds='labels')
    with pytest.raises(DataError, match=r'nowhere of stage .mine. holds no seeds'):
        FolderStage('mine', world / 'nowhere')
    with pytest.raises(
        ConfigError, match="holds 'photos': allowed are seeds and labels"
    ):
        FolderStage('mine', world / 'data/images', holds='photos')
