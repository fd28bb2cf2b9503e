"""Blocks that send messages to people, each by one HTTP request that its service documents.

A subclass of `HTTPNotificationBlock` says what the requests are; sending, both colours, the guard against private addresses
and what happens on failure are here once. Services that only apprise knows are reached by `AppriseNotificationBlock`.
"""

import re
from abc import ABC, abstractmethod
from typing import Any, Literal

from pydantic import AnyHttpUrl, Field, SecretStr

from riverrun.base.addresses import RestrictedAddress
from riverrun.blocks.abstract import NotificationBlock, NotificationError
from riverrun.blocks.webhook import Method
from riverrun.types import SecretDict
from riverrun.utilities.colours import by_colour

NotifyType = Literal["info", "success", "warning", "failure"]
#: the arguments of one `httpx.Client.request`
Request = dict[str, Any]

_SECONDS = 10.0
_PRIVATE = "Whether addresses that are not on the public internet may be called."
_AGENT = {"User-Agent": "riverrun"}


def _titled(subject: str | None, body: str, mark: str = "") -> str:
    return f"{mark}{subject}{mark}\n{body}" if subject else body


async def _anotify(self: "HTTPNotificationBlock", body: str, subject: str | None = None) -> None:
    """Send a message. A failure is logged; inside `raise_on_failure()` it is a NotificationError."""
    import httpx

    from riverrun.base.addresses import aguarded

    transport = None if self._may_be_private else aguarded()
    try:
        async with httpx.AsyncClient(transport=transport, timeout=_SECONDS, headers=_AGENT) as client:
            for request in self._requests(body, subject):
                _check(await client.request(**request))
    except (httpx.HTTPError, RestrictedAddress, NotificationError) as error:
        self._failed(error)


class HTTPNotificationBlock(NotificationBlock, ABC):
    """The base of blocks whose messages are HTTP requests."""

    notify_type: NotifyType = Field(default="info", description="The kind of the message.")

    @abstractmethod
    def _requests(self, body: str, subject: str | None) -> list[Request]:
        """The requests that send a message."""

    @property
    def _may_be_private(self) -> bool:
        return bool(getattr(self, "allow_private_urls", True))

    @by_colour(_anotify)
    def notify(self, body: str, subject: str | None = None) -> None:
        """Send a message. A failure is logged; inside `raise_on_failure()` it is a NotificationError."""
        import httpx

        from riverrun.base.addresses import guarded

        transport = None if self._may_be_private else guarded()
        try:
            with httpx.Client(transport=transport, timeout=_SECONDS, headers=_AGENT) as client:
                for request in self._requests(body, subject):
                    _check(client.request(**request))
        except (httpx.HTTPError, RestrictedAddress, NotificationError) as error:
            self._failed(error)

    anotify = _anotify

    def _failed(self, error: Exception) -> None:
        what = f"The notification by {type(self).__name__} was not sent: {str(error) or type(error).__name__}"
        if self._raise_on_failure:
            raise NotificationError(what) from error
        if isinstance(error, RestrictedAddress):  # a mistake in the block, not of the moment
            raise error
        self.logger.error(what)


def _check(response: Any) -> None:
    if not response.is_success:
        # without the URL: it is the secret of most services
        raise NotificationError(f"the service answered {response.status_code}: {response.text[:200]}")


class _URLBlock(HTTPNotificationBlock, ABC):
    url: SecretStr = Field(default=..., title="Webhook URL", description="The webhook's URL, as the service gave it.")
    allow_private_urls: bool = Field(default=True, description=_PRIVATE)

    def _post(self, document: Any) -> list[Request]:
        return [{"method": "POST", "url": self.url.get_secret_value(), "json": document}]


class SlackWebhook(_URLBlock):
    """Sends messages to Slack by an incoming webhook.

    Example:
        ```python
        from riverrun.blocks.notifications import SlackWebhook

        SlackWebhook.load("BLOCK_NAME").notify("Done.")
        ```
    """

    _block_type_name = "Slack Webhook"

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        return self._post({"text": _titled(subject, body, "*")})


class MicrosoftTeamsWebhook(_URLBlock):
    """Sends messages to Microsoft Teams by a workflow that is started by a web request."""

    _block_type_name = "Microsoft Teams Webhook"
    _block_type_slug = "ms-teams-webhook"

    include_image: bool = Field(default=True, description="Has no effect.")
    wrap: bool = Field(default=True, description="Whether long lines are wrapped.")

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        blocks: list[dict[str, Any]] = [{"type": "TextBlock", "text": body, "wrap": self.wrap}]
        if subject:
            blocks.insert(0, {**blocks[0], "text": subject, "weight": "Bolder", "size": "Large"})
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": blocks,
        }
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        return self._post({"type": "message", "attachments": [attachment]})


