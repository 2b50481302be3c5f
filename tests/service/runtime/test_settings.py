"""Settings: every one has a bad value and a sentence that names it, says what is wanted, and repeats no secret."""

import pytest

from service.runtime.settings import PREFIX, Settings, SettingsRefused, read_settings

BAD: dict[str, list[str]] = {
    "database_url": [
        "mysql://u@h/d",
        "host=localhost",
        "",
        "postgresql://u@h:notaport/d",
        "postgresql://u@h,h:99999/d",
        "postgresql://u@h,h/d?port=1,2,3",
        "postgresql://u@[half/d",
        "postgresql://u@h,h/d?target_session_attrs=any",
    ],
    "environment_file": ["", "/nowhere/env", "/", "/dev/zero"],
    "data_dir": ["", "data\r", "da\nta", "data\x85", "da\udcffta"],
    "listen": ["1400", "localhost", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:١٤٠٠"],
    "internal_listen": ["9400", "127.0.0.1:x"],
    "secret_key": ["short", "", "x" * 40 + "\udcff"],
    "secret_key_previous": ["short", "p1400k2." + "A" * 40],
    "public_url": ["portal.example", "ftp://portal.example"],
    "trusted_proxies": ["10.0.0.0/33", "proxy.example", "10.0.0.0/8;10.1.0.0/16"],
    "client_certificate_header": ["", "Client Cert", "Client-Cert:", "x" * 61],
    "oidc_issuer": [
        "login.example",
        "http://login.example",
        "https://",
        "https://a@login.example",
        "https://login.example/?x=1",
        "https://[half",
        "https://login.example/ ",
    ],
    "oidc_client_id": ["", "x" * 301],
    "oidc_client_secret": ["", "a secret without an issuer"],
    "oidc_second_factor": ["mfa", "amr:", "acr:two words"],
    "log_format": ["xml", "JSON", ""],
    "traces_endpoint": ["collector:4318", "grpc://collector:4317"],
    "traces_share": ["-0.1", "1.1", "all"],
    "log_callbacks_one_in": ["0", "1000001", "all"],
    "migrate_on_start": ["perhaps", ""],
    "shed_under_load": ["perhaps", ""],
    "queue_events_max": ["0", "99", "1000001", "many", "1e4", ""],
    "queue_wait_seconds": ["0", "-1", "31", "nan", "soon"],
    "account_callbacks_max": ["0", "100001", "x"],
    "account_events_max": ["0", "99", "x"],
    "idle_connection_seconds": ["0", "3601", "x"],
    "connections_max": ["24", "1000001", "x"],
    "spool_bytes_max": ["0", "1048575", "x"],
    "spool_age_max_hours": ["0", "8761", "x"],
    "batch_events_max": ["0", "10001", "x"],
    "writers": ["0", "9", "two", "1.5"],
    "head_read_seconds": ["0", "61", "x"],
    "body_read_seconds": ["0", "61", "x"],
    "statement_seconds": ["0", "301", "inf"],
    "stream_viewers_max": ["0", "1000001", "x"],
    "stream_write_seconds": ["0", "121", "x"],
    "raw_retention_days": ["13", "3651", "x"],
    "person_retention_days": ["89", "3651", "x"],
    "quarantine_per_account_max": ["0", "10000001", "x"],
    "invariant_seconds": ["0.5", "86401", "x"],
    "drain_seconds": ["-1", "61", "x"],
    "shutdown_seconds": ["0", "301", "x"],
}
FREE = {"postgres"}
"""Any text is one: what is wrong with it is said by whatever opens it."""


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_refused_by_name(name: str) -> None:
    for value in BAD[name]:
        with pytest.raises(SettingsRefused) as caught:
            read_settings({PREFIX + name.upper(): value})
        (sentence,) = caught.value.problems
        assert sentence.startswith(f"{PREFIX}{name.upper()}: "), value
        assert len(sentence) > len(name) + 25, "says what is wanted"


def test_every_setting_has_its_row_and_its_description() -> None:
    assert set(BAD) | FREE == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_a_provider_of_logins_is_set_whole_or_not_at_all() -> None:
    whole = {
        "PORTAL1400_PUBLIC_URL": "https://portal.example",
        "PORTAL1400_OIDC_ISSUER": "https://login.example/realms/one",
        "PORTAL1400_OIDC_CLIENT_ID": "desk",
        "PORTAL1400_OIDC_CLIENT_SECRET": "hunter2",
    }
    settings = read_settings(whole)
    assert settings.oidc_issuer == whole["PORTAL1400_OIDC_ISSUER"]
    assert "hunter2" not in repr(settings)
    for left_out in whole:
        with pytest.raises(SettingsRefused, match="PORTAL1400_OIDC_CLIENT_SECRET: ") as caught:
            read_settings({name: value for name, value in whole.items() if name != left_out})
        assert "hunter2" not in str(caught.value)
    for issuer in ("http://127.0.0.1:8080", "http://localhost/a", "http://[::1]:8080", "https://login.example/"):
        assert read_settings(whole | {"PORTAL1400_OIDC_ISSUER": issuer}).oidc_issuer == issuer


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsRefused) as caught:
        read_settings({"PORTAL1400_LISTEN": "x", "PORTAL1400_WRITERS": "0", "PORTAL1400_WORKERZ": "1"})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("name", ["PORTAL1400_SERVICE_HOST", "PORTAL1400_PORT", "PORTAL1400_PORT_1400_TCP_ADDR"])
