"""How a backup lies on disk, and whether it is whole."""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

#: Of this layout. One that is newer is refused.
FORMAT = 1
MANIFEST, INDEX, STORE, OBJECTS = "manifest.json", "objects.json.gz", "store", "objects"
#: gzip: most of what it can do, at a third of its time.
LEVEL = 3
#: Bytes that are read in one go.
CHUNK = 1 << 20


class BackupError(Exception):
    """What was asked cannot be done; the message is one line that says why."""


class Sink(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> Any:
        """As of a file."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a backup: what it holds, and the checksum of its bytes on disk."""

    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is made of."""

    format: int
    #: Of Stockyard and of the store, when it was taken.
    version: str
    server: str
    database: str
    bucket: str | None
    taken_at: str
    #: How its documents belong together: `snapshot` (of one moment, by the server's cluster time) or
    #: `transaction` (of one moment, by a transaction).
    consistency: str
    #: By collection.
    documents: Mapping[str, Part]
    objects: Part | None
    #: Objects that had vanished between their listing and their copy.
    vanished: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)


class _Hashed:
    """A file that knows the checksum of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def checksum(self) -> str:
        return self._digest.hexdigest()


class Writer:
    """Writes one compressed file; `part` is known once it is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        self.part: Part | None = None

    @contextmanager
    def open(self) -> Iterator[Sink]:
        """Durable once it is left."""
        with self._path.open("wb") as raw:
            hashed = _Hashed(raw)
            with gzip.GzipFile("", "wb", LEVEL, hashed, mtime=0) as packed:
                yield packed
            raw.flush()
            os.fsync(raw.fileno())
            self.part = Part(self.count, hashed.size, hashed.checksum())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Makes the folder a backup, at once and for good."""
    fresh = folder / (MANIFEST + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(manifest.as_dict(), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupError where there is none, or one of a newer layout."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackupError(f"{folder} is no backup: it has no {MANIFEST}") from None
    except ValueError as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error}") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise BackupError(f"{folder} was made by another version of Stockyard, see its {MANIFEST}")
    try:
        parts = {name: Part(**part) for name, part in told.pop("documents").items()}
        objects = told.pop("objects")
        return Manifest(**told, documents=parts, objects=Part(**objects) if objects else None)
    except (AttributeError, KeyError, TypeError) as error:
        raise BackupError(f"{folder / MANIFEST} is damaged, or of another version: {error}") from None


def backups(folder: Path) -> list[Path]:
    """The whole backups of a folder, the newest last."""
    return sorted(each.parent for each in folder.glob(f"*/{MANIFEST}"))


def damaged(folder: Path, manifest: Manifest) -> list[str]:
    """The files that are missing or are not as they were written."""
    parts = {f"{STORE}/{name}.bson.gz": part for name, part in manifest.documents.items()}
    if manifest.objects is not None:
        parts[INDEX] = manifest.objects
    return [name for name, part in sorted(parts.items()) if checksum(folder / name) != part.sha256]


def checksum(path: Path) -> str | None:
    """SHA-256 of the file, in hex; None where there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Of a compressed file with a JSON object on each."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def no_more_than(names: Sequence[str], most: int = 3) -> str:
    """The first few, for people."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
