// Package infer answers `POST /infer` as the edge has it: one model and one input, for callers that want neither OpenAI's
// form nor tensors.
package infer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/openai"
)

// textsMax bounds the texts of one call.
const textsMax = 2048

// Door answers /infer.
type Door struct {
	Models *models.Catalogue
	Bounds door.Bounds
}

// Mount adds the route.
func (infer *Door) Mount(mux *http.ServeMux) {
	mux.HandleFunc("POST /infer", func(writer http.ResponseWriter, request *http.Request) {
		if err := infer.answer(writer, request); err != nil {
			WriteProblem(writer, request, err)
		}
	})
}

// WriteProblem answers with a failure as RFC 9457 has it: the dialect of addresses that have none of their own.
func WriteProblem(writer http.ResponseWriter, request *http.Request, err error) {
	failure := models.Describe(err)
	door.WriteFailure(writer, failure, problem{
		Type: "urn:treeline:failure:" + failure.Code, Title: strings.ReplaceAll(failure.Code, "_", " "),
		Status: failure.HTTP, Detail: failure.Message, Instance: request.URL.Path, Code: failure.Code,
		Parameter: failure.Parameter,
	})
}

type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance"`
	Code      string `json:"code"`
	Parameter string `json:"parameter,omitempty"`
}

type body struct {
	ModelID string `json:"model_id"`
	Input   struct {
		Text texts `json:"text"`
	} `json:"input"`
	// Parameters are settings of a generation, with OpenAI's and vLLM's names.
	Parameters json.RawMessage `json:"parameters"`
}

// texts are one text or several.
type texts []string

// UnmarshalJSON reads a string or an array of strings.
func (list *texts) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*list = []string{one}
		return nil
	}
	var several []string
	if json.Unmarshal(data, &several) != nil {
		return models.Invalid("input.text", "input.text must be a string or an array of strings.")
	}
	*list = several
	return nil
}

func (body *body) check() error {
	if body.ModelID == "" {
		return models.Invalid("model_id", "model_id must name a model.")
	}
	if len(body.Input.Text) == 0 || len(body.Input.Text) > textsMax {
		return models.Invalid("input.text", "input.text must hold 1 to %d texts.", textsMax)
	}
	for index, text := range body.Input.Text {
		if text == "" {
			return models.Invalid(fmt.Sprintf("input.text.%d", index), "Text %d is empty.", index)
		}
	}
	return nil
}

func (infer *Door) answer(writer http.ResponseWriter, request *http.Request) error {
	var given body
	if err := door.ReadJSON(writer, request, infer.Bounds, &given); err != nil {
		return err
	}
	if err := given.check(); err != nil {
		return err
	}
	model, err := infer.Models.Model(request.Context(), given.ModelID, "")
	if err != nil {
		return err
	}
	for _, capability := range model.GetCapabilities() {
		switch capability {
		case "embed":
			return infer.embed(writer, request, model, &given)
		case "generate":
			return infer.generate(writer, request, model, &given)
		}
	}
	return &engine.Error{
		Status: enginev1.Status_STATUS_UNSUPPORTED, Parameter: "model_id",
		Message: fmt.Sprintf("The model %q takes no text; send tensors to /v2/models.", model.GetName()),
	}
}

type embedded struct {
	ModelID string        `json:"model_id"`
	Output  vectors       `json:"output"`
	Usage   embeddedUsage `json:"usage"`
}

type vectors struct {
	Dimensions uint32      `json:"dimensions"`
	Embeddings [][]float32 `json:"embeddings"`
}

type embeddedUsage struct {
	InputTokens     uint32   `json:"input_tokens"`
	TruncatedInputs []uint32 `json:"truncated_inputs"`
}

func (infer *Door) embed(writer http.ResponseWriter, request *http.Request, model *v1.Model, given *body) error {
	answer, err := infer.Models.Embed(request.Context(), &v1.EmbedRequest{Model: given.ModelID, Texts: given.Input.Text})
	if err != nil {
		return err
	}
	rows, err := openai.Rows(answer, len(given.Input.Text))
	if err != nil {
		return err
	}
	shown := embedded{
		ModelID: model.GetName(), Output: vectors{Dimensions: answer.GetDimensions()},
		Usage: embeddedUsage{TruncatedInputs: append([]uint32{}, answer.GetTruncatedInputs()...)},
	}
	for _, row := range rows {
		shown.Output.Embeddings = append(shown.Output.Embeddings, openai.Floats(row))
	}
	for _, count := range answer.GetTokenCounts() {
		shown.Usage.InputTokens += count
	}
	door.WriteJSON(writer, http.StatusOK, shown)
	return nil
}

type generated struct {
	ModelID string         `json:"model_id"`
	Output  generatedText  `json:"output"`
	Usage   generatedUsage `json:"usage"`
}

type generatedText struct {
	Text string `json:"text"`
}

type generatedUsage struct {
	InputTokens  uint32 `json:"input_tokens"`
	OutputTokens uint32 `json:"output_tokens"`
}

// generate continues one text; the edge has no such models, so this form is ours.
func (infer *Door) generate(writer http.ResponseWriter, request *http.Request, model *v1.Model, given *body) error {
	if len(given.Input.Text) != 1 {
		return models.Invalid("input.text", "A model that generates takes one text.")
	}
	settings := given.Parameters
	if len(settings) == 0 {
		settings = []byte("{}")
	}
	call, err := openai.ParseGeneration(given.ModelID, settings)
	if err != nil {
		return err
	}
	if call.GetN() != 1 {
		return models.Invalid("parameters.n", "One choice is given here; n must be 1.")
	}
	call.Prompt = &given.Input.Text[0]
	var text strings.Builder
	var used *v1.Usage
	err = infer.Models.Generate(request.Context(), call, func(piece *v1.GenerateResponse) error {
		text.WriteString(piece.GetText())
		if piece.GetUsage() != nil {
			used = piece.GetUsage()
		}
		return nil
	})
	if err != nil {
		return err
	}
	door.WriteJSON(writer, http.StatusOK, generated{
		ModelID: model.GetName(), Output: generatedText{text.String()},
		Usage: generatedUsage{used.GetPromptTokens(), used.GetCompletionTokens()},
	})
	return nil
}
