package telemetry

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// exportEngineSpans gives spans that the engine has ended to the same exporter as the server's. Spans whose ids are
// malformed are left out.
func (telemetry *Telemetry) exportEngineSpans(spans []*enginev1.EngineSpan) {
	if telemetry.exported == nil {
		return
	}
	for _, span := range spans {
		if ended, valid := newEngineSpan(span, telemetry.resource); valid {
			telemetry.exported.OnEnd(ended)
		}
	}
}

// engineSpan is a span that another process began and ended, as the exporter wants it. The interface is embedded because
// it has a private method; the exporter calls none but those below.
type engineSpan struct {
	sdktrace.ReadOnlySpan
	name            string
	context, parent trace.SpanContext
	start, end      time.Time
	attributes      []attribute.KeyValue
	resource        *resource.Resource
}

func newEngineSpan(span *enginev1.EngineSpan, resource *resource.Resource) (*engineSpan, bool) {
	traceID, validTrace := traceIDOf(span.GetTraceId())
	spanID, validSpan := spanIDOf(span.GetSpanId())
	parentID, _ := spanIDOf(span.GetParentSpanId())
	attributes := make([]attribute.KeyValue, 0, len(span.GetAttributes()))
	for name, value := range span.GetAttributes() {
		attributes = append(attributes, attribute.String(name, value))
	}
	made := &engineSpan{
		name:       span.GetName(),
		context:    spanContext(traceID, spanID),
		parent:     spanContext(traceID, parentID).WithRemote(true),
		start:      time.Unix(0, int64(span.GetStartNs())),
		end:        time.Unix(0, int64(span.GetEndNs())),
		attributes: attributes,
		resource:   resource,
	}
	return made, validTrace && validSpan
}

func spanContext(traceID trace.TraceID, spanID trace.SpanID) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled})
}

func traceIDOf(bytes []byte) (id trace.TraceID, valid bool) {
	if len(bytes) != len(id) {
		return id, false
	}
	id = trace.TraceID(bytes)
	return id, id.IsValid()
}

func spanIDOf(bytes []byte) (id trace.SpanID, valid bool) {
	if len(bytes) != len(id) {
		return id, false
	}
	id = trace.SpanID(bytes)
	return id, id.IsValid()
}

func (span *engineSpan) Name() string                     { return span.name }
func (span *engineSpan) SpanContext() trace.SpanContext   { return span.context }
func (span *engineSpan) Parent() trace.SpanContext        { return span.parent }
func (span *engineSpan) SpanKind() trace.SpanKind         { return trace.SpanKindInternal }
func (span *engineSpan) StartTime() time.Time             { return span.start }
func (span *engineSpan) EndTime() time.Time               { return span.end }
func (span *engineSpan) Attributes() []attribute.KeyValue { return span.attributes }
func (span *engineSpan) Links() []sdktrace.Link           { return nil }
func (span *engineSpan) Events() []sdktrace.Event         { return nil }
func (span *engineSpan) Status() sdktrace.Status          { return sdktrace.Status{} }
func (span *engineSpan) Resource() *resource.Resource     { return span.resource }
func (span *engineSpan) DroppedAttributes() int           { return 0 }
func (span *engineSpan) DroppedLinks() int                { return 0 }
func (span *engineSpan) DroppedEvents() int               { return 0 }
func (span *engineSpan) ChildSpanCount() int              { return 0 }
func (span *engineSpan) InstrumentationScope() instrumentation.Scope {
	return instrumentation.Scope{Name: engineScope}
}
