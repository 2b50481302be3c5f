"""What a browser is asked for a passkey, and what it answers, read and verified by py_webauthn.

Call all of it in a thread: the library takes some tenths of a second to import, and only desks with passkeys need it.

Source: W3C Web Authentication, level 2, sections 7.1 and 7.2.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.desk.passkeys import CHALLENGE_MINUTES, MadePasskey, RelyingParty
from service.desk.people import Person
from service.desk.second_factor import ISSUER

if TYPE_CHECKING:
    from webauthn.helpers.structs import AuthenticationCredential

CHALLENGE_BYTES = 32
ANSWER_LETTERS_MAX = 16 * 1024
ID_BYTES_MAX = 1023
"""Of the standard, section 6.5.1; the database keeps no longer one."""
KEY_BYTES_MAX = 2048
"""As the database keeps; RSA of 4096 bits has a quarter of it."""


class ProofRefused(Exception):
    """What came is no proof of a passkey, or none for this challenge and this address."""


def new_challenge() -> bytes:
    """What one answer is good for, once."""
    return os.urandom(CHALLENGE_BYTES)


def creation_options(
    party: RelyingParty, person: Person, handle: bytes, challenge: bytes, known: Sequence[bytes]
) -> str:
    """What a browser is asked to make, as JSON; none on an authenticator that has one of the `known` ids."""
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    # To be found without a login, and to prove both that it is there and whose finger or PIN it is.
    kind = AuthenticatorSelectionCriteria(
        resident_key=ResidentKeyRequirement.REQUIRED,
        require_resident_key=True,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(
        generate_registration_options(
            rp_id=party.id,
            rp_name=ISSUER,
            user_id=handle,
            user_name=person.login,
            user_display_name=person.name,
            challenge=challenge,
            timeout=CHALLENGE_MINUTES * 60_000,
            authenticator_selection=kind,
            exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
        )
    )


def request_options(party: RelyingParty, challenge: bytes) -> str:
    """What a browser is asked to show, as JSON: whichever passkey it has for us, and who holds it."""
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import UserVerificationRequirement

    return options_to_json(
        generate_authentication_options(
            rp_id=party.id,
            challenge=challenge,
            timeout=CHALLENGE_MINUTES * 60_000,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
    )


def made_passkey(party: RelyingParty, answer: str, challenge: bytes) -> MadePasskey:
    """The passkey that was made for this challenge. Raises ProofRefused."""
    from webauthn import verify_registration_response
    from webauthn.helpers import (
        decode_credential_public_key,
        decoded_public_key_to_cryptography,
        parse_attestation_object,
        parse_registration_credential_json,
    )
    from webauthn.helpers.structs import AttestationFormat

    with _refusing(answer):
        credential = parse_registration_credential_json(answer)
        attested = parse_attestation_object(credential.response.attestation_object)
        # A maker's certificates were not asked for, and are not read; a key may sign for itself.
        if attested.fmt not in (AttestationFormat.NONE, AttestationFormat.PACKED) or attested.att_stmt.x5c:
            raise ProofRefused
        _require_own_page(credential.response.client_data_json)
        made = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
        if len(made.credential_id) > ID_BYTES_MAX or len(made.credential_public_key) > KEY_BYTES_MAX:
            raise ProofRefused
        # One that can be no key would be kept, and let in nobody.
        decoded_public_key_to_cryptography(decode_credential_public_key(made.credential_public_key))
    return MadePasskey(made.credential_id, made.credential_public_key, made.sign_count)


def shown_passkey(answer: str) -> "AuthenticationCredential":
    """What is shown, read and not yet believed. Raises ProofRefused."""
    from webauthn.helpers import parse_authentication_credential_json

    with _refusing(answer):
        return parse_authentication_credential_json(answer)


def proved_count(
    party: RelyingParty, shown: "AuthenticationCredential", challenge: bytes, public_key: bytes, handle: bytes
) -> int:
    """The authenticator's count of signatures, of an answer that proves this key and this person for this challenge.

    Whether the count has grown is the database's to say. Raises ProofRefused.
    """
    from webauthn import verify_authentication_response

    if shown.response.user_handle != handle:
        raise ProofRefused
    with _refusing():
        _require_own_page(shown.response.client_data_json)
        return verify_authentication_response(
            credential=shown,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        ).new_sign_count


def _require_own_page(client_data: bytes) -> None:
    """Raises ProofRefused for what was made in a frame of another site: no page of ours lets itself be framed."""
    from webauthn.helpers import parse_client_data_json

    if parse_client_data_json(client_data).cross_origin:
        raise ProofRefused


@contextmanager
def _refusing(answer: str = "") -> Iterator[None]:
    """Whatever the library finds wrong with an answer is a refusal. Its words quote the answer and go nowhere."""
    from cbor2 import CBORError
    from cryptography.exceptions import UnsupportedAlgorithm
    from webauthn.helpers.exceptions import WebAuthnException

    if len(answer) > ANSWER_LETTERS_MAX:
        raise ProofRefused
    try:
        yield
    except (WebAuthnException, CBORError, UnsupportedAlgorithm, ValueError, TypeError, LookupError, AttributeError,
            OverflowError, RecursionError, struct.error):  # fmt: skip
        raise ProofRefused from None
