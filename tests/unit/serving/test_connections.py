from serving import connections
from serving.connections import Connections


def test_a_connection_is_closed_with_its_last_request_and_starts_anew():
    counted = Connections(3)
    assert [counted.is_last("10.0.0.1:5000") for _ in range(6)] == [False, False, True, False, False, True]


def test_connections_are_counted_apart():
    counted = Connections(2)
    assert [counted.is_last(client) for client in ("a", "b", "a", "b")] == [False, False, True, True]


def test_the_longest_known_connection_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(connections, "MOST_KNOWN", 2)
    counted = Connections(2)
    for client in ("a", "b", "c"):
        counted.is_last(client)
    assert counted.is_last("b")
    assert not counted.is_last("a")
