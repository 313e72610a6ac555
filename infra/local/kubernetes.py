"""The components of Kubernetes itself: their flags and configuration files, as data."""

from collections.abc import Mapping
from typing import Any

import yaml

from infra.local.components import (
    API,
    DNS_ADDRESS,
    DOMAIN,
    NODE,
    NODE_ADDRESS,
    POD_RANGE,
    SERVICE_RANGE,
    Component,
    State,
    answers,
)
from infra.local.namespaces import CGROUP

ETCD = "https://127.0.0.1:2379"
# Small machines: what the components would claim for a node of a data centre is left at the kernel's defaults.
NO_OOM_SCORE = 0


def components(state: State) -> tuple[Component, ...]:
    """Etcd, the API server and the controllers, then what runs on the node."""
    return (*_control_plane(state), *_node(state))


def configuration(state: State) -> Mapping[str, str]:
    """Each configuration file of the node's components: its name in `State.config` and its text."""
    return {
        "kubelet.yaml": yaml.safe_dump(_kubelet(state), sort_keys=False),
        "kube-proxy.yaml": yaml.safe_dump(_kube_proxy(state), sort_keys=False),
        # Pods that take the node's resolver get none: nothing outside can be reached anyway.
        "pods-resolv.conf": "",
    }


def _control_plane(state: State) -> tuple[Component, ...]:
    certificates = state.certificates
    return (
        Component(
            "etcd",
            (state.tool("etcd"), *_flags(_etcd(state))),
            ready=answers(f"{ETCD}/readyz", certificates / "apiserver-etcd-client.crt", certificates / "etcd-ca.crt"),
        ),
        Component(
            "apiserver",
            (state.tool("kube-apiserver"), *_flags(_apiserver(state))),
            ready=answers(f"{API}/readyz", certificates / "admin.crt", certificates / "ca.crt"),
            after=("etcd",),
            # Open watches would hold it for as long as it is given; nobody is served after it.
            grace=3,
        ),
        Component(
            "controller-manager",
            (state.tool("kube-controller-manager"), *_flags(_controller_manager(state))),
            after=("apiserver",),
        ),
        Component("scheduler", (state.tool("kube-scheduler"), *_flags(_scheduler(state))), after=("apiserver",)),
    )


def _node(state: State) -> tuple[Component, ...]:
    """Both back off for seconds when the API server is not there yet: hence after it."""
    return (
        Component(
            "kubelet",
            (
                state.tool("kubelet"),
                *_flags(
                    {
                        "config": state.config / "kubelet.yaml",
                        "kubeconfig": state.kubeconfig_of("node"),
                        "hostname-override": NODE,
                        "node-ip": NODE_ADDRESS,
                        "root-dir": state.data / "kubelet",
                        "cert-dir": state.certificates,
                        # What counts a container's CPU and memory asks there for its name, and looks nowhere else.
                        "containerd": state.containerd,
                    }
                ),
            ),
            ready=answers("http://127.0.0.1:10248/healthz"),
            after=("apiserver", "containerd"),
        ),
        Component(
            "kube-proxy",
            (state.tool("kube-proxy"), f"--config={state.config / 'kube-proxy.yaml'}"),
            ready=answers("http://127.0.0.1:10256/livez"),
            after=("apiserver",),
        ),
    )


def _etcd(state: State) -> Mapping[str, object]:
    peers = "http://127.0.0.1:2380"
    return {
        "name": "only",
        "data-dir": state.data / "etcd",
        "listen-client-urls": ETCD,
        "advertise-client-urls": ETCD,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"only={peers}",
        "client-cert-auth": True,
        "trusted-ca-file": state.certificates / "etcd-ca.crt",
        **_pair(state, "etcd", "cert-file", "key-file"),
        # A power failure may lose this cluster, which is made again in seconds; a slow disk must not slow it down.
        "unsafe-no-fsync": True,
        "log-level": "warn",
        "quota-backend-bytes": 1 << 30,
        "auto-compaction-retention": "1h",
    }


