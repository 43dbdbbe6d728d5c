"""ConfidentLabelStage: what it writes, resumes, leaves out and refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wsss_plugins.datasets import FolderWSSS, confident_labels
from wsss_plugins.engine import Stage
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners import (
    ConstantBackground,
    PowerBackground,
    PowerScores,
    RefinerChain,
)
from wsss_plugins.registry import STAGES, build_as
from wsss_plugins.stages import AgreedLabelStage, ConfidentLabelStage
from wsss_plugins.stages.images import as_image
from wsss_plugins.structures import Seed, load_label_map, load_npz, save_label_map

CLASSES = ['cat', 'dog', 'sea']
PLAIN = (dict(type=PowerBackground, normalise=False),)


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Three images of two sizes, of two, one and no classes, and their seeds."""
    rows = ['file,tags']
    cases = [('a', (12, 17), [0, 2]), ('b', (17, 12), [1]), ('c', (12, 17), [])]
    for name, size, classes in cases:
        (tmp_path / 'images').mkdir(exist_ok=True)
        pixels = np.random.randint(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'images/{name}.png')
        rows.append(f'{name}.png,{";".join(CLASSES[k] for k in classes)}')
        scores = torch.rand(len(classes), *size)
        Seed(scores, torch.tensor(classes, dtype=torch.long)).save(
            tmp_path / f'cam/seeds/{name}.npz'
        )
    (tmp_path / 'all.csv').write_text('\n'.join(rows))
    return tmp_path / 'cam'


