"""What one setting is: its names, its type, how its text is read and written.

Knows nothing of where values come from (`base.config` does) and keeps no value itself.
"""

import os
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any

from riverrun.base.errors import ConfigurationError

if TYPE_CHECKING:
    from riverrun.base.config import Settings

PREFIX = "RIVERRUN_"
#: names of the peer's settings are understood wherever a person or a program names a setting
PEER_PREFIX = "PREFECT_"

MASK = "********"

_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
_EXPECTED = {
    bool: "true or false (also 1/0, yes/no, on/off)",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    list[str]: "a comma-separated list",
    list[float]: "a comma-separated list of numbers",
    dict[str, str]: "a JSON object of texts",
}


class Setting:
    """One line of the table in `base.config`.

    `name` is the variable, `field` the attribute of `Settings`; `also` are further fields under which it is known.
    `initial` is the default; that of a path may say `{home}`. `minimum` and `choices` bound the value; choices are in
    upper case, and so is what is read.
    """

    __slots__ = ("also", "choices", "doc", "field", "initial", "is_secret", "minimum", "name", "types")

    def __init__(
        self,
        initial: Any,
        doc: str,
        *,
        also: tuple[str, ...] = (),
        secret: bool = False,
        minimum: float | None = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.initial = initial
        self.doc = doc
        self.also = also
        self.is_secret = secret
        self.minimum = minimum
        self.choices = choices
        self.name = self.field = ""
        self.types: tuple[Any, ...] = ()

    def bind(self, field: str, annotation: Any) -> None:
        """Tell the setting its field and its type; called once, when the table is read."""
        self.field = field
        self.name = PREFIX + field.upper()
        self.types = annotation.__args__ if isinstance(annotation, UnionType) else (annotation,)

    def value(self) -> Any:
        """The value that holds now."""
        from riverrun.base.config import settings

        return getattr(settings(), self.field)

    def value_from(self, settings: "Settings") -> Any:
        """The value in the given settings."""
        return getattr(settings, self.field)

    def default(self) -> Any:
        """The value when nobody sets one."""
        from riverrun.base.config import settings

        return self.default_for(settings().home)

    @property
    def fields(self) -> tuple[str, ...]:
        """The field and its aliases."""
        return (self.field, *self.also)

    @property
    def expected(self) -> str:
        """What a value has to be, for people."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        text = " or ".join(_EXPECTED[kind] for kind in self.types if kind is not NoneType)
        return text if self.minimum is None else f"{text}, at least {self.minimum:g}"

    @property
    def optional(self) -> bool:
        return NoneType in self.types

    def default_for(self, home: Path) -> Any:
        """The default, given the home directory."""
        if Path in self.types and self.initial is not None:
            return _path(self.initial.replace("{home}", str(home)))
        return self.initial.copy() if isinstance(self.initial, list | dict) else self.initial

    def read(self, value: Any, source: str, key: str | None = None) -> Any:
        """The typed value of a text (or of a TOML or Python value).

        Raises `ConfigurationError` that names the setting, the value, the source and what is expected.
        """
        try:
            typed = self._convert(value)
            self._check(typed)
        except (ValueError, TypeError):
            shown = MASK if self.is_secret else repr(value)
            named = key or self.name
            also = "" if named.upper() == self.name else f" (that is, {self.name})"
            message = f"{named}={shown}{also}, set in {source}, is not valid: expected {self.expected}."
            raise ConfigurationError(message) from None
        return typed

    def _convert(self, value: Any) -> Any:
        if value is None:
            if self.optional:
                return None
            raise TypeError
        for kind in self.types:
            if kind is not NoneType:
                try:
                    typed = _READERS[kind](value)
                    return typed.upper() if self.choices else typed
                except (ValueError, TypeError):
                    continue
        raise ValueError

    def _check(self, value: Any) -> None:
        if self.choices and value not in self.choices:
            raise ValueError
        if self.minimum is not None and value is not None:
            for number in value if isinstance(value, list) else [value]:
                if not number >= self.minimum:  # also refuses NaN
                    raise ValueError

    def write(self, value: Any) -> str:
        """The text that `read` turns into `value` again; None is the empty text."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, list):
            if any(isinstance(item, str) and not _is_plain(item) for item in value):
                import msgspec

                return msgspec.json.encode(value).decode()
            return ",".join(map(str, value))
        if isinstance(value, dict):
            import msgspec

            return msgspec.json.encode(value).decode()
        return str(value)

    def show(self, value: Any, *, secrets: bool = False) -> str:
        """The text for people: secrets and passwords inside URLs are masked unless asked for."""
        if value is not None and not secrets:
            if self.is_secret:
                return MASK
            if isinstance(value, str) and "://" in value:
                return mask_password(value)
        return self.write(value)

    def __repr__(self) -> str:
        return f"<Setting {self.name}>"


def mask_password(url: str) -> str:
    """The URL with the password of its user part masked; text that is no URL comes back as it was."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
        if parts.password is None:
            return url
        user, _, host = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{MASK}@{host}"))
    except ValueError:
        return url


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _int(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _str(value: Any) -> str:
    if isinstance(value, bool | int | float | str | os.PathLike):
        return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    secret = getattr(value, "get_secret_value", None)  # pydantic's SecretStr, which users of the peer hand over
    if secret is not None:
        return str(secret())
    raise TypeError


def _path(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise TypeError
    # absolute at once: the working directory may change while the settings live
    text = os.path.expanduser(os.fspath(value))  # noqa: PTH111 - see below
    if text.startswith("~/"):  # a user without a home, as in many containers: never a directory called `~`
        import tempfile

        text = os.path.join(tempfile.gettempdir(), f"riverrun-{os.getuid()}", text[2:])  # noqa: PTH118 - see below
    return Path(os.path.abspath(text))  # noqa: PTH100 - pathlib would keep `..`


def _is_plain(item: str) -> bool:
    """Whether an item of a list comes back from the comma-separated form as it was."""
    return bool(item) and "," not in item and item == item.strip() and not item.startswith("[")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            import msgspec

            try:
                return msgspec.json.decode(value, type=list[str])
            except msgspec.MsgspecError:
                raise ValueError from None
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(item, str) for item in value):
        return list(value)
    raise TypeError


def _numbers(value: Any) -> list[float]:
    if isinstance(value, str):
        return [float(item) for item in value.strip().strip("[]").split(",")]
    if isinstance(value, list | tuple):
        return [_float(item) for item in value]
    raise TypeError


def _pairs(value: Any) -> dict[str, str]:
    import msgspec

    try:
        return (
            msgspec.json.decode(value, type=dict[str, str])
            if isinstance(value, str)
            else msgspec.convert(value, dict[str, str])
        )
    except msgspec.MsgspecError:
        raise ValueError from None


_READERS: dict[Any, Any] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: _path,
    list[str]: _texts,
    list[float]: _numbers,
    dict[str, str]: _pairs,
}
