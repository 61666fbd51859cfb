"""The objects of a bucket: what is new or changed is copied, what is known already is not."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from domain.settings import S3
from ops.backup.layout import CHUNK, INDEX, OBJECTS, BackupError, Part, Writer, lines

#: Objects that are copied at the same time.
THREADS = 8
#: Headers of an object that are kept with it.
KEPT = ("ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "Metadata")
_GONE = frozenset({"NoSuchKey", "404", "NotFound"})
_MD5 = re.compile(r"[0-9a-f]{32}")
_NO_BUCKET = "NoSuchBucket"


@dataclass(frozen=True, slots=True)
class Listed:
    """One object as a listing has it."""

    key: str
    size: int
    etag: str

    @property
    def file(self) -> str:
        """Its place in the folder: the same for the same bytes under the same key, in any backup."""
        name = hashlib.sha256(f"{self.key}\0{self.size}\0{self.etag}".encode()).hexdigest()
        return f"{name[:2]}/{name}"


class Objects:
    """One bucket, and the folder that has copies of what is in it."""

    def __init__(self, settings: S3, folder: Path) -> None:
        secret = settings.secret_key
        self.bucket = settings.bucket
        self._folder = folder
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            region_name=settings.region,
            config=Config(
                connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 4, "mode": "standard"},
                signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=THREADS,
            ),
        )  # fmt: skip

    def dump(self, backup: Path) -> tuple[Part, int]:
        """Copies what is not there yet, and writes the index. It, and how many vanished meanwhile."""
        writer, vanished = Writer(backup / INDEX), 0
        with writer.open() as out, ThreadPoolExecutor(THREADS) as threads:
            for copied in _spread(threads, self._copy, self.listing()):
                if copied is None:
                    vanished += 1
                    continue
                out.write(json.dumps(copied, separators=(",", ":")).encode() + b"\n")
                writer.count += 1
        if writer.part is None:
            raise BackupError(f"{backup / INDEX} was not written")
        return writer.part, vanished

    def listing(self) -> Iterator[Listed]:
        """All objects; none where there is no bucket."""
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
                for each in page.get("Contents", ()):
                    yield Listed(each["Key"], int(each["Size"]), str(each["ETag"]).strip('"'))
        except ClientError as error:
            if error.response["Error"]["Code"] != _NO_BUCKET:
                raise

    def _copy(self, listed: Listed) -> dict[str, Any] | None:
        """The object's line of the index; None where it has vanished."""
        path = self._folder / OBJECTS / listed.file
        try:
            if path.exists() and path.stat().st_size == listed.size:
                head = self._client.head_object(Bucket=self.bucket, Key=listed.key)
            else:
                head = self._client.get_object(Bucket=self.bucket, Key=listed.key)
                if str(head["ETag"]).strip('"') != listed.etag:
                    # Written again since it was listed: as it is now.
                    listed = Listed(listed.key, int(head["ContentLength"]), str(head["ETag"]).strip('"'))
                    path = self._folder / OBJECTS / listed.file
                md5 = _write(path, head["Body"])
                if _names_md5(head, listed.etag) and md5 != listed.etag:
                    path.unlink()
                    raise BackupError(f"the bytes of {listed.key} came otherwise than its ETag says")
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise
        headers = {name: head[name] for name in KEPT if head.get(name)}
        line = {"key": listed.key, "size": listed.size, "etag": listed.etag, "headers": headers}
        return line | {"md5": True} if _names_md5(head, listed.etag) else line

    def damaged(self, backup: Path) -> list[str]:
        """Keys of the backup's objects whose bytes are not there, or not as they were.

        Reads those whose ETag is their MD5: all that was not stored in parts or with a key of KMS. Of others
        it looks at the size.
        """
        return [line["key"] for line in lines(backup / INDEX) if not self._is_whole(line)]

    def _is_whole(self, line: dict[str, Any]) -> bool:
        path = self._path_of(line)
        if not path.exists() or path.stat().st_size != line["size"]:
            return False
        if not line.get("md5"):
            return True
        with path.open("rb") as file:
            return bool(hashlib.file_digest(file, _md5).hexdigest() == line["etag"])

    def prepare(self) -> None:
        """Makes the bucket, if there is none."""
        try:
            self._client.create_bucket(Bucket=self.bucket)
        except ClientError as error:
            if not error.response["Error"]["Code"].startswith("BucketAlready"):
                raise

    def load(self, backup: Path) -> int:
        """Puts back what the bucket has not, or has otherwise; answers how many."""
        there = {each.key: (each.size, each.etag) for each in self.listing()}
        wanted = (
            line for line in lines(backup / INDEX) if there.get(line["key"]) != (line["size"], line["etag"])
        )
        with ThreadPoolExecutor(THREADS) as threads:
            return sum(1 for _ in _spread(threads, self._put, wanted))

    def _put(self, line: dict[str, Any]) -> None:
        with self._path_of(line).open("rb") as body:
            self._client.upload_fileobj(body, self.bucket, line["key"], ExtraArgs=line["headers"])

    def _path_of(self, line: dict[str, Any]) -> Path:
        return self._folder / OBJECTS / Listed(line["key"], line["size"], line["etag"]).file


def _write(path: Path, body: Any) -> str:
    """Whole, or not at all. The MD5 of what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, digest = path.with_suffix(f".{os.getpid()}.new"), _md5()
    with fresh.open("wb") as file:
        while chunk := body.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return str(digest.hexdigest())


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _names_md5(head: dict[str, Any], etag: str) -> bool:
    """Whether the ETag is the MD5 of the bytes: by S3's rules unless they came in parts or are encrypted."""
    by_kms = str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
    return not by_kms and not head.get("SSECustomerAlgorithm") and _MD5.fullmatch(etag) is not None


def _spread(threads: ThreadPoolExecutor, work: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
    """The answers in order, with a bounded number of items in hand."""
    while some := list(islice(items, THREADS * 8)):
        yield from threads.map(partial(_named, work), some)


def _named(work: Callable[[Any], Any], item: Any) -> Any:
    try:
        return work(item)
    except (ClientError, BotoCoreError) as error:
        key = item.key if isinstance(item, Listed) else item["key"]
        raise BackupError(f"the object {key} cannot be copied: {error}") from error
