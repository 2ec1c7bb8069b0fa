"""All mutations, in the order of the campaign's table."""

from tests.bench.mutation import Mutation
from tests.bench.mutations_acting import ACTING
from tests.bench.mutations_disk import DISK
from tests.bench.mutations_history import HISTORY
from tests.bench.mutations_learning import LEARNING
from tests.bench.mutations_locks import LOCKS
from tests.bench.mutations_members import MEMBERS
from tests.bench.mutations_protocol import PROTOCOL
from tests.bench.mutations_rights import RIGHTS
from tests.bench.mutations_time import TIME
from tests.bench.mutations_transactions import TRANSACTIONS
from tests.bench.mutations_watch import WATCHES

MUTATIONS: dict[str, Mutation] = {
    each.name: each
    for table in (
        PROTOCOL,
        LEARNING,
        DISK,
        MEMBERS,
        WATCHES,
        TIME,
        LOCKS,
        TRANSACTIONS,
        HISTORY,
        ACTING,
        RIGHTS,
    )
    for each in table
}
