"""What a NetworkPolicy means, rule by rule; nft itself accepts every table."""

import os
import shutil
import subprocess
from typing import Any

import pytest

from infra.local.policies import address, matches, rules

SERVER, CLIENT, STRANGER = "10.244.0.2", "10.244.0.3", "10.244.0.4"
NAMESPACES = [
    {"metadata": {"name": "shop", "labels": {"team": "a"}}},
    {"metadata": {"name": "other", "labels": {"team": "b"}}},
]


def pod(name: str, ip: str, namespace: str = "shop", **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8000}]}], **changes},
        "status": {"podIP": ip, "phase": "Running"},
    }


PODS = [pod("server", SERVER), pod("client", CLIENT), pod("client", STRANGER, "other")]


def policy(**spec: Any) -> dict[str, Any]:
    selector = {"podSelector": {"matchLabels": {"app": "server"}}}
    return {"metadata": {"name": "p", "namespace": "shop"}, "spec": {**selector, **spec}}


def chain(table: str, name: str) -> list[str]:
    """The rules of a chain, [] where there is none."""
    _, found, rest = table.partition(f"  chain {name} {{\n")
    return [line.strip() for line in rest.partition("  }\n")[0].splitlines()] if found else []


def ingress(*policies: dict[str, Any]) -> list[str]:
    return chain(rules(policies, PODS, NAMESPACES), "ingress_10_244_0_2")


def egress(*policies: dict[str, Any]) -> list[str]:
    return chain(rules(policies, PODS, NAMESPACES), "egress_10_244_0_2")


def test_without_policies_nothing_is_dropped() -> None:
    assert "drop" not in rules([], PODS, NAMESPACES)


def test_a_selected_pod_without_rules_gets_nothing() -> None:
    assert ingress(policy()) == ["counter drop"]


def test_a_policy_for_one_direction_leaves_the_other_open() -> None:
    table = rules([policy(policyTypes=["Egress"])], PODS, NAMESPACES)
    assert "ingress_" not in table
    assert chain(table, "egress_10_244_0_2") == ["counter drop"]


def test_egress_rules_without_a_type_isolate_both_directions() -> None:
    both = policy(egress=[{}])
    assert ingress(both) == ["counter drop"]
    assert egress(both) == ["return", "counter drop"]


def test_an_empty_selector_selects_every_pod_of_its_namespace_alone() -> None:
    table = rules([policy(podSelector={})], PODS, NAMESPACES)
    assert chain(table, "ingress_10_244_0_2")
    assert chain(table, "ingress_10_244_0_3")
    assert not chain(table, "ingress_10_244_0_4")


def test_pods_are_those_of_the_policys_own_namespace() -> None:
    allowed = policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}])
    assert ingress(allowed) == [f"ip saddr {{ {CLIENT} }} return", "counter drop"]


def test_a_namespace_selector_takes_all_pods_there() -> None:
    allowed = policy(ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]}])
    assert ingress(allowed) == [f"ip saddr {{ {STRANGER} }} return", "counter drop"]


def test_both_selectors_in_one_peer_must_hold_together() -> None:
    peer = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "client"}}}
    assert ingress(policy(ingress=[{"from": [peer]}])) == [
        f"ip saddr {{ {CLIENT}, {STRANGER} }} return",
        "counter drop",
    ]


def test_two_peers_are_alternatives() -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "client"}}}, {"ipBlock": {"cidr": "192.0.2.0/24"}}]
    assert ingress(policy(ingress=[{"from": peers}])) == [
        f"ip saddr {{ {CLIENT} }} return",
        "ip saddr 192.0.2.0/24 return",
        "counter drop",
    ]


def test_a_peer_that_nobody_is_allows_nobody() -> None:
    allowed = policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}])
    assert ingress(allowed) == ["counter drop"]


def test_a_block_leaves_out_its_exceptions() -> None:
    block = {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}
    allowed = policy(policyTypes=["Egress"], egress=[{"to": [{"ipBlock": block}]}])
    assert egress(allowed)[0] == "ip daddr 10.0.0.0/8 ip daddr != { 10.1.0.0/16, 10.2.0.0/16 } return"


def test_a_block_of_ipv6_allows_nobody() -> None:
    allowed = policy(ingress=[{"from": [{"ipBlock": {"cidr": "2001:db8::/32"}}]}])
    assert ingress(allowed) == ["counter drop"]


