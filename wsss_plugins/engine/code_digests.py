"""Digests of the code that the result of a stage depends on."""

from __future__ import annotations

import inspect
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, cached_property, partial
from importlib import metadata, util
from pathlib import Path
from typing import Any

from wsss_plugins.config import find_type
from wsss_plugins.engine.module_source import ModuleSource, read_source
from wsss_plugins.structures import atomic_path

PACKAGE = __name__.partition('.')[0]
FOLDER = Path(__file__).parents[1]
REVISIONS_FILE = Path(__file__).with_name('revisions.json')
UNKNOWN = 'unknown'
EDITED = ', edited: '
BASE_LIBRARIES = frozenset(
    {'torch', 'torchvision', 'timm', 'mmengine', 'mmcv', 'mmseg', 'numpy'}
)
"""Libraries that every result depends on; supervision cards hold their versions."""

WITHOUT_RESULTS = frozenset(
    {
        'board',
        'cli',
        'command',
        'config',
        'config_files',
        'configs',
        'datasets.preparation',
        'doctor',
        'ending',
        'engine.class_names',
        'engine.code_digests',
        'engine.contents',
        'engine.fingerprint',
        'engine.lock',
        'engine.module_source',
        'engine.record',
        'engine.stage',
        'engine.wanted',
        'engine.work_dir',
        'environment',
        'errors',
        'experiment',
        'explain',
        'plugins',
        'launch',
        'progress',
        'provenance',
        'registry',
        'structures.card',
        'structures.card_text',
        'structures.masks_read',
    }
)
"""Packages and modules that cannot change a stage's files: messages, checks and cards."""


class CodeDigests:
    """Computes digests of the code that a stage's config names; reads each module once.

    The digests cover the module of every class and function in the config, the modules
    of their base classes, and all modules that these import, directly or indirectly:

    - of a *user's module*, a hash of every function and class that it defines (see
      :func:`~wsss_plugins.engine.module_source.read_source` for what the hash ignores);
    - of a *module of this package*, its revision in ``revisions.json`` if it is above 1,
      and a hash of the source if the source was edited after that revision;
    - of *another installed library* that a class in the config belongs to, its version.

    A module whose source cannot be found, such as a notebook, has the digest
    ``'unknown'``.
    """

    def __init__(self) -> None:
        self._read: dict[str, ModuleSource | None] = {}
        self._imported: dict[str, frozenset[str]] = {}
        self._reached: dict[str, frozenset[str]] = {}

    def __call__(self, config: Any, kind: type) -> dict[str, str]:
        """Computes the digests of the code of a stage.

        Args:
            config: Config of the stage, with the content of its training config.
            kind: Class of the stage.

        Returns:
            Digests by ``module:definition`` (``module:`` stands for the statements of a
            user's module outside of functions and classes), revisions by module, and
            versions by library.
        """
        found: dict[str, str] = {}
        modules = {
            module for each in (kind, *_callables(config)) for module in _modules(each)
        }
        for module in sorted(modules):
            if _place(module) == 'library':
                found.update(_version(module))
            for reached in sorted(self.reached_from(module)):
                found.update(self._digests(reached))
        return found

    def reached_from(self, module: str) -> frozenset[str]:
        """The module and all modules of users and of this package that it imports."""
        if module not in self._reached:
            seen: set[str] = set()
            pending = [module]
            while pending:
                name = pending.pop()
                if name in seen or not _counts(name):
                    continue
                seen.add(name)
                pending += self._imported_by(name)
            self._reached[module] = frozenset(seen)
        return self._reached[module]

    def _imported_by(self, module: str) -> frozenset[str]:
        """The modules that a module imports directly, or that define what it imports."""
        if module not in self._imported:
            source = self.read(module)
            self._imported[module] = frozenset(
                origin
                for target, word in (source.imports if source else ())
                for origin in self._origins(target, word)
            )
        return self._imported[module]

    def read(self, module: str) -> ModuleSource | None:
        """The source of a module; None where it cannot be found."""
        if module not in self._read:
            self._read[module] = None
            found = _find_source(module)
            if found is not None:
                # A file that cannot be parsed was edited since it was imported.
                with suppress(SyntaxError, RecursionError):
                    self._read[module] = read_source(*found)
        return self._read[module]

    def _origins(self, module: str, word: str | None) -> Iterator[str]:
        """The modules that define what ``from module import word`` gives."""
        if not _counts(module):
            return
        seen: set[tuple[str, str]] = set()
        while word not in (None, '*') and (module, word) not in seen:
            assert word is not None
            seen.add((module, word))
            if _is_module(f'{module}.{word}'):
                yield f'{module}.{word}'
                return
            source = self.read(module)
            if source is None or word not in source.exported:
                break
            module, word = source.exported[word]
        yield module

    def _digests(self, module: str) -> Mapping[str, str]:
        source = self.read(module)
        if _place(module) != 'package':
            if source is None:
                return {module: UNKNOWN}
            return {f'{module}:{name}': said for name, said in source.digests.items()}
        revision, digest = self._revisions.get(module, (1, ''))
        if source is not None and source.digest != digest:
            return {module: f'revision {revision}{EDITED}{source.digest}'}
        return {module: f'revision {revision}'} if revision > 1 else {}

    @cached_property
    def _revisions(self) -> Mapping[str, tuple[int, str]]:
        return read_revisions()


