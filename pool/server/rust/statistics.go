package rust

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// spansKeptMax bounds the spans that wait for the exporter because somebody else asked for statistics meanwhile.
const spansKeptMax = 4096

// Statistics asks an engine how it does. The engine gives each span once, in its next answer, whoever asks: so all who
// want numbers ask here, and only Take gets spans.
type Statistics struct {
	engine engine.Engine

	mutex sync.Mutex
	spans []*enginev1.EngineSpan
	// dropped counts spans that found no room here.
	dropped uint64
}

// NewStatistics is about an engine.
func NewStatistics(of engine.Engine) *Statistics { return &Statistics{engine: of} }

// Take is the statistics with the spans that ended since the last Take: for telemetry.WatchEngine, and nobody else.
func (statistics *Statistics) Take(ctx context.Context) (*enginev1.EngineStats, error) {
	stats, err := statistics.Peek(ctx)
	if err != nil {
		return nil, err
	}
	statistics.mutex.Lock()
	defer statistics.mutex.Unlock()
	stats.Spans, statistics.spans = statistics.spans, nil
	return stats, nil
}

// Peek is the statistics without spans.
func (statistics *Statistics) Peek(ctx context.Context) (*enginev1.EngineStats, error) {
	stats, reply, err := statistics.Call(ctx)
	if err == nil {
		reply.Release()
	}
	return stats, err
}

// Call is Peek with the reply itself, for who measures it; the caller releases it.
func (statistics *Statistics) Call(ctx context.Context) (*enginev1.EngineStats, *engine.Reply, error) {
	reply, err := statistics.engine.Call(ctx, &engine.Call{Operation: enginev1.Operation_OPERATION_STATS})
	if err != nil {
		return nil, nil, err
	}
	stats := &enginev1.EngineStats{}
	if err := proto.Unmarshal(reply.Header, stats); err != nil {
		reply.Release()
		return nil, nil, engine.Refused(enginev1.Status_STATUS_INTERNAL)
	}
	statistics.keep(stats)
	return stats, reply, nil
}

func (statistics *Statistics) keep(stats *enginev1.EngineStats) {
	statistics.mutex.Lock()
	defer statistics.mutex.Unlock()
	room := spansKeptMax - len(statistics.spans)
	kept := min(room, len(stats.Spans))
	statistics.spans = append(statistics.spans, stats.Spans[:kept]...)
	statistics.dropped += uint64(len(stats.Spans) - kept)
	stats.Spans = nil
	stats.SpansDropped += statistics.dropped
}
