"""Errors of a training before its first batch is computed: they come from its config."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import extract_tb

from wsss_plugins.errors import ConfigError, UserError, described, of_the_machine


@contextmanager
def refusing_at_first(what: str, done: Callable[[], int]) -> Iterator[None]:
    """Makes one line of what a network or a transform raises at its first batch.

    An argument that no constructor checks, such as a crop larger than memory, is noticed
    when the first photo passes. What is raised later is no mistake of the config, and
    keeps its traceback.

    Args:
        what: Name of the stage, for the message.
        done: Tells how many batches are done.

    Yields:
        Nothing.

    Raises:
        ConfigError: The block raises an error of another kind than those for users, of
            the machine or of data, before a batch is done; the message names file and
            line.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if done() or of_the_machine(error) is not None:
            raise
        frame = extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"stage '{what}': its first batch fails, {described(error)} "
            f'({frame.filename}:{frame.lineno}, in {frame.name}): correct what the config '
            'gives to transforms, model or metrics'
        ) from error