class DiscordWebhook(HTTPNotificationBlock):
    """Sends messages to a channel of Discord by its webhook."""

    _block_type_name = "Discord Webhook"

    webhook_id: SecretStr = Field(default=..., description="The first part of the webhook's URL after /webhooks/.")
    webhook_token: SecretStr = Field(default=..., description="The second part.")
    botname: str | None = Field(default=None, title="Bot name", description="The name of who speaks.")
    tts: bool = Field(default=False, description="Whether the message is spoken aloud.")
    include_image: bool = Field(default=False, description="Has no effect.")
    avatar: bool = Field(default=False, description="Whether `avatar_url` is shown.")
    avatar_url: str | None = Field(default=None, title="Avatar URL", description="A picture of who speaks.")

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        content = _titled(subject, body, "**")
        document = {
            "content": content if len(content) <= 2000 else content[:1999] + "…",  # what Discord takes
            "tts": self.tts,
            "username": self.botname,
            "avatar_url": self.avatar_url if self.avatar else None,
        }
        place = f"{self.webhook_id.get_secret_value()}/{self.webhook_token.get_secret_value()}"
        chosen = {name: value for name, value in document.items() if value is not None}
        return [{"method": "POST", "url": f"https://discord.com/api/webhooks/{place}", "json": chosen}]


class MattermostWebhook(HTTPNotificationBlock):
    """Sends messages to Mattermost by an incoming webhook."""

    _block_type_name = "Mattermost Webhook"

    hostname: str = Field(default=..., description="The host of the Mattermost server.")
    secure: bool = Field(default=False, description="Whether to use https.")
    token: SecretStr = Field(default=..., description="The last part of the webhook's URL.")
    botname: str | None = Field(default=None, title="Bot name", description="The name of who speaks.")
    channels: list[str] | None = Field(default=None, description="Channels in the place of the webhook's own.")
    include_image: bool = Field(default=False, description="Has no effect.")
    path: str | None = Field(default=None, description="The path below which Mattermost is served.")
    port: int = Field(default=8065, description="The port of the Mattermost server.")

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        path = f"/{self.path.strip('/')}" if self.path else ""
        scheme = "https" if self.secure else "http"
        url = f"{scheme}://{self.hostname}:{self.port}{path}/hooks/{self.token.get_secret_value()}"
        document = {"text": _titled(subject, body, "**")}
        if self.botname:
            document["username"] = self.botname
        channels = [{"channel": channel.lstrip("#")} for channel in self.channels or ()]
        return [{"method": "POST", "url": url, "json": {**document, **channel}} for channel in channels or [{}]]


class PagerDutyWebHook(HTTPNotificationBlock):
    """Triggers an alert of PagerDuty (Events API v2)."""

    _block_type_name = "Pager Duty Webhook"
    _block_type_slug = "pager-duty-webhook"

    integration_key: SecretStr = Field(
        default=..., description="The key of the integration, also known as routing key."
    )
    api_key: SecretStr = Field(default=..., title="API Key", description="The key of the account.")
    source: str | None = Field(default="riverrun", description="What the alert comes from.")
    component: str = Field(default="Notification", description="The part that the alert is about.")
    group: str | None = Field(default=None, description="What the part belongs to.")
    class_id: str | None = Field(default=None, title="Class ID", description="The kind of the alert.")
    region_name: Literal["us", "eu"] = Field(default="us", description="Where the account is.")
    clickable_url: AnyHttpUrl | None = Field(default=None, title="Clickable URL", description="A link in the alert.")
    include_image: bool = Field(default=True, description="Has no effect.")
    custom_details: dict[str, str] | None = Field(default=None, description="More to be shown with the alert.")

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        severity = {"warning": "warning", "failure": "critical"}.get(self.notify_type, "info")
        details = {"body": body, **(self.custom_details or {})} if subject else self.custom_details
        payload = {
            "summary": (subject or body)[:1024],
            "severity": severity,
            "source": self.source or "riverrun",
            "component": self.component,
            "group": self.group,
            "class": self.class_id,
            "custom_details": details,
        }
        document: dict[str, Any] = {
            "routing_key": self.integration_key.get_secret_value(),
            "event_action": "trigger",
            "payload": {name: value for name, value in payload.items() if value is not None},
        }
        if self.clickable_url is not None:
            document["links"] = [{"href": str(self.clickable_url)}]
        host = "events.eu.pagerduty.com" if self.region_name == "eu" else "events.pagerduty.com"
        headers = {"Authorization": f"Token token={self.api_key.get_secret_value()}"}
        return [{"method": "POST", "url": f"https://{host}/v2/enqueue", "json": document, "headers": headers}]


