"""The circuit breaker lets one callback in five seconds try, and closes at the first commit."""

from service.intake.circuit_breaker import CircuitBreaker


def test_a_closed_circuit_lets_everybody_pass() -> None:
    circuit = CircuitBreaker(5, clock=lambda: 0.0)
    assert [circuit.allows() for _ in range(3)] == [True] * 3
    assert not circuit.is_open


def test_an_open_circuit_lets_one_try_now_and_then() -> None:
    now = 100.0
    circuit = CircuitBreaker(5, clock=lambda: now)
    circuit.open()
    assert [circuit.allows() for _ in range(3)] == [False] * 3
    now = 104.9
    assert not circuit.allows()
    now = 105.0
    assert [circuit.allows() for _ in range(3)] == [True, False, False]
    now = 107.0
    circuit.open()
    assert not circuit.allows()
    now = 110.0
    assert circuit.allows()


def test_a_commit_closes_it() -> None:
    circuit = CircuitBreaker(5, clock=lambda: 0.0)
    circuit.open()
    circuit.close()
    assert circuit.allows()
    assert not circuit.is_open
