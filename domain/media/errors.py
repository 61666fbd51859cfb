"""What can go wrong with media."""

from collections.abc import Mapping

from domain.errors import Conflict, Invalid
from domain.media.rules import STOPPED


class NotUploaded(Conflict):
    """The bytes have not arrived, or not all of them. `size` and `arrived` say how many of each."""

    code = "not_uploaded"
    message = "The file has not arrived as it was announced."


class MediaQuotaExceeded(Conflict):
    """The account would have more media than it may. `left` says what there is room for."""

    code = "media_quota_exceeded"
    message = "There is no room for this. Delete media for good first."


class MediaInUse(Conflict):
    """Products show it. `products` has some of them."""

    code = "media_in_use"
    message = "Products show this. Take it off them first."


class UnknownMedia(Invalid):
    """There is no such medium, or it was deleted. `media_id` says which."""

    code = "unknown_media"
    message = "There is no such medium."


class PictureRefused(Invalid):
    """Base of what is wrong with a picture. Code and message stay with the medium, for clients to show."""


class NotAPicture(PictureRefused):
    """The bytes are none of the formats that are taken, whatever their name and declared type."""

    code = "not_a_picture"
    message = "The file is no picture in a format that is taken: JPEG, PNG, WebP, GIF or AVIF."


class PictureTooLarge(PictureRefused):
    """`width` by `height` by `frames` is more than `most`. Nothing was decoded."""

    code = "picture_too_large"
    message = "The picture has more pixels than is allowed."


class PictureBroken(PictureRefused):
    """The file ends before the picture does, or holds what cannot be decoded."""

    code = "picture_broken"
    message = "The picture is damaged: it cannot be read to its end."


class PictureTooCostly(PictureRefused):
    """Two processes were given the picture, and neither was done within its time and memory."""

    code = "picture_too_costly"
    message = "Reading the picture takes more time or memory than is allowed."


class UploadMissing(PictureRefused):
    """What was uploaded is gone, or is larger than it was announced to be."""

    code = "upload_missing"
    message = "The uploaded file is not there as it was announced. Upload it again."


class RenderingStopped(PictureRefused):
    """The job died, or was cancelled, before it knew what the picture is. Another one may."""

    code = STOPPED
    message = "The picture could not be looked at. Complete the upload again."


#: By the code that stays with the medium.
REFUSALS: Mapping[str, type[PictureRefused]] = {
    kind.code: kind for kind in (NotAPicture, PictureTooLarge, PictureBroken, PictureTooCostly, UploadMissing)
}
