"""Which cluster a verb goes to: endpoints, and the file of the key to show there.

From the strongest to the weakest:

    1. flags          --endpoints, then --context, then the servers of --key-file
    2. environment    PAXOSCTL_ENDPOINTS, then PAXOSCTL_CONTEXT, then PAXOSCTL_KEY_FILE
    3. the context in use (`paxosctl context use`)
    4. paxosd dev on this machine

The first of them that says anything decides alone which endpoints. Where one of them says both, the
endpoints are those, the key the context's. The key is that of --key-file; else that of the context,
if a flag names it; else that of PAXOSCTL_KEY_FILE, else that of the context. A service (systemd's
LoadCredential=paxosctl.key:FILE) need not set PAXOSCTL_KEY_FILE: ``paxosctl.key`` among its
credentials counts as if it did. One that says ``none`` (SetCredential=paxosctl.key:none, for a unit
whose FILE may be missing) is no key.
"""

import os
from pathlib import Path
from typing import NamedTuple

import click

DEFAULT_ENDPOINTS = "tcp://127.0.0.1:7410,tcp://127.0.0.1:7420,tcp://127.0.0.1:7430"
CREDENTIAL = "paxosctl.key"
NO_CREDENTIAL = b"none"
FLAG, ENVIRONMENT, CONTEXT, DEFAULT = "flag", "environment", "context", "default"


class Asked(NamedTuple):
    """What the command line, or the environment, says of the cluster."""

    endpoints: str | None = None
    context: str | None = None
    key_file: str | None = None


NOTHING = Asked()


class Target(NamedTuple):
    """``endpoints``: with commas between them. ``source``: FLAG, ENVIRONMENT, CONTEXT (the one in
    use) or DEFAULT. ``named``: whether the endpoints were named, and not those of the context.
    ``context``: "" where none has a part in it. ``key_named``: whether the key is not the
    context's. ``by_key``: whether the endpoints are those of the file of the key."""

    endpoints: str
    source: str
    context: str = ""
    key_file: Path | None = None
    named: bool = False
    key_named: bool = False
    by_key: bool = False

    @property
    def origin(self) -> str:
        """Where the endpoints are from, for programs: ``context NAME``, or the source."""
        return f"context {self.context}" if self.context and not self.named else self.source

    @property
    def words(self) -> str:
        """The same for people; "" where they have just named them."""
        if self.context and not self.named:
            how = {ENVIRONMENT: ", by PAXOSCTL_CONTEXT", CONTEXT: ", the one in use"}
            return f"context {self.context}{how.get(self.source, '')}"
        if self.by_key:
            return f"{self.key_file}, the file of the key"
        words = {ENVIRONMENT: "PAXOSCTL_ENDPOINTS", DEFAULT: "paxosd dev: no others were given"}
        return words.get(self.source, "")

    @property
    def option(self) -> str:
        """What to add to a command so that it goes to the same cluster from anywhere, after a
        blank; "" for that of paxosd dev."""
        key = f" --key-file {self.key_file}" if self.key_named else ""
        if self.context:
            more = f" --endpoints {self.endpoints}" if self.named else ""
            return f" --context {self.context}{more}{key}"
        if self.endpoints == DEFAULT_ENDPOINTS:
            return key
        return f" --endpoints {self.endpoints}{key}"


def target_of(flags: Asked, environment: Asked) -> Target:
    """The cluster to go to, and the key to show there. Raises UsageError for a context that does
    not exist, StreamError and PermissionError if the file of the contexts, or that of a key whose
    servers are wanted, cannot be used."""
    environment = _with_credential(environment)
    target = _place_of(flags, environment)
    named = flags.key_file
    if named is None and not (target.source == FLAG and target.key_file):
        named = environment.key_file
    if named is None:
        return target
    return target._replace(key_file=Path(named).absolute(), key_named=True)


def _with_credential(environment: Asked) -> Asked:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if environment.key_file is None and directory:
        key_file = Path(directory) / CREDENTIAL
        if key_file.is_file() and not _says_none(key_file):
            return environment._replace(key_file=str(key_file))
    return environment


def _says_none(path: Path) -> bool:
    try:
        return path.read_bytes().strip() == NO_CREDENTIAL
    except OSError:
        return False  # whoever wants the key says what is wrong with it


def _place_of(flags: Asked, environment: Asked) -> Target:
    for source, asked in ((FLAG, flags), (ENVIRONMENT, environment)):
        if asked.context is not None:
            return _of_context(asked.context, source, asked.endpoints)
        if asked.endpoints is not None:
            return Target(asked.endpoints, source, named=True)
        if asked.key_file is not None:
            return Target(_servers_of(Path(asked.key_file)), source, named=True, by_key=True)
    from paxosctl.cli.contexts import Contexts  # noqa: PLC0415 -- most clusters are named

    current = Contexts.load().current
    if current:
        return _of_context(current, CONTEXT, None)
    return Target(DEFAULT_ENDPOINTS, DEFAULT)


def _servers_of(path: Path) -> str:
    """The endpoints that a key file has."""
    from paxosctl.cli.streams import StreamError  # noqa: PLC0415 -- most keys come with endpoints
    from paxosd.net.key_files import KeyFileError, read_key_file  # noqa: PLC0415 -- the same

    try:
        key = read_key_file(path)
    except KeyFileError as error:
        raise StreamError(str(error)) from None
    return ",".join([each.endpoint for each in key.servers.values()]) or DEFAULT_ENDPOINTS


def _of_context(name: str, source: str, endpoints: str | None) -> Target:
    from paxosctl.cli.contexts import Contexts  # noqa: PLC0415 -- most clusters are named

    contexts = Contexts.load()
    found = contexts.named.get(name)
    if found is None:
        how = {ENVIRONMENT: " (PAXOSCTL_CONTEXT)", CONTEXT: ", the one in use"}.get(source, "")
        advice = contexts.nearest(name)
        if source == CONTEXT:
            advice += "; or use none: paxosctl context use --none"
        raise click.UsageError(f'there is no context "{name}"{how} in {contexts.path}; {advice}')
    named = endpoints is not None
    there = ",".join(found.endpoints) if endpoints is None else endpoints
    return Target(there, source, name, found.key_file, named)
