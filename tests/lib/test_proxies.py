"""Which proxy the environment names, and for what."""

from collections.abc import Mapping

import pytest

from quota_watch.lib.urls import proxy_for

ENVIRON = {"HTTPS_PROXY": "http://p:1", "http_proxy": "http://q:2", "NO_PROXY": "b.example,.c:81"}


@pytest.mark.parametrize(
    ("url", "environ", "found"),
    [
        ("https://a.example/x", ENVIRON, ("HTTPS_PROXY", "http://p:1")),
        ("http://a.example", ENVIRON, ("http_proxy", "http://q:2")),
        (
            "https://a.example",
            {"https_proxy": "l", "HTTPS_PROXY": "u"},
            ("https_proxy", "http://l"),
        ),
        ("https://a.example", {"ALL_PROXY": "http://r:3"}, ("ALL_PROXY", "http://r:3")),
        ("https://a.example", {"HTTPS_PROXY": ""}, None),
        ("https://a.example", {}, None),
        ("https://B.example", ENVIRON, None),
        ("https://x.b.example:444", ENVIRON, None),
        ("https://notb.example", ENVIRON, ("HTTPS_PROXY", "http://p:1")),
        ("https://a.c:81", ENVIRON, None),
        ("https://a.c", ENVIRON, ("HTTPS_PROXY", "http://p:1")),
        ("https://a.example", ENVIRON | {"NO_PROXY": "*"}, None),
        ("https://a.example", ENVIRON | {"no_proxy": "other"}, ("HTTPS_PROXY", "http://p:1")),
        ("http://localhost:80", ENVIRON, None),
        ("http://127.0.0.1", ENVIRON, None),
        ("http://[::1]:8", ENVIRON, None),
        ("http://a.example", {"HTTP_PROXY": "p.corp:3128"}, ("HTTP_PROXY", "http://p.corp:3128")),
    ],
)
def test_the_environments_proxy_is_found(url: str, environ: Mapping[str, str], found):
    assert proxy_for(url, environ) == found


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*.corp", "https://hooks.corp"),
        ("*.corp", "https://corp"),
        ("corp.", "https://hooks.corp"),
        (".corp", "https://hooks.corp."),
        ("CORP", "https://Hooks.Corp"),
        ("other, corp", "https://hooks.corp"),
        ("other corp", "https://hooks.corp"),
        ("hooks.corp:443", "https://hooks.corp"),
        ("10.0.0.0/8", "https://10.1.2.3"),
        ("10.1.2.3", "https://10.1.2.3:8443"),
        ("10.1.2.3:8443", "https://10.1.2.3:8443"),
        ("fd00::/8", "https://[fd00::7]"),
        ("[fd00::7]", "https://[fd00::7]"),
        ("[fd00::7]:8443", "https://[fd00::7]:8443"),
        ("fd00::7", "https://[fd00::7]"),
    ],
)
def test_what_no_proxy_lists_is_reached_directly(no_proxy: str, url: str):
    assert proxy_for(url, {"ALL_PROXY": "http://p:1", "NO_PROXY": no_proxy}) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*.corp", "https://hookscorp"),
        ("hooks.corp:8443", "https://hooks.corp"),
        ("10.0.0.0/8", "https://11.1.2.3"),
        ("1.2.3", "https://10.1.2.3"),
        ("10.0.0.0/33", "https://10.1.2.3"),
        ("[fd00::7]:1", "https://[fd00::7]"),
        (",, ", "https://hooks.corp"),
        ("[", "https://hooks.corp"),
        ("/", "https://10.1.2.3"),
    ],
)
def test_what_it_does_not_list_is_not(no_proxy: str, url: str):
    assert proxy_for(url, {"ALL_PROXY": "http://p:1", "NO_PROXY": no_proxy}) is not None
