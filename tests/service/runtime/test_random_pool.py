"""Random bytes drawn in advance are handed out once, to however many threads."""

import threading
from datetime import UTC, datetime

from service.runtime.keyring import NONCE_BYTES, Sealer
from service.runtime.random_pool import POOL_BYTES, RandomPool
from service.runtime.uuid7 import uuid7


def test_no_piece_is_handed_out_twice_also_beyond_the_end_of_the_pool() -> None:
    pool = RandomPool()
    pieces = [pool.take(10) for _ in range(5 * POOL_BYTES // 10)]
    assert {len(piece) for piece in pieces} == {10}
    assert len(set(pieces)) == len(pieces)


def test_threads_never_get_the_same_piece() -> None:
    pool, taken = RandomPool(), []

    def take() -> None:
        taken.extend([pool.take(12) for _ in range(5_000)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 20_000


def test_a_sealer_has_a_nonce_of_its_own_for_every_seal() -> None:
    sealer = Sealer(bytes(32))
    nonces = {sealer.seal(b"text", b"place")[:NONCE_BYTES] for _ in range(2_000)}
    assert len(nonces) == 2_000


def test_an_identifier_of_a_pool_says_its_time_and_version() -> None:
    at = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
    made = uuid7(at, RandomPool())
    assert int.from_bytes(made.bytes[:6]) == int(at.timestamp() * 1000)
    assert (made.version, made.bytes[8] & 0xC0) == (7, 0x80)
