"""The picture as one HTML page to look around in: nothing comes from the network.

The scripts and the style are files beside this one. A content security policy allows no other
script, and no connection at all, whatever a name or a line of a log may hold.
"""

from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files

from paxosctl.diagram.diagram import Diagram
from paxosctl.diagram.page_data import embedded, page_data

SCRIPTS = (
    "layout.js", "causality.js", "shapes.js", "drawing.js", "overview.js", "panel.js", "page.js",
)  # fmt: skip
"""In the order in which they need each other."""


def html_page(diagram: Diagram, title: str) -> str:
    """The whole page as text."""
    parts = files("paxosctl.diagram") / "page"
    style = (parts / "page.css").read_text(encoding="utf-8")
    body = (parts / "body.html").read_text(encoding="utf-8")
    pieces = [(parts / name).read_text(encoding="utf-8") for name in SCRIPTS]
    script = "\n(() => {\n'use strict';\n" + "\n".join(pieces) + "})();\n"
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    notes = "".join(f"<p>{escape(each)}.</p>" for each in diagram.left_out)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>"
        f"{''.join(f'<p>{escape(head)}</p>' for head in diagram.heads)}"
        f'<div id="left-out" role="note">{notes}</div></header>\n{body}'
        f'<script type="application/json" id="data">{embedded(page_data(diagram, title))}'
        f"</script>\n<script>{script}</script>\n</body></html>\n"
    )
