package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

const (
	// EngineInterval is between two questions to an engine for its spans and statistics.
	EngineInterval = time.Second
	// engineTimeout bounds one question.
	engineTimeout = 5 * time.Second
)

// engines are the statistics of this node's engines as last heard.
type engines struct {
	lock  sync.Mutex
	stats map[string]*enginev1.EngineStats
}

func newEngines() *engines { return &engines{stats: map[string]*enginev1.EngineStats{}} }

// WatchEngine asks an engine for its statistics every EngineInterval until ctx ends: its spans are exported, its numbers
// become metrics. An engine gives each span once, so nobody else should ask it for STATS; LastStats is for others. name
// is unique on the node. Run it in a goroutine of its own.
func (telemetry *Telemetry) WatchEngine(ctx context.Context, name string, ask func(context.Context) (*enginev1.EngineStats, error)) {
	ticker := time.NewTicker(EngineInterval)
	defer ticker.Stop()
	defer telemetry.engines.forget(name)
	answered := true
	for {
		stats, err := askBounded(ctx, ask)
		switch {
		case err == nil:
			telemetry.engines.take(name, stats)
			telemetry.exportEngineSpans(stats.GetSpans())
		case ctx.Err() == nil && answered:
			// Once, not every second: an engine that is down says so elsewhere.
			telemetry.logger.Warn("the engine does not tell its statistics", "engine", name, "reason", err)
		}
		answered = err == nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func askBounded(ctx context.Context, ask func(context.Context) (*enginev1.EngineStats, error)) (*enginev1.EngineStats, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	return ask(ctx)
}

// LastStats is what a watched engine said last; nil before its first answer. It must not be changed.
func (telemetry *Telemetry) LastStats(name string) *enginev1.EngineStats {
	telemetry.engines.lock.Lock()
	defer telemetry.engines.lock.Unlock()
	return telemetry.engines.stats[name]
}

func (engines *engines) take(name string, stats *enginev1.EngineStats) {
	engines.lock.Lock()
	defer engines.lock.Unlock()
	engines.stats[name] = stats
}

func (engines *engines) forget(name string) {
	engines.lock.Lock()
	defer engines.lock.Unlock()
	delete(engines.stats, name)
}

// engineMetric is a number of an engine's statistics.
type engineMetric struct {
	description *prometheus.Desc
	kind        prometheus.ValueType
	value       func(*enginev1.EngineStats) float64
}

func engineNumber(name, help string, kind prometheus.ValueType, value func(*enginev1.EngineStats) float64) engineMetric {
	return engineMetric{description: prometheus.NewDesc(name, help, []string{"engine"}, nil), kind: kind, value: value}
}

// cacheUsage is the share of the key-value cache in use, 0 where there is none.
func cacheUsage(stats *enginev1.EngineStats) float64 {
	if stats.GetKvBlocks() == 0 {
		return 0
	}
	return float64(stats.GetKvBlocksUsed()) / float64(stats.GetKvBlocks())
}

var engineMetrics = []engineMetric{
	engineNumber("vllm:num_requests_running", "Calls that run in the engine.", prometheus.GaugeValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetRunning()) }),
	engineNumber("vllm:num_requests_waiting", "Calls that wait in the engine.", prometheus.GaugeValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetWaiting()) }),
	engineNumber("vllm:kv_cache_usage_perc", "Share of the key-value cache in use, 0 to 1.", prometheus.GaugeValue, cacheUsage),
	engineNumber("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", prometheus.CounterValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetPrefixCacheQueries()) }),
	engineNumber("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", prometheus.CounterValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetPrefixCacheHits()) }),
	engineNumber("vllm:num_preemptions_total", "Running sequences that had to give their blocks back.", prometheus.CounterValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetPreemptions()) }),
	engineNumber("treeline_pool_engine_waiting_max", "Calls that may wait before the engine refuses.", prometheus.GaugeValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetWaitingMax()) }),
	engineNumber("treeline_pool_engine_calls_total", "Calls taken.", prometheus.CounterValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetCalls()) }),
	engineNumber("treeline_pool_engine_memory_bytes", "Memory of the loaded models.", prometheus.GaugeValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetMemoryBytes()) }),
	engineNumber("treeline_pool_engine_memory_max_bytes", "Memory that models may take.", prometheus.GaugeValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetMemoryBytesMax()) }),
	engineNumber("treeline_pool_engine_batches_total", "Batches of embeddings and tensors.", prometheus.CounterValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetBatches()) }),
	engineNumber("treeline_pool_engine_batched_calls_total", "Calls in those batches.", prometheus.CounterValue,
		func(s *enginev1.EngineStats) float64 { return float64(s.GetBatchedCalls()) }),
}

// Describe lists the metrics.
func (engines *engines) Describe(descriptions chan<- *prometheus.Desc) {
	for _, metric := range engineMetrics {
		descriptions <- metric.description
	}
}

// Collect gives the values last heard.
func (engines *engines) Collect(values chan<- prometheus.Metric) {
	engines.lock.Lock()
	defer engines.lock.Unlock()
	for name, stats := range engines.stats {
		for _, metric := range engineMetrics {
			values <- prometheus.MustNewConstMetric(metric.description, metric.kind, metric.value(stats), name)
		}
	}
}

// jobStateName is a state as a label, such as succeeded.
func jobStateName(state v1.JobState) string {
	names := map[v1.JobState]string{
		v1.JobState_JOB_STATE_QUEUED:    "queued",
		v1.JobState_JOB_STATE_RUNNING:   "running",
		v1.JobState_JOB_STATE_SUCCEEDED: "succeeded",
		v1.JobState_JOB_STATE_FAILED:    "failed",
		v1.JobState_JOB_STATE_CANCELLED: "cancelled",
	}
	if name, known := names[state]; known {
		return name
	}
	return "unknown"
}
