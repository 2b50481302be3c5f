"""Families of the accounts of the book: whether they can serve, and how their links do."""

from contextlib import suppress

from metrics.families.register import Register


class CatalogFamilies:
    """Accounts that can serve, what others lack, and what each is waited for."""

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
        # All workers of a machine know the same of a link: they ask one another.
        self.account_expected_callbacks = room.gauge(
            "portal1400_account_expected_callbacks",
            "Callbacks due since an account's last by its usual share; one for a machine's workers",
            ["account"],
            unit="callbacks",
            query="max by (account) (portal1400_account_expected_callbacks) >= 20",
        )
        self.account_usual_hourly_callbacks = room.gauge(
            "portal1400_account_usual_hourly_callbacks",
            "Callbacks that an account usually sends in this hour of the day; one for a machine's workers",
            ["account"],
            unit="callbacks an hour",
            query="max by (account) (portal1400_account_usual_hourly_callbacks)",
        )
        self.account_missing_ids = room.gauge(
            "portal1400_account_missing_ids",
            "Ids of the last 15 minutes that did not come, of accounts whose ids are counted up for us alone",
            ["account"],
            unit="ids",
            query="max by (account) (portal1400_account_missing_ids) > 0",
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

    def see_link(
        self, account: str, *, expected_callbacks: float, usual_hourly_callbacks: float, missing_ids: int | None
    ) -> None:
        """How an account's link does. Ids that cannot be judged are no series: not judged is no zero."""
        self.account_expected_callbacks.labels(account).set(expected_callbacks)
        self.account_usual_hourly_callbacks.labels(account).set(usual_hourly_callbacks)
        if missing_ids is None:
            with suppress(KeyError):
                self.account_missing_ids.remove(account)
        else:
            self.account_missing_ids.labels(account).set(missing_ids)

    def forget_link(self, account: str) -> None:
        """Of a link that is judged no more."""
        for family in (
            self.account_expected_callbacks, self.account_usual_hourly_callbacks, self.account_missing_ids
        ):  # fmt: skip
            with suppress(KeyError):
                family.remove(account)
