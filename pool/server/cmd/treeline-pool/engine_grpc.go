package main

import (
	"context"
	"net/url"
	"strings"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/grpc"
)

func init() {
	engineOpeners["grpc"] = func(ctx context.Context, around surroundings) (engine.Engine, error) {
		options := grpc.Options{Address: baseURL(around.settings.engineAddress, around.files != nil)}
		if parsed, err := url.Parse(options.Address); err == nil && around.files != nil {
			options.TLS = around.files.Client(parsed.Hostname())
		}
		return orNil(grpc.Open(ctx, options))
	}
}

// baseURL is an address as it stands, or host:port behind the scheme that the node itself speaks.
func baseURL(address string, hasTLS bool) string {
	switch {
	case strings.Contains(address, "://"):
		return address
	case hasTLS:
		return "https://" + address
	}
	return "http://" + address
}
