package jobs

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/toolcalls"
)

// runPatiently runs a call, again while the engine is full or not ready yet, for busyWaitMax at most. A node that stops
// does not wait: its engine will not get better.
func (queue *Queue) runPatiently(ctx context.Context, request *v1.SubmitJobRequest) (*v1.Job, error) {
	deadline := time.Now().Add(busyWaitMax)
	for wait := queue.options.RetryDelay; ; wait = min(2*wait, retryDelayMax/4) {
		end, err := run(ctx, queue.options.Caller, request, queue.options.ResultBytesMax)
		if !isBusy(err) || queue.serving.Err() != nil || time.Now().After(deadline) {
			return end, err
		}
		pause(ctx, wait)
	}
}

// run runs a call once; its end is what the job has to show for it.
func run(ctx context.Context, caller Caller, request *v1.SubmitJobRequest, bytesMax int) (*v1.Job, error) {
	end := &v1.Job{State: v1.JobState_JOB_STATE_SUCCEEDED}
	var err error
	switch call := request.GetCall().(type) {
	case *v1.SubmitJobRequest_Generate:
		end.Generated, err = generate(ctx, caller, call.Generate, bytesMax)
	case *v1.SubmitJobRequest_Embed:
		end.Embedded, err = caller.Embed(ctx, call.Embed)
	case *v1.SubmitJobRequest_Infer:
		end.Inferred, err = caller.Infer(ctx, call.Infer)
	default:
		err = invalid("call", "A job needs a call: generate, embed or infer.")
	}
	return end, err
}

// generate gathers the pieces of a generation, one message a choice, in the order of the choices. The usage is on the
// last.
func generate(ctx context.Context, caller Caller, request *v1.GenerateRequest, bytesMax int) ([]*v1.GenerateResponse, error) {
	choices := map[uint32]*v1.GenerateResponse{}
	var usage *v1.Usage
	var bytes int
	err := caller.Generate(ctx, request, func(piece *v1.GenerateResponse) error {
		if bytes += proto.Size(piece); bytes > bytesMax {
			return &engine.Error{Status: enginev1.Status_STATUS_MEMORY_EXCEEDED, Message: "The generated text is too large for a job's result."}
		}
		if piece.GetUsage() != nil {
			usage = piece.GetUsage()
		}
		gather(choices, piece)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var gathered []*v1.GenerateResponse
	for _, choice := range choices {
		gathered = append(gathered, choice)
	}
	slices.SortFunc(gathered, func(a, b *v1.GenerateResponse) int { return int(a.GetIndex()) - int(b.GetIndex()) })
	if len(gathered) > 0 {
		gathered[len(gathered)-1].Usage = usage
	}
	return gathered, nil
}

func gather(choices map[uint32]*v1.GenerateResponse, piece *v1.GenerateResponse) {
	choice, begun := choices[piece.GetIndex()]
	if !begun {
		choice = &v1.GenerateResponse{Index: piece.GetIndex()}
		choices[piece.GetIndex()] = choice
	}
	choice.Text += piece.GetText()
	choice.ToolCalls = toolcalls.Gather(choice.ToolCalls, piece.GetToolCalls())
	choice.Ids = append(choice.Ids, piece.GetIds()...)
	choice.Logprobs = append(choice.Logprobs, piece.GetLogprobs()...)
	if piece.GetFinishReason() != v1.FinishReason_FINISH_REASON_UNSPECIFIED {
		choice.FinishReason = piece.GetFinishReason()
	}
	if piece.GetModel() != "" {
		choice.Model, choice.Version = piece.GetModel(), piece.GetVersion()
	}
}

func statusOf(err error) enginev1.Status {
	var failed *engine.Error
	switch {
	case errors.As(err, &failed):
		return failed.Status
	case errors.Is(err, context.DeadlineExceeded):
		return enginev1.Status_STATUS_DEADLINE_EXCEEDED
	default:
		return enginev1.Status_STATUS_INTERNAL
	}
}

// isBusy is whether the engine refused for now, without the job's fault.
func isBusy(err error) bool {
	if err == nil {
		return false
	}
	switch statusOf(err) {
	case enginev1.Status_STATUS_OVERLOADED, enginev1.Status_STATUS_UNAVAILABLE, enginev1.Status_STATUS_MODEL_NOT_READY:
		return true
	default:
		return false
	}
}

// isFinal is whether another attempt would fail the same.
func isFinal(err error) bool {
	switch statusOf(err) {
	case enginev1.Status_STATUS_INVALID_ARGUMENT, enginev1.Status_STATUS_UNSUPPORTED, enginev1.Status_STATUS_MEMORY_EXCEEDED:
		return true
	default:
		return false
	}
}

// reasonOf is the sentence that the client is shown.
func reasonOf(err error) string {
	var failed *engine.Error
	if errors.As(err, &failed) {
		return failed.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "The job took too long."
	}
	return "The job failed inside the pool."
}
