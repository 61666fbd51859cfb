"""Taking a backup, and putting one back."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from boto3.exceptions import Boto3Error
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
#: What stores, S3 and disks raise.
_FAILURES = (PyMongoError, ClientError, BotoCoreError, Boto3Error, OSError)


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
    except OSError as error:
        raise BackupError(_line(error)) from error
    try:
        manifest = _take(settings, backup, now, objects=objects, say=say)
        write_manifest(backup, manifest)
    except (BackupError, KeyboardInterrupt, *_FAILURES) as error:
        # What was copied of the objects stays, for the next one.
        shutil.rmtree(backup, ignore_errors=True)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise BackupError(_line(error)) from error
    return backup.name, manifest


def _take(settings: Settings, backup: Path, now: datetime, *, objects: bool, say: Say) -> Manifest:
    """All but the manifest, which makes a backup of it."""
    with documents.opened(settings.mongo.url, settings.mongo.database) as database:
        server = str(database.command("buildInfo")["version"])
        say(f"documents of {database.name}")
        parts, how = documents.dump(database, backup)
    copied, vanished = None, 0
    if objects:
        say(f"objects of {settings.s3.bucket}")
        copied, vanished = _bucket(settings.s3, backup.parent).dump(backup)
    return Manifest(
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
    try:
        objects = _bucket(settings.s3, folder) if manifest.objects else None
        _require_whole(backup, manifest, objects)
        with documents.opened(settings.mongo.url, settings.mongo.database) as database:
            if there := documents.occupied(database):
                raise BackupError(
                    f"the database {database.name} is not empty ({no_more_than(there)}): stop every process, "
                    "and name one that is by STOCKYARD_MONGO_DATABASE, or empty it"
                )
            if objects:  # before the first document: it shows whether S3 is there
                objects.prepare()
            with _half_done(database.name, say):
                return _restore(database, backup, manifest, objects, say)
    except _FAILURES as error:
        raise BackupError(_line(error)) from error


def _require_whole(backup: Path, manifest: Manifest, objects: Objects | None) -> None:
    if broken := damaged(backup, manifest):
        raise BackupError(f"{backup} is damaged: {no_more_than(broken)}")
    if objects and (lost := objects.damaged(backup)):
        raise BackupError(f"{backup} lacks the bytes of {no_more_than(lost)}, or has others")


def _restore(
    database: documents.Documents, backup: Path, manifest: Manifest, objects: Objects | None, say: Say
) -> Restored:
    count = put = 0
    for collection in manifest.documents:
        say(f"documents of {collection}")
        count += documents.load(database, collection, backup / STORE / f"{collection}.bson.gz")
    if objects:
        say(f"objects of {objects.bucket}")
        put = objects.load(backup)
    return Restored(backup.name, count, put)


@contextmanager
def _half_done(database: str, say: Say) -> Iterator[None]:
    """Says of what ends in the middle that it does."""
    told = f"the database {database} has a part of the backup by now: empty it before another try"
    try:
        yield
    except (BackupError, *_FAILURES) as error:
        raise BackupError(f"{_line(error)}; {told}") from error
    except KeyboardInterrupt:
        say(told)
        raise


def _bucket(settings: S3, folder: Path) -> Objects:
    return Objects(settings, folder)


def _line(error: Exception) -> str:
    return str(error).split(", Timeout:", maxsplit=1)[0].splitlines()[0] or type(error).__name__
