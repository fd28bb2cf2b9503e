"""What the gate does to bodies before a handler sees them."""

import httpx
import msgspec
import pytest

from riverrun.server.http.bodies import MAX_BYTES, decoder
from riverrun.server.http.errors import HTTPError, InvalidRequest


class Note(msgspec.Struct):
    text: str = ""
    size: int = 0


plain, mending = decoder(Note), decoder(dict[str, str], mend=True)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"a\u0000b", "a␀b"),
        (rb"a\\u0000b", r"a\u0000b"),
        (rb"\\\u0000", "\\␀"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\ud83d \ude00", "� �"),
        (rb"\uDC00\uD800", "��"),
        (rb"\ud83d\u0041", "�A"),
        (rb"\n\"", '\n"'),
    ],
)
def test_what_running_code_has_made_is_mended(sent: bytes, read: str) -> None:
    assert mending(b'{"x": "' + sent + b'"}') == {"x": read}
    assert mending(b'{"' + sent + b'": "y"}') == {read: "y"}


def test_elsewhere_nul_is_refused_and_a_backslash_is_one() -> None:
    with pytest.raises(InvalidRequest, match="NUL"):
        plain(rb'{"text": "a\u0000"}')
    assert plain(rb'{"text": "a\\u0000"}').text == r"a\u0000"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[" * 65 + b"]" * 65, "deeper than 64"),
        (b"[" * 100_000, "deeper than 64|not JSON|Expected"),
        (b'{"size": ' + b"9" * 4299 + b"}", "does not fit into 64 bits"),
        (b'{"size": 9223372036854775808}', "does not fit into 64 bits"),
        (b'{"text": "a', "not JSON"),
        (b'{"text": NaN}', "not JSON"),
        (b'{"text": "\xff"}', "not JSON|utf-8"),
        (b"\xff\xfe", "not JSON"),
        (rb'{"text": "\ud800"}', "surrogate|not JSON"),
    ],
)
def test_what_no_handler_may_get_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        plain(body)


def test_numbers_in_texts_are_texts() -> None:
    digits = "9" * 5000
    assert plain(msgspec.json.encode({"text": digits})).text == digits


def test_bodies_have_a_size(api: httpx.Client) -> None:
    with pytest.raises(HTTPError) as caught:
        plain(b" " * (MAX_BYTES + 1))
    assert caught.value.status == 413
    assert api.post("/flows/", content=b'{"name": "' + b"x" * MAX_BYTES + b'"}').status_code == 413
    endless = (b" " * 65536 for _ in range(MAX_BYTES // 65536 + 10))
    assert api.post("/flows/", content=endless).status_code == 413
    assert api.get("/health").json() is True


def test_a_state_message_keeps_its_run(api: httpx.Client) -> None:
    flow = api.post("/flows/", json={"name": "nul"}).json()["id"]
    run = api.post("/flow_runs/", json={"flow_id": flow, "parameters": {"x": "a\0"}}).json()
    body = b'{"state": {"type": "FAILED", "message": "ValueError: \\u0000 \\ud800"}}'
    answer = api.post(f"/flow_runs/{run['id']}/set_state", content=body)
    assert answer.json()["state"]["message"] == "ValueError: ␀ �"
    assert api.get(f"/flow_runs/{run['id']}").json()["parameters"] == {"x": "a␀"}
