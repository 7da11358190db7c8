// Command kube is a Kubernetes control plane for tests in one binary: `kube etcd`, `kube apiserver` and
// `kube controller-manager` are the real programs (the latter deletes namespaces without waiting first), each
// run as a process of its own so that a test can kill one alone; `kube kubelet` is as much of a node as reading logs needs; `kube keys` makes what they need to
// trust each other.
//
// A part lives as long as its standard input: when whoever started it ends, however it ends, the pipe closes
// and the part exits. Nothing of a test run is left behind.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 3 {
		fail(errors.New("usage: kube keys DIR, or kube etcd|apiserver|controller-manager|kubelet FLAGS"))
	}
	part := os.Args[1]
	os.Args = append(os.Args[:1], os.Args[2:]...)
	switch part {
	case "keys":
		if err := keys(os.Args[1]); err != nil {
			fail(err)
		}
	case "etcd":
		if err := etcd(); err != nil {
			fail(err)
		}
	case "apiserver":
		run(apiserver.NewAPIServerCommand())
	case "controller-manager":
		for _, argument := range os.Args {
			if kubeconfig, ok := strings.CutPrefix(argument, "--kubeconfig="); ok {
				if err := namespaces(kubeconfig); err != nil {
					fail(err)
				}
			}
		}
		run(controllers.NewControllerManagerCommand())
	case "kubelet":
		if err := kubelet(); err != nil {
			fail(err)
		}
	default:
		fail(fmt.Errorf("kube: no part named %q", part))
	}
}

// run is one of Kubernetes' own programs, ended by the end of standard input.
func run(command *cobra.Command) {
	go func() {
		untilStdinCloses()
		os.Exit(0)
	}()
	os.Exit(cli.Run(command))
}

// etcd keeps the plane's state. It is the part that knows when the plane is over for good, so it also
// removes the plane's directory when standard input closes: statics of a Rust test binary are never dropped.
func etcd() error {
	data := flag.String("data-dir", "", "where the state lies")
	client := flag.String("client", "", "URL to serve")
	peer := flag.String("peer", "", "URL for peers, of which there are none")
	remove := flag.String("remove", "", "directory to remove when standard input closes")
	flag.Parse()

	config := embed.NewConfig()
	config.Dir = *data
	config.UnsafeNoFsync = true // a plane outlives its parts, not the machine
	config.LogLevel = "warn"
	// The harness holds each port bound, so that nobody else gets it while a part is down.
	config.SocketOpts.ReusePort = true
	clientURL, err := url.Parse(*client)
	if err != nil {
		return err
	}
	peerURL, err := url.Parse(*peer)
	if err != nil {
		return err
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)

	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	closed := make(chan struct{})
	go func() {
		untilStdinCloses()
		close(closed)
	}()
	select {
	case err := <-server.Err():
		return err
	case <-closed:
		if *remove != "" {
			return os.RemoveAll(*remove)
		}
		return nil
	}
}

func untilStdinCloses() {
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
