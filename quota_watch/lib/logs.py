"""The log on stderr: one record per notable thing, as text or as JSON, free of secrets.

Callers name the event and give what belongs to it as fields:
`log.info("organization polled", organization="org_1", used=123)`.
"""

import base64
import json
import logging
import math
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from types import TracebackType
from typing import Literal, TextIO
from urllib.parse import quote, quote_plus

from quota_watch.lib.text import escape, iso

_LONGEST = 4_000  # the journal cuts lines at 48 KiB; a second half would look like a line
_RESERVED = frozenset({"time", "level", "event", "logger", "traceback"})
_WORDS = {"WARNING": "WARN", "CRITICAL": "CRIT"}
_PRIORITIES = (7, 7, 6, 4, 3, 2)
"""Under which the journal files a line, by its level's tens, as syslog numbers them."""
_BARE = re.compile(r'[^\s"=\\]+')
_MASK = "***"
_NOTHING = "(?!)"  # what matches nowhere
_SHORTEST_SECRET = 4

Scalar = str | int | float | bool | None


class Redactor:
    """Replaces every known secret, plain or encoded, by `***`.

    Encoded: in a URL, in Base64 (alone or inside `user:password`), in JSON and in `repr`. A secret
    under 4 characters is left: it would blank out half of every line.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: frozenset[str] = frozenset()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Replace these too from now on; no secret is ever dropped."""
        self._forms = self._forms.union(*map(_forms, secrets))
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or _NOTHING)

    def __call__(self, text: str) -> str:
        """Return `text` without secrets."""
        return self._pattern.sub(_MASK, text)


class Log:
    """Writes events with fields to a standard logger."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **fields: object) -> None:
        """Log what matters only when searching for a fault."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Log something notable that is as it should be."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Log something that may need a person."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Log something that failed."""
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """Log something that failed, with the traceback of the exception being handled."""
        self._write(logging.ERROR, event, fields, exc_info=True)

    def _write(
        self, level: int, event: str, fields: Mapping[str, object], *, exc_info: bool | None = None
    ) -> None:
        self._logger.log(level, event, exc_info=exc_info, extra={"fields": fields}, stacklevel=3)


def get_logger(name: str) -> Log:
    """Return the log of the module `name`."""
    return Log(logging.getLogger(name))


