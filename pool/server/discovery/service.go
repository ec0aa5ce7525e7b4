package discovery

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// modelNameBytesMax bounds the name asked for. Longer names are no model's.
const modelNameBytesMax = 256

// Service answers treeline.v1.NodeService, and the same list as JSON by HTTP.
type Service struct {
	directory Directory
	self      func(context.Context) *v1.Node
	drain     func()
}

// NewService answers from directory. self describes this node now; drain makes it refuse new calls and finish what runs,
// as SIGTERM does, and returns at once.
func NewService(directory Directory, self func(context.Context) *v1.Node, drain func()) *Service {
	return &Service{directory: directory, self: self, drain: drain}
}

// GetNode describes this node.
func (service *Service) GetNode(ctx context.Context, _ *connect.Request[v1.GetNodeRequest]) (*connect.Response[v1.Node], error) {
	return connect.NewResponse(service.self(ctx)), nil
}

// ListNodes lists the directory.
func (service *Service) ListNodes(_ context.Context, request *connect.Request[v1.ListNodesRequest]) (*connect.Response[v1.ListNodesResponse], error) {
	nodes := service.directory.List(request.Msg.GetModel())
	return connect.NewResponse(&v1.ListNodesResponse{Nodes: nodes}), nil
}

// Drain begins to drain this node.
func (service *Service) Drain(context.Context, *connect.Request[v1.DrainRequest]) (*connect.Response[v1.DrainResponse], error) {
	service.drain()
	return connect.NewResponse(&v1.DrainResponse{}), nil
}

// HandleNodes answers GET /v1/nodes[?model=…] with a ListNodesResponse in protobuf's JSON.
func (service *Service) HandleNodes(response http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		response.Header().Set("Allow", "GET, HEAD")
		http.Error(response, "The nodes are read with GET.", http.StatusMethodNotAllowed)
		return
	}
	model := request.URL.Query().Get("model")
	if len(model) > modelNameBytesMax {
		http.Error(response, "The model's name is too long.", http.StatusBadRequest)
		return
	}
	body, err := protojson.Marshal(&v1.ListNodesResponse{Nodes: service.directory.List(model)})
	if err != nil {
		http.Error(response, "The nodes cannot be written as JSON.", http.StatusInternalServerError)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	response.Header().Set("Cache-Control", "no-store")
	_, _ = response.Write(body)
}
