"""CloudFront: signed addresses of what its distribution delivers, by a key pair of a key group."""

import asyncio
from datetime import datetime
from typing import Self

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from domain.settings import Cdn


class CloudFrontUrls:
    """`ports.UrlSigner`. An address that ends by its time alone has a canned policy, any other a custom one.

    Raises ValueError where the key is no RSA private key in PEM form.
    """

    restricts = True

    @classmethod
    def of(cls, settings: Cdn) -> Self | None:
        """By the settings' key pair; None where there is none."""
        if settings.url is None or settings.key_pair_id is None or settings.private_key is None:
            return None
        secret = settings.private_key.get_secret_value()
        return cls(url=settings.url, key_pair_id=settings.key_pair_id, private_key=secret)

    def __init__(self, *, url: str, key_pair_id: str, private_key: str) -> None:
        from botocore.signers import CloudFrontSigner  # noqa: PLC0415 - it takes long to load

        key = load_pem_private_key(private_key.encode(), None)
        if not isinstance(key, RSAPrivateKey):
            msg = "CloudFront signs by an RSA key"
            raise ValueError(msg)  # noqa: TRY004 - what is wrong is the key's text
        self._url = url
        # The hash that CloudFront checks by.
        self._signer = CloudFrontSigner(
            key_pair_id,
            lambda policy: key.sign(policy, PKCS1v15(), SHA1()),  # noqa: S303
        )

    async def sign(
        self, key: str, *, until: datetime, since: datetime | None = None, network: str | None = None
    ) -> str:
        """As the port says. Signed on a thread: it takes a millisecond."""
        url = f"{self._url}/{key}"
        if since is None and network is None:
            return await asyncio.to_thread(self._signer.generate_presigned_url, url, date_less_than=until)
        policy = self._signer.build_policy(url, until, date_greater_than=since, ip_address=network)
        return await asyncio.to_thread(self._signer.generate_presigned_url, url, policy=policy)
