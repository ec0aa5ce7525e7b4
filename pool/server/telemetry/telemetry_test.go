package telemetry

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
)

const (
	callerTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan  = "00f067aa0ba902b7"
	traceparent = "00-" + callerTrace + "-" + callerSpan + "-01"
)

// collector takes spans by OTLP over HTTP, as a collector does.
type collector struct {
	lock  sync.Mutex
	spans map[string]*tracev1.Span
	scope map[string]string
	bad   error
}

func startCollector(t *testing.T) (*collector, string) {
	t.Helper()
	collector := &collector{spans: map[string]*tracev1.Span{}, scope: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", collector.take)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return collector, server.URL
}

func (collector *collector) take(_ http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	exported := &collectorv1.ExportTraceServiceRequest{}
	if err == nil {
		err = proto.Unmarshal(body, exported)
	}
	collector.lock.Lock()
	defer collector.lock.Unlock()
	collector.bad = errors.Join(collector.bad, err)
	for _, resource := range exported.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				collector.spans[span.GetName()] = span
				collector.scope[span.GetName()] = scope.GetScope().GetName()
			}
		}
	}
}

// span of that name; the test ends where there is none.
func (collector *collector) span(t *testing.T, name string) *tracev1.Span {
	t.Helper()
	collector.lock.Lock()
	defer collector.lock.Unlock()
	span, has := collector.spans[name]
	if !has || collector.bad != nil {
		var names []string
		for name := range collector.spans {
			names = append(names, name)
		}
		t.Fatalf("no span %q; there are %q; %v", name, names, collector.bad)
	}
	return span
}

func attributes(span *tracev1.Span) map[string]string {
	values := map[string]string{}
	for _, attribute := range span.GetAttributes() {
		values[attribute.GetKey()] = textOf(attribute.GetValue())
	}
	return values
}

func textOf(value *commonv1.AnyValue) string {
	if array := value.GetArrayValue(); array != nil {
		var all []string
		for _, one := range array.GetValues() {
			all = append(all, textOf(one))
		}
		return strings.Join(all, ",")
	}
	if _, isText := value.GetValue().(*commonv1.AnyValue_StringValue); isText {
		return value.GetStringValue()
	}
	text, _ := proto.Marshal(value)
	return hex.EncodeToString(text)
}

func newTelemetry(t *testing.T, options Options) *Telemetry {
	t.Helper()
	options.Node, options.Version = "node-1", "1.2.3"
	options.Logger = slog.New(slog.DiscardHandler)
	telemetry, err := New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return telemetry
}

