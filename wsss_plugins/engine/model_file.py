"""The config of a trained model, stored beside its weights as data that is never run.

The folder of a trained model may come from another person. Its ``model.json`` describes
how the network is built. A type in it is looked up in the registries of networks and
their parts, so that a name such as ``os.system`` is an unknown plug-in and not a call.
Earlier versions wrote ``model.py``; it is read as text, and only assignments of literal
values are accepted.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from wsss_plugins.backbones import TimmMaps
from wsss_plugins.backbones.package_weights import PREFIX
from wsss_plugins.config import plain, typed_nodes
from wsss_plugins.errors import CheckpointError
from wsss_plugins.registry import MOVED, registered
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.layout import FORMER_MODEL_FILE, MODEL_FILE

STARTS = ('pretrained', 'init_cfg')
"""Keys of initial weights; they are ignored, since trained weights replace these."""
SCOPE_KEY = '_scope_'
"""Key with which a part of a config asks mmengine to import the registries of a package."""


def save_model_config(
    model: Mapping[str, Any], folder: Path, classes: Sequence[str] = ()
) -> None:
    """Writes the config of a model beside its weights, without its initial weights.

    Args:
        model: Config of the model.
        folder: Folder of the weights.
        classes: Names of the foreground classes, if they are known.
    """
    content = dict(model=plain(model))
    forget_starts(content)
    if classes:
        content['classes'] = list(classes)
    save_json(folder / MODEL_FILE, content)


def forget_starts(node: Any) -> None:
    """Removes initial weights from the config of a model whose own weights follow.

    The file of its own weights does not repeat those of a frozen network that an installed
    package brings (see :meth:`TimmMaps.state_dict`): these stay.

    Args:
        node: A config, changed in place.
    """
    if isinstance(node, Mapping | Config):
        for key in list(node):
            if key in STARTS and not is_brought(node):
                node[key] = None  # type: ignore[index]
            else:
                forget_starts(node[key])
    elif isinstance(node, list | tuple):
        for item in node:
            forget_starts(item)


def is_brought(node: Any) -> bool:
    """Whether a config describes a frozen network with the weights of a package."""
    kind = node.get('type')
    return (
        str(node.get('pretrained')).startswith(PREFIX)
        and node.get('frozen', True)
        and (kind is TimmMaps or str(kind).rpartition('.')[2] == TimmMaps.__name__)
    )


def has_model_config(folder: Path) -> bool:
    """Whether ``folder`` has a file with the config of its model."""
    return any((folder / name).is_file() for name in (MODEL_FILE, FORMER_MODEL_FILE))


def read_model_config(folder: Path) -> dict[str, Any]:
    """Reads the config of the model in ``folder``; nothing in the file is run.

    Args:
        folder: Folder of a trained model.

    Returns:
        A dict with ``model``, in which types are classes, and, if the file has them,
        ``classes``, the names of the foreground classes.

    Raises:
        CheckpointError: The folder has no config of a model, or the config names a type that
            is not registered as a part of models, or another scope of registries.
    """
    path = folder / MODEL_FILE
    if path.is_file():
        content = load_json(path)
    else:
        path = folder / FORMER_MODEL_FILE
        if not path.is_file():
            raise CheckpointError(
                f'{folder} does not say how its model is built: there is no {MODEL_FILE}'
            )
        content = _literals(path)
    model = content.get('model') if isinstance(content, dict) else None
    classes = content.get('classes', []) if isinstance(content, dict) else None
    if not isinstance(model, dict) or not (
        isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    ):
        raise CheckpointError(
            f"{path} is no config of a trained model: it needs 'model', a dict with a "
            "type, and 'classes', a list of names"
        )
    forget_starts(model)
    for node in typed_nodes(model):
        if SCOPE_KEY in node:
            raise CheckpointError(
                f"{path} has the key '{SCOPE_KEY}', for which mmengine would import a "
                'module: remove the key if you trust the file'
            )
        node['type'] = _class_of(node['type'], path)  # type: ignore[index]
    return dict(model=model) | (dict(classes=classes) if classes else {})


def _class_of(given: Any, path: Path) -> Any:
    """The class that a type names: a registered one, or a network that is imported already.

    The second case serves configs that import a network without registering it. No module
    is imported because the file names it.
    """
    name = MOVED.get(given, given) if isinstance(given, str) else None
    found = None if name is None else registered(name)
    if found is None and name is not None:
        module, _, last = name.rpartition('.')
        there = vars(sys.modules[module]).get(last) if module in sys.modules else None
        if isinstance(there, type) and issubclass(there, nn.Module):
            found = there
    if found is None:
        raise CheckpointError(
            f'{path} names the type {given!r}, which is not registered here, and what '
            'lies beside weights is not imported: import its module yourself (--import '
            'MODULE, or in a config) if you trust it'
        )
    return found


def _literals(path: Path) -> dict[str, Any]:
    """Reads the assignments of a Python config whose values are literals or ``dict(...)``.

    Raises:
        CheckpointError: The file cannot be parsed, or holds a statement that is no such
            assignment; the message names its line.
    """
    try:
        tree = ast.parse(path.read_text('utf-8'))
    except (OSError, SyntaxError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise CheckpointError(f'{path} cannot be read ({reason})') from error
    content: dict[str, Any] = {}
    for statement in tree.body:
        try:
            if not isinstance(statement, ast.Assign):
                raise ValueError
            (target,) = statement.targets
            if not isinstance(target, ast.Name):
                raise ValueError
            content[target.id] = _literal(statement.value)
        except ValueError as error:
            raise CheckpointError(
                f'{path}:{statement.lineno} holds more than the values of a config; what '
                'lies beside weights is never run, so the model is not loaded'
            ) from error
    return content


def _literal(node: ast.expr) -> Any:
    """The value of a literal, or of a call of ``dict`` with keyword arguments.

    Raises:
        ValueError: The expression is neither a literal nor such a call.
    """
    if isinstance(node, ast.Call):
        names = [word.arg for word in node.keywords]
        named = isinstance(node.func, ast.Name) and node.func.id == 'dict'
        if not named or node.args or None in names:
            raise ValueError
        return {str(word.arg): _literal(word.value) for word in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [None if key is None else _literal(key) for key in node.keys]
        if not all(isinstance(key, str | int) for key in keys):
            raise ValueError
        return dict(zip(keys, map(_literal, node.values), strict=True))
    return ast.literal_eval(node)


def modules_of(folders: Iterable[Path]) -> tuple[str, ...]:
    """Names of the modules that define the types of the models in ``folders``.

    Another process must import these modules before it loads the models. Folders without
    a model are skipped here; loading them raises an error.

    Raises:
        CheckpointError: The config of a model cannot be read, see
            :func:`read_model_config`.
    """
    found: set[str] = set()
    for folder in filter(has_model_config, folders):
        model = read_model_config(folder)['model']
        found |= {node['type'].__module__ for node in typed_nodes(model)}
    return tuple(sorted(found))
