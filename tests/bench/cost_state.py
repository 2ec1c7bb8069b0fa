"""What a put costs the state machine alone, with so many keys: decode a batch, apply it.

    python -m tests.bench.cost_state KEYS

Prints a JSON object: microseconds of processor time for a put in slots of ten, for a new key and
for one that is there, and bytes of memory a key.
"""

import gc
import json
import random
import sys
import time

from paxosctl.load.keys import key_of
from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.state.entries import pack_numbers
from paxosd.core.state.machine import Machine
from paxosd.wire import decode_batch, encode_batch, encode_entry
from tests.bench.big_state import memory_mib
from tests.bench.cost_rows import STATE_SIZE
from tests.bench.state_file import rows_of

MIB = 1 << 20
PUTS = 20_000
PUTS_A_SLOT = 10
SEED = 1


def cost_us(machine, keys_to_put, seq):
    """Of one put, over all of these, in slots that a leader would have made of them. ``seq``: of
    the first."""
    values = []
    for at in range(0, len(keys_to_put), PUTS_A_SLOT):
        commands = [[PUT, key, bytes(STATE_SIZE)] for key in keys_to_put[at : at + PUTS_A_SLOT]]
        entry = encode_entry(Entry(1, seq, seq - 1, commands))
        values.append(encode_batch(machine.applied + 1 + len(values), [entry]))
        seq += len(commands)
    began_s = time.process_time()
    for value in values:
        machine.apply(machine.applied + 1, decode_batch(value), value)
        machine.recent_changes.clear()
    return (time.process_time() - began_s) * 1e6 / len(keys_to_put)


def machine_of(keys):
    """One with a session, and so many keys."""
    machine = Machine()
    opening = encode_batch(1, [encode_entry(Entry(0, 1, 0, [[OPEN]]))])
    machine.apply(1, decode_batch(opening), opening)
    for block in rows_of(keys, STATE_SIZE):
        packed = [pack_numbers(*numbers) + value for value, *numbers in block[1::2]]
        assert machine.store.load(block[::2], packed)
    machine.store.revision = keys
    return machine


def main():
    """Build, measure, print."""
    keys = int(sys.argv[1])
    gc.disable()  # as the daemon does while it starts
    before_mib = memory_mib("self")
    machine = machine_of(keys)
    bytes_a_key = (memory_mib("self") - before_mib) * MIB / keys
    gc.freeze()
    rng = random.Random(SEED)
    again_us = cost_us(machine, [key_of(rng.randrange(keys)) for _ in range(PUTS)], 1)
    new = [b"new/%d" % number for number in rng.sample(range(1 << 40), PUTS)]
    new_us = cost_us(machine, new, 1 + PUTS)
    print(json.dumps({"again_us": again_us, "new_us": new_us, "bytes_a_key": bytes_a_key}))


if __name__ == "__main__":
    main()
