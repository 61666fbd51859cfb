"""What a job is told to do: one frozen model per kind, known by its kind."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeAlias

from domain.values import Value

_KINDS: dict[str, type["Command"]] = {}
#: Between a kind and the version of its payload, where that is not the first.
_AT = "@"

#: Makes the payload of one version one of the next.
Upgrade: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


class NewerPayload(Exception):
    """The payload has a form that this process does not know: a newer one has written it."""

    def __init__(self, kind: str, version: int) -> None:
        super().__init__(f"{kind} in version {version} is newer than this process")


class Command(Value):
    """Base of commands. A subclass names its `kind` (`feature.verb`, also the actor's name) and its `pool`.

    >>> class Greet(Command):
    ...     kind = "greetings.send"
    ...     pool = "notifications"
    ...     name: str
    """

    kind: ClassVar[str]
    pool: ClassVar[str]
    #: Of the payload's form. Raise it where an older worker could not read what is written now.
    version: ClassVar[int] = 1
    #: By the version that each takes: one for every version below this one, for what waits in the ledger.
    upgrades: ClassVar[Mapping[int, Upgrade]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Registers the kind. Two commands of one kind are a mistake in the code."""
        super().__init_subclass__(**kwargs)
        if set(cls.upgrades) != set(range(1, cls.version)):
            msg = f"{cls.kind} is at version {cls.version} and upgrades {sorted(cls.upgrades)}"
            raise TypeError(msg)
        known = _KINDS.setdefault(cls.kind, cls)
        if known.__qualname__ != cls.__qualname__:
            msg = f"{cls.kind} is both {known.__qualname__} and {cls.__qualname__}"
            raise TypeError(msg)

    @classmethod
    def upgraded(cls, payload: Mapping[str, Any], *, version: int) -> dict[str, Any]:
        """The payload of a stored job, in today's form. Raises NewerPayload."""
        if version > cls.version:
            raise NewerPayload(cls.kind, version)
        found = dict(payload)
        for step in range(version, cls.version):
            found = cls.upgrades[step](found)
        return found

    @classmethod
    def load(cls, payload: Mapping[str, Any], *, version: int) -> Self:
        """The command of a stored job. Raises NewerPayload."""
        return cls.model_validate(cls.upgraded(payload, version=version))

    def payload(self) -> dict[str, Any]:
        """The JSON form that the ledger keeps."""
        return self.model_dump(mode="json", exclude_none=True)


def pools() -> list[str]:
    """Every pool that there are commands for."""
    return sorted({command.pool for command in _KINDS.values()})


def kinds() -> dict[str, type[Command]]:
    """Every known kind with its command."""
    return dict(_KINDS)


def pool_of(kind: str) -> str | None:
    """The pool that jobs of the kind are for; None where nobody knows the kind."""
    command = _KINDS.get(kind)
    return command.pool if command else None


def versioned_kind(kind: str, version: int) -> str:
    """What a message calls a kind: `orders.place`, and `orders.place@2` where its payload is in version 2.

    So a worker that knows no version 2 sees a kind that it does not know, and leaves the job to others.
    """
    return kind if version == 1 else f"{kind}{_AT}{version}"


def plain_kind(name: str) -> str:
    """The kind, whatever the version."""
    return name.partition(_AT)[0]
