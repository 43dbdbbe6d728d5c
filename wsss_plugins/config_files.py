"""Where configs are, and by which short names they are found from any folder."""

from __future__ import annotations

from pathlib import Path

from wsss_plugins.errors import ConfigError, near_names

CONFIGS = Path(__file__).parent / 'configs'
"""The configs of this package; in a checkout of the repository, a link to its ``configs``."""


def config_names(folder: Path = CONFIGS) -> list[str]:
    """Short names of the configs in a folder, such as 'acr/synthetic', in order.

    Args:
        folder: Its folders ``_base_`` hold parts of configs, which are left out.
    """
    paths = (path.relative_to(folder) for path in folder.rglob('*.py'))
    return sorted(
        path.with_suffix('').as_posix() for path in paths if '_base_' not in path.parts
    )


def find_config(name: Path | str, beside: Path = Path()) -> Path:
    """The file of a config.

    Args:
        name: A path, or the short name of a config of this package; '.py' and the folder
            ``configs/`` before a short name may be left out.
        beside: Paths are relative to this folder.

    Returns:
        The file: at first one that the path names, then one of this package.

    Raises:
        ConfigError: Neither is there.
    """
    given = str(name)
    stem = given.removesuffix('.py')
    short = stem.removeprefix('configs/')
    for path in (beside / given, beside / f'{stem}.py', CONFIGS / f'{short}.py'):
        if path.is_file():
            return path
    path = beside / given
    if path.parent.is_dir() and (path.parent != Path() or path.suffix == '.py'):
        near = near_names(str(path), map(str, path.parent.glob('*.py')))
    else:
        near = near_names(short, config_names())
    raise ConfigError(f'config {path} does not exist: {near}')