def read_revisions() -> dict[str, tuple[int, str]]:
    """Reads the revision of each module of this package, and the digest of its source."""
    if not REVISIONS_FILE.is_file():
        return {}
    content = json.loads(REVISIONS_FILE.read_text('utf-8'))
    return {
        name: (int(revision), str(said)) for name, (revision, said) in content.items()
    }


def write_revisions(revisions: Mapping[str, tuple[int, str]]) -> None:
    """Writes the file that :func:`read_revisions` reads, one line for each module."""
    lines = (
        f'{json.dumps(module)}: [{revision}, {json.dumps(said)}]'
        for module, (revision, said) in sorted(revisions.items())
    )
    with atomic_path(REVISIONS_FILE) as part:
        part.write_text('{\n' + ',\n'.join(lines) + '\n}\n', 'utf-8')


def package_digests() -> dict[str, str]:
    """Digest of the present source of every module of this package that changes results."""
    found, sources = {}, CodeDigests()
    for path in sorted(FOLDER.rglob('*.py')):
        parts = path.relative_to(FOLDER.parent).with_suffix('').parts
        module = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
        source = sources.read(module) if _counts(module) else None
        if source is not None:
            found[module] = source.digest
    return found


def settled(code: Mapping[str, str]) -> dict[str, str]:
    """Updates the digests of a record to the present revisions.

    A module of this package that was edited when the record was made may have got a
    revision since then without a further edit. Its digest is replaced by that revision,
    since the code is the same.
    """
    words = dict(code)
    edited = {m: said for m, said in code.items() if EDITED in said}
    revisions = read_revisions() if edited else {}
    for module, said in edited.items():
        revision, digest = revisions.get(module, (1, ''))
        if said.endswith(f'{EDITED}{digest}') and digest:
            del words[module]
            words |= {module: f'revision {revision}'} if revision > 1 else {}
    return words


