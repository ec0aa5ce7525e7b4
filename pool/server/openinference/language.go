package openinference

import (
	"context"
	"encoding/json"
	"strings"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/openai"
	"treeline.dev/pool/tensors"
)

// languageInputs and languageOutputs are how a language model is shown, with the names of Triton's vLLM backend.
var (
	languageInputs = []*v1.TensorInfo{
		{Name: "text_input", Datatype: "BYTES", Shape: []int64{1}},
		{Name: "stream", Datatype: "BOOL", Shape: []int64{1}},
		{Name: "sampling_parameters", Datatype: "BYTES", Shape: []int64{1}},
		{Name: "exclude_input_in_output", Datatype: "BOOL", Shape: []int64{1}},
	}
	languageOutputs = []*v1.TensorInfo{{Name: "text_output", Datatype: "BYTES", Shape: []int64{-1}}}
)

// optionalInputs need not be sent.
var optionalInputs = map[string]bool{"stream": true, "sampling_parameters": true, "exclude_input_in_output": true}

// toGenerate reads a generation from the tensors and the parameters; isStream is what the input `stream` says.
func toGenerate(request *v1.InferRequest) (call *v1.GenerateRequest, isStream bool, err error) {
	if err := checkOutputs(request.GetOutputs(), "text_output"); err != nil {
		return nil, false, err
	}
	fields := valuesOf(request.GetParameters())
	var text *string
	excludesInput, saysExclude := false, false
	for _, input := range request.GetInputs() {
		switch input.GetName() {
		case "text_input":
			text, err = oneText(input)
		case "stream":
			isStream, err = oneFlag(input)
		case "exclude_input_in_output":
			saysExclude = true
			excludesInput, err = oneFlag(input)
		case "sampling_parameters":
			err = addSampling(fields, input)
		default:
			err = models.Invalid(input.GetName(), "There is no input %q.", models.Shorten(input.GetName()))
		}
		if err != nil {
			return nil, false, err
		}
	}
	if text == nil {
		return nil, false, models.Invalid("text_input", "The input text_input is missing.")
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, false, err
	}
	call, err = openai.ParseGeneration(request.GetModel(), body)
	if err != nil {
		return nil, false, err
	}
	call.Version, call.Prompt = request.GetVersion(), text
	// Triton's vLLM backend puts the prompt in front of a whole answer, and never in front of a stream.
	call.Echo = !isStream && !(saysExclude && excludesInput)
	return call, isStream, nil
}

func oneText(input *v1.Tensor) (*string, error) {
	elements, _ := tensors.Strings(input.GetData())
	if input.GetDatatype() != "BYTES" || len(elements) != 1 {
		return nil, models.Invalid(input.GetName(), "%s must be one element of BYTES.", input.GetName())
	}
	text := string(elements[0])
	return &text, nil
}

func oneFlag(input *v1.Tensor) (bool, error) {
	if input.GetDatatype() != "BOOL" || len(input.GetData()) != 1 {
		return false, models.Invalid(input.GetName(), "%s must be one element of BOOL.", input.GetName())
	}
	return input.GetData()[0] != 0, nil
}

// addSampling adds the fields of a JSON object, with vLLM's names. Some clients send its numbers as texts.
func addSampling(fields map[string]any, input *v1.Tensor) error {
	text, err := oneText(input)
	if err != nil {
		return err
	}
	var given map[string]any
	if json.Unmarshal([]byte(*text), &given) != nil {
		return models.Invalid(input.GetName(), "sampling_parameters must be a JSON object.")
	}
	for name, value := range given {
		if quoted, isText := value.(string); isText && name != "stop" {
			if number := json.Number(quoted); json.Valid([]byte(quoted)) {
				value = number
			}
		}
		fields[name] = value
	}
	return nil
}

// generateWhole answers with the whole text of each choice.
func (oip *Door) generateWhole(
	ctx context.Context, model *v1.Model, request *v1.InferRequest,
) (*v1.InferResponse, error) {
	call, _, err := toGenerate(request)
	if err != nil {
		return nil, err
	}
	texts := make([]strings.Builder, max(call.GetN(), 1))
	version := ""
	err = oip.Models.Generate(ctx, call, func(piece *v1.GenerateResponse) error {
		version = max(version, piece.GetVersion())
		if int(piece.GetIndex()) < len(texts) {
			texts[piece.GetIndex()].WriteString(piece.GetText())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var data []byte
	for index := range texts {
		data = tensors.AppendString(data, []byte(texts[index].String()))
	}
	return textResponse(model, request, orVersion(version, model), int64(len(texts)), data), nil
}

// generateStream answers with each piece as it comes.
func (oip *Door) generateStream(
	ctx context.Context, model *v1.Model, request *v1.InferRequest, send func(*v1.InferResponse) error,
) error {
	call, _, err := toGenerate(request)
	if err != nil {
		return err
	}
	call.Echo = false
	begun := oip.Now()
	err = oip.Models.Generate(ctx, call, func(piece *v1.GenerateResponse) error {
		if piece.GetText() == "" {
			return nil
		}
		return send(textResponse(model, request, model.GetVersion(), 1, tensors.AppendString(nil, []byte(piece.GetText()))))
	})
	oip.statistics.count(model.GetName(), begun, oip.Now(), err == nil)
	return err
}

func textResponse(model *v1.Model, request *v1.InferRequest, version string, count int64, data []byte) *v1.InferResponse {
	return &v1.InferResponse{
		Model: model.GetName(), Version: version, Id: request.GetId(),
		Outputs: []*v1.Tensor{{Name: "text_output", Datatype: "BYTES", Shape: []int64{count}, Data: data}},
	}
}
