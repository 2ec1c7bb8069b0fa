"""The exception that every check of a simulated run raises when a rule is broken."""


class Violation(Exception):  # noqa: N818 - it is the name of what is found, not of a mistake
    """A rule was broken. ``kind`` names the rule (see ``invariants.py``), ``text`` says what was
    seen."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text
