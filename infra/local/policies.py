"""NetworkPolicies as nftables rules: pure decisions, for one node and IPv4.

Semantics: https://kubernetes.io/docs/concepts/services-networking/network-policies. A pod that a policy selects is
isolated in that direction and allows what any of its policies allows. From the node to its pods all is open, as the
kubelet's probes need, and so are answers on connections that were allowed.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from typing import Any, Literal

Thing = Mapping[str, Any]
Direction = Literal["Ingress", "Egress"]

TABLE = "ip flightline-policies"
ANY = ("",)
_PEERS = {"Ingress": ("from", "saddr"), "Egress": ("to", "daddr")}
_ENDED = ("Succeeded", "Failed")


def rules(policies: Sequence[Thing], pods: Sequence[Thing], namespaces: Sequence[Thing]) -> str:
    """The table whole, to be replaced in one transaction of `nft -f -`. Arguments are objects of the API server."""
    reachable = sorted((pod for pod in pods if address(pod)), key=address)
    labels = {one["metadata"]["name"]: _labels(one) for one in namespaces}
    chains: list[str] = []
    jumps: dict[Direction, list[str]] = {"Ingress": [], "Egress": []}
    for pod in reachable:
        for direction, found in jumps.items():
            selecting = [one for one in policies if _selects(one, pod, direction)]
            if selecting:
                name = f"{direction.lower()}_{address(pod).replace('.', '_')}"
                allowed = [rule for one in selecting for rule in _allowed(one, direction, pod, reachable, labels)]
                chains.append(_chain(name, allowed))
                found.append(f"{address(pod)} : jump {name}")
    return _table(chains, jumps)


def address(pod: Thing) -> str:
    """The pod's own IPv4 address; "" while it has none, after it ended, and where it uses the node's."""
    status = pod.get("status", {})
    found = str(status.get("podIP") or "")
    foreign = pod.get("spec", {}).get("hostNetwork") or status.get("phase") in _ENDED or ":" in found
    return "" if foreign else found


def matches(selector: Thing, labels: Mapping[str, str]) -> bool:
    """Whether a label selector holds; an empty one always does."""
    equal = all(labels.get(name) == value for name, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_holds(one, labels) for one in selector.get("matchExpressions") or ())


def _holds(expression: Thing, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False  # a selector nobody understands selects nothing


def _selects(policy: Thing, pod: Thing, direction: Direction) -> bool:
    """Whether a policy isolates this pod in this direction."""
    spec = policy["spec"]
    kinds = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    same = policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return direction in kinds and same and matches(spec.get("podSelector") or {}, _labels(pod))


def _allowed(
    policy: Thing, direction: Direction, pod: Thing, pods: Sequence[Thing], labels: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """What a policy allows, a rule for each pair of peers and ports."""
    field, side = _PEERS[direction]
    home = policy["metadata"]["namespace"]
    for rule in policy["spec"].get(direction.lower()) or ():
        targets = [pod] if direction == "Ingress" else pods
        ports = list(_ports(rule.get("ports") or (), targets))
        for peer in _peers(rule.get(field) or (), side, home, pods, labels):
            yield from (f"{peer} {port}".strip() for port in ports)


def _peers(
    peers: Sequence[Thing], side: str, home: str, pods: Sequence[Thing], labels: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """The addresses of a rule, as matches any of which may hold. No peers are all."""
    if not peers:
        yield from ANY
    for peer in peers:
        if block := peer.get("ipBlock"):
            yield from _block(block, side)
        elif found := sorted({address(pod) for pod in pods if _is_peer(peer, pod, home, labels)}):
            yield f"ip {side} {{ {', '.join(found)} }}"


def _is_peer(peer: Thing, pod: Thing, home: str, labels: Mapping[str, Mapping[str, str]]) -> bool:
    """By pods of the policy's own namespace, by namespaces, or by both."""
    namespace = pod["metadata"]["namespace"]
    if (wanted := peer.get("namespaceSelector")) is not None:
        there = matches(wanted, labels.get(namespace, {}))
    else:
        there = namespace == home
    return there and matches(peer.get("podSelector") or {}, _labels(pod))


def _block(block: Thing, side: str) -> Iterator[str]:
    """A range of addresses but for some; one of IPv6 has nobody to match here."""
    if isinstance(ip_network(block["cidr"], strict=False), IPv4Network):
        excepted = block.get("except")
        but = f" ip {side} != {{ {', '.join(excepted)} }}" if excepted else ""
        yield f"ip {side} {block['cidr']}{but}"


def _ports(ports: Sequence[Thing], targets: Sequence[Thing]) -> Iterator[str]:
    """The ports of a rule, as matches any of which may hold. No ports are all; a name is looked up in each target."""
    if not ports:
        yield from ANY
    for port in ports:
        protocol, number = port.get("protocol", "TCP").lower(), port.get("port")
        if number is None:
            yield f"meta l4proto {protocol}"
        elif isinstance(number, str):
            yield from _named(number, protocol, targets)
        else:
            end = port.get("endPort")
            yield f"{protocol} dport {number}{f'-{end}' if end else ''}"


def _named(name: str, protocol: str, targets: Sequence[Thing]) -> Iterator[str]:
    for pod in targets:
        for container in pod["spec"]["containers"]:
            for port in container.get("ports") or ():
                if port.get("name") == name and port.get("protocol", "TCP").lower() == protocol:
                    yield f"ip daddr {address(pod)} {protocol} dport {port['containerPort']}"


def _chain(name: str, allowed: Sequence[str]) -> str:
    lines = [*(f"{match} return".strip() for match in dict.fromkeys(allowed)), "counter drop"]
    return "".join((f"  chain {name} {{\n", *(f"    {line}\n" for line in lines), "  }\n"))


def _table(chains: Sequence[str], jumps: Mapping[Direction, Sequence[str]]) -> str:
    """Made, removed and made anew: so that it can be replaced whether it was there or not."""
    leaving, arriving = _dispatch("saddr", jumps["Egress"]), _dispatch("daddr", jumps["Ingress"])
    hooks = _hook("forward", leaving + arriving) + _hook("input", leaving)
    return f"table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n{''.join(chains)}{hooks}}}\n"


def _dispatch(side: str, jumps: Sequence[str]) -> str:
    return f"    ip {side} vmap {{ {', '.join(jumps)} }}\n" if jumps else ""


def _hook(name: str, body: str) -> str:
    """Ahead of kube-proxy's filters, after its translation of a Service's address to a pod's."""
    kind = f"    type filter hook {name} priority -5; policy accept;\n"
    return f"  chain {name} {{\n{kind}    ct state established,related accept\n{body}  }}\n"


def _labels(thing: Thing) -> Mapping[str, str]:
    return thing["metadata"].get("labels") or {}
