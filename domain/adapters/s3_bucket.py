"""One bucket of S3, by boto3: blocking calls. `domain.adapters.s3` runs them on threads."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def connect(settings: S3, endpoint_url: str | None, *, connections: int) -> Any:
    """A client of this endpoint; nothing is asked yet."""
    secret = settings.secret_key
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=settings.region,
        config=Config(
            connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"},
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
        """A signed request."""
        with failures(self.name):
            self.client.list_buckets()


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