class OpsgenieWebhook(HTTPNotificationBlock):
    """Creates an alert of Opsgenie."""

    _block_type_name = "Opsgenie Webhook"

    apikey: SecretStr = Field(default=..., title="API Key", description="The key of the integration.")
    target_user: list[str] | None = Field(default=None, description="Users to be told.")
    target_team: list[str] | None = Field(default=None, description="Teams to be told.")
    target_schedule: list[str] | None = Field(default=None, description="Schedules to be told.")
    target_escalation: list[str] | None = Field(default=None, description="Escalations to be told.")
    region_name: Literal["us", "eu"] = Field(default="us", description="Where the account is.")
    batch: bool = Field(default=False, description="Has no effect: all are told by one alert.")
    tags: list[str] | None = Field(default=None, description="Tags of the alert.")
    priority: int | None = Field(default=3, description="1 is the highest, 5 the lowest.")
    alias: str | None = Field(default=None, description="Alerts of the same alias are one.")
    entity: str | None = Field(default=None, description="What the alert is about.")
    details: dict[str, str] | None = Field(default=None, description="More to be shown with the alert.")

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        kinds = (
            ("user", "username", self.target_user),
            ("team", "name", self.target_team),
            ("schedule", "name", self.target_schedule),
            ("escalation", "name", self.target_escalation),
        )
        responders = [{"type": kind, key: target} for kind, key, targets in kinds for target in targets or ()]
        document = {
            "message": (subject or body)[:130],
            "description": body,
            "responders": responders or None,
            "tags": self.tags,
            "priority": f"P{self.priority or 3}",
            "alias": self.alias,
            "entity": self.entity,
            "details": self.details,
        }
        host = "api.eu.opsgenie.com" if self.region_name == "eu" else "api.opsgenie.com"
        return [
            {
                "method": "POST",
                "url": f"https://{host}/v2/alerts",
                "json": {name: value for name, value in document.items() if value is not None},
                "headers": {"Authorization": f"GenieKey {self.apikey.get_secret_value()}"},
            }
        ]


class TwilioSMS(HTTPNotificationBlock):
    """Sends text messages by Twilio."""

    _block_type_name = "Twilio SMS"

    account_sid: str = Field(default=..., description="The id of the account.")
    auth_token: SecretStr = Field(default=..., description="The token of the account.")
    from_phone_number: str = Field(default=..., description="The number that sends.", examples=["18001234567"])
    to_phone_numbers: list[str] = Field(default=..., description="The numbers to be told.")

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        url = f"https://api.twilio.com/2010-04-01/Accounts/{self.account_sid}/Messages.json"
        login = (self.account_sid, self.auth_token.get_secret_value())
        message = {"From": self.from_phone_number, "Body": _titled(subject, body)}
        return [
            {"method": "POST", "url": url, "auth": login, "data": {**message, "To": number}}
            for number in self.to_phone_numbers
        ]


class SendgridEmail(HTTPNotificationBlock):
    """Sends e-mail by SendGrid."""

    _block_type_name = "Sendgrid Email"

    api_key: SecretStr = Field(default=..., title="API Key", description="The key of the account.")
    sender_email: str = Field(default=..., title="Sender", description="The address that sends.")
    to_emails: list[str] = Field(default=..., title="Recipients", description="The addresses to be told.")

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        document = {
            "personalizations": [{"to": [{"email": address}]} for address in self.to_emails],
            "from": {"email": self.sender_email},
            "subject": subject or body.partition("\n")[0][:78],
            "content": [{"type": "text/plain", "value": body}],
        }
        headers = {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}
        return [
            {"method": "POST", "url": "https://api.sendgrid.com/v3/mail/send", "json": document, "headers": headers}
        ]


_PLACEHOLDER = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
_TEMPLATES = ("url", "params", "form_data", "json_data", "headers", "cookies")


def _placeholders(template: Any) -> set[str]:
    if isinstance(template, str):
        return set(_PLACEHOLDER.findall(template))
    parts = [*template, *template.values()] if isinstance(template, dict) else template
    return {name for part in parts for name in _placeholders(part)} if isinstance(template, dict | list) else set()


