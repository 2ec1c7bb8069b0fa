"""The methods that concern keys and rights, described once for both dresses (``operations.py``)."""

from typing import Any

from paxosctl.client.cluster_calls import admin_body, ask_admin
from paxosctl.client.operations import Steps, operation
from paxosctl.client.results import RightsResult, as_bytes, as_number
from paxosd.core.client.calls import Alone
from paxosd.core.commands import RIGHTS


class RightsMethods:
    """Who may do what, and the change of it."""

    @operation
    def rights(
        self, endpoint: str = "", *, timeout_s: float | None = None
    ) -> Steps[dict[str, Any]]:
        """The rights table as a node has it, without anything secret: all of it for an admin or an
        operator, for others their own principal. ``endpoint``: as in :meth:`status`.

        >>> client.rights()["required"]
        False
        """
        call = yield ask_admin("rights", {}, endpoint)
        return admin_body(call.result)

    @operation
    def change_rights(
        self, version: int, document: bytes, *, timeout_s: float | None = None
    ) -> Steps[RightsResult]:
        """Make the rights table what ``document`` says (``RightsTable.to_command``), if it is of
        ``version`` now. Repeated until it is answered, so that CAS_MISS may be this change's own
        doing: compare what is in force. Raises RefusedError for what cannot be a table,
        ForbiddenError for a key that is no admin's."""
        call = yield Alone([RIGHTS, as_number(version), as_bytes(document), b""])
        status, present, slot = call.result
        return RightsResult(status, present, slot or 0)
