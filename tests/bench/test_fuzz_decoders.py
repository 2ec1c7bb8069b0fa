"""A slice of the fuzzing of decoders, with another seed each time."""

import random

from tests.bench.fuzz_decoders import fuzz


def test_decoders_end_in_a_message_or_in_an_error_of_theirs():
    seed = random.SystemRandom().getrandbits(31)
    print(f"seed {seed}")
    count, _, reached, _ = fuzz(3000, 20.0, seed)
    assert count == 3000
    assert reached > 300, "it follows the lines"
