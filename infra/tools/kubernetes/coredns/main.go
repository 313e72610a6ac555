// CoreDNS with what a cluster needs. A program of its own: its flags are those of the whole process, and its -version
// would take the place of kube-proxy's.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
)

// plugins are those a cluster's DNS needs, in the order a query passes them (as upstream's plugin.cfg has them); all
// of upstream's would link the clients of three clouds.
var plugins = []string{
	"reload", "bufsize", "bind", "ready", "health", "prometheus", "errors", "log",
	"loadbalance", "cache", "template", "hosts", "kubernetes", "loop", "forward",
}

func main() {
	dnsserver.Directives = plugins
	coremain.Run()
}