def _filled(template: Any, values: dict[str, Any]) -> Any:
    """A template with the values in the places of `{{ name }}`; a text that is one placeholder becomes the value itself."""
    if isinstance(template, str):
        alone = _PLACEHOLDER.fullmatch(template.strip())
        return values[alone[1]] if alone else _PLACEHOLDER.sub(lambda found: str(values[found[1]]), template)
    if isinstance(template, dict):
        return {_filled(key, values): _filled(part, values) for key, part in template.items()}
    return [_filled(part, values) for part in template] if isinstance(template, list) else template


class CustomWebhookNotificationBlock(HTTPNotificationBlock):
    """Sends messages by a request of your own.

    In the texts of the request `{{subject}}`, `{{body}}` and `{{name}}` are filled in, and the names of your secrets.
    """

    _block_type_name = "Custom Webhook"

    name: str = Field(title="Name", description="The name of the webhook.")
    url: str = Field(title="Webhook URL", description="Where to call.", examples=["https://example.com/hook"])
    method: Method = Field(default="POST", description="The method of the request.")
    params: dict[str, str] | None = Field(default=None, title="Query Params", description="The query of the URL.")
    json_data: dict[str, Any] | None = Field(
        default=None, title="JSON Data", description="The request's JSON document."
    )
    form_data: dict[str, str] | str | None = Field(
        default=None, title="Form Data", description="The fields of a form, or the whole body as a text."
    )
    headers: dict[str, str] | None = Field(default=None, description="Headers of the request.")
    cookies: dict[str, str] | None = Field(default=None, description="Cookies of the request.")
    timeout: float = Field(default=10, description="Seconds to wait for an answer.")
    allow_private_urls: bool = Field(default=True, description=_PRIVATE)
    secrets: SecretDict = Field(
        default_factory=lambda: SecretDict({}), title="Custom Secret Values", description="Secrets to be filled in."
    )

    def block_initialization(self) -> None:
        if self.form_data is not None and self.json_data is not None:
            raise ValueError("A request has either `form_data` or `json_data`, not both.")
        known = {"subject", "body", "name", *self.secrets.get_secret_value()}
        for field in _TEMPLATES:
            for name in _placeholders(getattr(self, field)) - known:
                raise KeyError(f"{field}/{name}: there is no such value; known are {', '.join(sorted(known))}")

    def _requests(self, body: str, subject: str | None) -> list[Request]:
        values = {
            **self.secrets.get_secret_value(),
            "subject": "null" if subject is None else subject,
            "body": body,
            "name": self.name,
        }
        filled = {field: _filled(getattr(self, field), values) for field in _TEMPLATES}
        cookies, form = filled.pop("cookies"), filled.pop("form_data")
        headers = filled["headers"] or {}
        if cookies:
            headers = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        request = {
            "method": self.method,
            "url": filled["url"],
            "params": filled["params"],
            "json": filled["json_data"],
            "content" if isinstance(form, str) else "data": form,
            "headers": headers,
            "timeout": self.timeout,
        }
        return [{name: value for name, value in request.items() if value is not None}]


async def _anotify_by_apprise(self: "AppriseNotificationBlock", body: str, subject: str | None = None) -> None:
    """Send a message. A failure is logged; inside `raise_on_failure()` it is a NotificationError."""
    sent = await self._client().async_notify(body=body, title=subject or "", notify_type=self.notify_type)
    self._told(sent)


class AppriseNotificationBlock(NotificationBlock):
    """Sends messages by any service that apprise knows, e-mail among them. Needs the package `apprise`."""

    _block_type_name = "Apprise Notification"

    notify_type: NotifyType = Field(default="info", description="The kind of the message.")
    url: SecretStr = Field(default=..., title="Apprise URL", description="As in `mailtos://user:password@example.com`.")

    def _client(self) -> Any:
        try:
            from apprise import Apprise  # type: ignore[import-not-found,unused-ignore] # optional
        except ImportError as error:
            raise ImportError("This block needs the package `apprise`: pip install apprise") from error
        client = Apprise()
        if not client.add(self.url.get_secret_value()):
            raise ValueError("apprise does not understand the URL of this block; see its list of services.")
        return client

    @by_colour(_anotify_by_apprise)
    def notify(self, body: str, subject: str | None = None) -> None:
        """Send a message. A failure is logged; inside `raise_on_failure()` it is a NotificationError."""
        self._told(self._client().notify(body=body, title=subject or "", notify_type=self.notify_type))

    anotify = _anotify_by_apprise

    def _told(self, sent: Any) -> None:
        if not sent:
            what = "The notification was not sent; apprise logs why."
            if self._raise_on_failure:
                raise NotificationError(what)
            self.logger.error(what)
