"""Daemons that join a running cluster and leave it, by ``paxosctl member`` as a person types it."""

import json

from tests.processes.processes import Daemons

COMMAND_TIMEOUT = "15s"


class Growing(Daemons):
    """``size`` daemons n1 … that begin the cluster, and ``more`` that may join it later."""

    def __init__(self, path, *, size=3, more=1, **settings):
        self.founders = [f"n{i + 1}" for i in range(size)]
        super().__init__(path, size + more, **settings)

    def members_configured(self):
        return self.founders

    def write_config(self, name):
        """Of a founder; a newcomer's comes from the command line, see :meth:`configure`."""
        if name in self.founders:
            super().write_config(name)

    def try_ctl(self, *arguments):
        """``paxosctl member …`` at all that run: the exit code, and what it wrote."""
        endpoints = ",".join(self.endpoint(name) for name in list(self.processes))
        done = self.run(
            "paxosctl", "--endpoints", endpoints, "--timeout", COMMAND_TIMEOUT, "member", *arguments
        )
        return done.returncode, done.stdout, done.stderr

    def ctl(self, *arguments, code=0):
        """The same, which has to end with ``code``; what it wrote."""
        found, out, err = self.try_ctl(*arguments)
        assert found == code, (arguments, found, out, err)
        return out + err

    def can(self, *arguments):
        """Whether a change would not be stopped."""
        return self.try_ctl(*arguments, "--dry-run")[0] == 0

    def where(self, name):
        """The options that say where a node is."""
        kinds = ("peer", "client", "events")
        return [word for kind in kinds for word in (f"--{kind}", self.endpoint(name, kind))]

    def configure(self, name):
        """Write the configuration of a newcomer: what the command line says that it needs."""
        told = self.ctl("add", name, *self.where(name), "--dry-run", "-o", "json")
        self.write_joining(name, told)

    def write_joining(self, name, told):
        """The configuration of a newcomer from the JSON of ``member add``."""
        sections = {**self.settings, "log": {"file": f"{name}.log"} | self.settings["log"]}
        text = "".join(
            f"[{section}]\n" + "".join(f"{key} = {json.dumps(v)}\n" for key, v in keys.items())
            for section, keys in sections.items()
        )
        self.config_path(name).write_text(json.loads(told)["configuration"] + text)

    def join(self, name):
        """Start a newcomer, and wait until it answers."""
        self.configure(name)
        self.start(name)
        self.wait_up(name)

    def listed(self):
        """``member list`` as JSON says it."""
        return json.loads(self.ctl("list", "-o", "json"))

    def roles(self):
        """Node → its role in ``member list``."""
        return {each["node"]: each["role"] for each in self.listed()["nodes"]}

    def voters(self):
        return self.listed()["voters"]

    def start_founders(self):
        self.start(*self.founders)
        return self.wait_leader()
