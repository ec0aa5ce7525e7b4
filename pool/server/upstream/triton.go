package upstream

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// lengthHeader divides JSON from tensors in Open Inference's binary extension.
const lengthHeader = "Inference-Header-Content-Length"

type tensorJSON struct {
	Name       string         `json:"name"`
	Datatype   string         `json:"datatype,omitempty"`
	Shape      []int64        `json:"shape,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

type inferJSON struct {
	ID         string         `json:"id,omitempty"`
	Model      string         `json:"model_name,omitempty"`
	Version    string         `json:"model_version,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Inputs     []tensorJSON   `json:"inputs,omitempty"`
	Outputs    []tensorJSON   `json:"outputs,omitempty"`
}

func modelPath(model, version string) string {
	path := "/v2/models/" + url.PathEscape(model)
	if version != "" {
		path += "/versions/" + url.PathEscape(version)
	}
	return path
}

// inferTriton passes tensors on and back in the binary form, so that nothing is turned into decimal text.
func inferTriton(ctx context.Context, client *client, request *v1.InferRequest) (*v1.InferResponse, error) {
	head, body, err := encodeInfer(request)
	if err != nil {
		return nil, err
	}
	header := http.Header{lengthHeader: {strconv.Itoa(head)}}
	response, err := client.post(ctx, modelPath(request.Model, request.Version)+"/infer", "application/octet-stream", header, body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := readBounded(response.Body, answerBytesMax)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	return decodeInfer(request, response.Header.Get(lengthHeader), data)
}

func encodeInfer(request *v1.InferRequest) (head int, body []byte, err error) {
	question := inferJSON{ID: request.Id, Parameters: parametersJSON(request.Parameters)}
	size := 0
	for _, tensor := range request.Inputs {
		parameters := parametersJSON(tensor.Parameters)
		if parameters == nil {
			parameters = map[string]any{}
		}
		parameters["binary_data_size"] = len(tensor.Data)
		question.Inputs = append(question.Inputs, tensorJSON{
			Name: tensor.Name, Datatype: tensor.Datatype, Shape: tensor.Shape, Parameters: parameters,
		})
		size += len(tensor.Data)
	}
	for _, name := range request.Outputs {
		question.Outputs = append(question.Outputs, tensorJSON{Name: name, Parameters: map[string]any{"binary_data": true}})
	}
	if len(request.Outputs) == 0 {
		if question.Parameters == nil {
			question.Parameters = map[string]any{}
		}
		question.Parameters["binary_data_output"] = true
	}
	text, err := json.Marshal(question)
	if err != nil {
		return 0, nil, failed(enginev1.Status_STATUS_INTERNAL, "", "The call cannot be made: %s.", err)
	}
	body = append(make([]byte, 0, len(text)+size), text...)
	for _, tensor := range request.Inputs {
		body = append(body, tensor.Data...)
	}
	return len(text), body, nil
}

func parametersJSON(parameters map[string]*v1.Parameter) map[string]any {
	if len(parameters) == 0 {
		return nil
	}
	made := map[string]any{}
	for name, parameter := range parameters {
		switch value := parameter.Value.(type) {
		case *v1.Parameter_BoolValue:
			made[name] = value.BoolValue
		case *v1.Parameter_Int64Value:
			made[name] = value.Int64Value
		case *v1.Parameter_DoubleValue:
			made[name] = value.DoubleValue
		case *v1.Parameter_StringValue:
			made[name] = value.StringValue
		}
	}
	return made
}

// decodeInfer reads an answer whose outputs are all binary, as they were asked for.
func decodeInfer(request *v1.InferRequest, length string, data []byte) (*v1.InferResponse, error) {
	unreadable := failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine gave an answer that cannot be read.")
	// Without the header all of it is JSON: Triton leaves it out where there are no outputs.
	head := len(data)
	if length != "" {
		var err error
		if head, err = strconv.Atoi(length); err != nil || head < 0 || head > len(data) {
			return nil, unreadable
		}
	}
	var answer inferJSON
	if json.Unmarshal(data[:head], &answer) != nil {
		return nil, unreadable
	}
	response := &v1.InferResponse{Model: request.Model, Version: answer.Version, Id: answer.ID}
	rest := data[head:]
	for _, output := range answer.Outputs {
		size, isNumber := output.Parameters["binary_data_size"].(float64)
		if !isNumber || size < 0 || size > float64(len(rest)) {
			return nil, unreadable
		}
		response.Outputs = append(response.Outputs, &v1.Tensor{
			Name: output.Name, Datatype: output.Datatype, Shape: output.Shape, Data: rest[:int(size)],
		})
		rest = rest[int(size):]
	}
	return response, nil
}

// describeTriton adds a ready model's inputs and outputs.
func describeTriton(ctx context.Context, client *client, model *v1.Model) {
	var answer struct {
		Versions []string     `json:"versions"`
		Inputs   []tensorJSON `json:"inputs"`
		Outputs  []tensorJSON `json:"outputs"`
	}
	if !client.probeJSON(ctx, modelPath(model.Name, model.Version), &answer) {
		return
	}
	infos := func(tensors []tensorJSON) []*v1.TensorInfo {
		made := make([]*v1.TensorInfo, len(tensors))
		for index, tensor := range tensors {
			made[index] = &v1.TensorInfo{Name: tensor.Name, Datatype: tensor.Datatype, Shape: tensor.Shape}
		}
		return made
	}
	model.Versions, model.Inputs, model.Outputs = answer.Versions, infos(answer.Inputs), infos(answer.Outputs)
}

// repositoryTriton loads or unloads a model.
func repositoryTriton(ctx context.Context, client *client, model, action string) error {
	path := "/v2/repository/models/" + url.PathEscape(model) + "/" + action
	response, err := client.post(ctx, path, "application/json", nil, []byte("{}"))
	if err != nil {
		return err
	}
	return response.Body.Close()
}