def test_a_variable_of_kubernetes_service_links_is_named_as_a_cause(name: str) -> None:
    with pytest.raises(SettingsRefused, match="enableServiceLinks: false") as caught:
        read_settings({name: "tcp://10.0.0.1:1400"})
    assert name in str(caught.value)
    assert "10.0.0.1" not in str(caught.value)


def test_other_variables_are_nobody_s_business() -> None:
    assert read_settings({"PATH": "/bin", "PORTAL_1400": "x", "portal1400_listen": "x"}) == Settings.model_validate(
        {}
    )


def test_secrets_are_not_shown() -> None:
    given = {
        "PORTAL1400_DATABASE_URL": "postgresql://app:hunter2hunter2@db/portal",
        "PORTAL1400_SECRET_KEY": "k3y " * 12,
    }
    settings = read_settings(given)
    assert "hunter2" not in repr(settings)
    assert "k3y" not in repr(settings)
    assert settings.require_secret_key() == "k3y " * 12
    for name in given:
        with pytest.raises(SettingsRefused) as caught:
            read_settings({name: "hunter2 of a wrong form"})
        assert "hunter2" not in str(caught.value)


def test_without_a_secret_key_whatever_needs_it_says_so() -> None:
    with pytest.raises(SettingsRefused, match="PORTAL1400_SECRET_KEY is not set: set it"):
        read_settings({}).require_secret_key()


ADDRESSES = {
    "127.0.0.1:1400": ("127.0.0.1", 1400, "127.0.0.1:1400"),
    ":1400": ("0.0.0.0", 1400, "0.0.0.0:1400"),
    "[::1]:80": ("::1", 80, "[::1]:80"),
    "portal.internal:0": ("portal.internal", 0, "portal.internal:0"),
}


@pytest.mark.parametrize("written", ADDRESSES)
def test_an_address_is_read_and_written(written: str) -> None:
    listen = read_settings({"PORTAL1400_LISTEN": written}).listen
    assert (listen.host, listen.port, str(listen)) == ADDRESSES[written]


def test_networks_are_separated_by_commas() -> None:
    networks = read_settings({"PORTAL1400_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8,"}).trusted_proxies
    assert [str(network) for network in networks] == ["10.0.0.0/8", "fd00::/8"]
