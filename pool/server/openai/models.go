package openai

import (
	"fmt"
	"net/http"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// model is an entry of /v1/models. OpenAI's fields first; max_model_len is vLLM's, the others are ours.
type model struct {
	ID           string   `json:"id"`
	Object       string   `json:"object"`
	Created      int64    `json:"created"`
	OwnedBy      string   `json:"owned_by"`
	MaxModelLen  uint32   `json:"max_model_len,omitempty"`
	Capabilities []string `json:"capabilities"`
	Backend      string   `json:"backend"`
	Provider     string   `json:"provider"`
}

type modelList struct {
	Object string  `json:"object"`
	Data   []model `json:"data"`
}

func shownModel(listed *v1.Model, created int64) model {
	capabilities := listed.GetCapabilities()
	if capabilities == nil {
		capabilities = []string{}
	}
	return model{
		ID: listed.GetName(), Object: "model", Created: created, OwnedBy: "treeline",
		MaxModelLen: listed.GetContextLength(), Capabilities: capabilities, Backend: listed.GetBackend(),
		Provider: listed.GetProvider(),
	}
}

// readyModels lists what answers now, each name once.
func (openai *Door) readyModels(request *http.Request) ([]model, error) {
	listed, err := openai.Models.Models(request.Context())
	if err != nil {
		return nil, err
	}
	ready, seen := []model{}, map[string]bool{}
	for _, one := range listed {
		if one.GetState() == v1.ModelState_MODEL_STATE_READY && !seen[one.GetName()] {
			seen[one.GetName()] = true
			ready = append(ready, shownModel(one, openai.StartedAt.Unix()))
		}
	}
	return ready, nil
}

func (openai *Door) listModels(writer http.ResponseWriter, request *http.Request) error {
	ready, err := openai.readyModels(request)
	if err != nil {
		return err
	}
	door.WriteJSON(writer, http.StatusOK, modelList{Object: "list", Data: ready})
	return nil
}

func (openai *Door) getModel(writer http.ResponseWriter, request *http.Request) error {
	ready, err := openai.readyModels(request)
	if err != nil {
		return err
	}
	name := request.PathValue("model")
	for _, one := range ready {
		if one.ID == name {
			door.WriteJSON(writer, http.StatusOK, one)
			return nil
		}
	}
	return &engine.Error{
		Status: enginev1.Status_STATUS_MODEL_NOT_FOUND, Parameter: "model",
		Message: fmt.Sprintf("There is no model named %q that is ready.", models.Shorten(name)),
	}
}
