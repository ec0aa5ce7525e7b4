package openinference

import (
	"context"
	"encoding/binary"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/tensors"
)

// embeddingInputs and embeddingOutputs are how an embedding model is shown: either `text`, or `input_ids` with or without
// `attention_mask`.
var (
	embeddingInputs = []*v1.TensorInfo{
		{Name: "text", Datatype: "BYTES", Shape: []int64{-1}},
		{Name: "input_ids", Datatype: "INT64", Shape: []int64{-1, -1}},
		{Name: "attention_mask", Datatype: "INT64", Shape: []int64{-1, -1}},
	}
	embeddingOutputs = []*v1.TensorInfo{{Name: "embedding", Datatype: "FP32", Shape: []int64{-1, -1}}}
)

// embed answers tensors by an embedding model.
func (oip *Door) embed(ctx context.Context, model *v1.Model, request *v1.InferRequest) (*v1.InferResponse, error) {
	if err := checkOutputs(request.GetOutputs(), "embedding"); err != nil {
		return nil, err
	}
	call := &v1.EmbedRequest{Model: request.GetModel(), Version: request.GetVersion()}
	if err := fillEmbed(call, request.GetInputs()); err != nil {
		return nil, err
	}
	answer, err := oip.Models.Embed(ctx, call)
	if err != nil {
		return nil, err
	}
	rows := int64(len(call.GetTexts()) + len(call.GetTokens()))
	return &v1.InferResponse{
		Model: model.GetName(), Version: orVersion(answer.GetVersion(), model), Id: request.GetId(),
		Outputs: []*v1.Tensor{{
			Name: "embedding", Datatype: "FP32", Shape: []int64{rows, int64(answer.GetDimensions())},
			Data: answer.GetVectors(),
		}},
	}, nil
}

func orVersion(version string, model *v1.Model) string {
	if version == "" {
		return model.GetVersion()
	}
	return version
}

func checkOutputs(wanted []string, known string) error {
	for _, name := range wanted {
		if name != known {
			return models.Invalid("outputs", "There is no output %q; there is %q.", models.Shorten(name), known)
		}
	}
	return nil
}

// fillEmbed reads texts or token ids from the tensors.
func fillEmbed(call *v1.EmbedRequest, inputs []*v1.Tensor) error {
	byName := map[string]*v1.Tensor{}
	for _, input := range inputs {
		switch input.GetName() {
		case "text", "input_ids", "attention_mask":
			byName[input.GetName()] = input
		default:
			return models.Invalid(input.GetName(), "There is no input %q; there are text, input_ids and attention_mask.",
				models.Shorten(input.GetName()))
		}
	}
	text, ids := byName["text"], byName["input_ids"]
	switch {
	case text != nil && len(byName) == 1:
		return fillTexts(call, text)
	case text == nil && ids != nil:
		return fillTokens(call, ids, byName["attention_mask"])
	}
	return models.Invalid("inputs", "Send either text, or input_ids with or without attention_mask.")
}

func fillTexts(call *v1.EmbedRequest, text *v1.Tensor) error {
	if text.GetDatatype() != "BYTES" {
		return models.Invalid("text", "text must be BYTES.")
	}
	elements, _ := tensors.Strings(text.GetData())
	for _, element := range elements {
		if len(element) == 0 {
			return models.Invalid("text", "A text is empty.")
		}
		call.Texts = append(call.Texts, string(element))
	}
	if len(call.Texts) == 0 {
		return models.Invalid("text", "text holds no text.")
	}
	return nil
}

// fillTokens reads one row an input; where there is a mask, a token counts only where it is not 0.
func fillTokens(call *v1.EmbedRequest, ids, mask *v1.Tensor) error {
	values, err := integersOf(ids)
	if err != nil {
		return err
	}
	if len(ids.GetShape()) != 2 || ids.GetShape()[0] == 0 || ids.GetShape()[1] == 0 {
		return models.Invalid("input_ids", "input_ids must have the shape [inputs, tokens], neither of them 0.")
	}
	counts := make([]int64, len(values))
	for index := range counts {
		counts[index] = 1
	}
	if mask != nil {
		if counts, err = integersOf(mask); err != nil {
			return err
		}
		if len(counts) != len(values) {
			return models.Invalid("attention_mask", "attention_mask must have the shape of input_ids.")
		}
	}
	columns := int(ids.GetShape()[1])
	for start := 0; start < len(values); start += columns {
		sequence := &v1.TokenIds{}
		for index := start; index < start+columns; index++ {
			if counts[index] == 0 {
				continue
			}
			if values[index] < 0 || values[index] > 1<<31-1 {
				return models.Invalid("input_ids", "input_ids holds a number that is no token's id.")
			}
			sequence.Ids = append(sequence.Ids, uint32(values[index]))
		}
		if len(sequence.Ids) == 0 {
			return models.Invalid("input_ids", "A row of input_ids is empty.")
		}
		call.Tokens = append(call.Tokens, sequence)
	}
	return nil
}

func integersOf(tensor *v1.Tensor) ([]int64, error) {
	data := tensor.GetData()
	var values []int64
	switch tensor.GetDatatype() {
	case "INT64":
		for ; len(data) >= 8; data = data[8:] {
			values = append(values, int64(binary.LittleEndian.Uint64(data)))
		}
	case "INT32":
		for ; len(data) >= 4; data = data[4:] {
			values = append(values, int64(int32(binary.LittleEndian.Uint32(data))))
		}
	default:
		return nil, models.Invalid(tensor.GetName(), "%s must be INT64 or INT32.", tensor.GetName())
	}
	return values, nil
}
