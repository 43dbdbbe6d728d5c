"""Names of a model's classes, and the choice of those to explain."""

from __future__ import annotations

from collections.abc import Sequence

from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import Tensor

from wsss_plugins.classifiers import TimmClassifier, WSSSClassifier
from wsss_plugins.errors import ConfigError, near_names


def class_names(model: WSSSClassifier) -> Sequence[str]:
    """The names of the classes of a model.

    Returns:
        The names of the data set that the model was trained on. For a timm model with
        the number of classes of an ImageNet set, its descriptions, such as ``'goldfish,
        Carassius auratus'``. An empty sequence for other models.
    """
    if model.class_names:
        return model.class_names
    size = {'num_classes': model.num_classes}
    subset = infer_imagenet_subset(size) if isinstance(model, TimmClassifier) else None
    return tuple(ImageNetInfo(subset).label_descriptions()) if subset else ()


def choose_classes(
    wanted: Sequence[int | str] | None,
    top: int,
    probabilities: Tensor,
    names: Sequence[str],
) -> list[int]:
    """Ids of the classes to explain, without repetition.

    Args:
        wanted: Ids or names, of which one of several synonyms is enough; None for the
            ``top`` most probable classes.
        top: Number of classes if ``wanted`` is None.
        probabilities: ``(C,)``.
        names: Of all classes, or nothing; synonyms are separated by commas.

    Raises:
        ConfigError: ``wanted`` is empty, an id is out of range, or a name is unknown or
            belongs to several classes.
    """
    count = len(probabilities)
    if wanted is None:
        if not 1 <= top <= count:
            raise ConfigError(
                f'the {top} most probable classes were asked for: the model has {count}, '
                f'give a number from 1 to {count}'
            )
        return probabilities.topk(top).indices.tolist()
    if not wanted:
        raise ConfigError(
            'no classes to explain: give names or ids, or leave them out for the most '
            'probable'
        )
    return class_ids(wanted, count, names)


def class_ids(
    wanted: Sequence[int | str], count: int, names: Sequence[str]
) -> list[int]:
    """Ids of classes, without repetition.

    Args:
        wanted: Ids or names, of which one of several synonyms is enough.
        count: Number of all classes.
        names: Of all classes, or nothing; synonyms are separated by commas.

    Raises:
        ConfigError: An id is out of range, a name is unknown or belongs to several
            classes, or ``wanted`` is one text in place of a list.
    """
    if isinstance(wanted, str):
        raise ConfigError(
            f"classes must be a list of names or ids, not the text '{wanted}': give "
            f"['{wanted}']"
        )
    return list(dict.fromkeys(_class_id(word, count, names) for word in wanted))


def _class_id(word: int | str, count: int, names: Sequence[str]) -> int:
    text = str(word).strip()
    if text.lstrip('-').isdecimal():
        if not 0 <= int(text) < count:
            raise ConfigError(
                f'class {text} is out of range: the model has {count} classes, '
                f'0 to {count - 1}'
            )
        return int(text)
    if not names:
        raise ConfigError(
            f"class '{text}' cannot be found, since the names of this model's classes "
            f'are not known: give ids from 0 to {count - 1}, or the names'
        )
    return _class_of_name(text, names)


def _class_of_name(text: str, names: Sequence[str]) -> int:
    known: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        for synonym in {
            name.lower(),
            *(part.strip().lower() for part in name.split(',')),
        }:
            known.setdefault(synonym, []).append(i)
    found = known.get(text.lower(), [])
    if not found:
        raise ConfigError(f"unknown class '{text}': {near_names(text, known)}")
    if len(found) > 1:
        ids = ', '.join(f"{i} ('{names[i]}')" for i in found)
        raise ConfigError(f"class '{text}' is one of several, give its id: {ids}")
    return found[0]


def first_synonym(name: str) -> str:
    """``'goldfish'`` of ``'goldfish, Carassius auratus'``."""
    return name.split(',')[0]
