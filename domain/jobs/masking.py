"""What is secret in a command is never shown: fields marked `SECRET`. Pure."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from domain.jobs.commands import kinds

#: What stands in place of a secret.
MASK = "***"


class Secret:
    """Marks a command's field: `source: Annotated[str, SECRET]`."""


SECRET = Secret()


def masked(kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """A stored payload as it may be shown. Of a kind that this process does not know all is masked."""
    return _shown(kinds().get(kind), payload)


def _shown(model: type[BaseModel] | None, value: Mapping[str, Any]) -> dict[str, Any]:
    fields = model.model_fields if model else {}
    return {
        name: _part(fields[name].annotation, fields[name].metadata, part) if name in fields else MASK
        for name, part in value.items()
    }


def _part(annotation: Any, metadata: list[Any], value: Any) -> Any:
    if any(isinstance(mark, Secret) for mark in [*metadata, *_marks(annotation)]):
        return MASK
    model = next(_models(annotation), None)
    if model is None:
        return value
    if isinstance(value, Mapping):
        return _shown(model, value)
    if isinstance(value, list):
        return [_shown(model, each) if isinstance(each, Mapping) else each for each in value]
    return value


def _marks(annotation: Any) -> Iterator[Any]:
    """The metadata of every `Annotated` inside."""
    yield from getattr(annotation, "__metadata__", ())
    for inner in get_args(annotation):
        yield from _marks(inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    parts = get_args(annotation)
    for inner in parts[:1] if get_origin(annotation) is Annotated else parts:
        yield from _models(inner)
