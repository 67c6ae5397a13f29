"""From plain data to frozen dataclasses and back, with errors a person can act on; used by `recipe`.

YAML gives mappings, lists and scalars. Each is held against the type of the field it is for: a misspelt key names the
nearest one, a wrong type says what was given and what is wanted, and always under the key's full dotted name.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from videollama2.errors import RequestError

T = TypeVar("T")
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def read_yaml(path: Path, where: str) -> dict[str, Any]:
    """The mapping a YAML file holds.

    Raises:
        RequestError: If it cannot be read, is no YAML, no mapping, or names a key twice.
    """
    import yaml

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _loader())
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{where} cannot be read ({error}); check the file.") from error
    except yaml.YAMLError as error:
        raise RequestError(f"{where} is not valid YAML ({' '.join(str(error).split())}); correct it.") from error
    if not isinstance(content, dict):
        raise RequestError(f"{where} is no recipe: a recipe is a mapping of keys such as name, model, train.")
    return content


@cache
def _loader() -> Any:
    """yaml.SafeLoader that refuses a key given twice: the first one would be lost in silence."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = [key for key in keys if keys.count(key) > 1]
            if twice:
                raise yaml.YAMLError(f"the key {twice[0]!r} is there twice, line {node.start_mark.line + 1} and below")
            return super().construct_mapping(node, deep)

    return Loader


def read_dataclass(cls: type[T], value: Any, key: str) -> T:
    """An instance of a dataclass from a mapping.

    Args:
        cls: The dataclass. A field `from_` is the key `from`.
        value: The mapping.
        key: Dotted name of the mapping in the file, empty at the top.

    Raises:
        RequestError: An unknown or missing key, a wrong type, or what the dataclass itself refuses.
    """
    if not isinstance(value, Mapping):
        raise RequestError(f"{key} is {_show(value)}; give a mapping with {', '.join(keys_of(cls))}.")
    known = keys_of(cls)
    hints = typing.get_type_hints(cls)
    given: dict[str, Any] = {}
    for name, item in value.items():
        if name not in known:
            raise RequestError(
                f"unknown key {_dotted(key, name)}{nearest(str(name), known, key)}; known: {_list(known)}."
            )
        attribute = known[name].name
        given[attribute] = read_value(hints[attribute], item, _dotted(key, name))
    for name, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and item.name not in given:
            raise RequestError(f"{_dotted(key, name)} is missing; every recipe needs it.")
    try:
        return cls(**given)
    except RequestError as error:
        raise error if not key or key in str(error) else RequestError(f"{key}: {error}") from error


def read_value(hint: Any, value: Any, key: str) -> Any:
    """A value of a field's type.

    Raises:
        RequestError: The value is of another type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return read_value(next(a for a in arguments if a is not type(None)), value, key)
    if is_dataclass(hint):
        # A learning rate alone stands for a part that is trained with it.
        if "lr" in keys_of(hint) and not isinstance(value, Mapping):
            value = {"lr": read_value(float, value, key)}
        assert isinstance(hint, type)
        return read_dataclass(hint, value, key)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise RequestError(f"{key} is {_show(value)}; give a mapping.")
        # null takes a key away that the recipe beneath has.
        return {str(k): read_value(arguments[1], v, _dotted(key, k)) for k, v in value.items() if v is not None}
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise RequestError(f"{key} is {_show(value)}; give a list.")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise RequestError(f"{key} has {len(value)} values; give {len(arguments)}.")
        return tuple(read_value(arguments[0], item, f"{key}.{i}") for i, item in enumerate(value))
    return _read_scalar(hint, value, key)


def _read_scalar(kind: type, value: Any, key: str) -> Any:
    if kind is float and isinstance(value, str):
        # YAML takes 1e-3 (without a point) for text.
        try:
            return float(value)
        except ValueError:
            raise RequestError(f"{key} is {_show(value)}; give {_NAMES[kind]}.") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if type(value) is not kind:
        raise RequestError(f"{key} is {_show(value)}; give {_NAMES[kind]}.")
    return value


def merge(beneath: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two plain mappings as one: mappings join key by key, anything else above replaces what is beneath."""
    result = dict(beneath)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return result


def read_overrides(
    content: Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any], cls: type
) -> dict[str, Any]:
    """Plain data with single values changed.

    Args:
        content: As read from a file.
        overrides: `key=value` words, or dotted key -> value (text is then taken as it is).
        cls: Dataclass the content is for, for the names of keys.

    Raises:
        RequestError: A word without `=`, or a key that leads nowhere.
    """
    import yaml

    if isinstance(overrides, Mapping):
        pairs = [(str(key), value) for key, value in overrides.items()]
    else:
        pairs = []
        for word in overrides:
            key, found, text = word.partition("=")
            if not (key and found):
                raise RequestError(f"{word!r} is not key=value; for example schedule.epochs=2.")
            try:
                pairs.append((key.strip(), yaml.safe_load(text) if text else ""))
            except yaml.YAMLError as error:
                raise RequestError(f"{word!r}: the value is not valid YAML; put it in quotes.") from error
    result: Any = _copy(content)
    for key, value in pairs:
        _set(result, key, value, cls)
    return result


def _set(content: Any, key: str, value: Any, cls: type) -> None:
    """Sets a dotted key, making mappings on the way and lists where the next word is a number."""
    words = key.split(".")
    if words[0] not in keys_of(cls):
        raise RequestError(f"unknown key {key}{nearest(words[0], keys_of(cls))}; known: {_list(keys_of(cls))}.")
    place = content
    for depth, word in enumerate(words):
        last = depth + 1 == len(words)
        if isinstance(place, list):
            if not word.isdigit() or int(word) > len(place):
                raise RequestError(f"{key}: {word!r} is no place in a list of {len(place)}; use 0 to {len(place)}.")
            index: Any = int(word)
            if index == len(place):
                place.append(None)
            old = place[index]
        else:
            index = word
            old = place.get(word)
        if last:
            place[index] = value
            return
        if not isinstance(old, (dict, list)):
            # A learning rate alone becomes a mapping when something is said beside it.
            lone_rate = depth == 1 and words[0] == "train" and isinstance(old, (int, float, str))
            old = [] if words[depth + 1].isdigit() else ({"lr": old} if lone_rate else {})
            place[index] = old
        place = old


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value


def plain(value: Any) -> Any:
    """Mappings, lists and scalars of a dataclass instance, under the keys of the file."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name.rstrip("_"): plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def keys_of(cls: Any) -> dict[str, Any]:
    """Key in the file -> field of a dataclass."""
    return {item.name.rstrip("_"): item for item in fields(cls)}


def nearest(word: str, known: Iterable[str], key: str = "") -> str:
    """`; did you mean X?` with the nearest of the known words, or nothing where none is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {_dotted(key, found[0])}?)" if found else ""


def _dotted(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _list(known: Iterable[str]) -> str:
    return ", ".join(known)


def _show(value: Any) -> str:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def between(key: str, value: float, low: float, high: float) -> None:
    """Refuses a number outside low..high, both included."""
    if not low <= value <= high:
        raise RequestError(f"{key} is {value}; choose a number from {low:g} to {high:g}.")


def positive(key: str, value: float) -> None:
    """Refuses a number that is not above 0."""
    if not (math.isfinite(value) and value > 0):
        raise RequestError(f"{key} is {value}; choose a number above 0.")


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuses a word that is not among the allowed ones."""
    if value not in allowed:
        raise RequestError(f"{key} is {value!r}{nearest(value, allowed)}; choose one of {', '.join(allowed)}.")
