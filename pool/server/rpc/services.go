// Package rpc answers proto/services.proto by gRPC, gRPC-Web and Connect, with reflection and health beside it.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"treeline.dev/pool/door"
	"treeline.dev/pool/gen/inference/inferenceconnect"
	"treeline.dev/pool/gen/treeline/engine/v1/enginev1connect"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
	"treeline.dev/pool/models"
)

// Services are what the handlers answer with. A service that is nil is answered with UNIMPLEMENTED.
type Services struct {
	Models        *models.Catalogue
	Nodes         treelinev1connect.NodeServiceHandler
	Jobs          treelinev1connect.JobServiceHandler
	Ipc           treelinev1connect.IpcServiceHandler
	OpenInference inferenceconnect.GRPCInferenceServiceHandler
	// Engine lets other nodes use the engine of this one.
	Engine enginev1connect.EngineServiceHandler
	// Ready tells whether the node takes calls: its health.
	Ready func() bool
	// Interceptors run around each call, the first one outermost.
	Interceptors []connect.Interceptor
	Bounds       door.Bounds
	Log          *slog.Logger
}

// Mount adds all services to the mux.
func (services *Services) Mount(mux *http.ServeMux) {
	codec := &tensorCodec{reserve: services.Models.Reserve}
	options := []connect.HandlerOption{
		connect.WithReadMaxBytes(int(services.Bounds.BodyBytesMax)),
		connect.WithCodec(codec),
		connect.WithInterceptors(append(services.Interceptors, deadline{}, tensorRelease{codec})...),
		connect.WithRecover(services.recovered),
		deflate(),
	}
	mount := func(path string, handler http.Handler) { mux.Handle(path, handler) }
	names := []string{
		treelinev1connect.InferenceServiceName, treelinev1connect.ModelServiceName, treelinev1connect.NodeServiceName,
		treelinev1connect.JobServiceName, treelinev1connect.IpcServiceName, inferenceconnect.GRPCInferenceServiceName,
		enginev1connect.EngineServiceName,
	}
	mount(treelinev1connect.NewInferenceServiceHandler(&inferenceService{services.Models}, options...))
	mount(treelinev1connect.NewModelServiceHandler(&modelService{services.Models}, options...))
	mount(treelinev1connect.NewNodeServiceHandler(orUnimplemented[treelinev1connect.NodeServiceHandler](
		services.Nodes, treelinev1connect.UnimplementedNodeServiceHandler{}), options...))
	mount(treelinev1connect.NewJobServiceHandler(orUnimplemented[treelinev1connect.JobServiceHandler](
		services.Jobs, treelinev1connect.UnimplementedJobServiceHandler{}), options...))
	mount(treelinev1connect.NewIpcServiceHandler(orUnimplemented[treelinev1connect.IpcServiceHandler](
		services.Ipc, treelinev1connect.UnimplementedIpcServiceHandler{}), options...))
	mount(enginev1connect.NewEngineServiceHandler(orUnimplemented[enginev1connect.EngineServiceHandler](
		services.Engine, enginev1connect.UnimplementedEngineServiceHandler{}), options...))
	mount(inferenceconnect.NewGRPCInferenceServiceHandler(services.OpenInference, options...))
	mount(grpchealth.NewHandler(health{names, services.Ready}, options...))
	reflector := grpcreflect.NewStaticReflector(append(names, grpchealth.HealthV1ServiceName)...)
	mount(grpcreflect.NewHandlerV1(reflector, options...))
	mount(grpcreflect.NewHandlerV1Alpha(reflector, options...))
}

// orUnimplemented gives the service, or what refuses in its place.
func orUnimplemented[Service comparable](service, unimplemented Service) Service {
	var none Service
	if service == none {
		return unimplemented
	}
	return service
}

// recovered turns a panic into an answer and a line with its stack.
func (services *Services) recovered(ctx context.Context, spec connect.Spec, _ http.Header, thrown any) error {
	services.Log.ErrorContext(ctx, "panic", "procedure", spec.Procedure, "value", fmt.Sprint(thrown),
		"stack", string(debug.Stack()))
	return Failed(fmt.Errorf("panic in %s", spec.Procedure))
}

// health answers gRPC's health checks: for the server as a whole (no name), and for each service.
type health struct {
	names []string
	ready func() bool
}

// Check tells whether the node takes calls.
func (health health) Check(_ context.Context, request *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	isKnown := request.Service == ""
	for _, name := range health.names {
		isKnown = isKnown || name == request.Service
	}
	switch {
	case !isKnown:
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no service %q", models.Shorten(request.Service)))
	case health.ready():
		return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
}