// export ends the telemetry, so that all spans are with the collector.
func export(t *testing.T, telemetry *Telemetry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := telemetry.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

func chatCall() Call {
	temperature := float32(0.5)
	return Call{Kind: Chat, Model: "smollm2", Version: "1", Provider: "rust", Generate: &v1.GenerateRequest{
		Messages: []*v1.Message{{Role: "user", Content: "a secret"}},
		Sampling: &v1.Sampling{Temperature: &temperature},
	}}
}

func chatOutcome() Outcome {
	return Outcome{
		FinishReasons: []v1.FinishReason{v1.FinishReason_FINISH_REASON_LENGTH},
		Usage:         &v1.Usage{PromptTokens: 7, CompletionTokens: 3, CachedTokens: 4, QueueNs: 2_000_000},
	}
}

func TestATraceGoesFromTheCallerThroughTheServerIntoTheEngine(t *testing.T) {
	collector, endpoint := startCollector(t)
	telemetry := newTelemetry(t, Options{Endpoint: endpoint})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(_ http.ResponseWriter, request *http.Request) {
		ctx, operation := telemetry.Start(request.Context(), chatCall())
		telemetry.exportEngineSpans([]*enginev1.EngineSpan{engineSpanUnder(t, Traceparent(ctx)), {Name: "malformed"}})
		operation.Piece(0, 1)
		operation.End(chatOutcome())
		operation.End(Outcome{Err: errors.New("ended twice")})
	})
	request := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	request.Header.Set("traceparent", traceparent)
	telemetry.Middleware(mux).ServeHTTP(httptest.NewRecorder(), request)
	export(t, telemetry)

	server := collector.span(t, "POST /v1/chat/completions")
	operation := collector.span(t, "chat smollm2")
	inEngine := collector.span(t, "prefill")
	for name, isSo := range map[string]bool{
		"the caller's trace":        hex.EncodeToString(server.GetTraceId()) == callerTrace,
		"under the caller's span":   hex.EncodeToString(server.GetParentSpanId()) == callerSpan,
		"a server's span":           server.GetKind() == tracev1.Span_SPAN_KIND_SERVER,
		"the operation under it":    string(operation.GetParentSpanId()) == string(server.GetSpanId()),
		"the engine under that":     string(inEngine.GetParentSpanId()) == string(operation.GetSpanId()),
		"the engine in one trace":   string(inEngine.GetTraceId()) == string(server.GetTraceId()),
		"the engine's own times":    inEngine.GetStartTimeUnixNano() == 1000 && inEngine.GetEndTimeUnixNano() == 2000,
		"the engine's own scope":    collector.scope["prefill"] == engineScope,
		"no malformed span":         collector.spans["malformed"] == nil,
		"the engine's attributes":   attributes(inEngine)["tokens"] == "7",
		"the operation's name":      attributes(operation)["gen_ai.operation.name"] == "chat",
		"the finish reason":         attributes(operation)["gen_ai.response.finish_reasons"] == "length",
		"the route, not the path":   attributes(server)["http.route"] == "/v1/chat/completions",
		"usage":                     attributes(operation)["gen_ai.usage.input_tokens"] == "1807",
		"temperature":               attributes(operation)["gen_ai.request.temperature"] != "",
		"no failure from elsewhere": operation.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_UNSET,
	} {
		if !isSo {
			t.Errorf("not so: %s\nserver %v\noperation %v\nengine %v", name, server, operation, inEngine)
		}
	}
	for name, span := range collector.spans {
		if strings.Contains(span.String(), "a secret") {
			t.Errorf("the span %q has the prompt", name)
		}
	}
}

// engineSpanUnder is what the engine makes of a traceparent.
func engineSpanUnder(t *testing.T, traceparent string) *enginev1.EngineSpan {
	t.Helper()
	parts := strings.Split(traceparent, "-")
	if len(parts) != 4 {
		t.Fatalf("the traceparent is %q", traceparent)
	}
	traceID, _ := hex.DecodeString(parts[1])
	parent, _ := hex.DecodeString(parts[2])
	return &enginev1.EngineSpan{
		TraceId: traceID, SpanId: []byte{1, 2, 3, 4, 5, 6, 7, 8}, ParentSpanId: parent,
		Name: "prefill", StartNs: 1000, EndNs: 2000, Attributes: map[string]string{"tokens": "7"},
	}
}

func TestAFailedOperationSaysWhyFromAClosedList(t *testing.T) {
	collector, endpoint := startCollector(t)
	// A node with certificates may have a collector without.
	telemetry := newTelemetry(t, Options{Endpoint: endpoint, SampleRatio: 1, TLS: &tls.Config{}})
	_, operation := telemetry.Start(t.Context(), Call{Kind: Embeddings, Model: "minilm"})
	operation.End(Outcome{Err: &engine.Error{Status: enginev1.Status_STATUS_MODEL_NOT_READY, Message: "It loads."}})
	export(t, telemetry)
	span := collector.span(t, "embeddings minilm")
	if span.GetStatus().GetMessage() != "It loads." || attributes(span)["error.type"] != "model_not_ready" {
		t.Errorf("%v", span)
	}
}

func TestATraceIsHandedOnWhereNothingIsExported(t *testing.T) {
	telemetry := newTelemetry(t, Options{})
	handler := telemetry.Middleware(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		_, _ = io.WriteString(response, Traceparent(request.Context()))
	}))
	for given, expected := range map[string]string{traceparent: callerTrace, "rubbish": ""} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("traceparent", given)
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		if body := response.Body.String(); !strings.Contains(body, expected) || strings.Contains(body, callerSpan) {
			t.Errorf("%q becomes %q", given, body)
		}
	}
	if ctx := WithTraceparent(t.Context(), traceparent); Traceparent(ctx) != traceparent {
		t.Errorf("a message's trace becomes %q", Traceparent(ctx))
	}
	if ctx := WithTraceparent(t.Context(), "rubbish"); Traceparent(ctx) != "" {
		t.Errorf("rubbish becomes %q", Traceparent(ctx))
	}
}

