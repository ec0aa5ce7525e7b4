package openinference

import (
	"treeline.dev/pool/gen/inference"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/tensors"
)

// parseGRPC reads a call; its data is either in the raw contents, one an input, or in each input's typed contents.
func parseGRPC(request *inference.ModelInferRequest) (*v1.InferRequest, error) {
	inputs, raws := request.GetInputs(), request.GetRawInputContents()
	if len(inputs) == 0 || len(inputs) > tensorsMax {
		return nil, models.Invalid("inputs", "inputs must hold 1 to %d tensors.", tensorsMax)
	}
	if len(raws) != 0 && len(raws) != len(inputs) {
		return nil, models.Invalid("raw_input_contents", "raw_input_contents must hold one entry an input, or none.")
	}
	call := &v1.InferRequest{
		Model: request.GetModelName(), Version: request.GetModelVersion(), Id: request.GetId(),
	}
	var err error
	if call.Parameters, err = fromGRPC(request.GetParameters()); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for index, input := range inputs {
		if names[input.GetName()] {
			return nil, models.Invalid(input.GetName(), "The input %q comes twice.", models.Shorten(input.GetName()))
		}
		names[input.GetName()] = true
		var raw []byte
		if len(raws) != 0 {
			raw = raws[index]
		}
		tensor, err := parseInput(input, raw, len(raws) != 0)
		if err != nil {
			return nil, err
		}
		call.Inputs = append(call.Inputs, tensor)
	}
	for _, output := range request.GetOutputs() {
		if _, err := fromGRPC(output.GetParameters()); err != nil {
			return nil, err
		}
		call.Outputs = append(call.Outputs, output.GetName())
	}
	return call, nil
}

func parseInput(input *inference.ModelInferRequest_InferInputTensor, raw []byte, isRaw bool) (*v1.Tensor, error) {
	frame, err := tensors.NewFrame(input.GetName(), input.GetDatatype(), input.GetShape())
	if err != nil {
		return nil, err
	}
	if isRaw && input.GetContents() != nil {
		return nil, models.Invalid(input.GetName(), "%q has both contents and raw_input_contents.",
			models.Shorten(input.GetName()))
	}
	if !isRaw {
		if raw, err = parseContents(frame, input.GetContents()); err != nil {
			return nil, err
		}
	}
	tensor, err := frame.Tensor(raw)
	if err != nil {
		return nil, err
	}
	tensor.Parameters, err = fromGRPC(input.GetParameters())
	return tensor, err
}

// formatGRPC makes the protocol's answer; data goes in the raw contents always, as Triton sends it.
func formatGRPC(response *v1.InferResponse) *inference.ModelInferResponse {
	shown := &inference.ModelInferResponse{
		ModelName: response.GetModel(), ModelVersion: response.GetVersion(), Id: response.GetId(),
		Parameters: toGRPC(response.GetParameters()),
	}
	for _, tensor := range response.GetOutputs() {
		shown.Outputs = append(shown.Outputs, &inference.ModelInferResponse_InferOutputTensor{
			Name: tensor.GetName(), Datatype: tensor.GetDatatype(), Shape: tensor.GetShape(),
			Parameters: toGRPC(tensor.GetParameters()),
		})
		shown.RawOutputContents = append(shown.RawOutputContents, tensor.GetData())
	}
	return shown
}
