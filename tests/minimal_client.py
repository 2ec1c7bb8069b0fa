"""The client at the end of docs/PROTOCOL.md, made from the code as it stands there."""

import re
from contextlib import contextmanager
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "PROTOCOL.md"


@contextmanager
def minimal_client(*endpoints):
    """One such client; its socket is closed in the end."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    names = {}
    exec(code, names)
    client = names["MiniClient"](*endpoints)
    try:
        yield client
    finally:
        client.close()