@pytest.mark.parametrize(
    ("port", "match"),
    [
        ({"port": 8000}, "tcp dport 8000"),
        ({"port": 53, "protocol": "UDP"}, "udp dport 53"),
        ({"port": 8000, "endPort": 8010}, "tcp dport 8000-8010"),
        ({"protocol": "UDP"}, "meta l4proto udp"),
        ({"port": "http"}, f"ip daddr {SERVER} tcp dport 8000"),
    ],
)
def test_ports_narrow_a_rule(port: dict[str, Any], match: str) -> None:
    assert ingress(policy(ingress=[{"ports": [port]}])) == [f"{match} return", "counter drop"]


def test_a_port_by_an_unknown_name_opens_nothing() -> None:
    assert ingress(policy(ingress=[{"ports": [{"port": "https"}]}])) == ["counter drop"]


def test_a_named_port_of_egress_is_looked_up_in_each_target() -> None:
    allowed = policy(policyTypes=["Egress"], egress=[{"ports": [{"port": "http"}]}])
    assert egress(allowed)[:-1] == [f"ip daddr {ip} tcp dport 8000 return" for ip in (SERVER, CLIENT, STRANGER)]


def test_policies_add_up() -> None:
    first, second = policy(ingress=[{"ports": [{"port": 1}]}]), policy(ingress=[{"ports": [{"port": 2}]}])
    assert ingress(first, second) == ["tcp dport 1 return", "tcp dport 2 return", "counter drop"]


def test_egress_is_held_on_the_way_to_other_pods_and_to_the_node() -> None:
    table = rules([policy(policyTypes=["Egress"])], PODS, NAMESPACES)
    jump = f"ip saddr vmap {{ {SERVER} : jump egress_10_244_0_2 }}"
    assert jump in chain(table, "forward")
    assert jump in chain(table, "input")


def test_from_the_node_to_its_pods_all_is_open() -> None:
    """Nothing hooks output, and only forward looks at where a packet goes."""
    table = rules([policy()], PODS, NAMESPACES)
    assert "hook output" not in table
    assert not any("daddr" in rule for rule in chain(table, "input"))


def test_established_connections_stay_open() -> None:
    table = rules([policy()], PODS, NAMESPACES)
    for hook in ("forward", "input"):
        assert chain(table, hook)[1] == "ct state established,related accept"


def test_the_table_is_replaced_in_one_transaction() -> None:
    lines = [line for line in rules([], PODS, NAMESPACES).splitlines() if not line.startswith(" ")]
    assert lines[:3] == [
        "table ip flightline-policies",
        "delete table ip flightline-policies",
        "table ip flightline-policies {",
    ]


@pytest.mark.parametrize(
    "thing",
    [
        {"status": {}, "metadata": {}},
        {"status": {"podIP": SERVER, "phase": "Succeeded"}},
        {"status": {"podIP": SERVER, "phase": "Running"}, "spec": {"hostNetwork": True}},
        {"status": {"podIP": "fd00::1", "phase": "Running"}},
    ],
)
def test_pods_without_an_address_of_their_own_are_left_alone(thing: dict[str, Any]) -> None:
    assert address(thing) == ""


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ({"key": "app", "operator": "In", "values": ["a", "b"]}, True),
        ({"key": "app", "operator": "In", "values": ["c"]}, False),
        ({"key": "app", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "gone", "operator": "NotIn", "values": ["a"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "gone", "operator": "Exists"}, False),
        ({"key": "gone", "operator": "DoesNotExist"}, True),
        ({"key": "app", "operator": "Gt", "values": ["1"]}, False),
    ],
)
def test_expressions(expression: dict[str, Any], holds: bool) -> None:
    assert matches({"matchExpressions": [expression]}, {"app": "a"}) is holds


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="nft checks a table as root")
def test_nft_accepts_the_table() -> None:
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"namespaceSelector": {}}]
    ports = [{"port": 1, "endPort": 9}, {"port": "http"}, {"protocol": "SCTP"}]
    full = policy(
        policyTypes=["Ingress", "Egress"],
        ingress=[{"from": peers, "ports": ports}],
        egress=[{"to": peers, "ports": ports}],
    )
    table = rules([full], PODS, NAMESPACES)
    done = subprocess.run(["nft", "--check", "-f", "-"], input=table, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{table}"
