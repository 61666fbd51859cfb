"""One bucket of S3, by boto3: blocking calls. `domain.adapters.s3` runs them on threads."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from domain import telemetry
from domain.errors import ServiceAway
from domain.ports import ObjectMissing, StoredObject
from domain.settings import S3

#: Keys that one call deletes, at most, as S3 has it.
MAX_DELETE = 1000

_NO_BUCKET = "NoSuchBucket"
_MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "404", "NotFound", _NO_BUCKET})
#: Another process made the bucket meanwhile.
_THERE = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})
_FAILURES = (BotoCoreError, Boto3Error, OSError)
#: One part after the other: a transfer already has a thread of its own.
_TRANSFER = TransferConfig(
    use_threads=False, multipart_threshold=16 * 1024**2, multipart_chunksize=8 * 1024**2
)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to connect, seconds for an answer, and how often a call is tried."""

    connect: float = 2.0
    answer: float = 10.0
    tries: int = 3


#: Of who only looks: a thread that hangs for longer would keep a process from ending.
_QUICK = Patience(connect=1.0, answer=1.5, tries=1)
#: What is begun to be uploaded, and given up, to see whether uploads are taken.
TRIAL = "stockyard-config-check"
_PATIENT = Patience()


def connect(
    settings: S3, endpoint_url: str | None, *, connections: int, patience: Patience = _PATIENT
) -> Any:
    """A client of this endpoint; nothing is asked yet."""
    secret = settings.secret_key
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=settings.region,
        config=Config(
            connect_timeout=patience.connect, read_timeout=patience.answer,
            retries={"total_max_attempts": patience.tries, "mode": "standard"},
            signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=connections,
        ),
    )  # fmt: skip
    telemetry.watch_s3(client)
    return client


class Bucket:
    """Every method raises ServiceAway where S3 is away or refuses, and those that read, ObjectMissing."""

    def __init__(self, settings: S3, *, connections: int) -> None:
        self.name = settings.bucket
        self.client = connect(settings, settings.endpoint_url, connections=connections)

        self._settings = settings
        self._is_there = False

    def put(self, key: str, file: IO[bytes], *, content_type: str, cache_control: str | None = None) -> None:
        """Stores the file's bytes from its start; makes the bucket where there is none."""
        headers = {"ContentType": content_type}
        if cache_control is not None:
            headers["CacheControl"] = cache_control
        try:
            self._upload(key, file, headers)
        except ObjectMissing:
            self._create()
            self._upload(key, file, headers)

    def ensure(self) -> None:
        """Makes the bucket where there is none. Looks once."""
        if self._is_there:
            return
        try:
            with failures(self.name):
                self.client.head_bucket(Bucket=self.name)
        except ObjectMissing:
            self._create()
        self._is_there = True

    def _create(self) -> None:
        with failures(self.name):
            try:
                self.client.create_bucket(Bucket=self.name)
            except ClientError as error:
                if code_of(error) not in _THERE:
                    raise

    def _upload(self, key: str, file: IO[bytes], headers: Mapping[str, str]) -> None:
        file.seek(0)
        with failures(key):
            self.client.upload_fileobj(
                _KeptOpen(file),
                self.name,
                key,
                ExtraArgs=headers,
                Config=_TRANSFER,
            )

    def open(self, key: str) -> IO[bytes]:
        """The object's bytes, to be read and closed."""
        with failures(key):
            body: IO[bytes] = self.client.get_object(Bucket=self.name, Key=key)["Body"]
            return body

    def read(self, body: IO[bytes], size: int) -> bytes:
        """The next bytes of an open object."""
        with failures("an open object"):
            return body.read(size)

    def size(self, key: str) -> int:
        """The object's bytes."""
        with failures(key):
            return int(self.client.head_object(Bucket=self.name, Key=key)["ContentLength"])

    def listing(self, prefix: str, *, after: str, limit: int) -> list[StoredObject]:
        """One page of the keys under the prefix."""
        wanted = {"Prefix": prefix, "MaxKeys": limit} | ({"StartAfter": after} if after else {})
        with failures(self.name):
            answer = self.client.list_objects_v2(Bucket=self.name, **wanted)
        return [StoredObject(each["Key"], int(each["Size"])) for each in answer.get("Contents", ())]

    def delete(self, keys: Sequence[str]) -> None:
        """Idempotent."""
        for start in range(0, len(keys), MAX_DELETE):
            wanted = {"Objects": [{"Key": key} for key in keys[start : start + MAX_DELETE]], "Quiet": True}
            with failures(self.name):
                answer = self.client.delete_objects(Bucket=self.name, Delete=wanted)
            if answer.get("Errors"):
                raise ServiceAway(service="S3", reason=str(answer["Errors"][0]))

    def ping(self) -> None:
        """A signed request about the bucket, which may be missing: the first object makes it."""
        with suppress(ObjectMissing), failures(self.name):
            self._quick.head_bucket(Bucket=self.name)

    def check(self) -> str | None:
        """Whether an upload could begin; it is given up at once. A note where there is no bucket."""
        try:
            with failures(self.name):
                self._quick.head_bucket(Bucket=self.name)
                begun = self._quick.create_multipart_upload(Bucket=self.name, Key=TRIAL)
                self._quick.abort_multipart_upload(Bucket=self.name, Key=TRIAL, UploadId=begun["UploadId"])
        except ObjectMissing:
            return f"there is no bucket {self.name} yet; the first object makes it"
        return None

    @cached_property
    def _quick(self) -> Any:
        return connect(self._settings, self._settings.endpoint_url, connections=1, patience=_QUICK)


class _KeptOpen:
    """A file that a transfer does not close: its owner may need it once more."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """Leaves it open."""


def code_of(error: ClientError) -> str:
    """S3's own word for what is wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def failures(what: str) -> Iterator[None]:
    """Raises ObjectMissing and ServiceAway in place of what boto3 raises."""
    try:
        yield
    except ClientError as error:
        if code_of(error) in _MISSING:
            raise ObjectMissing(what) from error
        raise ServiceAway(service="S3", reason=str(error)) from error
    except _FAILURES as error:
        raise ServiceAway(service="S3", reason=str(error)) from error
