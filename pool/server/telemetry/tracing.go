package telemetry

import (
	"context"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracesPath is where a collector takes traces by OTLP over HTTP, below its base address.
const tracesPath = "/v1/traces"

// tracesURL is the full address, from the base or from the full address itself.
func tracesURL(endpoint string) string {
	parsed, err := url.Parse(endpoint)
	if err != nil || strings.HasSuffix(parsed.Path, tracesPath) {
		return endpoint
	}
	return parsed.JoinPath(tracesPath).String()
}

// Traceparent is the current span in W3C's form, for engine.Call.Traceparent and for calls to other engines; empty where
// there is none.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier.Get("traceparent")
}

// WithTraceparent continues the trace that a message brought along, such as a job's. A text that is no traceparent
// changes nothing.
func WithTraceparent(ctx context.Context, traceparent string) context.Context {
	carrier := propagation.MapCarrier{"traceparent": traceparent}
	return propagation.TraceContext{}.Extract(ctx, carrier)
}

// traceID is the current trace for an exemplar; empty where it is not sampled, for then there is nothing to look up.
func traceID(ctx context.Context) string {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsSampled() {
		return ""
	}
	return span.TraceID().String()
}
