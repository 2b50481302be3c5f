"""Families of the catalog: whether the accounts of the book can serve."""

from contextlib import suppress

from metrics.families.register import Register


class CatalogFamilies:
    """Accounts that can serve, and what others lack."""

    def __init__(self, register: Register) -> None:
        room = register.room("Accounts")
        self.account_usable = room.gauge(
            "portal1400_account_usable",
            "1 while an enabled account can serve, 0 while a secret of it cannot be had",
            ["account"],
            unit="0 or 1",
            query="min by (account) (portal1400_account_usable) == 0",
        )
        self.account_test = room.gauge(
            "portal1400_account_test",
            "1 for an enabled account that is for tests: what it sends is no gift",
            ["account"],
            unit="0 or 1",
            query="max by (account) (portal1400_account_test) == 1",
        )
        self.account_secrets_missing = room.gauge(
            "portal1400_account_secrets_missing",
            "Secrets of an enabled account that cannot be had",
            ["account"],
            unit="secrets",
            query="max by (account) (portal1400_account_secrets_missing) > 0",
        )

    def see_account(
        self, account: str, *, is_enabled: bool, is_usable: bool, is_test: bool, secrets_missing: int
    ) -> None:
        """Whether an account can serve. One that is not enabled is no series: nobody waits for it."""
        for family, value in (
            (self.account_usable, is_usable),
            (self.account_test, is_test),
            (self.account_secrets_missing, secrets_missing),
        ):
            if is_enabled:
                family.labels(account).set(value)
            else:
                with suppress(KeyError):
                    family.remove(account)
