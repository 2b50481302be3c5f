"""The pace of an account's replies: what its rate allows over any time, and a tenth of a second's at once."""

from service.delivery.pace import Pace


def test_no_more_goes_than_the_rate_allows() -> None:
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    sent = 0
    for _ in range(1000):
        clock[0] += 0.01
        count = pace.take(200, 64)
        pace.spend(count)
        sent += count
    assert 1980 <= sent <= 2000


def test_after_a_rest_a_tenth_of_a_second_goes_at_once_and_a_slow_account_sends_too() -> None:
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    clock[0] = 60.0
    assert pace.take(200, 64) == 20
    assert pace.take(1, 64) == 1
    pace.spend(1)
    assert pace.take(1, 64) == 0
