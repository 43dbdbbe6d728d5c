"""What the records in a work dir tell of a stage: its config, its data set, its photos."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.registry import DATASETS, registered
from wsss_plugins.structures import load_json
from wsss_plugins.structures.layout import CONFIG_FILE, CONTENTS


def recorded_config(stage: Path) -> dict[str, Any]:
    """The config of a stage, as it is stored beside its record; empty if there is none."""
    try:
        content = load_json(stage / CONFIG_FILE)
    except DataError:
        return {}
    config = content.get('config') if isinstance(content, dict) else None
    return config if isinstance(config, dict) else {}


def readers_of(stage: Path) -> list[StageRecord]:
    """Records of the finished stages of the same work dir that read a stage."""
    found = (StageRecord.load(folder) for folder in sorted(stage.parent.glob('*/')))
    return [r for r in found if r is not None and r.done and stage.name in r.inputs]


def recorded_dataset(stage: Path) -> dict[str, Any]:
    """The config of the images with masks on which a stage, or one that reads it, worked.

    Nothing that the files of the work dir name is imported.

    Args:
        stage: Folder of a stage.

    Returns:
        A config whose ``type`` is a registered data set.

    Raises:
        UserError: No config names a data set with masks, or its type is not registered.
    """
    folders = [stage, *(stage.parent / r.stage for r in readers_of(stage))]
    for folder in folders:
        given = recorded_config(folder).get('dataset')
        if isinstance(given, dict) and given.get('label_maps') is not None:
            kind = registered(str(given.get('type')), [DATASETS])
            if kind is None:
                raise UserError(
                    f'{folder / CONFIG_FILE} names the data set {given.get("type")!r}, which '
                    'is not registered here: import its module (--import MODULE) if you '
                    'trust it'
                )
            kept = {k: v for k, v in given.items() if k != 'pipeline'}
            return dict(kept, type=kind, test_mode=True)
    raise UserError(
        f'no config beside {stage} names a data set with masks: give --data-root, --split '
        'and --masks'
    )


def recorded_threshold(stage: Path) -> float | None:
    """The best threshold that a stage found that reads this one; None without any."""
    for record in readers_of(stage):
        found = record.metrics.get('best_threshold')
        if isinstance(found, int | float):
            return float(found)
    return None


def files_read(stage: Path, kind: Literal['photos', 'masks']) -> dict[str, Path]:
    """The photos or masks that a stage read, as far as its record names them.

    Args:
        stage: Folder of the stage.
        kind: Which of the two.

    Returns:
        Paths by the name of the image: the last part of its id. A name that stands for two
        files is left out.
    """
    record = StageRecord.load(stage)
    digests = record.data if record is not None else None
    paths: dict[str, Path] = {}
    twice: set[str] = set()
    for root in _roots(recorded_config(stage)):
        for owner, digest in (digests or {}).items():
            if not owner.startswith(f'{kind} of ') or str(root) not in owner:
                continue
            for name in recorded_hashes(stage.parent, digest):
                path = root / name
                known = paths.setdefault(path.stem, path)
                twice |= {path.stem} if known != path else set()
    return {name: path for name, path in paths.items() if name not in twice}


def _roots(node: Any) -> list[Path]:
    """Every ``data_root`` in a config, each once."""
    found: dict[Path, None] = {}
    if isinstance(node, Mapping):
        if isinstance(node.get('data_root'), str):
            found[Path(node['data_root'])] = None
        for value in node.values():
            found |= dict.fromkeys(_roots(value))
    elif isinstance(node, list):
        for value in node:
            found |= dict.fromkeys(_roots(value))
    return list(found)


def recorded_hashes(work_dir: Path, digest: Any) -> dict[str, str]:
    """Hashes that a work dir keeps of files that its stages read, by name of the file.

    Args:
        work_dir: The work dir.
        digest: The hash of all of them, which records have.

    Returns:
        The hashes; empty where the work dir does not have them.
    """
    path = work_dir / CONTENTS / f'{Path(str(digest)).name}.json'
    try:
        return dict(_read_hashes(path, path.stat().st_mtime_ns))
    except (DataError, OSError):
        return {}


@lru_cache(32)
def _read_hashes(path: Path, stamp: int) -> dict[str, str]:
    """The content of a file of hashes, read once for each time that it was written."""
    content = load_json(path)
    return (
        {str(k): str(v) for k, v in content.items()}
        if isinstance(content, dict)
        else {}
    )


def count_read(stage: Path, record: StageRecord) -> int:
    """Number of photos, or else masks, that a stage reads; 0 if its record names none."""
    counts = {
        owner: len(recorded_hashes(stage.parent, digest))
        for owner, digest in (record.data or {}).items()
    }
    for kind in ('photos', 'masks'):
        found = [n for owner, n in counts.items() if owner.startswith(f'{kind} of ')]
        if found:
            return sum(found)
    return 0
