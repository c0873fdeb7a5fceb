"""Whatever is written, the answer is a config or a ConfigError that shows no secret."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quota_watch.config import ConfigError, format_duration, load, parse_duration, validate
from quota_watch.config.tables import keys_of
from support.sections import CHANNELS, SECTIONS

PATH = Path("/nowhere/config.toml")
CANARY = "canary3f1c"
IN_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

KEYS = sorted({key for model in (*SECTIONS.values(), *CHANNELS.values()) for key in keys_of(model)})
WORDS = [
    "",
    "auto",
    "email",
    "webhook",
    "json",
    "env:A",
    "credential:a/b",
    "https://h/",
    "15m",
    "mailto:a",
    "2h",
    "UTC",
    "free",
    "ops",
    "sqlite://",
    "http://[",
    "\n",
    "é",
    "a" * 300,
]
scalars = (
    st.sampled_from(WORDS)
    | st.text(max_size=9)
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.just(16**3000)
)
names = st.sampled_from([*KEYS, "ops"]) | st.text(max_size=4)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)
)
documents = st.dictionaries(st.sampled_from([*SECTIONS, "channels"]), values, max_size=5)
tables = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)
likely = st.fixed_dictionaries(
    {},
    optional={
        **{name: tables for name in SECTIONS if name not in {"plans", "organizations"}},
        "organizations": st.lists(tables, max_size=3),
        "plans": st.dictionaries(names, tables, max_size=2),
        "channels": st.dictionaries(
            names,
            st.builds(lambda t, k: {**t, "type": k}, tables, st.sampled_from(WORDS)),
            max_size=3,
        ),
    },
)


def refusal(document):
    """What is said against a document, or None where it is a good config."""
    try:
        validate(document, PATH)
    except ConfigError as error:
        return error
    return None


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(documents | likely)
def test_whatever_a_document_holds_is_a_config_or_a_config_error(document):
    error = refusal(document)
    assert error is None or len(str(error).splitlines()) == len(error.problems) > 0


@IN_FOLDER
@given(
    content=st.binary(max_size=60) | st.text("[]{}=.,'\"#\n abe1_-", max_size=40).map(str.encode)
)
def test_whatever_a_file_holds_is_a_config_error(content, tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load(path)


def hide(value):
    """Put the canary wherever a text stands."""
    if isinstance(value, str):
        return f"{CANARY}{value}"
    if isinstance(value, list):
        return [hide(each) for each in value]
    return {name: hide(each) for name, each in value.items()} if isinstance(value, dict) else value


SECRETS = {
    ("rybbit", "api_key"),
    ("rybbit", "proxy"),
    ("database", "url"),
    ("smtp", "password"),
    ("heartbeat", "url"),
    ("web", "token"),
}


@settings(deadline=None)
@given(st.sampled_from(sorted(SECRETS)), values)
def test_no_value_at_a_secret_key_is_ever_shown(place, value):
    section, key = place
    document = {section: {key: hide(value), "host": "h"}}
    try:
        shown = repr(validate(document, PATH))
    except ConfigError as error:
        shown = f"{error!s}{error!r}{error.problems!r}"
    assert CANARY not in shown


@settings(deadline=None)
@given(st.sampled_from(["url", "secret", "headers", "routing_key"]), values)
def test_no_value_of_a_webhook_is_ever_shown(key, value):
    document = {"channels": {"hook": {"type": "webhook", "url": "https://h/", key: hide(value)}}}
    with pytest.raises(ConfigError) as caught:
        validate(document, PATH)
    assert CANARY not in f"{caught.value!s}{caught.value!r}{caught.value.problems!r}"


@given(st.integers(0, 86_400 * 36_500))
def test_durations_round_trip(seconds):
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(1, 36_500), st.sampled_from("smhd"))
def test_what_is_written_in_the_largest_unit_stays_so(number, unit):
    shown = format_duration(parse_duration(f"{number}{unit}"))
    assert parse_duration(shown) == parse_duration(f"{number}{unit}")
    assert len(shown) <= len(f"{number}{unit}")


@given(values)
def test_what_is_no_string_is_no_duration(value):
    assume(not isinstance(value, str))
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(value)