def setup_logging(
    *,
    log_format: Literal["text", "json"] = "text",
    level: int | str = logging.INFO,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Redactor:
    """Send all logging to stderr (or `stream`); return the redactor, for secrets learned later.

    `level` is that of quota-watch; libraries log from WARNING on, since some log whole URLs. Called
    again, as after a reload, it replaces its own earlier handler and no other; earlier secrets
    stay secret.
    """
    stream = stream or sys.stderr
    root = logging.getLogger()
    earlier = [handler for handler in root.handlers if isinstance(handler, _Handler)]
    redact = earlier[-1].redact if earlier else Redactor()
    redact.add(secrets)
    handler = _Handler(stream, redact)
    formatter = _JsonFormatter if log_format == "json" else _TextFormatter
    handler.setFormatter(formatter(redact, journal=_is_journal(stream, environ)))
    root.addHandler(handler)
    for old in earlier:
        root.removeHandler(old)
    root.setLevel(logging.WARNING)
    logging.getLogger("quota_watch").setLevel(level)
    return redact


def log_uncaught_exceptions() -> None:
    """Log uncaught exceptions, of any thread: Python would print them unredacted."""
    logger = logging.getLogger(__name__)

    def of_main(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        logger.critical("stopped by an unexpected error", exc_info=error)

    def of_thread(args: threading.ExceptHookArgs) -> None:
        logger.critical("a thread died of an unexpected error", exc_info=args.exc_value)

    sys.excepthook = of_main
    threading.excepthook = of_thread


class _Handler(logging.StreamHandler[TextIO]):
    """Our handler, by its type distinct from others on the root logger."""

    def __init__(self, stream: TextIO, redact: Redactor) -> None:
        super().__init__(stream)
        self.redact = redact

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Report that a record was lost; Python would print it whole, secrets included."""
        kind, _, _ = sys.exc_info()
        with suppress(OSError, ValueError):  # stderr itself may be what is gone
            self.stream.write(f"a log record was lost logger={record.name} error={kind}\n")


class _TextFormatter(logging.Formatter):
    """`2026-03-15T12:00:00Z INFO  organization polled organization=org_1 used=123`."""

    def __init__(self, redact: Redactor, *, journal: bool) -> None:
        super().__init__()
        self.redact = redact
        self.journal = journal

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES[min(record.levelno // 10, 5)]}>" if self.journal else ""
        return "\n".join(prefix + line for line in self.lines(record))

    def fields(self, record: logging.LogRecord) -> dict[str, Scalar]:
        fields: Mapping[str, object] | None = getattr(record, "fields", None)
        if fields is None:  # a library's record: its logger is all there is to add
            return {"logger": record.name}
        return {
            f"{key}_" if key in _RESERVED else key: self.clean(_as_scalar(value))
            for key, value in fields.items()
        }

    def clean(self, value: Scalar) -> Scalar:
        """Redact first and cut then, so that no half of a secret is left at the cut."""
        if value is None or isinstance(value, bool):
            return value
        text = str(value)
        clean = self.redact(text)
        return value if clean == text and not isinstance(value, str) else _cut(clean)

    def traceback(self, record: logging.LogRecord) -> str | None:
        if not record.exc_info or record.exc_info[0] is None:
            return None
        return self.redact(self.formatException(record.exc_info))

    def lines(self, record: logging.LogRecord) -> list[str]:
        moment = iso(datetime.fromtimestamp(int(record.created), UTC))
        head = [] if self.journal else [f"{moment}"]
        head.append(f"{_WORDS.get(record.levelname, record.levelname):5}")
        head.append(escape(_cut(self.redact(record.getMessage()))))
        head += [f"{key}={_as_text(value)}" for key, value in self.fields(record).items()]
        below = (self.traceback(record) or "").splitlines()
        # Indented, so that no text of an exception can pass for a line of its own.
        text = "\n".join([" ".join(head), *(f"    {escape(_cut(line))}" for line in below)])
        return self.redact(text).split("\n")


class _JsonFormatter(_TextFormatter):
    """One object per line: `time`, `level`, `event` and the fields.

    Redacted value by value: in the finished text, a secret such as 1234 could break the JSON.
    """

    def lines(self, record: logging.LogRecord) -> list[str]:
        moment = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        body: dict[str, Scalar] = {
            "time": f"{moment.isoformat(timespec='milliseconds')}Z",
            "level": record.levelname.lower(),
            "event": self.redact(record.getMessage()),
            **self.fields(record),
        }
        traceback = self.traceback(record)
        return [json.dumps(body | ({"traceback": traceback} if traceback else {}))]


def _as_scalar(value: object) -> Scalar:
    match value:
        case str():
            return value
        case Enum():
            return value.name.lower()
        case None | int():
            return value
        case float() if math.isfinite(value):
            return value
        case datetime():
            return iso(value.replace(microsecond=0))
        case _:
            return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _as_text(value: Scalar) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if value.isprintable() and _BARE.fullmatch(value):
        return value
    return escape(json.dumps(value, ensure_ascii=False))


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether what is written to `stream` goes to the systemd journal."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # not a file at all, or closed
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _forms(secret: str) -> set[str]:
    """Return all forms that `secret` may have in a log."""
    lines = {part for part in (secret, *secret.splitlines()) if len(part) >= _SHORTEST_SECRET}
    return {form for line in lines for form in _forms_of_line(line)}


def _forms_of_line(line: str) -> Iterator[str]:
    data = line.encode(errors="surrogateescape")  # as the environment decodes what is not UTF-8
    json_text = json.dumps(line, ensure_ascii=False)[1:-1]
    yield from (line, escape(line), repr(line)[1:-1], repr(data)[2:-1])
    yield from (json_text, escape(json_text), json.dumps(line)[1:-1])
    for quoted in (quote(data), quote(data, safe=""), quote_plus(data)):
        yield quoted
        yield re.sub("%..", lambda match: match[0].lower(), quoted)
    yield from _base64_forms(data)


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield the Base64 of `data` for each offset at which it can begin in a longer text.

    Characters that also depend on the neighbours are left out.
    """
    for shift, mixed_before in enumerate((0, 2, 3)):
        encoded = base64.b64encode(bytes(shift) + data).decode().rstrip("=")
        mixed_after = 1 if (shift + len(data)) % 3 else 0
        own = encoded[mixed_before : len(encoded) - mixed_after]
        yield own
        yield own.translate(str.maketrans("+/", "-_"))
