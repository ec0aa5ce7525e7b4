package openinference

import (
	"bytes"
	"encoding/json"
	"net/http"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/tensors"
)

// generated is an answer of the generate extension.
type generated struct {
	ModelName    string `json:"model_name"`
	ModelVersion string `json:"model_version"`
	ID           string `json:"id,omitempty"`
	TextOutput   any    `json:"text_output"`
}

// parseGenerate reads the extension's form: inputs by name, and settings under `parameters`.
func parseGenerate(body []byte) (*v1.InferRequest, error) {
	var fields map[string]json.RawMessage
	if err := door.ParseJSON(body, &fields); err != nil {
		return nil, err
	}
	call := &v1.InferRequest{}
	settings := map[string]json.RawMessage{}
	for name, raw := range fields {
		var err error
		switch name {
		case "id":
			err = door.ParseJSON(raw, &call.Id)
		case "parameters":
			err = door.ParseJSON(raw, &settings)
		case "text_input":
			err = addInput(call, name, "BYTES", raw)
		case "stream", "exclude_input_in_output":
			err = addInput(call, name, "BOOL", raw)
		case "sampling_parameters":
			err = addInput(call, name, "BYTES", raw)
		default:
			err = models.Invalid(name, "There is no input %q.", models.Shorten(name))
		}
		if err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"stream", "exclude_input_in_output"} {
		if raw, isThere := settings[name]; isThere {
			delete(settings, name)
			if err := addInput(call, name, "BOOL", raw); err != nil {
				return nil, err
			}
		}
	}
	if len(settings) == 0 {
		return call, nil
	}
	object, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	quoted, err := json.Marshal(string(object))
	if err != nil {
		return nil, err
	}
	return call, addInput(call, "sampling_parameters", "BYTES", quoted)
}

// addInput adds a tensor of one element.
func addInput(call *v1.InferRequest, name, datatypeName string, value json.RawMessage) error {
	frame, err := tensors.NewFrame(name, datatypeName, []int64{1})
	if err != nil {
		return err
	}
	raw, err := parseData(frame, value, nil)
	if err != nil {
		return err
	}
	tensor, err := frame.Tensor(raw)
	call.Inputs = append(call.Inputs, tensor)
	return err
}

// readGenerate reads the body and finds the language model.
func (oip *Door) readGenerate(writer http.ResponseWriter, request *http.Request) (*v1.Model, *v1.InferRequest, error) {
	body, err := door.ReadBody(writer, request, oip.Bounds)
	if err != nil {
		return nil, nil, err
	}
	call, err := parseGenerate(body)
	if err != nil {
		return nil, nil, err
	}
	call.Model, call.Version = request.PathValue("model"), request.PathValue("version")
	model, err := oip.model(request)
	if err == nil && kindFor(model, call.GetInputs()) != language {
		err = models.Invalid("model", "The model %q generates no text.", model.GetName())
	}
	return model, call, err
}

func (oip *Door) generateREST(writer http.ResponseWriter, request *http.Request) error {
	_, call, err := oip.readGenerate(writer, request)
	if err != nil {
		return err
	}
	response, err := oip.infer(request.Context(), call)
	if err != nil {
		return err
	}
	door.WriteJSON(writer, http.StatusOK, shownText(response))
	return nil
}

// shownText gives one text as itself and several as a list, as Triton does.
func shownText(response *v1.InferResponse) generated {
	shown := generated{
		ModelName: response.GetModel(), ModelVersion: response.GetVersion(), ID: response.GetId(),
	}
	var texts []string
	elements, _ := tensors.Strings(response.GetOutputs()[0].GetData())
	for _, element := range elements {
		texts = append(texts, string(element))
	}
	shown.TextOutput = texts
	if len(texts) == 1 {
		shown.TextOutput = texts[0]
	}
	return shown
}

// generateStreamREST answers with an event a piece. A failure after the first is an event too.
func (oip *Door) generateStreamREST(writer http.ResponseWriter, request *http.Request) error {
	model, call, err := oip.readGenerate(writer, request)
	if err != nil {
		return err
	}
	hasBegun := false
	event := func(value any) error {
		if !hasBegun {
			hasBegun = true
			writer.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			writer.Header().Set("Cache-Control", "no-cache")
		}
		buffer := bytes.NewBufferString("data: ")
		if err := door.EncodeJSON(buffer, value); err != nil {
			return err
		}
		buffer.WriteString("\n")
		if _, err := writer.Write(buffer.Bytes()); err != nil {
			return err
		}
		return http.NewResponseController(writer).Flush()
	}
	err = oip.generateStream(request.Context(), model, call, func(response *v1.InferResponse) error {
		return event(shownText(response))
	})
	if err == nil || !hasBegun {
		return err
	}
	failure := models.Describe(err)
	door.NoteFailure(writer, failure)
	// Nobody is left to be told where this fails.
	_ = event(errorBody{failure.Message, failure.Code})
	return nil
}
