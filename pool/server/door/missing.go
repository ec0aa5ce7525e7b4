package door

import (
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"treeline.dev/pool/models"
)

// methods are those that any route of the pool takes.
var methods = []string{http.MethodGet, http.MethodPost}

// NoRoute says why no route took a request: the address is unknown, or takes other methods (RFC 9110, 15.5.6).
func NoRoute(request *http.Request, mux *http.ServeMux) error {
	var allowed []string
	for _, method := range methods {
		probe := request.Clone(request.Context())
		probe.Method = method
		// Only a pattern with a method is a route; those without are what brought us here.
		if _, pattern := mux.Handler(probe); strings.Contains(pattern, " ") {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return models.Failure{
			HTTP: http.StatusNotFound, GRPC: connect.CodeUnimplemented, Type: "not_found_error",
			Code: "route_not_found", Message: "There is nothing at this address.",
		}
	}
	return models.Failure{
		HTTP: http.StatusMethodNotAllowed, GRPC: connect.CodeUnimplemented, Type: "invalid_request_error",
		Code: "method_not_allowed", Message: "This address takes " + strings.Join(allowed, " and ") + ".",
	}
}
