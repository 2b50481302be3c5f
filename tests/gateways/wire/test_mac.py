"""The keyed hash against the standard library's."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from gateways.wire.mac import hmac_sha256


@given(key=st.binary(max_size=200), message=st.binary(max_size=300))
def test_it_is_hmac_of_the_standard_library(key: bytes, message: bytes) -> None:
    expected = hmac.digest(key, message, "sha256")
    # The second comes from the prepared key.
    assert [hmac_sha256(key, message), hmac_sha256(key, message)] == [expected, expected]
