"""The visualiser of a training: files that are always written, and backends of mmengine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.visualization import LocalVisBackend, Visualizer

from wsss_plugins.engine.workers import rank
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import VISBACKENDS, find_type


def with_files(given: Any) -> Any:
    """The config of a visualiser whose backends include mmengine's files.

    The board reads these files, whatever else a config watches the training with.

    Args:
        given: Config of a visualiser; None for mmengine's default, which writes the files.
            It is not changed.

    Raises:
        ConfigError: A backend is not registered.
    """
    if not isinstance(given, Mapping):
        return given
    backends = [dict(backend) for backend in _backends(given)]
    kinds = [find_type(each.get('type'), VISBACKENDS) for each in backends]
    if LocalVisBackend not in kinds:
        backends.insert(0, dict(type=LocalVisBackend))
    return {'type': Visualizer, **given, 'vis_backends': backends}


def start_backends(visualizer: Visualizer, config: Any) -> None:
    """Starts the backends of a visualiser, which otherwise start when they first write.

    Args:
        visualizer: The visualiser.
        config: Its config, of :func:`with_files`.

    Raises:
        ConfigError: A backend cannot start, such as one whose package is not installed.
    """
    for each in (
        _backends(config) if isinstance(config, Mapping) and rank() == 0 else ()
    ):
        kind = find_type(each['type'], VISBACKENDS)
        backend = visualizer.get_backend(each.get('name') or kind.__name__)
        try:
            backend.experiment  # noqa: B018 - this property starts it
        except Exception as error:  # a service of others: anything may come out of it
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f'visualizer: {kind.__name__} cannot start ({reason}): install what it '
                'needs, or leave it out of vis_backends',
                token=kind.__name__,
            ) from error


def _backends(config: Mapping[str, Any]) -> Sequence[Any]:
    """The configs of the backends, of which mmengine takes one or a list."""
    given = config.get('vis_backends') or []
    return [given] if isinstance(given, Mapping) else given
