"""Taking a backup, and putting one back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from pymongo.errors import PyMongoError

from domain.settings import S3, Settings
from ops.backup import documents
from ops.backup.layout import (
    FORMAT,
    STORE,
    BackupError,
    Manifest,
    backups,
    damaged,
    no_more_than,
    read_manifest,
    write_manifest,
)
from ops.backup.objects import Objects

#: Told what is being done.
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back."""

    backup: str
    documents: int
    objects: int


def taken(folder: Path) -> list[tuple[str, Manifest]]:
    """The whole backups of a folder, the newest last."""
    return [(each.name, read_manifest(each)) for each in backups(folder)]


def create(
    settings: Settings, folder: Path, *, objects: bool = True, say: Say = print
) -> tuple[str, Manifest]:
    """Backs everything up into a new folder in `folder`, while the platform works. Its name and manifest.

    Documents are those of one moment. Objects are copied after them, so none is missing that they name,
    but for those that were deleted meanwhile. Raises BackupError; what was begun is then no backup.
    """
    now = datetime.now(UTC)
    backup = folder / f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}Z"
    try:
        backup.mkdir(parents=True)
        with documents.opened(settings.mongo.url, settings.mongo.database) as database:
            server = str(database.command("buildInfo")["version"])
            say(f"documents of {database.name}")
            parts, how = documents.dump(database, backup)
        copied = None
        vanished = 0
        if objects:
            say(f"objects of {settings.s3.bucket}")
            copied, vanished = _bucket(settings.s3, folder).dump(backup)
    except (PyMongoError, ClientError, BotoCoreError, OSError) as error:
        raise BackupError(_line(error)) from error
    manifest = Manifest(
        format=FORMAT,
        version=version("stockyard"),
        server=server,
        database=settings.mongo.database,
        bucket=settings.s3.bucket if objects else None,
        taken_at=now.isoformat(timespec="milliseconds"),
        consistency=how,
        documents=parts,
        objects=copied,
        vanished=vanished,
    )
    write_manifest(backup, manifest)
    return backup.name, manifest


def restore(settings: Settings, folder: Path, *, name: str | None = None, say: Say = print) -> Restored:
    """Puts a backup of `folder` back, the newest by default, into a database that has nothing.

    Looks first whether the backup is whole. Raises BackupError; where that was in the middle, the database
    has to be emptied before another try. Objects are put back where the bucket has not the same.
    """
    found = backups(folder)
    if not found:
        raise BackupError(f"there is no backup in {folder}")
    backup = folder / name if name else found[-1]
    manifest = read_manifest(backup)
    objects = _bucket(settings.s3, folder) if manifest.objects else None
    if broken := damaged(backup, manifest):
        raise BackupError(f"{backup} is damaged: {no_more_than(broken)}")
    if objects and (gone := objects.missing(backup)):
        raise BackupError(f"{backup} lacks the bytes of {no_more_than(gone)}")
    count = put = 0
    try:
        with documents.opened(settings.mongo.url, settings.mongo.database) as database:
            if there := documents.occupied(database):
                raise BackupError(
                    f"the database {database.name} is not empty ({no_more_than(there)}): stop every process, "
                    "and name one that is by STOCKYARD_MONGO_DATABASE, or empty it"
                )
            for collection in manifest.documents:
                say(f"documents of {collection}")
                count += documents.load(database, collection, backup / STORE / f"{collection}.bson.gz")
        if objects:
            say(f"objects of {objects.bucket}")
            put = objects.load(backup)
    except (PyMongoError, ClientError, BotoCoreError, OSError) as error:
        raise BackupError(_line(error)) from error
    return Restored(backup.name, count, put)


def _bucket(settings: S3, folder: Path) -> Objects:
    return Objects(settings, folder)


def _line(error: Exception) -> str:
    return str(error).split(", Timeout:", maxsplit=1)[0].splitlines()[0] or type(error).__name__
