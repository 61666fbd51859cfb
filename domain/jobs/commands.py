"""What a job is told to do: one frozen model per kind, known by its kind."""

from typing import Any, ClassVar

from domain.values import Value

_KINDS: dict[str, type["Command"]] = {}


class Command(Value):
    """Base of commands. A subclass names its `kind` (`feature.verb`, also the actor's name) and its `pool`.

    >>> class Greet(Command):
    ...     kind = "greetings.send"
    ...     pool = "notifications"
    ...     name: str
    """

    kind: ClassVar[str]
    pool: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Registers the kind. Two commands of one kind are a mistake in the code."""
        super().__init_subclass__(**kwargs)
        known = _KINDS.setdefault(cls.kind, cls)
        if known.__qualname__ != cls.__qualname__:
            msg = f"{cls.kind} is both {known.__qualname__} and {cls.__qualname__}"
            raise TypeError(msg)

    def payload(self) -> dict[str, Any]:
        """The JSON form that the ledger keeps."""
        return self.model_dump(mode="json", exclude_none=True)


def pools() -> list[str]:
    """Every pool that there are commands for."""
    return sorted({command.pool for command in _KINDS.values()})


def kinds() -> dict[str, type[Command]]:
    """Every known kind with its command."""
    return dict(_KINDS)
