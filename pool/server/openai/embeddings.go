package openai

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// embeddingRequest is the body of /v1/embeddings.
type embeddingRequest struct {
	Model          string          `json:"model"`
	Input          embeddingInputs `json:"input"`
	Dimensions     *int64          `json:"dimensions"`
	EncodingFormat string          `json:"encoding_format"`
}

type embeddingInputs struct{ inputs }

// UnmarshalJSON reads what may be embedded.
func (list *embeddingInputs) UnmarshalJSON(data []byte) (err error) {
	list.inputs, err = parseInputs("input", data)
	return err
}

type embeddingList struct {
	Object string         `json:"object"`
	Data   []embedding    `json:"data"`
	Model  string         `json:"model"`
	Usage  embeddingUsage `json:"usage"`
}

type embedding struct {
	Object string `json:"object"`
	Index  int    `json:"index"`
	// Embedding is a list of numbers, or base64 of little-endian float32.
	Embedding any `json:"embedding"`
}

type embeddingUsage struct {
	PromptTokens uint32 `json:"prompt_tokens"`
	TotalTokens  uint32 `json:"total_tokens"`
	// TruncatedInputs are those of which only the beginning was read; not OpenAI's, and left out where there are none.
	TruncatedInputs []uint32 `json:"truncated_inputs,omitempty"`
}

// dimensionsMax bounds `dimensions`.
const dimensionsMax = 1 << 16

func (body *embeddingRequest) toRequest() (*v1.EmbedRequest, error) {
	if body.Model == "" {
		return nil, models.Invalid("model", "model must name a model.")
	}
	if count := body.Input.count(); count == 0 || count > inputsMax {
		return nil, models.Invalid("input", "input must hold 1 to %d inputs.", inputsMax)
	}
	for index, text := range body.Input.texts {
		if text == "" {
			return nil, models.Invalid(fmt.Sprintf("input.%d", index), "Input %d is empty.", index)
		}
	}
	switch body.EncodingFormat {
	case "", "float", "base64":
	default:
		return nil, models.Invalid("encoding_format", "encoding_format must be float or base64.")
	}
	dimensions, err := whole("dimensions", body.Dimensions, 1, dimensionsMax, 0)
	if err != nil {
		return nil, err
	}
	request := &v1.EmbedRequest{Model: body.Model, Texts: body.Input.texts, Dimensions: uint32(dimensions)}
	for _, sequence := range body.Input.tokens {
		request.Tokens = append(request.Tokens, &v1.TokenIds{Ids: sequence})
	}
	return request, nil
}

func (openai *Door) embeddings(writer http.ResponseWriter, request *http.Request) error {
	var body embeddingRequest
	if err := openai.read(writer, request, &body); err != nil {
		return err
	}
	call, err := body.toRequest()
	if err != nil {
		return err
	}
	answer, err := openai.Models.Embed(request.Context(), call)
	if err != nil {
		return err
	}
	rows, err := Rows(answer, body.Input.count())
	if err != nil {
		return err
	}
	list := embeddingList{Object: "list", Model: body.Model, Usage: embeddingUsageOf(answer)}
	for index, row := range rows {
		entry := embedding{Object: "embedding", Index: index}
		if body.EncodingFormat == "base64" {
			entry.Embedding = base64.StdEncoding.EncodeToString(row)
		} else {
			entry.Embedding = Floats(row)
		}
		list.Data = append(list.Data, entry)
	}
	door.WriteJSON(writer, http.StatusOK, list)
	return nil
}

func embeddingUsageOf(answer *v1.EmbedResponse) embeddingUsage {
	var tokens uint32
	for _, count := range answer.GetTokenCounts() {
		tokens += count
	}
	return embeddingUsage{PromptTokens: tokens, TotalTokens: tokens, TruncatedInputs: answer.GetTruncatedInputs()}
}

// Rows cuts the vectors into one row an input.
func Rows(answer *v1.EmbedResponse, count int) ([][]byte, error) {
	width := int(answer.GetDimensions()) * 4
	if width == 0 || len(answer.GetVectors()) != width*count {
		return nil, &engine.Error{
			Status: enginev1.Status_STATUS_INTERNAL, Message: "The model gave another number of vectors than was asked for.",
		}
	}
	rows := make([][]byte, count)
	for index := range rows {
		rows[index] = answer.GetVectors()[index*width : (index+1)*width]
	}
	return rows, nil
}

// Floats reads little-endian float32.
func Floats(row []byte) []float32 {
	values := make([]float32, len(row)/4)
	for index := range values {
		values[index] = math.Float32frombits(binary.LittleEndian.Uint32(row[index*4:]))
	}
	return values
}
