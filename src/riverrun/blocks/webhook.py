"""`Webhook`: calls a URL."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SecretStr

from riverrun.blocks.core import Block
from riverrun.types import SecretDict

if TYPE_CHECKING:
    import httpx

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Webhook(Block):
    """Calls a URL when asked to.

    Example:
        ```python
        from riverrun.blocks.webhook import Webhook

        response = await Webhook(url="https://example.com/hook").call({"text": "done"})
        ```
    """

    method: Method = Field(default="POST", description="The method of the request.")
    url: SecretStr = Field(
        default=..., title="Webhook URL", description="Where to call.", examples=["https://example.com/hook"]
    )
    headers: SecretDict = Field(
        default_factory=lambda: SecretDict({}), title="Webhook Headers", description="Headers of the request."
    )
    allow_private_urls: bool = Field(
        default=True, description="Whether addresses that are not on the public internet may be called."
    )
    verify: bool = Field(default=True, description="Whether the certificate of the other side must be valid.")

    async def call(self, payload: dict[str, Any] | str | None = None) -> "httpx.Response":
        """Send a request: a text as it is, anything else as JSON."""
        import httpx

        from riverrun.base.addresses import aguarded

        transport = (
            httpx.AsyncHTTPTransport(verify=self.verify) if self.allow_private_urls else aguarded(verify=self.verify)
        )
        body: dict[str, Any] = {"content": payload} if isinstance(payload, str) else {"json": payload}
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(
                self.method, self.url.get_secret_value(), headers=self.headers.get_secret_value(), **body
            )