func TestHealthChecksAreTracedOnlyForACallerWhoTraces(t *testing.T) {
	telemetry := newTelemetry(t, Options{SampleRatio: 1})
	handler := telemetry.Middleware(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		_, _ = io.WriteString(response, Traceparent(request.Context()))
	}))
	for _, asked := range []struct {
		path, traceparent string
		isTraced          bool
	}{{"/healthz", "", false}, {"/healthz", traceparent, true}, {"/v1/models", "", true}} {
		request := httptest.NewRequest(http.MethodGet, asked.path, nil)
		request.Header.Set("traceparent", asked.traceparent)
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		if isTraced := response.Body.Len() > 0; isTraced != asked.isTraced {
			t.Errorf("%v is traced: %v", asked, isTraced)
		}
	}
}

// nodes answers NodeService: GetNode fails, ListNodes does not.
type nodes struct {
	treelinev1connect.UnimplementedNodeServiceHandler
}

func (nodes) ListNodes(context.Context, *connect.Request[v1.ListNodesRequest]) (*connect.Response[v1.ListNodesResponse], error) {
	return connect.NewResponse(&v1.ListNodesResponse{}), nil
}

func TestProceduresAreNamedInSpansAndMetricsByGRPCAndConnect(t *testing.T) {
	for protocol, expected := range map[string]struct {
		option connect.ClientOption
		system string
	}{"grpc": {connect.WithGRPC(), "grpc"}, "connect": {connect.WithClientOptions(), "connectrpc"}} {
		t.Run(protocol, func(t *testing.T) {
			collector, endpoint := startCollector(t)
			telemetry := newTelemetry(t, Options{Endpoint: endpoint})
			mux := http.NewServeMux()
			mux.Handle(treelinev1connect.NewNodeServiceHandler(nodes{}, connect.WithInterceptors(telemetry.Interceptor())))
			server := httptest.NewUnstartedServer(telemetry.Middleware(mux))
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			client := treelinev1connect.NewNodeServiceClient(server.Client(), server.URL, expected.option,
				connect.WithInterceptors(telemetry.Interceptor()))
			ctx := WithTraceparent(t.Context(), traceparent)
			if _, err := client.ListNodes(ctx, connect.NewRequest(&v1.ListNodesRequest{})); err != nil {
				t.Fatal(err)
			}
			if _, err := client.GetNode(ctx, connect.NewRequest(&v1.GetNodeRequest{})); err == nil {
				t.Fatal("GetNode does not fail")
			}
			export(t, telemetry)
			listed := collector.span(t, "POST /treeline.v1.NodeService/ListNodes")
			if attributes(listed)["rpc.system.name"] != expected.system || attributes(listed)["rpc.method"] != "ListNodes" {
				t.Errorf("%v", listed)
			}
			if hex.EncodeToString(listed.GetParentSpanId()) != callerSpan {
				t.Errorf("not under the caller's span: %v", listed)
			}
			got := collector.span(t, "POST /treeline.v1.NodeService/GetNode")
			if attributes(got)["error.type"] != "unimplemented" || got.GetStatus().GetCode() != tracev1.Status_STATUS_CODE_ERROR {
				t.Errorf("%v", got)
			}
			if metrics := scrape(t, telemetry, ""); !strings.Contains(metrics, `route="/treeline.v1.NodeService/ListNodes"`) {
				t.Error("the procedure is no label")
			}
		})
	}
}

func TestASampleRatioIsAShare(t *testing.T) {
	for _, ratio := range []float64{-0.1, 1.1} {
		if _, err := New(t.Context(), Options{SampleRatio: ratio}); err == nil {
			t.Errorf("%g is taken", ratio)
		}
	}
}

func TestAMissingCollectorIsReportedOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1_700_000_000, 0)
	handler := &exportErrors{logger: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	for range 13 {
		handler.Handle(errors.New("connection refused"))
		now = now.Add(5 * time.Second)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "unreported=11") {
		t.Errorf("%d lines:\n%s", lines, log.String())
	}
}