def _callables(node: Any) -> Iterator[Any]:
    """Every class and function in a config, also those that ``type`` strings name."""
    if isinstance(node, Mapping):
        if isinstance(node.get('type'), str):
            yield find_type(node['type'])
        for value in node.values():
            yield from _callables(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _callables(value)
    elif isinstance(node, partial):
        yield node.func
    elif inspect.isclass(node) or inspect.isroutine(node):
        yield node


def _modules(given: Any) -> Iterator[str]:
    """Names of the modules that define a function, or a class and its base classes."""
    for each in inspect.getmro(given) if inspect.isclass(given) else (given,):
        module = getattr(each, '__module__', None)
        if isinstance(module, str):
            yield module


def _counts(module: str) -> bool:
    """Whether digests cover a module: a user's, or one of this package that changes results."""
    place = _place(module)
    if place != 'package':
        return place == 'user'
    parts = module.split('.')[1:]
    names = ('.'.join(parts[: i + 1]) for i in range(len(parts)))
    return bool(parts) and WITHOUT_RESULTS.isdisjoint(names)


def _place(module: str) -> str:
    """Origin of a module: 'package', 'library' or 'user'; 'nowhere' if none of these."""
    root = module.partition('.')[0]
    if root == PACKAGE:
        return 'package'
    if root in sys.stdlib_module_names:
        return 'nowhere'
    path = _file(root)
    if path is None:  # a notebook; or an optional module that is not installed
        return 'user' if root in sys.modules else 'nowhere'
    standard, *libraries = _installation()
    site = {'site-packages', 'dist-packages'}
    if not site.isdisjoint(path.parts) or any(p in path.parents for p in libraries):
        return 'library'
    return 'nowhere' if standard in path.parents else 'user'


@cache
def _installation() -> tuple[Path, ...]:
    """The folder of Python's own modules, and those of installed libraries."""
    paths = sysconfig.get_paths()
    return tuple(
        Path(paths[name]).resolve() for name in ('stdlib', 'purelib', 'platlib')
    )


def _spec(module: str) -> Any:
    """The import specification of a module; None if Python does not find the module."""
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, '__spec__', None) is not None:
        return loaded.__spec__
    if loaded is not None:
        return None
    try:
        return util.find_spec(module)
    except Exception:  # of a package of the user, which is imported for it
        return None


def _file(module: str) -> Path | None:
    """Path of a module's file, or of the folder of a package without ``__init__.py``."""
    spec = _spec(module)
    if spec is None:
        given = getattr(sys.modules.get(module), '__file__', None)
        return None if given is None else Path(given).resolve()
    if spec.origin and spec.origin not in ('built-in', 'frozen', 'namespace'):
        return Path(spec.origin).resolve()
    places = list(spec.submodule_search_locations or ())
    return Path(places[0]).resolve() if places else None


def _is_module(name: str) -> bool:
    if name.startswith(f'{PACKAGE}.'):
        path = FOLDER.joinpath(*name.split('.')[1:])
        return path.with_suffix('.py').is_file() or (path / '__init__.py').is_file()
    return name in sys.modules or _spec(name) is not None


def _find_source(module: str) -> tuple[str, str] | None:
    """Source text of a module, and the package to which its relative imports refer."""
    outer = module.rpartition('.')[0]
    if module.startswith(f'{PACKAGE}.'):
        file = FOLDER.joinpath(*module.split('.')[1:])
        if (file / '__init__.py').is_file():
            return (file / '__init__.py').read_text('utf-8'), module
        file = file.with_suffix('.py')
        return (file.read_text('utf-8'), outer) if file.is_file() else None
    spec, path = _spec(module), _file(module)
    with suppress(ImportError, OSError, UnicodeDecodeError, SyntaxError):
        if spec is not None and hasattr(spec.loader, 'get_source'):
            text = spec.loader.get_source(spec.name)
            inside = module if spec.submodule_search_locations is not None else outer
            return None if text is None else (text, inside)
        if path is not None and path.suffix == '.py':
            return path.read_text('utf-8'), outer
    return None


def _version(module: str) -> dict[str, str]:
    """Name and version of the installed distribution that contains a module."""
    root = module.partition('.')[0]
    if root in BASE_LIBRARIES:
        return {}
    names: Iterable[str] = metadata.packages_distributions().get(root, ())
    return {f'library {name}': metadata.version(name) for name in sorted(set(names))}
