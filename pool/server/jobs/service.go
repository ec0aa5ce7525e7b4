package jobs

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Service answers treeline.v1.JobService.
type Service struct {
	queue *Queue
	// refuse turns *engine.Error into Connect's errors, as the other services do.
	refuse func(error) error
}

// NewService answers from queue. refuse turns *engine.Error into a *connect.Error.
func NewService(queue *Queue, refuse func(error) error) *Service {
	return &Service{queue: queue, refuse: refuse}
}

// SubmitJob puts a call into the queue.
func (service *Service) SubmitJob(ctx context.Context, request *connect.Request[v1.SubmitJobRequest]) (*connect.Response[v1.Job], error) {
	return service.respond(service.queue.Submit(ctx, request.Msg))
}

// GetJob tells how a job does.
func (service *Service) GetJob(ctx context.Context, request *connect.Request[v1.GetJobRequest]) (*connect.Response[v1.Job], error) {
	return service.respond(service.queue.Get(ctx, request.Msg.GetId()))
}

// WatchJob sends the job at each change of its state, until it has ended.
func (service *Service) WatchJob(ctx context.Context, request *connect.Request[v1.WatchJobRequest], stream *connect.ServerStream[v1.Job]) error {
	return service.refused(service.queue.Watch(ctx, request.Msg.GetId(), stream.Send))
}

// CancelJob ends a job that has not ended.
func (service *Service) CancelJob(ctx context.Context, request *connect.Request[v1.CancelJobRequest]) (*connect.Response[v1.Job], error) {
	return service.respond(service.queue.Cancel(ctx, request.Msg.GetId()))
}

func (service *Service) respond(job *v1.Job, err error) (*connect.Response[v1.Job], error) {
	if err != nil {
		return nil, service.refused(err)
	}
	return connect.NewResponse(job), nil
}

func (service *Service) refused(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return connect.NewError(connect.CodeNotFound, errors.New("There is no such job, or no longer."))
	default:
		return service.refuse(err)
	}
}