def make_stage(seeds: Path, refiners=PLAIN, **kwargs) -> ConfidentLabelStage:
    dataset = dict(
        type=FolderWSSS, data_root=str(seeds.parent), split='all', classes=CLASSES
    )
    settings = dict(name='confident', seeds='cam', dataset=dataset, refiners=refiners)
    stage = build_as(
        STAGES, dict(type='ConfidentLabelStage', **settings, **kwargs), Stage
    )
    assert stage.inputs == ('cam',)
    return stage


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_follows_both_backgrounds(seeds: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    stage = make_stage(seeds, alpha_low=2, alpha_high=16, workers=1)
    assert stage.run(out, {'cam': seeds}) == dict(images=3, failed=0)
    scores = Seed.load(seeds / 'seeds/a.npz').scores
    strongest, winner = scores.max(0)
    label = torch.tensor([1, 3])[winner]
    label[(1 - strongest) ** 2 >= strongest] = 255
    label[(1 - strongest) ** 16 >= strongest] = 0
    assert np.array_equal(load_label_map(out / 'labels/a.png'), label)
    assert set(label.unique().tolist()) == {0, 1, 3, 255}
    kept = load_npz(out / 'scores/a.npz')
    assert kept['classes'].tolist() == [0, 2]
    for part, alpha in (('low', 2), ('high', 16)):
        wanted = torch.cat([(1 - strongest)[None] ** alpha, scores])
        assert kept[part].shape == (3, 12, 17)
        np.testing.assert_allclose(kept[part] / 255, wanted, atol=0.501 / 255)
    assert (load_label_map(out / 'labels/c.png') == 0).all(), 'no class: background'
    assert not list(out.glob('*/seeds/*')), 'float scores are not kept'


def test_leaves_the_threads_as_they_are(seeds: Path, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    try:
        make_stage(seeds, workers=1).run(tmp_path / 'out', {'cam': seeds})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_power_comes_before_the_background(seeds: Path, tmp_path: Path) -> None:
    chain = (dict(type=PowerScores, power=0.5), *PLAIN)
    make_stage(seeds, chain, workers=1).run(tmp_path / 'out', {'cam': seeds})
    scores = Seed.load(seeds / 'seeds/b.npz').normalised().scores[0].sqrt()
    kept = load_npz(tmp_path / 'out/scores/b.npz')
    np.testing.assert_allclose(kept['low'][1] / 255, scores, atol=0.501 / 255)
    np.testing.assert_allclose(
        kept['low'][0] / 255, (1 - scores) ** 4, atol=0.501 / 255
    )


def test_goes_on_and_leaves_out_what_is_broken(seeds: Path, tmp_path: Path) -> None:
    inputs, out, again = {'cam': seeds}, tmp_path / 'out', tmp_path / 'again'
    stage = make_stage(seeds, workers=1)
    stage.run(out, inputs)
    wanted = files_of(out)
    stage.run(again, inputs)
    (again / 'labels/b.png').unlink()
    (again / 'scores/a.npz').unlink()  # not looked at: its label is there
    seed = (seeds / 'seeds/b.npz').read_bytes()
    (seeds / 'seeds/b.npz').write_bytes(seed[:40])
    assert stage.run(again, inputs) == dict(images=3, failed=1)
    assert 'b.npz' in (again / 'failures.json').read_text()
    assert not (again / 'labels/b.png').exists()
    (seeds / 'seeds/b.npz').write_bytes(seed)
    assert stage.run(again, inputs) == dict(images=3, failed=0)
    del wanted['scores/a.npz']
    assert files_of(again) == wanted


def test_a_crf_sees_each_background(seeds: Path, tmp_path: Path) -> None:
    """The two seeds of an image, refined at once, are those of two chains."""
    after = [dict(type=PowerScores, power=0.5), dict(type='DenseCRF', iterations=2)]
    stage = make_stage(seeds, [*PLAIN, *after], workers=1, batch_size=2)
    stage.run(tmp_path / 'out', {'cam': seeds})
    for name in 'abc':
        image = as_image(np.array(Image.open(tmp_path / f'images/{name}.png')))
        seed = Seed.load(seeds / f'seeds/{name}.npz')
        kept = load_npz(tmp_path / f'out/scores/{name}.npz')
        for part, alpha in (('low', 4), ('high', 32)):
            chain = [dict(*PLAIN, alpha=alpha), *after]
            wanted = RefinerChain(chain)(image, seed)
            shares = wanted.probabilities().numpy()
            np.testing.assert_allclose(kept[part] / 255, shares, atol=0.502 / 255)
            label = load_label_map(tmp_path / f'out/{part}/labels/{name}.png')
            assert np.array_equal(label, wanted.to_label().numpy())


@pytest.mark.parametrize('label_is_written', [False, True])
def test_killed_at_a_label(seeds, tmp_path, monkeypatch, label_is_written) -> None:
    stage, out = make_stage(seeds, workers=1), tmp_path / 'out'
    stage.run(tmp_path / 'whole', {'cam': seeds})

    def die(path: Path, label: np.ndarray) -> None:
        if label_is_written:
            save_label_map(path, label)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr('wsss_plugins.stages.confident.save_label_map', die)
        stage.run(out, {'cam': seeds})
    there = len(list(out.glob('labels/*')))  # labels are written in threads
    assert 1 <= there <= 3 if label_is_written else there == 0
    stage.run(out, {'cam': seeds})
    assert files_of(out) == files_of(tmp_path / 'whole')


@pytest.mark.slow
def test_processes_write_the_same(seeds: Path, tmp_path: Path) -> None:
    for i in range(3):  # two processes are used for four images or more
        for suffix in ('images', 'cam/seeds'):
            file = next((tmp_path / suffix).glob('a.*'))
            shutil.copy(file, file.with_stem(f'a{i}'))
    rows = (tmp_path / 'all.csv').read_text()
    more = ''.join(f'\na{i}.png,cat;sea' for i in range(3))
    (tmp_path / 'all.csv').write_text(rows + more)
    for workers in (1, 2):
        stage = make_stage(seeds, workers=workers)
        assert stage.run(tmp_path / f'by{workers}', {'cam': seeds})['images'] == 6
    assert files_of(tmp_path / 'by1') == files_of(tmp_path / 'by2')


def test_refuses_what_it_cannot_use(seeds: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='0 < alpha_low < alpha_high, not 32 and 4'):
        make_stage(seeds, alpha_low=32, alpha_high=4)
    with pytest.raises(ConfigError, match=r'one PowerBackground.*not 0'):
        make_stage(seeds, [dict(type=ConstantBackground)])
    with pytest.raises(ConfigError, match=r'one PowerBackground.*not 2'):
        make_stage(seeds, [*PLAIN, *PLAIN])
    with pytest.raises(DataError, match='all of 3 images failed'):
        make_stage(seeds, workers=1).run(tmp_path / 'out', {'cam': tmp_path / 'none'})


def test_the_law_of_confident_labels() -> None:
    """Object only if both say so, background if the weak one does, else unsure."""
    sure = np.array([[0.1, 0.9, 0.0], [0.1, 0.0, 0.9], [0.8, 0.2, 0.0], [0, 0, 0]])
    low = sure[None, [0, 1, 2, 2, 0, 3]]
    high = sure[None, [0, 0, 0, 2, 2, 3]]
    assert confident_labels(low, high).tolist() == [[1, 2, 255, 0, 0, 255]]


def test_two_thresholds_that_agree(seeds: Path, tmp_path: Path) -> None:
    """IRN's law: an object under both, background under both, unsure in between."""
    dataset = dict(
        type=FolderWSSS, data_root=str(seeds.parent), split='all', classes=CLASSES
    )
    plain = [dict(type=ConstantBackground, normalise=False)]
    stage = AgreedLabelStage('agreed', 'cam', dataset, 0.7, 0.4, plain, workers=1)
    out = tmp_path / 'out'
    assert stage.run(out, {'cam': seeds}) == dict(images=3, failed=0, threshold=0.7)
    scores = Seed.load(seeds / 'seeds/a.npz').scores
    strongest, winner = scores.max(0)
    label = torch.tensor([1, 3])[winner]
    label[strongest <= 0.7] = 255
    label[strongest <= 0.4] = 0
    assert np.array_equal(load_label_map(out / 'labels/a.png'), label)
    high = load_label_map(out / 'high/labels/a.png')
    assert np.array_equal(high > 0, strongest > 0.7)
    with pytest.raises(ConfigError, match='0 <= low < high <= 1'):
        AgreedLabelStage('agreed', 'cam', dataset, 0.4, 0.7)
    with pytest.raises(ConfigError, match='need one ConstantBackground'):
        AgreedLabelStage('agreed', 'cam', dataset, refiners=PLAIN)
