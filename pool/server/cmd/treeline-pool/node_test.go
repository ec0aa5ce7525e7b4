package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"treeline.dev/pool/discovery"
	"treeline.dev/pool/door"
	"treeline.dev/pool/models"
	"treeline.dev/pool/models/modelstest"
	"treeline.dev/pool/telemetry"
)

// testNode is all doors behind one real port, over the provider of the tests.
type testNode struct {
	url       string
	catalogue *models.Catalogue
	drained   chan struct{}
}

func startNode(t *testing.T, provider *modelstest.Provider) *testNode {
	t.Helper()
	provider.ProviderName = "test"
	log := slog.New(slog.DiscardHandler)
	recorder, err := telemetry.New(context.Background(), telemetry.Options{Node: "node", Version: version, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := models.NewCatalogue(models.Options{
		Providers: []models.Provider{provider}, Telemetry: recorder, Aliases: map[string]string{"test": modelstest.Embedder},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := &testNode{url: addressOf(listener, false), catalogue: catalogue, drained: make(chan struct{}, 1)}
	self := &node{id: "node", address: started.url, startedAt: time.Now(), catalogue: catalogue}
	directory := discovery.NewStatic()
	directory.Publish(self.describe(context.Background()))
	state := &readiness{catalogue: catalogue}
	state.started.Store(true)
	server := newServer(newHandler(parts{
		catalogue: catalogue, telemetry: recorder, readiness: state, startedAt: time.Now(), log: log,
		nodes:  discovery.NewService(directory, self.describe, func() { started.drained <- struct{}{} }),
		bounds: door.Bounds{BodyBytesMax: 8 << 20},
	}), log)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return started
}

// h2c speaks HTTP/2 without TLS, as gRPC's clients do on such a port.
func h2c(t *testing.T) *http.Client {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
