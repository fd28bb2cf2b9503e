"""Notification blocks and webhooks: the requests that services get, failures, and addresses that must not be called."""

import asyncio
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from riverrun.base.addresses import RestrictedAddress, check_url, public_addresses
from riverrun.blocks import notifications as n
from riverrun.blocks.abstract import NotificationError
from riverrun.blocks.webhook import Webhook


class Service:
    """What was asked of it. `status` is what it answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.status = 200
        self.url = ""

    @property
    def documents(self) -> list[object]:
        return [json.loads(body) for *_rest, body in self.requests]


@pytest.fixture
def service() -> Iterator[Service]:
    """A web server on this machine that notes what it is asked."""
    noted = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            noted.requests.append((self.command, self.path, dict(self.headers), body))
            self.send_response(noted.status)
            self.end_headers()
            self.wfile.write(b"said the service")

        do_GET = do_PUT = do_POST

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    noted.url = f"http://127.0.0.1:{server.server_port}"
    yield noted
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_slack(service):
    n.SlackWebhook(url=f"{service.url}/slack").notify("body", "subject")
    asyncio.run(n.SlackWebhook(url=f"{service.url}/slack").anotify("alone"))
    assert service.documents == [{"text": "*subject*\nbody"}, {"text": "alone"}]


def test_teams(service):
    n.MicrosoftTeamsWebhook(url=service.url, wrap=False).notify("body", "subject")
    (document,) = service.documents
    (attachment,) = document["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [(block["text"], block["wrap"]) for block in attachment["content"]["body"]] == [
        ("subject", False),
        ("body", False),
    ]


def test_mattermost_tells_each_channel(service):
    host, _, port = service.url.removeprefix("http://").partition(":")
    block = n.MattermostWebhook(hostname=host, port=port, token="tok", channels=["#a", "b"], path="/mm/")
    block.notify("body", "subject")
    assert [path for _method, path, *_rest in service.requests] == ["/mm/hooks/tok"] * 2
    assert [document["channel"] for document in service.documents] == ["a", "b"]


@pytest.mark.parametrize(
    ("block", "url", "part"),
    [
        (
            n.DiscordWebhook(webhook_id="1", webhook_token="tok", botname="bot"),
            "https://discord.com/api/webhooks/1/tok",
            {"content": "**S**\nB", "tts": False, "username": "bot"},
        ),
        (
            n.PagerDutyWebHook(integration_key="ik", api_key="ak", notify_type="failure", region_name="eu"),
            "https://events.eu.pagerduty.com/v2/enqueue",
            {"routing_key": "ik", "event_action": "trigger"},
        ),
        (
            n.OpsgenieWebhook(apikey="k", target_team=["ops"], target_user=["ann"], tags=["t"], priority=1),
            "https://api.opsgenie.com/v2/alerts",
            {
                "message": "S",
                "priority": "P1",
                "responders": [{"type": "user", "username": "ann"}, {"type": "team", "name": "ops"}],
            },
        ),
        (
            n.SendgridEmail(api_key="k", sender_email="me@x", to_emails=["a@x", "b@x"]),
            "https://api.sendgrid.com/v3/mail/send",
            {"from": {"email": "me@x"}, "subject": "S"},
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, n.HTTPNotificationBlock) else "",
)
def test_requests_of_services_elsewhere(block, url, part):
    (request,) = block._requests("B", "S")
    assert request["url"] == url
    assert part.items() <= request["json"].items()


def test_twilio_tells_each_number():
    block = n.TwilioSMS(account_sid="AC1", auth_token="t", from_phone_number="1", to_phone_numbers=["2", "3"])
    requests = block._requests("B", None)
    assert [(request["data"]["To"], request["auth"]) for request in requests] == [
        ("2", ("AC1", "t")),
        ("3", ("AC1", "t")),
    ]


def test_discord_takes_no_more_than_2000_letters():
    (request,) = n.DiscordWebhook(webhook_id="1", webhook_token="t")._requests("x" * 3000, None)
    assert len(request["json"]["content"]) == 2000


def test_custom(service):
    block = n.CustomWebhookNotificationBlock(
        name="mine",
        url=f"{service.url}/{{{{name}}}}",
        method="PUT",
        params={"q": "{{ subject }}"},
        json_data={"text": "{{subject}}: {{body}}", "token": "{{secret}}", "deep": [{"n": "{{number}}"}]},
        headers={"X-Token": "{{secret}}"},
        cookies={"c": "{{body}}"},
        secrets={"secret": "hush", "number": 3},
    )
    block.notify("B", "S")
    ((method, path, headers, body),) = service.requests
    assert (method, path, headers["X-Token"], headers["Cookie"]) == ("PUT", "/mine?q=S", "hush", "c=B")
    assert json.loads(body) == {"text": "S: B", "token": "hush", "deep": [{"n": 3}]}
    block.notify("B")
    assert service.documents[1]["text"] == "null: B"
    n.CustomWebhookNotificationBlock(name="f", url=service.url, form_data={"a": "{{body}}"}).notify("B")
    n.CustomWebhookNotificationBlock(name="f", url=service.url, form_data="raw {{body}}").notify("B")
    assert [body for *_rest, body in service.requests[2:]] == ["a=B", "raw B"]


def test_custom_refuses_what_cannot_work():
    with pytest.raises(ValueError, match="not both"):
        n.CustomWebhookNotificationBlock(name="x", url="http://x", json_data={}, form_data={})
    with pytest.raises(KeyError, match="json_data/nope"):
        n.CustomWebhookNotificationBlock(name="x", url="http://x", json_data={"a": ["{{nope}}"]})


def test_failures_are_logged_or_raised(service, caplog):
    service.status = 500
    block = n.SlackWebhook(url=f"{service.url}/secret-part")
    block.notify("B")
    with block.raise_on_failure():
        with pytest.raises(NotificationError, match="500: said the service") as raised:
            block.notify("B")
        with pytest.raises(NotificationError):
            asyncio.run(block.anotify("B"))
    assert "secret-part" not in raised.value.log
    block.notify("B")
    unreachable = n.SlackWebhook(url="http://127.0.0.1:9/")
    unreachable.notify("B")
    with unreachable.raise_on_failure(), pytest.raises(NotificationError):
        unreachable.notify("B")


def test_private_addresses_are_refused_where_that_is_said(service):
    block = n.SlackWebhook(url=service.url, allow_private_urls=False)
    with pytest.raises(RestrictedAddress, match="not a public address"):
        block.notify("B")
    with pytest.raises(ValueError, match="not a public address"):
        asyncio.run(block.anotify("B"))
    with block.raise_on_failure(), pytest.raises(NotificationError, match="not a public address"):
        block.notify("B")
    assert service.requests == []


@pytest.mark.skipif(importlib.util.find_spec("apprise") is not None, reason="apprise is installed")
def test_apprise_is_asked_for_by_name():
    with pytest.raises(ImportError, match="pip install apprise"):
        n.AppriseNotificationBlock(url="json://localhost").notify("B")


def test_webhook(service):
    hook = Webhook(url=f"{service.url}/hook", headers={"X-A": "b"}, method="POST")
    response = asyncio.run(hook.call({"a": 1}))
    asyncio.run(hook.call("text"))
    assert response.status_code == 200
    assert [(headers["X-A"], body) for _method, _path, headers, body in service.requests] == [
        ("b", '{"a":1}'),
        ("b", "text"),
    ]
    with pytest.raises(RestrictedAddress):
        asyncio.run(Webhook(url=service.url, allow_private_urls=False).call())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "224.0.0.1", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "no.such.host.invalid",
        "2130706433", "0x7f.1",
    ],
)  # fmt: skip
def test_hosts_that_are_not_public(host):
    with pytest.raises(RestrictedAddress):
        public_addresses(host)


@pytest.mark.parametrize("url", ["ftp://1.1.1.1", "file:///etc/passwd", "http://", "1.1.1.1", "http://[::1]/"])
def test_urls_that_are_not_called(url):
    with pytest.raises(RestrictedAddress):
        check_url(url)


def test_public_hosts_are_fine():
    assert public_addresses("1.1.1.1") == ["1.1.1.1"]
    check_url("https://1.1.1.1:8443/x")


def test_what_was_looked_up_is_what_is_called(service, monkeypatch):
    """A second answer of the name service, given when the connection is made, can't lead elsewhere."""
    from riverrun.base import addresses

    monkeypatch.setattr(addresses, "public_addresses", lambda host: ["127.0.0.1"] if host == "service.example" else [])
    url = service.url.replace("127.0.0.1", "service.example")
    block = n.SlackWebhook(url=url, allow_private_urls=False)
    with block.raise_on_failure():
        block.notify("B")
        asyncio.run(block.anotify("B"))
    assert [headers["Host"] for _method, _path, headers, _body in service.requests] == [url.removeprefix("http://")] * 2
