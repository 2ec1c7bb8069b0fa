"""Which settings are secret, and never leave the node: not in its log, not in what it hands out.

By class, so that a setting to come is on the safe side before anybody thinks of it: what is named
here is secret; what merely looks like it is, too, unless it is named as public.
"""

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "(redacted)"

SECRET_SETTINGS: frozenset[str] = frozenset()
"""``section.key`` whose values are secret. There is none yet."""
PUBLIC_SETTINGS = frozenset({"limits.key_bytes_max", "security.key_file", "security.trust_file"})
"""Settings that look secret by their names and are not: the last two are paths."""

_LOOKS_SECRET = re.compile(
    r"pass(word|wd|phrase|code)?(_|\d|$)|secret|token|credential|auth|private|salt"
    r"|(^|_)(api)?keys?(_|\d|$)|(^|_)(pin|pem|psk|jwt|cookie|hmac|signature)(_|\d|$)",
    re.IGNORECASE,
)
_SPLIT = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-\s]+")


def is_secret(name: str) -> bool:
    """Whether the value of ``section.key`` must not be shown."""
    if name in SECRET_SETTINGS:
        return True
    if name in PUBLIC_SETTINGS:
        return False
    return any(_LOOKS_SECRET.search(_SPLIT.sub("_", part)) for part in name.split("."))


def redacted(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The same settings, nested as they are, with REDACTED where a value is secret."""
    shown: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if is_secret(name):
            shown[key] = REDACTED
        elif isinstance(value, Mapping):
            shown[key] = redacted(value, f"{name}.")
        else:
            shown[key] = value
    return shown
