"""`stockyard backup`: documents and objects, out and back."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from domain.bootstrap import open_services
from domain.errors import DomainError
from domain.observe import configure_logging
from domain.settings import Log, Settings
from ops.backup import BackupError, Manifest, create, restore, taken
from ops.cli.shared import AsJson, Yes, confirm, end, read_settings, sentence, show, table

app = typer.Typer(help="Backups of MongoDB and S3.", no_args_is_help=True)

#: How long the indexes of what was restored may take.
INDEXING = timedelta(hours=2)

Folder = Annotated[Path, typer.Argument(help="Where the backups are.", show_default=False)]


@app.command("create")
def create_(
    folder: Folder,
    *,
    documents_only: Annotated[bool, typer.Option("--documents-only", help="Leave S3 out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Back up all documents as of one moment, then the objects that the folder has not yet."""
    try:
        name, manifest = create(read_settings(), folder, objects=not documents_only, say=_say)
    except BackupError as error:
        end(str(error))
    show({"backup": name, **manifest.as_dict()}, _text(name, manifest), as_json=as_json)


@app.command("restore")
def restore_(
    folder: Folder,
    *,
    backup: Annotated[
        str | None, typer.Option("--backup", help="Which; the newest else.", show_default=False)
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup back into a database that is empty, and its objects where they are missing; asks first."""
    configure_logging(Log(format="console", level="ERROR"))
    settings = read_settings()
    confirm(f"Restore into {settings.mongo.database}, bucket {settings.s3.bucket}?", yes=yes)
    try:
        restored = restore(settings, folder, name=backup, say=_say)
        _say("indexes")
        asyncio.run(_open(settings))
    except BackupError as error:
        end(str(error))
    except DomainError as error:
        end(f"all is restored, and nothing starts on it yet: {sentence(error)}")
    told = {"backup": restored.backup, "documents": restored.documents, "objects": restored.objects}
    text = f"{restored.documents} documents and {restored.objects} objects of {restored.backup}"
    show(told, text, as_json=as_json)


@app.command("list")
def list_(folder: Folder, *, as_json: AsJson = False) -> None:
    """List the whole backups of a folder."""
    try:
        found = taken(folder)
    except BackupError as error:
        end(str(error))
    rows = [
        (name, each.database, _documents(each), each.objects.count if each.objects else None, each.version)
        for name, each in found
    ]
    columns = ("backup", "database", "documents", "objects", "version")
    result = {"backups": [{"backup": name, **each.as_dict()} for name, each in found]}
    show(result, table(columns, rows), as_json=as_json)


async def _open(settings: Settings) -> None:
    """Makes the indexes, and shows that the platform can start on what was restored."""
    # Indexes of many documents take longer than any other operation may.
    patient = settings.mongo.model_copy(update={"timeout": INDEXING})
    async with open_services(settings.model_copy(update={"mongo": patient})):
        pass


def _documents(manifest: Manifest) -> int:
    return sum(part.count for part in manifest.documents.values())


def _text(name: str, manifest: Manifest) -> str:
    objects = f"{manifest.objects.count} objects" if manifest.objects else "no objects"
    return f"{name}: {_documents(manifest)} documents by {manifest.consistency}, {objects}"


def _say(what: str) -> None:
    typer.echo(what, err=True)
