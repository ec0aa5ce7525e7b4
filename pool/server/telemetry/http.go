package telemetry

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// unmatchedRoute labels requests that no handler was registered for.
const unmatchedRoute = "unmatched"

// untracedPaths are asked every few seconds by machines. They are traced only where the caller's trace says so.
var untracedPaths = map[string]bool{
	"/healthz": true, "/readyz": true, "/metrics": true, "/v1/nodes": true,
	"/v2/health/live": true, "/v2/health/ready": true, "/grpc.health.v1.Health/Check": true,
}

// Middleware traces and counts HTTP requests, as the outermost handler around a http.ServeMux. The caller's traceparent
// is continued. The route in spans and labels is the mux's pattern, never the path asked for.
func (telemetry *Telemetry) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		began := time.Now()
		method := knownMethod(request.Method)
		ctx, span := telemetry.startRequest(request, method)
		procedure := &procedure{}
		request = request.WithContext(context.WithValue(ctx, procedureKey{}, procedure))
		recorder := &statusRecorder{ResponseWriter: response, status: http.StatusOK}
		// Also where a handler panics to end a broken connection.
		defer func() {
			route := routeOf(request, procedure)
			facts := requestFacts{method, route, recorder.status, procedure.name != "", time.Since(began)}
			telemetry.endRequest(ctx, span, facts)
		}()
		next.ServeHTTP(recorder, request)
	})
}

// startRequest begins the request's span, in the caller's trace where there is one.
func (telemetry *Telemetry) startRequest(request *http.Request, method string) (context.Context, trace.Span) {
	ctx := telemetry.propagator.Extract(request.Context(), propagation.HeaderCarrier(request.Header))
	if span := trace.SpanFromContext(ctx); untracedPaths[request.URL.Path] && !span.SpanContext().IsValid() {
		return ctx, span
	}
	return telemetry.tracer.Start(ctx, method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method),
		attribute.String("url.path", request.URL.Path),
	))
}

type requestFacts struct {
	method, route string
	status        int
	// isProcedure: the interceptor has said already whether it failed, and more exactly.
	isProcedure bool
	elapsed     time.Duration
}

func (telemetry *Telemetry) endRequest(ctx context.Context, span trace.Span, facts requestFacts) {
	code := strconv.Itoa(facts.status)
	telemetry.metrics.httpRequests.WithLabelValues(facts.method, facts.route, code).Inc()
	observe(telemetry.metrics.httpDuration.WithLabelValues(facts.method, facts.route), facts.elapsed.Seconds(), traceID(ctx))
	span.SetName(facts.method + " " + facts.route)
	span.SetAttributes(
		attribute.String("http.route", facts.route),
		attribute.Int("http.response.status_code", facts.status),
	)
	if facts.status >= http.StatusInternalServerError && !facts.isProcedure {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("error.type", code))
	}
	span.End()
}

// knownMethod keeps invented methods out of names and labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "_OTHER"
	}
}

// routeOf is the procedure called, or the mux's pattern without its method.
func routeOf(request *http.Request, procedure *procedure) string {
	if procedure.name != "" {
		return procedure.name
	}
	pattern := request.Pattern
	if _, path, hasMethod := strings.Cut(pattern, " "); hasMethod {
		pattern = path
	}
	if pattern == "" {
		return unmatchedRoute
	}
	return pattern
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (recorder *statusRecorder) WriteHeader(status int) {
	// 1xx are not the answer yet.
	if !recorder.wrote && status >= http.StatusOK {
		recorder.status, recorder.wrote = status, true
	}
	recorder.ResponseWriter.WriteHeader(status)
}

func (recorder *statusRecorder) Write(bytes []byte) (int, error) {
	recorder.wrote = true
	return recorder.ResponseWriter.Write(bytes)
}

// Flush sends what was written. Connect asks for this interface itself, http.ResponseController for Unwrap.
func (recorder *statusRecorder) Flush() {
	recorder.wrote = true
	_ = http.NewResponseController(recorder.ResponseWriter).Flush()
}

// Unwrap gives the writer below.
func (recorder *statusRecorder) Unwrap() http.ResponseWriter { return recorder.ResponseWriter }

// procedure is how the interceptor tells the middleware which procedure was called.
type procedure struct{ name string }

type procedureKey struct{}

// Interceptor adds to the request's span what Connect, gRPC and gRPC-Web know of it. It needs Middleware around it: where
// there is none it changes nothing.
func (telemetry *Telemetry) Interceptor() connect.Interceptor { return interceptor{} }

type interceptor struct{}

func (interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		if request.Spec().IsClient {
			inject(ctx, request.Header())
			return next(ctx, request)
		}
		beginProcedure(ctx, request.Spec(), request.Peer())
		response, err := next(ctx, request)
		endProcedure(ctx, err)
		return response, err
	}
}

func (interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		connection := next(ctx, spec)
		inject(ctx, connection.RequestHeader())
		return connection
	}
}

func (interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, connection connect.StreamingHandlerConn) error {
		beginProcedure(ctx, connection.Spec(), connection.Peer())
		err := next(ctx, connection)
		endProcedure(ctx, err)
		return err
	}
}

func inject(ctx context.Context, header http.Header) {
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
}

func beginProcedure(ctx context.Context, spec connect.Spec, peer connect.Peer) {
	if called, has := ctx.Value(procedureKey{}).(*procedure); has {
		called.name = spec.Procedure
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(spec.Procedure, "/"), "/")
	trace.SpanFromContext(ctx).SetAttributes(
		attribute.String("rpc.system.name", rpcSystem(peer.Protocol)),
		attribute.String("rpc.service", service),
		attribute.String("rpc.method", method),
	)
}

// rpcSystem is OpenTelemetry's name for a protocol of Connect's.
func rpcSystem(protocol string) string {
	if protocol == connect.ProtocolConnect {
		return "connectrpc"
	}
	return "grpc"
}

// endProcedure records a failure: with gRPC the HTTP status is 200 all the same.
func endProcedure(ctx context.Context, err error) {
	if err == nil {
		return
	}
	code := connect.CodeOf(err)
	var failed *connect.Error
	message := err.Error()
	if errors.As(err, &failed) {
		message = failed.Message()
	}
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute.String("rpc.response.status_code", code.String()), attribute.String("error.type", code.String()))
	span.SetStatus(codes.Error, message)
}
