"""Frozen dataclass configs: to and from JSON, a stable hash, and strict typed overrides.

A config is a tree of frozen dataclasses. In JSON each becomes {"kind": class name, field: value, ...}; a field that
admits several classes (a union) is read back by its kind.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import types
import typing
from typing import Any

from repro.errors import ReproError


def to_dict(config: Any) -> Any:
    """Nested plain data, fit for JSON; tuples become lists."""
    if dataclasses.is_dataclass(config):
        fields = {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
        return {"kind": type(config).__name__, **fields}
    if isinstance(config, tuple | list):
        return [to_dict(item) for item in config]
    if isinstance(config, dict):
        return {key: to_dict(value) for key, value in config.items()}
    return config


def config_hash(config: Any) -> str:
    """12 hex digits of the SHA-256 of the config's canonical JSON: the identity of a run."""
    canonical = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def from_dict(annotation: Any, data: Any, where: str = "config") -> Any:
    """Rebuild a value of type `annotation` from `to_dict`'s output.

    Raises ReproError, naming the place, for an unknown kind, a missing or unknown field, or a value of the wrong type.
    """
    if dataclasses.is_dataclass(annotation) or _dataclass_options(annotation):
        if not isinstance(data, dict) or "kind" not in data:
            if data is None and type(None) in typing.get_args(annotation):
                return None
            raise ReproError(f"{where}: expected an object with a 'kind', got {data!r}")
        options = {cls.__name__: cls for cls in (_dataclass_options(annotation) or (annotation,))}
        if data["kind"] not in options:
            raise ReproError(f"{where}: unknown kind {data['kind']!r}; choose from {', '.join(sorted(options))}")
        cls = options[data["kind"]]
        hints = typing.get_type_hints(cls)
        names = {f.name for f in dataclasses.fields(cls)}
        unknown = set(data) - names - {"kind"}
        missing = names - set(data)
        if unknown or missing:
            raise ReproError(
                f"{where}: {data['kind']} has unknown fields {sorted(unknown)} and lacks {sorted(missing)}; "
                "it was written by another version of the code"
            )
        return _checked(where, cls, **{name: from_dict(hints[name], data[name], f"{where}.{name}") for name in names})
    return check_type(annotation, data, where)


def check_type(annotation: Any, value: Any, where: str) -> Any:
    """The value as `annotation` wants it (an int becomes a float, a list a tuple); ReproError if it does not fit."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return check_type(option, value, where)
            except ReproError:
                continue
    elif origin is tuple and isinstance(value, list | tuple):
        item_types = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else list(args)
        if len(item_types) == len(value):
            return tuple(
                check_type(t, v, f"{where}[{i}]") for i, (t, v) in enumerate(zip(item_types, value, strict=True))
            )
    elif origin is typing.Literal:
        if value in args:
            return value
    elif annotation is typing.Any:
        return value
    elif annotation is type(None):
        if value is None:
            return None
    elif annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:
            return float(value)
        raise ReproError(f"{where}: {value!r} is not a finite number")
    elif isinstance(annotation, type) and isinstance(value, annotation):
        if not (annotation is int and isinstance(value, bool)):
            return value
    expected = getattr(annotation, "__name__", None) if origin is None else str(annotation)
    raise ReproError(f"{where}: {value!r} is not of type {expected or annotation}")


def at_least_one(where: str, config: Any, *names: str) -> None:
    """ReproError, naming the setting after `where` ("training."), if one of the named fields is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ReproError(f"{where}{name} is {getattr(config, name)}; give 1 or more")


def override(config: Any, assignments: list[str] | tuple[str, ...] | dict[str, Any]) -> Any:
    """A copy with dotted fields replaced: "training.updates=10" or {"training.updates": 10}.

    Values given as text are read as JSON where they are JSON (10, 0.5, true, null, [1, 2]) and as plain text otherwise.
    Where a field admits several kinds, "policy.kind=CheckpointConfig" chooses another, with its own defaults for what
    is not set beside it. Raises ReproError for a malformed assignment, an unknown field (naming the known ones) or a
    value of the wrong type.
    """
    if not isinstance(assignments, dict):
        pairs = {}
        for text in assignments:
            key, sep, value = text.partition("=")
            if not sep or not key.strip():
                raise ReproError(f"--set {text!r}: write it as key=value, for example training.updates=10")
            try:
                pairs[key.strip()] = json.loads(value)
            except json.JSONDecodeError:
                pairs[key.strip()] = value
        assignments = pairs
    return _replace(config, [(key.split("."), value, key) for key, value in assignments.items()])


def _replace(config: Any, assignments: list[tuple[list[str], Any, str]], options: tuple[type, ...] = ()) -> Any:
    """All of a dataclass's assignments (path, value, whole key) in one step, so that no half-changed one is judged.

    `options` are the classes that may stand in its place: an assignment to "kind" chooses one.
    """
    kinds = {cls.__name__: cls for cls in options}
    cls = type(config)
    for path, value, _ in assignments:
        cls = kinds.get(str(value), cls) if path == ["kind"] else cls
    new = cls is not type(config)
    names = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    hints = typing.get_type_hints(cls) if names else {}
    whole: dict[str, Any] = {}
    inner: dict[str, list[tuple[list[str], Any, str]]] = {}
    for path, value, key in assignments:
        if path == ["kind"] and str(value) in kinds:
            continue
        if path[0] not in names:
            raise ReproError(f"unknown setting {key!r}: {_unknown(path, key, cls, names, kinds)}")
        if len(path) > 1:
            inner.setdefault(path[0], []).append((path[1:], value, key))
        else:
            whole[path[0]] = _typed(hints[path[0]], value, key)
    for name, parts in inner.items():
        held = whole.get(name, getattr(cls if new else config, name, None))
        whole[name] = _replace(held, parts, _dataclass_options(hints[name]))
    where = ", ".join(key for _, _, key in assignments)
    return _checked(where, cls, **whole) if new else _checked(where, dataclasses.replace, config, **whole)


def _unknown(path: list[str], key: str, cls: type, names: list[str], kinds: dict[str, type]) -> str:
    """Why a setting names no field, and which other kind has it."""
    if path == ["kind"] and kinds:
        return f"choose from {', '.join(kinds)}"
    place = key.removesuffix(".".join(path))
    having = [name for name, other in kinds.items() if path[0] in other.__dataclass_fields__]
    remedy = f"; {' or '.join(having)} has it: set {place}kind={having[0]} as well" if having else ""
    return (
        f"{cls.__name__} has no field {path[0]!r} (fields: {', '.join(names) or 'none: it is a plain value'}){remedy}"
    )


def _typed(annotation: Any, value: Any, key: str) -> Any:
    options = _dataclass_options(annotation) or (annotation,)
    if dataclasses.is_dataclass(value) and type(value) in options:
        return value
    if any(dataclasses.is_dataclass(option) for option in options):
        return from_dict(annotation, value, key)
    return check_type(annotation, value, key)


def _checked(where: str, make: Any, *args: Any, **fields: Any) -> Any:
    """A dataclass made of values of the right type, which it may still refuse."""
    try:
        return make(*args, **fields)
    except ValueError as error:
        raise ReproError(f"{where}: {error}") from error


def _dataclass_options(annotation: Any) -> tuple[type, ...]:
    """The dataclasses among a union's members; empty if there are none."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return ()
    return tuple(arg for arg in typing.get_args(annotation) if dataclasses.is_dataclass(arg))
