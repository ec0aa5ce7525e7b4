package telemetry

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Kind is what a call does, in OpenTelemetry's words for generative AI where it has one.
type Kind string

// The kinds of calls.
const (
	Chat           Kind = "chat"
	TextCompletion Kind = "text_completion"
	Embeddings     Kind = "embeddings"
	Rerank         Kind = "rerank"
	Infer          Kind = "infer"
	Tokenize       Kind = "tokenize"
)

// choicesMax is what a generation has at most, by the contract.
const choicesMax = 16

// Call is what is known when an operation begins.
type Call struct {
	Kind Kind
	// Model and Version as the Catalogue has resolved them, never as a client wrote them: they become labels.
	Model, Version string
	// Provider is the engine that answers, such as rust or vllm-1.
	Provider string
	// Generate is the request where there is one; its settings become attributes. Its texts never do.
	Generate *v1.GenerateRequest
}

// Outcome is what is known when an operation ends.
type Outcome struct {
	// Err is why it failed; nil: it did not.
	Err error
	// FinishReasons of the choices, of a generation.
	FinishReasons []v1.FinishReason
	// Usage as the engine counted it; nil: unknown.
	Usage *v1.Usage
	// Inputs answered, such as texts of an embedding or rows of a batch; 0 counts as 1.
	Inputs int
}

// Operation is a call that runs. Its methods may be called from many goroutines at once.
type Operation struct {
	telemetry *Telemetry
	call      Call
	labels    modelLabels
	span      trace.Span
	traceID   string
	began     time.Time

	lock sync.Mutex
	// first is when the first piece came, last when each choice's last did.
	first time.Time
	last  map[uint32]time.Time
	ended bool
}

// Start begins an operation. The context carries its span: take Traceparent from it. End must be called.
func (telemetry *Telemetry) Start(ctx context.Context, call Call) (context.Context, *Operation) {
	labels := telemetry.metrics.models.of(call.Model, call.Version)
	ctx, span := telemetry.tracer.Start(ctx, string(call.Kind)+" "+labels.model,
		trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(startAttributes(call)...))
	telemetry.metrics.inFlight.WithLabelValues(labels.model).Inc()
	return ctx, &Operation{
		telemetry: telemetry,
		call:      call,
		labels:    labels,
		span:      span,
		traceID:   traceID(ctx),
		began:     time.Now(),
		last:      map[uint32]time.Time{},
	}
}

func startAttributes(call Call) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		attribute.String("gen_ai.operation.name", string(call.Kind)),
		attribute.String("gen_ai.provider.name", "treeline"),
		attribute.String("gen_ai.request.model", call.Model),
		attribute.String("treeline.model.version", call.Version),
		attribute.String("treeline.provider", call.Provider),
	}
	request := call.Generate
	if request == nil {
		return attributes
	}
	if request.MaxTokens != nil {
		attributes = append(attributes, attribute.Int64("gen_ai.request.max_tokens", int64(request.GetMaxTokens())))
	}
	if request.GetN() > 1 {
		attributes = append(attributes, attribute.Int64("gen_ai.request.choice.count", int64(request.GetN())))
	}
	return append(attributes, samplingAttributes(request.GetSampling())...)
}

func samplingAttributes(sampling *v1.Sampling) (attributes []attribute.KeyValue) {
	if sampling == nil {
		return nil
	}
	real := func(name string, value *float32) {
		if value != nil {
			attributes = append(attributes, attribute.Float64(name, float64(*value)))
		}
	}
	real("gen_ai.request.temperature", sampling.Temperature)
	real("gen_ai.request.top_p", sampling.TopP)
	real("gen_ai.request.presence_penalty", sampling.PresencePenalty)
	real("gen_ai.request.frequency_penalty", sampling.FrequencyPenalty)
	if sampling.TopK != nil {
		attributes = append(attributes, attribute.Int64("gen_ai.request.top_k", int64(*sampling.TopK)))
	}
	if sampling.Seed != nil {
		attributes = append(attributes, attribute.Int64("gen_ai.request.seed", int64(*sampling.Seed)))
	}
	return attributes
}

