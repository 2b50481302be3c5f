"""The SMS that a donor gets, where a protocol's answer carries one."""

from typing import Annotated

from pydantic import Field

REPLY_CHARACTERS_MAX = 300

REPLY_TEXT = (
    "Cổng 1400 đã nhận được tin nhắn của bạn. Xin cảm ơn! / Portal 1400 has received your message. Thank you!"
)
"""It says nothing that a later reading, or an outage, could make untrue."""

ReplyText = Annotated[str, Field(min_length=1, max_length=REPLY_CHARACTERS_MAX)]
"""A key of an account: what the donor is answered."""
