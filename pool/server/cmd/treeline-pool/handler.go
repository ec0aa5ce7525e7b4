package main

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"treeline.dev/pool/discovery"
	"treeline.dev/pool/door"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
	"treeline.dev/pool/infer"
	"treeline.dev/pool/models"
	"treeline.dev/pool/openai"
	"treeline.dev/pool/openinference"
	"treeline.dev/pool/rpc"
	"treeline.dev/pool/telemetry"
)

// parts are what the doors answer with.
type parts struct {
	catalogue *models.Catalogue
	telemetry *telemetry.Telemetry
	nodes     *discovery.Service
	// jobs is nil where there is no queue.
	jobs      treelinev1connect.JobServiceHandler
	rust      rustEngine
	readiness *readiness
	startedAt time.Time
	bounds    door.Bounds
	log       *slog.Logger
}

// ipcHandler measures the boundary to the engine, by RPC and by HTTP.
type ipcHandler interface {
	treelinev1connect.IpcServiceHandler
	http.Handler
}

// quietPaths are asked every few seconds by machines.
var quietPaths = map[string]bool{
	"/healthz": true, "/readyz": true, "/metrics": true, "/v1/nodes": true,
	"/v2/health/live": true, "/v2/health/ready": true, "/grpc.health.v1.Health/Check": true,
}

// newHandler puts all doors behind one port.
func newHandler(parts parts) http.Handler {
	mux := http.NewServeMux()
	(&openai.Door{
		Models: parts.catalogue, Bounds: parts.bounds, Now: time.Now, StartedAt: parts.startedAt, NewID: newID,
	}).Mount(mux)
	openInference := &openinference.Door{
		Models: parts.catalogue, Bounds: parts.bounds, Now: time.Now, Ready: parts.readiness.ready, Version: version,
	}
	openInference.Mount(mux)
	(&infer.Door{Models: parts.catalogue, Bounds: parts.bounds}).Mount(mux)
	services := rpc.Services{
		Models: parts.catalogue, Nodes: parts.nodes, Jobs: parts.jobs, OpenInference: &openinference.Service{Door: openInference},
		Ready: parts.readiness.ready, Interceptors: []connect.Interceptor{parts.telemetry.Interceptor()},
		Bounds: parts.bounds, Log: parts.log,
	}
	if parts.rust.ipc != nil {
		services.Ipc = parts.rust.ipc
		mux.Handle("POST /api/v1/ipc/call", parts.rust.ipc)
	}
	if parts.rust.service != nil {
		services.Engine = parts.rust.service
	}
	services.Mount(mux)
	mux.HandleFunc("GET /v1/nodes", parts.nodes.HandleNodes)
	mux.Handle("GET /metrics", parts.telemetry.Metrics())
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /readyz", parts.readiness.answer)
	mux.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		infer.WriteProblem(writer, request, door.NoRoute(request, mux))
	})
	handler := parts.telemetry.Middleware(door.WithLease(mux))
	return door.WithLog(parts.log, quietPaths, door.WithDeadline(handler))
}

func healthy(writer http.ResponseWriter, _ *http.Request) {
	door.WriteJSON(writer, http.StatusOK, map[string]string{"status": "ok"})
}

// idBytes of randomness make an answer's id.
const idBytes = 12

func newID() string {
	var id [idBytes]byte
	// crypto/rand never fails on the systems that the pool runs on; it ends the program rather than give less.
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// newServer serves HTTP/1.1 and HTTP/2 on one port: by TLS where the listener has it, and without.
func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: handler, Protocols: protocols, MaxHeaderBytes: door.HeaderBytesMax,
		ReadHeaderTimeout: door.HeaderTimeout, IdleTimeout: door.IdleTimeout,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: door.StreamsPerConnectionMax,
			// Tensors of megabytes should not wait for window updates.
			MaxReceiveBufferPerConnection: 16 << 20, MaxReceiveBufferPerStream: 4 << 20,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
