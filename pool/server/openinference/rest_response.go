package openinference

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// restResponse is the JSON of an answer.
type restResponse struct {
	ModelName    string           `json:"model_name"`
	ModelVersion string           `json:"model_version"`
	ID           string           `json:"id,omitempty"`
	Parameters   map[string]any   `json:"parameters,omitempty"`
	Outputs      []restOutputData `json:"outputs"`
}

type restOutputData struct {
	Name       string          `json:"name"`
	Datatype   string          `json:"datatype"`
	Shape      []int64         `json:"shape"`
	Parameters map[string]any  `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

// toREST makes the JSON of an answer, and the segments of binary data that follow it.
func toREST(response *v1.InferResponse, forms outputForms) (restResponse, [][]byte, error) {
	shown := restResponse{
		ModelName: response.GetModel(), ModelVersion: response.GetVersion(), ID: response.GetId(),
		Parameters: valuesOf(response.GetParameters()), Outputs: []restOutputData{},
	}
	var segments [][]byte
	for _, tensor := range response.GetOutputs() {
		output := restOutputData{
			Name: tensor.GetName(), Datatype: tensor.GetDatatype(), Shape: tensor.GetShape(),
			Parameters: valuesOf(tensor.GetParameters()),
		}
		if output.Shape == nil {
			output.Shape = []int64{}
		}
		if forms.isBinary(tensor.GetName()) {
			output.Parameters["binary_data_size"] = len(tensor.GetData())
			segments = append(segments, tensor.GetData())
		} else {
			var err error
			if output.Data, err = formatData(tensor); err != nil {
				return restResponse{}, nil, err
			}
		}
		shown.Outputs = append(shown.Outputs, output)
	}
	return shown, segments, nil
}

// writeREST answers; binary data goes out from where it lies.
func writeREST(
	writer http.ResponseWriter, request *http.Request, response *v1.InferResponse, forms outputForms,
) error {
	shown, segments, err := toREST(response, forms)
	if err != nil {
		return err
	}
	if segments == nil {
		door.WriteJSON(writer, http.StatusOK, shown)
		return nil
	}
	var head bytes.Buffer
	if err := door.EncodeJSON(&head, shown); err != nil {
		return err
	}
	length := head.Len()
	for _, segment := range segments {
		length += len(segment)
	}
	writer.Header().Set("Content-Type", "application/octet-stream")
	writer.Header().Set(headLengthHeader, strconv.Itoa(head.Len()))
	writer.Header().Set("Content-Length", strconv.Itoa(length))
	writer.WriteHeader(http.StatusOK)
	// A client that has gone is the only way in which this fails.
	if _, err := writer.Write(head.Bytes()); err != nil {
		return nil
	}
	for _, segment := range segments {
		if door.WriteLeased(writer, request, segment) != nil {
			return nil
		}
	}
	return nil
}
