"""One bucket of S3, by boto3: blocking calls. `domain.adapters.s3` runs them on threads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from domain.errors import ServiceAway
from domain.ports import ObjectMissing
from domain.settings import S3

#: Keys that one call deletes, at most, as S3 has it.
MAX_DELETE = 1000

_NO_BUCKET = "NoSuchBucket"
_MISSING = frozenset({"NoSuchKey", "404", "NotFound", _NO_BUCKET})
_FAILURES = (BotoCoreError, Boto3Error, OSError)
#: One part after the other: a transfer already has a thread of its own.
_TRANSFER = TransferConfig(
    use_threads=False, multipart_threshold=16 * 1024**2, multipart_chunksize=8 * 1024**2
)


class Bucket:
    """Every method raises ServiceAway where S3 is away or refuses, and those that read, ObjectMissing."""

    def __init__(self, settings: S3, *, connections: int) -> None:
        secret = settings.secret_key
        self._name = settings.bucket
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            region_name=settings.region,
            config=Config(
                connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"},
                signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=connections,
            ),
        )  # fmt: skip

    def put(self, key: str, file: IO[bytes], *, content_type: str) -> None:
        """Stores the file's bytes from its start; makes the bucket where there is none."""
        try:
            self._upload(key, file, content_type)
        except ObjectMissing:
            with _failures(self._name):
                self._client.create_bucket(Bucket=self._name)
            self._upload(key, file, content_type)

    def _upload(self, key: str, file: IO[bytes], content_type: str) -> None:
        file.seek(0)
        with _failures(key):
            self._client.upload_fileobj(
                _KeptOpen(file),
                self._name,
                key,
                ExtraArgs={"ContentType": content_type},
                Config=_TRANSFER,
            )

    def open(self, key: str) -> IO[bytes]:
        """The object's bytes, to be read and closed."""
        with _failures(key):
            body: IO[bytes] = self._client.get_object(Bucket=self._name, Key=key)["Body"]
            return body

    def read(self, body: IO[bytes], size: int) -> bytes:
        """The next bytes of an open object."""
        with _failures("an open object"):
            return body.read(size)

    def size(self, key: str) -> int:
        """The object's bytes."""
        with _failures(key):
            return int(self._client.head_object(Bucket=self._name, Key=key)["ContentLength"])

    def delete(self, keys: Sequence[str]) -> None:
        """Idempotent."""
        for start in range(0, len(keys), MAX_DELETE):
            wanted = {"Objects": [{"Key": key} for key in keys[start : start + MAX_DELETE]], "Quiet": True}
            with _failures(self._name):
                answer = self._client.delete_objects(Bucket=self._name, Delete=wanted)
            if answer.get("Errors"):
                raise ServiceAway(service="S3", reason=str(answer["Errors"][0]))

    def ping(self) -> None:
        """A signed request."""
        with _failures(self._name):
            self._client.list_buckets()


class _KeptOpen:
    """A file that a transfer does not close: its owner may need it once more."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """Leaves it open."""


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            raise ObjectMissing(what) from error
        raise ServiceAway(service="S3", reason=str(error)) from error
    except _FAILURES as error:
        raise ServiceAway(service="S3", reason=str(error)) from error