def _apiserver(state: State) -> Mapping[str, object]:
    certificates = state.certificates
    return {
        "advertise-address": NODE_ADDRESS,
        "bind-address": "0.0.0.0",  # noqa: S104 - of a network namespace without a way in
        "secure-port": 6443,
        "etcd-servers": ETCD,
        "etcd-cafile": certificates / "etcd-ca.crt",
        **_pair(state, "apiserver-etcd-client", "etcd-certfile", "etcd-keyfile"),
        "client-ca-file": certificates / "ca.crt",
        **_pair(state, "apiserver", "tls-cert-file", "tls-private-key-file"),
        **_pair(state, "apiserver-kubelet-client", "kubelet-client-certificate", "kubelet-client-key"),
        "kubelet-certificate-authority": certificates / "ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        **_pair(state, "front-proxy-client", "proxy-client-cert-file", "proxy-client-key-file"),
        "requestheader-client-ca-file": certificates / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "service-account-issuer": f"https://kubernetes.default.svc.{DOMAIN}",
        "service-account-key-file": certificates / "sa.pub",
        "service-account-signing-key-file": certificates / "sa.key",
        "service-cluster-ip-range": SERVICE_RANGE,
        "authorization-mode": "Node,RBAC",
        "anonymous-auth": False,
        "allow-privileged": True,
        "enable-admission-plugins": "NodeRestriction",
        "profiling": False,
    }


def _controller_manager(state: State) -> Mapping[str, object]:
    certificates = state.certificates
    return {
        **_controller(state, "controller-manager"),
        # At the default rate the first boot waits five seconds for roles and tokens.
        "kube-api-qps": 300,
        "kube-api-burst": 600,
        "use-service-account-credentials": True,
        "root-ca-file": certificates / "ca.crt",
        "service-account-private-key-file": certificates / "sa.key",
        **_pair(state, "ca", "cluster-signing-cert-file", "cluster-signing-key-file"),
        "client-ca-file": certificates / "ca.crt",
        "requestheader-client-ca-file": certificates / "front-proxy-ca.crt",
        "allocate-node-cidrs": True,
        "cluster-cidr": POD_RANGE,
        "service-cluster-ip-range": SERVICE_RANGE,
    }


def _scheduler(state: State) -> Mapping[str, object]:
    return _controller(state, "scheduler")


def _controller(state: State, identity: str) -> Mapping[str, object]:
    """What both controllers are told."""
    kubeconfig = state.kubeconfig_of(identity)
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "leader-elect": False,
        "profiling": False,
    }


def _kubelet(state: State) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP,
        "containerRuntimeEndpoint": f"unix://{state.containerd}",
        "address": "0.0.0.0",  # noqa: S104 - of a network namespace without a way in
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": "10s"},
            "x509": {"clientCAFile": str(state.certificates / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(state.certificates / "kubelet.crt"),
        "tlsPrivateKeyFile": str(state.certificates / "kubelet.key"),
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DOMAIN,
        "resolvConf": str(state.config / "pods-resolv.conf"),
        "failSwapOn": False,
        "oomScoreAdj": NO_OOM_SCORE,
        "maxOpenFiles": 20000,
        "volumePluginDir": str(state.data / "kubelet-plugins"),
        "podLogsDir": str(state.log / "pods"),
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "2%", "imagefs.available": "2%"},
        "imageGCHighThresholdPercent": 95,
        "imageGCLowThresholdPercent": 90,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
    }


def _kube_proxy(state: State) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE,
        "bindAddress": NODE_ADDRESS,
        "clientConnection": {"kubeconfig": str(state.kubeconfig_of("proxy"))},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": [f"{NODE_ADDRESS}/32"],
        "oomScoreAdj": NO_OOM_SCORE,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }


def _pair(state: State, name: str, certificate: str, key: str) -> Mapping[str, object]:
    """The two flags that name a certificate and its key."""
    folder = state.certificates
    return {certificate: folder / f"{name}.crt", key: folder / f"{name}.key"}


def _flags(values: Mapping[str, object]) -> tuple[str, ...]:
    """`--name=value`, with Go's words for true and false."""
    return tuple(
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()
    )
