package main

import (
	"context"
	"net"
	"time"

	"treeline.dev/pool/discovery"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// publishEvery is how often the node tells the directory about itself.
const publishEvery = time.Second

// node describes this node for the directory.
type node struct {
	id, address string
	labels      map[string]string
	startedAt   time.Time
	catalogue   *models.Catalogue
}

// describe says what the node is now.
func (node *node) describe(ctx context.Context) *v1.Node {
	described := &v1.Node{
		Id: node.id, Address: node.address, Version: version, Draining: node.catalogue.Draining(),
		StartedAtMs: node.startedAt.UnixMilli(), Labels: node.labels,
	}
	// Neither fails for a catalogue: a provider that does not answer is left out, and logged there.
	described.Models, _ = node.catalogue.Models(ctx)
	described.Load, _ = node.catalogue.NodeLoad(ctx)
	return described
}

// publish keeps the directory's entry fresh until ctx ends.
func (node *node) publish(ctx context.Context, membership discovery.Membership) {
	ticker := time.NewTicker(publishEvery)
	defer ticker.Stop()
	for {
		membership.Publish(node.describe(ctx))
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// addressOf is the base address of a listener, as others on this machine reach it.
func addressOf(listener net.Listener, hasTLS bool) string {
	scheme := "http"
	if hasTLS {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return scheme + "://" + listener.Addr().String()
	}
	if address := net.ParseIP(host); address != nil && address.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
