"""``scp`` between hosts made of namespaces, which have no accounts: a stand-in for what the pages
type, ``scp FILE… HOST:DIRECTORY/``. Files keep their modes and become root's, as with root's scp.
"""

PORT = 22
_SOCKET = f"[Socket]\nListenStream={PORT}\nAccept=yes\n"
_SERVICE = """[Service]
ExecStart=/bin/bash --norc -c 'read -r place && exec tar -x --no-same-owner -C "$$place"'
StandardInput=socket
"""
_SCP = f"""#!/bin/bash -e
target=${{!#}}
exec 3<> "/dev/tcp/${{target%%:*}}/{PORT}"
echo "${{target#*:}}" >&3
tar -c -P --transform='s#^.*/##' "${{@:1:$#-1}}" >&3
cat <&3  # until it has them
"""


def install(host):
    """Let this host take files, and send some. It runs systemd."""
    host.write("/etc/systemd/system/copies.socket", _SOCKET)
    host.write("/etc/systemd/system/copies@.service", _SERVICE)
    host.write("/usr/local/bin/scp", _SCP, mode=0o755)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "copies.socket")
