package main

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/grpc"
)

func init() {
	engineOpeners["grpc"] = func(ctx context.Context, around surroundings) (engine.Engine, error) {
		address, err := engineURL(around.settings.engineAddress, around.files != nil)
		if err != nil {
			return nil, err
		}
		options := grpc.Options{Address: address.String()}
		if around.files != nil {
			options.TLS = around.files.Client(address.Hostname())
		}
		return orNil(grpc.Open(ctx, options))
	}
}

// engineURL is what --engine-address says: a URL, or host:port, which is called by TLS where the node itself has it.
func engineURL(address string, hasTLS bool) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		scheme := "http"
		if hasTLS {
			scheme = "https"
		}
		address = scheme + "://" + address
	}
	parsed, err := url.Parse(address)
	isBase := err == nil && (parsed.Path == "" || parsed.Path == "/") && parsed.RawQuery == "" && parsed.User == nil
	if !isBase || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Hostname() == "" || parsed.Port() == "" {
		return nil, errors.New("--engine-address must be host:port, http://host:port or https://host:port")
	}
	parsed.Path = ""
	return parsed, nil
}
