package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kubelet is the part of a node that the API server asks for what containers wrote. The harness writes it:
// LOGS/NAMESPACE/POD/CONTAINER, and CONTAINER.previous for what was written before the last restart. What
// becomes of pods is not its business.
func kubelet() error {
	logs := flag.String("logs", "", "where the logs lie")
	address := flag.String("address", "", "host and port to serve on")
	certificate := flag.String("tls-cert-file", "", "what it is trusted by")
	key := flag.String("tls-private-key-file", "", "the certificate's key")
	flag.Parse()

	root, err := os.OpenRoot(*logs)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(answer http.ResponseWriter, asked *http.Request) {
		log, err := containerLog(root, asked)
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = answer.Write(log)
	})
	// The harness holds the port bound, so that nobody else gets it.
	config := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error {
		var failed error
		if err := socket.Control(func(number uintptr) {
			failed = unix.SetsockoptInt(int(number), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); err != nil {
			return err
		}
		return failed
	}}
	listener, err := config.Listen(context.Background(), "tcp", *address)
	if err != nil {
		return err
	}
	go func() {
		untilStdinCloses()
		os.Exit(0)
	}()
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.ServeTLS(listener, *certificate, *key)
}

// containerLog is what a kubelet answers: the last tailLines lines, and of these the first limitBytes bytes.
func containerLog(root *os.Root, asked *http.Request) ([]byte, error) {
	pod, container := asked.PathValue("pod"), asked.PathValue("container")
	path := filepath.Join(asked.PathValue("namespace"), pod, container)
	query := asked.URL.Query()
	if query.Get("previous") == "true" {
		path += ".previous"
	}
	log, err := root.ReadFile(path)
	if err != nil && query.Get("previous") == "true" {
		return nil, fmt.Errorf("previous terminated container %q in pod %q not found", container, pod)
	}
	if err != nil {
		return nil, fmt.Errorf("container %q in pod %q is waiting to start: ContainerCreating", container, pod)
	}
	if lines, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		start := len(bytes.TrimSuffix(log, []byte("\n")))
		for ; lines > 0 && start >= 0; lines-- {
			start = bytes.LastIndexByte(log[:start], '\n')
		}
		log = log[min(start+1, len(log)):]
	}
	if limit, err := strconv.Atoi(query.Get("limitBytes")); err == nil {
		log = log[:min(limit, len(log))]
	}
	return log, nil
}
