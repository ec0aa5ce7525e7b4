package openinference

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/tensors"
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

// readREST reads a call, its tensors into memory.
func (oip *Door) readREST(
	writer http.ResponseWriter, request *http.Request, into *memory,
) (*v1.InferRequest, outputForms, error) {
	body, err := door.OpenBody(writer, request, oip.Bounds)
	if err != nil {
		return nil, outputForms{}, err
	}
	defer body.Close()
	call, forms, err := parseREST(body, request.Header.Get(headLengthHeader), into)
	if err != nil {
		body.Drain()
	}
	return call, forms, err
}

// parseREST reads a body: JSON, and behind it binary data where the header says how long the JSON is.
func parseREST(body *door.Body, headLength string, into *memory) (*v1.InferRequest, outputForms, error) {
	head, err := readHead(body, headLength)
	if err != nil {
		return nil, outputForms{}, err
	}
	var request restRequest
	if err := door.ParseJSON(head, &request); err != nil {
		return nil, outputForms{}, err
	}
	call, err := request.toPool(body, into)
	if err != nil {
		return nil, outputForms{}, err
	}
	forms, err := request.forms(call)
	return call, forms, err
}

// readHead reads the JSON: the whole body, or as much of it as the header says.
func readHead(body *door.Body, headLength string) ([]byte, error) {
	if headLength == "" {
		return body.ReadAll()
	}
	outside := models.Invalid(headLengthHeader, "%s is not a length within the body.", headLengthHeader)
	length, err := strconv.ParseUint(headLength, 10, 31)
	if err != nil {
		return nil, outside
	}
	head, err := body.ReadNext(int(length))
	if errors.Is(err, io.EOF) {
		return nil, outside
	}
	return head, err
}

func (request *restRequest) toPool(body *door.Body, into *memory) (*v1.InferRequest, error) {
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
		tensor, err := input.toPool(body, into)
		if err != nil {
			return nil, err
		}
		call.Inputs = append(call.Inputs, tensor)
	}
	if left, err := io.CopyN(io.Discard, body, 1); left > 0 {
		return nil, models.Invalid("inputs", "There is binary data that belongs to no input.")
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return call, nil
}

// toPool gives the tensor; its binary data is what comes next of the body.
func (input *restInput) toPool(body *door.Body, into *memory) (*v1.Tensor, error) {
	frame, err := tensors.NewFrame(input.Name, input.Datatype, input.Shape)
	if err != nil {
		return nil, err
	}
	size, isBinary, err := input.Parameters.size("binary_data_size")
	if err != nil {
		return nil, err
	}
	var raw []byte
	switch {
	case isBinary && input.Data != nil:
		return nil, models.Invalid(input.Name, "%q has both data and binary_data_size.", models.Shorten(input.Name))
	case isBinary:
		raw, err = readBinary(frame, size, body, into)
	case input.Data == nil:
		return nil, models.Invalid(input.Name, "%q has neither data nor binary_data_size.", models.Shorten(input.Name))
	default:
		raw, err = parseData(frame, input.Data, into)
	}
	if err != nil {
		return nil, err
	}
	tensor, err := frame.Tensor(raw)
	if err != nil {
		return nil, err
	}
	tensor.Parameters, err = input.Parameters.toPool()
	return tensor, err
}

// readBinary reads the size bytes of a tensor.
func readBinary(frame tensors.Frame, size int, body *door.Body, into *memory) ([]byte, error) {
	// Before memory is taken for what cannot be the tensor's.
	if err := frame.CheckSize(size); err != nil {
		return nil, err
	}
	raw, err := into.read(body, size)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, models.Invalid(frame.Name, "The binary data of %q ends too early.", models.Shorten(frame.Name))
	}
	return raw, err
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
