"""A folder that was made elsewhere, in place of the stage that would make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import barrier, rank
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import STAGES
from wsss_plugins.structures.layout import LABELS, SEEDS
from wsss_plugins.structures.measured import Measured

SUFFIXES = {SEEDS: '.npz', LABELS: '.png'}


@STAGES.register_module()
class FolderStage(Stage):
    """Stands for a folder of seeds or of label maps that was made elsewhere.

    To refine seeds of one's own, this config is enough for ``tools/run_pipeline.py``::

        images = dict(type=FolderWSSS, data_root='mine', split='all', classes=[...])
        pipeline = [
            dict(type=FolderStage, name='seeds', path='mine/seeds'),
            dict(type=RefineStage, name='pseudo', seeds='seeds', dataset=images,
                 refiners=[dict(type=ConstantBackground), dict(type=DenseCRF)]),
        ]

    After a change of the files the stage runs again, and with it those that read it.

    Args:
        name: Name of the stage.
        path: The folder, absolute or below the current one. Seeds are ``<id>.npz`` with
            ``scores`` ``(K, H, W)`` and ``classes`` ``(K,)``, see :class:`Seed`; label
            maps are indexed ``<id>.png``.
        holds: What it holds, 'seeds' or 'labels'.

    Raises:
        ConfigError: ``holds`` is neither 'seeds' nor 'labels'.
        DataError: The folder does not exist, or holds no such files.
    """

    def __init__(self, name: str, path: str | Path, holds: str = 'seeds') -> None:
        super().__init__(name)
        if holds not in SUFFIXES:
            raise ConfigError(
                f"stage '{name}' holds '{holds}': allowed are {' and '.join(SUFFIXES)}",
                token=holds,
            )
        self.path, self.holds = Path(path), holds
        pattern = f'*{SUFFIXES[holds]}'
        if next(self.path.glob(pattern), None) is None:
            raise DataError(
                f"folder {path} of stage '{name}' holds no {holds} ({pattern}): "
                'correct its path'
            )

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Links to the folder, from where a stage keeps its own seeds or label maps."""
        link = out / self.holds
        if rank() == 0:
            link.unlink(missing_ok=True)
            link.symlink_to(self.path.resolve(), target_is_directory=True)
        barrier()
        return dict(files=len(list(self.path.glob(f'*{SUFFIXES[self.holds]}'))))

    def files_read(self) -> dict[str, list[Path]]:
        """The seeds or label maps, in folders below it too."""
        return {str(self.path): sorted(self.path.rglob(f'*{SUFFIXES[self.holds]}'))}

    def measured(self) -> Measured:
        """The folder."""
        return Measured(made_elsewhere=self.path, details={self.holds: str(self.path)})
