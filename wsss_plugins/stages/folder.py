"""A stage that stands for a folder of seeds or label maps from outside the pipeline."""

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
    """Imports a folder of seeds or label maps that another program made.

    The following config for ``wsss run`` refines one's own seeds::

        images = dict(type=FolderWSSS, data_root='mine', split='all', classes=[...])
        pipeline = [
            dict(type=FolderStage, name='seeds', path='mine/seeds'),
            dict(type=RefineStage, name='pseudo', seeds='seeds', dataset=images,
                 refiners=[dict(type=ConstantBackground), dict(type=DenseCRF)]),
        ]

    If the files change, the stage runs again, and so do the stages that read it.

    Args:
        name: Name of the stage.
        path: Path of the folder, absolute or relative to the current directory. Seeds are
            ``<id>.npz`` with ``scores`` ``(K, H, W)`` and ``classes`` ``(K,)``, see
            :class:`Seed`; label maps are indexed ``<id>.png``.
        holds: Kind of the files, 'seeds' or 'labels'.

    Raises:
        ConfigError: ``holds`` is neither 'seeds' nor 'labels'.
        DataError: The folder does not exist, or holds no ``.npz`` (seeds) or ``.png``
            (labels).
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
        """Makes a link to the folder where other stages write their seeds or label maps."""
        link = out / self.holds
        if rank() == 0:
            link.unlink(missing_ok=True)
            link.symlink_to(self.path.resolve(), target_is_directory=True)
        barrier()
        return dict(files=len(list(self.path.glob(f'*{SUFFIXES[self.holds]}'))))

    def files_read(self) -> dict[str, list[Path]]:
        """The seeds or label maps of the folder and its subfolders."""
        return {str(self.path): sorted(self.path.rglob(f'*{SUFFIXES[self.holds]}'))}

    def measured(self) -> Measured:
        """Declares the folder from which the files come."""
        return Measured(made_elsewhere=self.path, details={self.holds: str(self.path)})