// Piece records that a choice has got that many tokens more. The first gives the time to first token, the others the time
// between tokens. Pieces without tokens count for nothing.
func (operation *Operation) Piece(choice uint32, tokens int) {
	if tokens <= 0 || choice >= choicesMax {
		return
	}
	now := time.Now()
	operation.lock.Lock()
	defer operation.lock.Unlock()
	metrics := operation.telemetry.metrics
	if operation.first.IsZero() {
		operation.first = now
		operation.observe(metrics.timeToFirstToken, now.Sub(operation.began))
	} else if last, known := operation.last[choice]; known {
		each := now.Sub(last) / time.Duration(tokens)
		for range tokens {
			operation.observe(metrics.interTokenLatency, each)
		}
	}
	operation.last[choice] = now
}

// End records what came of the operation, once; later calls do nothing.
func (operation *Operation) End(outcome Outcome) {
	operation.lock.Lock()
	defer operation.lock.Unlock()
	if operation.ended {
		return
	}
	operation.ended = true
	elapsed := time.Since(operation.began)
	operation.telemetry.metrics.inFlight.WithLabelValues(operation.labels.model).Dec()
	operation.telemetry.triton.record(operation.labels, outcome, elapsed)
	operation.record(outcome, elapsed)
	operation.endSpan(outcome)
}

func (operation *Operation) endSpan(outcome Outcome) {
	defer operation.span.End()
	if usage := outcome.Usage; usage != nil {
		operation.span.SetAttributes(
			attribute.Int64("gen_ai.usage.input_tokens", int64(usage.GetPromptTokens())),
			attribute.Int64("gen_ai.usage.output_tokens", int64(usage.GetCompletionTokens())),
			attribute.Int64("gen_ai.usage.cache_read.input_tokens", int64(usage.GetCachedTokens())),
		)
	}
	if !operation.first.IsZero() {
		seconds := operation.first.Sub(operation.began).Seconds()
		operation.span.SetAttributes(attribute.Float64("gen_ai.response.time_to_first_chunk", seconds))
	}
	if len(outcome.FinishReasons) > 0 {
		reasons := make([]string, len(outcome.FinishReasons))
		for index, reason := range outcome.FinishReasons {
			reasons[index] = finishedReason(reason)
		}
		operation.span.SetAttributes(attribute.StringSlice("gen_ai.response.finish_reasons", reasons))
	}
	if outcome.Err != nil {
		operation.span.SetAttributes(attribute.String("error.type", errorType(outcome.Err)))
		operation.span.SetStatus(codes.Error, outcome.Err.Error())
	}
}

// finishedReason is vLLM's word for a finish reason.
func finishedReason(reason v1.FinishReason) string {
	switch reason {
	case v1.FinishReason_FINISH_REASON_STOP:
		return "stop"
	case v1.FinishReason_FINISH_REASON_LENGTH:
		return "length"
	case v1.FinishReason_FINISH_REASON_TOOL_CALLS:
		return "tool_calls"
	default:
		return "abort"
	}
}

// errorType is a failure's reason from a closed list, such as model_not_found.
func errorType(err error) string {
	var failed *engine.Error
	switch {
	case errors.As(err, &failed):
		return statusName(failed.Status)
	case errors.Is(err, context.Canceled):
		return statusName(enginev1.Status_STATUS_CANCELLED)
	case errors.Is(err, context.DeadlineExceeded):
		return statusName(enginev1.Status_STATUS_DEADLINE_EXCEEDED)
	default:
		return statusName(enginev1.Status_STATUS_INTERNAL)
	}
}

func statusName(status enginev1.Status) string {
	name, known := enginev1.Status_name[int32(status)]
	if !known {
		return "unknown"
	}
	return strings.ToLower(strings.TrimPrefix(name, "STATUS_"))
}
