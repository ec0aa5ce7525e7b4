package openinference

import (
	"encoding/json"
	"strconv"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// headLengthHeader says how long the JSON is in front of binary data.
const headLengthHeader = "Inference-Header-Content-Length"

// restRequest is the JSON of a call.
type restRequest struct {
	ID         string       `json:"id"`
	Parameters parameters   `json:"parameters"`
	Inputs     []restInput  `json:"inputs"`
	Outputs    []restOutput `json:"outputs"`
}

type restInput struct {
	Name       string          `json:"name"`
	Shape      []int64         `json:"shape"`
	Datatype   string          `json:"datatype"`
	Parameters parameters      `json:"parameters"`
	Data       json.RawMessage `json:"data"`
}

type restOutput struct {
	Name       string     `json:"name"`
	Parameters parameters `json:"parameters"`
}

// outputForms says which outputs a client wants as binary data.
type outputForms struct {
	byName map[string]bool
	others bool
}

func (forms outputForms) isBinary(name string) bool {
	if isBinary, isNamed := forms.byName[name]; isNamed {
		return isBinary
	}
	return forms.others
}

// parseREST reads a body: JSON, and behind it binary data where the header says how long the JSON is.
func parseREST(body []byte, headLength string) (*v1.InferRequest, outputForms, error) {
	head, binary := body, []byte(nil)
	if headLength != "" {
		length, err := strconv.ParseUint(headLength, 10, 31)
		if err != nil || length > uint64(len(body)) {
			return nil, outputForms{}, models.Invalid(headLengthHeader, "%s is not a length within the body.", headLengthHeader)
		}
		head, binary = body[:length], body[length:]
	}
	var request restRequest
	if err := door.ParseJSON(head, &request); err != nil {
		return nil, outputForms{}, err
	}
	call, err := request.toPool(binary)
	if err != nil {
		return nil, outputForms{}, err
	}
	forms, err := request.forms(call)
	return call, forms, err
}

func (request *restRequest) toPool(binary []byte) (*v1.InferRequest, error) {
	if len(request.Inputs) == 0 || len(request.Inputs) > tensorsMax {
		return nil, models.Invalid("inputs", "inputs must hold 1 to %d tensors.", tensorsMax)
	}
	call := &v1.InferRequest{Id: request.ID}
	var err error
	if call.Parameters, err = request.Parameters.toPool(); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, input := range request.Inputs {
		if names[input.Name] {
			return nil, models.Invalid(input.Name, "The input %q comes twice.", models.Shorten(input.Name))
		}
		names[input.Name] = true
		var tensor *v1.Tensor
		if tensor, binary, err = input.toPool(binary); err != nil {
			return nil, err
		}
		call.Inputs = append(call.Inputs, tensor)
	}
	if len(binary) > 0 {
		return nil, models.Invalid("inputs", "%d bytes of binary data belong to no input.", len(binary))
	}
	return call, nil
}

// toPool gives the tensor, and the binary data that later inputs own.
func (input *restInput) toPool(binary []byte) (tensor *v1.Tensor, rest []byte, err error) {
	frame, err := newFrame(input.Name, input.Datatype, input.Shape)
	if err != nil {
		return nil, nil, err
	}
	size, isBinary, err := input.Parameters.size("binary_data_size")
	if err != nil {
		return nil, nil, err
	}
	var raw []byte
	switch {
	case isBinary && input.Data != nil:
		return nil, nil, models.Invalid(input.Name, "%q has both data and binary_data_size.", models.Shorten(input.Name))
	case isBinary && size > len(binary):
		return nil, nil, models.Invalid(input.Name, "The binary data of %q ends too early.", models.Shorten(input.Name))
	case isBinary:
		raw, binary = binary[:size], binary[size:]
	case input.Data == nil:
		return nil, nil, models.Invalid(input.Name, "%q has neither data nor binary_data_size.", models.Shorten(input.Name))
	default:
		if raw, err = parseData(frame, input.Data); err != nil {
			return nil, nil, err
		}
	}
	if tensor, err = frame.tensor(raw); err != nil {
		return nil, nil, err
	}
	tensor.Parameters, err = input.Parameters.toPool()
	return tensor, binary, err
}

// forms reads which outputs are wanted, into the call, and how.
func (request *restRequest) forms(call *v1.InferRequest) (outputForms, error) {
	if len(request.Outputs) > tensorsMax {
		return outputForms{}, models.Invalid("outputs", "outputs must hold at most %d tensors.", tensorsMax)
	}
	others, _, err := request.Parameters.flag("binary_data_output")
	if err != nil {
		return outputForms{}, err
	}
	forms := outputForms{byName: map[string]bool{}, others: others}
	for _, output := range request.Outputs {
		if output.Name == "" {
			return outputForms{}, models.Invalid("outputs", "Every output needs a name.")
		}
		if _, err := output.Parameters.toPool(); err != nil {
			return outputForms{}, err
		}
		isBinary, isSaid, err := output.Parameters.flag("binary_data")
		if err != nil {
			return outputForms{}, err
		}
		if isSaid {
			forms.byName[output.Name] = isBinary
		}
		call.Outputs = append(call.Outputs, output.Name)
	}
	return forms, nil
}
