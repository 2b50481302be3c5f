"""The SMS that a donor gets, where a protocol's answer carries one."""

from typing import Annotated

from pydantic import Field

REPLY_CHARACTERS_MAX = 300

REPLY_TEXT = "Cong 1400 da nhan duoc tin nhan cua Quy vi. Xin cam on!"
"""One plain SMS, hence without diacritics. It says nothing that a later reading, or an outage, could make untrue."""

ReplyText = Annotated[str, Field(min_length=1, max_length=REPLY_CHARACTERS_MAX)]
"""A key of an account: what the donor is answered."""
