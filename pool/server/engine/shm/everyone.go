package shm

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// callEveryone makes a call that concerns all workers: loading and unloading is done by each, a training by one, whose
// result the others load; statistics and lists of models are put together.
func (shm *Engine) callEveryone(ctx context.Context, call *engine.Call, start time.Time) (*engine.Reply, error) {
	workers := shm.fleet.alive()
	if len(workers) <= 1 {
		reply, _, err := shm.callOne(ctx, call, start, nil)
		return reply, err
	}
	if call.Operation == enginev1.Operation_OPERATION_TRAIN_MODEL {
		return shm.trainOne(ctx, call, start, workers)
	}
	replies, err := shm.ask(ctx, call, start, workers)
	if err != nil {
		return nil, err
	}
	switch call.Operation {
	case enginev1.Operation_OPERATION_STATS:
		return merge(replies, start, mergeStats)
	case enginev1.Operation_OPERATION_LIST_MODELS:
		return merge(replies, start, mergeModels)
	default:
		shm.refresh(workers)
		release(replies[1:])
		return replies[0], nil
	}
}

func (shm *Engine) refresh(workers []*worker) {
	for _, asked := range workers {
		asked.refreshModels(shm.requests)
	}
}

// ask makes the call on each worker at once. One failure fails it, unless the worker has ended: the one that takes its
// place loads what it must by itself.
func (shm *Engine) ask(
	ctx context.Context, call *engine.Call, start time.Time, workers []*worker,
) ([]*engine.Reply, error) {
	type answer struct {
		reply *engine.Reply
		err   error
	}
	answers := make(chan answer, len(workers))
	for _, asked := range workers {
		go func() {
			sent, err := shm.requests.prepare(ctx, call)
			if err != nil {
				answers <- answer{err: err}
				return
			}
			reply, err := asked.call(ctx, sent, start)
			answers <- answer{reply, err}
		}()
	}
	var replies []*engine.Reply
	var crash, failure error
	for range workers {
		switch answer := <-answers; {
		case answer.err == nil:
			replies = append(replies, answer.reply)
		case answer.err == errCrashed:
			crash = answer.err
		default:
			failure = answer.err
		}
	}
	if failure == nil && len(replies) == 0 {
		failure = crash
	}
	if failure != nil {
		release(replies)
		return nil, failure
	}
	return replies, nil
}

func release(replies []*engine.Reply) {
	for _, reply := range replies {
		reply.Release()
	}
}

func (shm *Engine) trainOne(
	ctx context.Context, call *engine.Call, start time.Time, workers []*worker,
) (*engine.Reply, error) {
	sent, err := shm.requests.prepare(ctx, call)
	if err != nil {
		return nil, err
	}
	reply, err := workers[0].call(ctx, sent, start)
	if err != nil {
		return nil, err
	}
	var trained v1.TrainModelResponse
	if proto.Unmarshal(reply.Header, &trained) == nil {
		request := &v1.LoadModelRequest{Model: trained.GetModel().GetName(), Version: trained.GetModel().GetVersion()}
		if header, err := proto.Marshal(request); err == nil {
			load := &engine.Call{Operation: enginev1.Operation_OPERATION_LOAD_MODEL, Header: header}
			if loaded, err := shm.ask(ctx, load, start, workers[1:]); err == nil {
				release(loaded)
			}
		}
	}
	shm.refresh(workers)
	return reply, nil
}

// merge makes one reply of many.
func merge[message any, pointer interface {
	*message
	proto.Message
}](replies []*engine.Reply, start time.Time, add func(sum, each pointer)) (*engine.Reply, error) {
	defer release(replies)
	sum := pointer(new(message))
	for _, reply := range replies {
		each := pointer(new(message))
		if err := proto.Unmarshal(reply.Header, each); err != nil {
			return nil, engine.Refused(enginev1.Status_STATUS_INTERNAL)
		}
		add(sum, each)
	}
	header, err := proto.Marshal(sum)
	if err != nil {
		return nil, engine.Refused(enginev1.Status_STATUS_INTERNAL)
	}
	return engine.NewReply(header, nil, 0, time.Since(start), nil), nil
}

func mergeStats(sum, each *enginev1.EngineStats) {
	sum.Calls += each.Calls
	sum.Running += each.Running
	sum.Waiting += each.Waiting
	sum.WaitingMax += each.WaitingMax
	sum.MemoryBytes += each.MemoryBytes
	sum.MemoryBytesMax += each.MemoryBytesMax
	sum.KvBlocks += each.KvBlocks
	sum.KvBlocksUsed += each.KvBlocksUsed
	sum.PromptTokens += each.PromptTokens
	sum.GeneratedTokens += each.GeneratedTokens
	sum.PrefixCacheQueries += each.PrefixCacheQueries
	sum.PrefixCacheHits += each.PrefixCacheHits
	sum.Preemptions += each.Preemptions
	sum.Spans = append(sum.Spans, each.Spans...)
	sum.SpansDropped += each.SpansDropped
	sum.Batches += each.Batches
	sum.BatchedCalls += each.BatchedCalls
}

// mergeModels keeps of each version the entry that is most ready.
func mergeModels(sum, each *v1.ListModelsResponse) {
	for _, model := range each.Models {
		same := func(other *v1.Model) bool { return other.Name == model.Name && other.Version == model.Version }
		switch index := slices.IndexFunc(sum.Models, same); {
		case index < 0:
			sum.Models = append(sum.Models, model)
		case model.State == v1.ModelState_MODEL_STATE_READY:
			sum.Models[index] = model
		}
	}
}
