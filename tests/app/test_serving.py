"""Who may connect, which port is taken, and what is refused before a server starts."""

from __future__ import annotations

import socket

import pytest

from deeptracker.app.serving import ServingError, free_port, is_local, origins


def test_on_this_machine_only_this_machine_may_connect() -> None:
    assert origins("127.0.0.1", 5006, []) == ["localhost:5006", "127.0.0.1:5006"]
    assert "[::1]:5006" in origins("::1", 5006, [])


def test_origins_are_named_one_by_one() -> None:
    assert origins("0.0.0.0", 80, ["lab7", "proxy.example:8443"])[2:] == ["lab7:80", "proxy.example:8443"]
    assert "10.0.0.5:5006" in origins("10.0.0.5", 5006, [])
    assert not any("*" in origin for origin in origins("0.0.0.0", 5006, []))


@pytest.mark.parametrize("origin", ["*", "*.example.org", "http://lab7", "", "lab 7"])
def test_what_is_no_host_is_refused(origin: str) -> None:
    with pytest.raises(ServingError, match="allow-origin"):
        origins("0.0.0.0", 5006, [origin])


@pytest.mark.parametrize(
    ("address", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("lab7", False)]
)
def test_local_addresses(address: str, local: bool) -> None:
    assert is_local(address) == local


def test_a_taken_port_is_said_or_passed_over() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with pytest.raises(ServingError, match=f"Port {taken}"):
            free_port("127.0.0.1", taken)
        assert free_port("127.0.0.1", None) != taken


def test_a_foreign_address_is_refused() -> None:
    with pytest.raises(ServingError, match=r"203\.0\.113\.7"):
        free_port("203.0.113.7", 5006)
