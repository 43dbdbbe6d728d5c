"""The check of installed packages, on metadata made up for each case."""

from __future__ import annotations

from importlib import metadata

import pytest

from wsss_plugins.environment import check_environment
from wsss_plugins.errors import UserError

GOOD = {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmsegmentation': '1.4.2',
    'torch': '2.12.1',
    'torchvision': '0.27.1',
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed; a test edits it."""
    packages = dict(GOOD)

    def version(name: str) -> str:
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(metadata, 'version', version)
    monkeypatch.setattr(
        metadata,
        'requires',
        lambda _: ['numpy', 'torch (==2.12.1)', "gdown; extra == 'gdown'"],
    )
    return packages


def message() -> str:
    with pytest.raises(UserError) as error:
        check_environment()
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize('torch', ['2.12.1', '2.12.1+cpu', '2.12.1+cu130'])
def test_matching_packages_pass(installed: dict[str, str], torch: str) -> None:
    installed['torch'] = torch
    check_environment()


def test_this_environment_passes() -> None:
    check_environment()


def test_stock_package_beside_the_maintained_one(installed: dict[str, str]) -> None:
    installed['mmcv-lite'] = '2.1.0'
    assert message() == (
        'mmcv-lite must not be installed: onedl-mmcv provides the same modules. '
        'Run `pip uninstall -y mmcv-lite onedl-mmcv && pip install onedl-mmcv`'
    )


def test_several_stock_packages_are_mended_at_once(installed: dict[str, str]) -> None:
    installed.update({'mmcv': '2.1.0', 'mmengine': '0.10.4', 'mmsegmentation': '1.2'})
    assert message().endswith(
        'Run `pip uninstall -y mmcv mmengine mmsegmentation onedl-mmcv '
        'onedl-mmengine onedl-mmsegmentation && pip install onedl-mmcv '
        'onedl-mmengine onedl-mmsegmentation`'
    )


def test_stock_package_in_place_of_the_maintained_one(
    installed: dict[str, str],
) -> None:
    del installed['onedl-mmengine']
    installed['mmengine'] = '0.10.4'
    assert message().endswith('&& pip install onedl-mmengine`')


def test_missing_maintained_package(installed: dict[str, str]) -> None:
    del installed['onedl-mmcv'], installed['onedl-mmsegmentation']
    assert message() == (
        'onedl-mmcv onedl-mmsegmentation not installed: '
        'run `pip install onedl-mmcv onedl-mmsegmentation`'
    )


def test_torchvision_of_another_torch(installed: dict[str, str]) -> None:
    installed['torch'] = '2.11.0+cpu'
    assert message() == (
        'torchvision 0.27.1 is built for torch==2.12.1, but torch 2.11.0+cpu is '
        'installed: run `pip install --upgrade torchvision torch==2.11.0`'
    )


def test_missing_torchvision(installed: dict[str, str]) -> None:
    del installed['torchvision']
    assert message().endswith('run `pip install torch torchvision`')
