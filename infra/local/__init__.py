"""A real Kubernetes on one machine, in namespaces of its own: no cloud account and no container engine."""
