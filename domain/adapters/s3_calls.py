"""What `domain.adapters.s3_direct` asks of S3, by boto3: blocking calls.

What is signed names the store as clients reach it; what is asked at once, as this process does.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from domain.adapters.s3_bucket import Bucket, code_of, connect, failures
from domain.ports import UploadForm, UploadRefused
from domain.settings import S3

#: S3's words for parts that cannot be put together.
_REFUSED = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "EntityTooLarge", "MalformedXML"})


class DirectCalls:
    """Every method raises ServiceAway, and those that name an upload, ObjectMissing."""

    def __init__(self, settings: S3, bucket: Bucket) -> None:
        self._bucket = bucket
        self._outside: Any = connect(settings, settings.public_url or settings.endpoint_url, connections=1)

    def form(self, key: str, *, size: int, content_type: str, seconds: int) -> UploadForm:
        """In a bucket that is there."""
        self._bucket.ensure()
        conditions = [
            ["content-length-range", size, size],
            ["eq", "$Content-Type", content_type],
            ["eq", "$key", key],
        ]
        with failures(key):
            made = self._outside.generate_presigned_post(
                self._bucket.name,
                key,
                Fields={"Content-Type": content_type},
                Conditions=conditions,
                ExpiresIn=seconds,
            )
        return UploadForm(made["url"], made["fields"])

    def begin(self, key: str, *, content_type: str) -> str:
        """In a bucket that is there."""
        self._bucket.ensure()
        with failures(key):
            made = self._bucket.client.create_multipart_upload(**self._at(key), ContentType=content_type)
        return str(made["UploadId"])

    def part_urls(self, key: str, upload_id: str, sizes: Sequence[int], *, seconds: int) -> list[str]:
        """The length is signed, too: a part is sent as long as it was said to be, or refused."""
        part = {**self._at(key), "UploadId": upload_id}
        with failures(key):
            return [
                self._signed("upload_part", {**part, "PartNumber": number, "ContentLength": size}, seconds)
                for number, size in enumerate(sizes, start=1)
            ]

    def finish(self, key: str, upload_id: str, etags: Sequence[str]) -> None:
        """Raises UploadRefused."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
        with failures(key):
            try:
                self._bucket.client.complete_multipart_upload(
                    **self._at(key), UploadId=upload_id, MultipartUpload={"Parts": parts}
                )
            except ClientError as error:
                if code_of(error) in _REFUSED:
                    raise UploadRefused(key) from error
                raise

    def abort(self, key: str, upload_id: str) -> None:
        """The parts go, too."""
        with failures(key):
            self._bucket.client.abort_multipart_upload(**self._at(key), UploadId=upload_id)

    def begun(
        self, prefix: str, *, before: datetime, after: str, limit: int
    ) -> tuple[list[tuple[str, str]], str]:
        """`after` has the marks of the answer before, as they were: SeaweedFS goes by the second alone."""
        wanted: dict[str, Any] = {"Bucket": self._bucket.name, "Prefix": prefix, "MaxUploads": limit}
        marks = zip(("KeyMarker", "UploadIdMarker"), after.split("\n"), strict=False)
        with failures(prefix):
            answer = self._bucket.client.list_multipart_uploads(
                **wanted, **{name: mark for name, mark in marks if mark}
            )
        names = ("NextKeyMarker", "NextUploadIdMarker")
        following = "\n".join(answer.get(name) or "" for name in names) if answer["IsTruncated"] else ""
        found = [
            (each["Key"], each["UploadId"])
            for each in answer.get("Uploads", ())
            if each["Initiated"].astimezone(UTC) < before
        ]
        return found, following

    def readable(self, key: str, *, seconds: int) -> str:
        """An address to read the object at."""
        with failures(key):
            return self._signed("get_object", self._at(key), seconds)

    def _signed(self, operation: str, what: dict[str, Any], seconds: int) -> str:
        return str(self._outside.generate_presigned_url(operation, Params=what, ExpiresIn=seconds))

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": key}
