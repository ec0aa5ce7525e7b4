package openinference

import (
	"net/http"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

type modelIndex struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// readOptional reads a body that may be empty.
func (oip *Door) readOptional(writer http.ResponseWriter, request *http.Request, value any) error {
	body, err := door.ReadBody(writer, request, oip.Bounds)
	if err != nil || len(body) == 0 {
		return err
	}
	return door.ParseJSON(body, value)
}

func (oip *Door) index(writer http.ResponseWriter, request *http.Request) error {
	var body struct {
		Ready bool `json:"ready"`
	}
	if err := oip.readOptional(writer, request, &body); err != nil {
		return err
	}
	// Who asks for the index has often just changed the repository.
	oip.Models.Refresh(request.Context())
	listed, err := oip.Models.Models(request.Context())
	if err != nil {
		return err
	}
	index := []modelIndex{}
	for _, model := range listed {
		if !body.Ready || isReady(model) {
			index = append(index, modelIndex{model.GetName(), model.GetVersion(), stateOf(model), model.GetReason()})
		}
	}
	door.WriteJSON(writer, http.StatusOK, index)
	return nil
}

// checkLoad refuses a load that carries its own configuration or files; the repository's are the only ones.
func checkLoad(names []string) error {
	for _, name := range names {
		return models.Invalid(name, "The load parameter %s is not supported.", models.Shorten(name))
	}
	return nil
}

func (oip *Door) load(writer http.ResponseWriter, request *http.Request) error {
	var body struct {
		Parameters parameters `json:"parameters"`
	}
	if err := oip.readOptional(writer, request, &body); err != nil {
		return err
	}
	var names []string
	for name := range body.Parameters {
		names = append(names, name)
	}
	if err := checkLoad(names); err != nil {
		return err
	}
	_, err := oip.Models.Load(request.Context(), &v1.LoadModelRequest{Model: request.PathValue("model")})
	if err != nil {
		return err
	}
	writer.WriteHeader(http.StatusOK)
	return nil
}

func (oip *Door) unload(writer http.ResponseWriter, request *http.Request) error {
	// `unload_dependents` may be asked for; models here depend on none.
	var body struct {
		Parameters parameters `json:"parameters"`
	}
	if err := oip.readOptional(writer, request, &body); err != nil {
		return err
	}
	err := oip.Models.Unload(request.Context(), &v1.UnloadModelRequest{Model: request.PathValue("model")})
	if err != nil {
		return err
	}
	writer.WriteHeader(http.StatusOK)
	return nil
}
