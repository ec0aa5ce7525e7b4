// Package telemetry tells people how the node does: traces by OpenTelemetry, from the caller's span through the server
// into the engine, and metrics for Prometheus under the names that users of vLLM and Triton know, with the traces as
// exemplars.
//
// A door wraps its handlers with Middleware and Interceptor. The Catalogue brackets each call with Start and
// Operation.End. Everything else records by its own small method.
package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// scope names this package in the traces, engineScope the engine.
	scope       = "treeline.dev/pool"
	engineScope = "treeline.dev/pool/engine"
	// spansQueueMax bounds the spans that wait for the collector; more are dropped.
	spansQueueMax = 8192
	// exportTimeout bounds one export.
	exportTimeout = 10 * time.Second
)

// Options say what the node is called and where its spans go.
type Options struct {
	// Service in traces; empty: treeline-pool.
	Service string
	// Version of the server, and Node its id.
	Version, Node string
	// Endpoint of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318; empty: spans are not exported,
	// but the caller's trace is still handed on.
	Endpoint string
	// Headers of each export, such as an authorisation.
	Headers map[string]string
	// TLS for an https endpoint (tlsfiles.Files.Client); nil: the system's authorities.
	TLS *tls.Config
	// SampleRatio of the traces that begin here, 0 to 1. Traces that come from a caller follow the caller's choice.
	SampleRatio float64
	// ExportInterval between two exports; zero: five seconds.
	ExportInterval time.Duration
	// Logger is told of failures; nil: slog's default.
	Logger *slog.Logger
}

// Telemetry records what a node does. All methods may be called from many goroutines at once.
type Telemetry struct {
	logger     *slog.Logger
	propagator propagation.TextMapPropagator
	provider   *sdktrace.TracerProvider
	tracer     trace.Tracer
	resource   *resource.Resource
	// exported takes ended spans; nil where none are exported.
	exported sdktrace.SpanProcessor
	registry *prometheus.Registry
	metrics  *metrics
	triton   *triton
	engines  *engines
}

// New begins to record. It does not wait for the collector.
func New(ctx context.Context, options Options) (*Telemetry, error) {
	if options.SampleRatio < 0 || options.SampleRatio > 1 {
		return nil, fmt.Errorf("telemetry: a sample ratio is from 0 to 1, not %g", options.SampleRatio)
	}
	if options.Service == "" {
		options.Service = "treeline-pool"
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	telemetry := &Telemetry{
		logger:     options.Logger,
		propagator: propagation.TraceContext{},
		resource: resource.NewSchemaless(
			attribute.String("service.name", options.Service),
			attribute.String("service.version", options.Version),
			attribute.String("service.instance.id", options.Node),
		),
	}
	if err := telemetry.startTracing(ctx, options); err != nil {
		return nil, err
	}
	telemetry.startMetrics(options)
	return telemetry, nil
}

func (telemetry *Telemetry) startTracing(ctx context.Context, options Options) error {
	settings := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(telemetry.resource),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(options.SampleRatio))),
	}
	if options.Endpoint != "" {
		exporter, err := newExporter(ctx, options)
		if err != nil {
			return err
		}
		// The SDK has one handler a process, and so has this server one telemetry.
		otel.SetErrorHandler(&exportErrors{logger: options.Logger, now: time.Now})
		telemetry.exported = newBatches(exporter, options.ExportInterval)
		settings = append(settings, sdktrace.WithSpanProcessor(telemetry.exported))
	}
	telemetry.provider = sdktrace.NewTracerProvider(settings...)
	telemetry.tracer = telemetry.provider.Tracer(scope)
	return nil
}

func newExporter(ctx context.Context, options Options) (sdktrace.SpanExporter, error) {
	settings := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(tracesURL(options.Endpoint)),
		otlptracehttp.WithHeaders(options.Headers),
		otlptracehttp.WithTimeout(exportTimeout),
	}
	// The exporter refuses a configuration that it has no use for.
	if options.TLS != nil && strings.HasPrefix(options.Endpoint, "https://") {
		settings = append(settings, otlptracehttp.WithTLSClientConfig(options.TLS))
	}
	exporter, err := otlptracehttp.New(ctx, settings...)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return exporter, nil
}

func newBatches(exporter sdktrace.SpanExporter, interval time.Duration) sdktrace.SpanProcessor {
	settings := []sdktrace.BatchSpanProcessorOption{
		sdktrace.WithMaxQueueSize(spansQueueMax),
		sdktrace.WithExportTimeout(exportTimeout),
	}
	if interval > 0 {
		settings = append(settings, sdktrace.WithBatchTimeout(interval))
	}
	return sdktrace.NewBatchSpanProcessor(exporter, settings...)
}

func (telemetry *Telemetry) startMetrics(options Options) {
	telemetry.registry = prometheus.NewRegistry()
	telemetry.metrics = newMetrics()
	telemetry.triton = newTriton()
	telemetry.engines = newEngines()
	telemetry.metrics.node.WithLabelValues(options.Node, options.Version).Set(1)
	telemetry.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		telemetry.metrics, telemetry.triton, telemetry.engines,
	)
}

// Shutdown exports what waits, until ctx ends.
func (telemetry *Telemetry) Shutdown(ctx context.Context) error {
	err := telemetry.provider.Shutdown(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("telemetry: %w", err)
	}
	return nil
}
