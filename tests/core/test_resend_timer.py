"""When an accept is sent again."""

import pytest

from paxosd.core.resend_timer import PATIENCE_MIN_MS, ResendTimer

RETRANSMIT_MS = 250.0


def measured(*took_ms):
    timer = ResendTimer(RETRANSMIT_MS)
    for each in took_ms:
        timer.answered(each, 1)
    return timer


def test_before_anything_is_measured_the_setting_counts():
    assert ResendTimer(RETRANSMIT_MS).patience_ms(1) == RETRANSMIT_MS


def test_a_quick_cluster_is_asked_again_soon_and_each_time_later():
    timer = measured(*[2.0] * 20)
    waits = [timer.patience_ms(n) for n in range(1, 7)]
    assert waits == [PATIENCE_MIN_MS, 60.0, 120.0, 240.0, 250.0, 250.0]


def test_a_slow_cluster_is_given_the_time_that_it_takes():
    timer = measured(*[80.0] * 20)
    assert 80.0 < timer.patience_ms(1) < 120.0


def test_what_varies_needs_more_patience():
    assert measured(*[5.0, 60.0] * 20).patience_ms(1) > 100.0


@pytest.mark.parametrize("sendings", [1, 40, 5000])
def test_never_longer_than_the_setting(sendings):
    assert measured(*[400.0] * 20).patience_ms(sendings) == RETRANSMIT_MS


def test_one_that_has_become_slower_is_measured_again():
    """Every accept would be sent twice for ever, if the doubtful measure were the only one."""
    timer, took_ms, sent_twice = measured(*[2.0] * 20), 100.0, 0
    for _ in range(20):
        if timer.patience_ms(1) < took_ms:
            sent_twice += 1
            timer.answered(took_ms - timer.patience_ms(1), 2)
        else:
            timer.answered(took_ms, 1)
    assert sent_twice < 10
    assert timer.patience_ms(1) > took_ms


def test_after_many_doubtful_votes_a_few_good_ones_make_it_quick_again():
    timer = measured(*[2.0] * 20)
    for _ in range(50):
        timer.answered(2.0, 2)
    for _ in range(3):
        timer.answered(2.0, 1)
    assert timer.patience_ms(1) == PATIENCE_MIN_MS


def test_one_that_loses_messages_keeps_a_short_patience():
    timer = measured(*[2.0] * 20)
    for number in range(60):
        timer.answered(2.0, 1 + (number % 3 == 0))
    assert timer.patience_ms(1) <= 2 * PATIENCE_MIN_MS
