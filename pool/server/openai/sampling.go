package openai

import (
	"encoding/json"
	"strconv"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// generation are the fields that chat and text completions share.
type generation struct {
	Model             string             `json:"model"`
	Temperature       *float32           `json:"temperature"`
	TopP              *float32           `json:"top_p"`
	TopK              *int64             `json:"top_k"`
	MinP              *float32           `json:"min_p"`
	PresencePenalty   *float32           `json:"presence_penalty"`
	FrequencyPenalty  *float32           `json:"frequency_penalty"`
	RepetitionPenalty *float32           `json:"repetition_penalty"`
	Seed              *int64             `json:"seed"`
	LogitBias         map[string]float32 `json:"logit_bias"`
	Stop              stops              `json:"stop"`
	N                 *int64             `json:"n"`
	MaxTokens         *int64             `json:"max_tokens"`
	IgnoreEOS         bool               `json:"ignore_eos"`
	CacheSalt         string             `json:"cache_salt"`
	Stream            bool               `json:"stream"`
	StreamOptions     *streamOptions     `json:"stream_options"`
	ResponseFormat    *responseFormat    `json:"response_format"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type responseFormat struct {
	Type       string `json:"type"`
	JSONSchema *struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

// stops are one stop sequence or several.
type stops []string

// UnmarshalJSON reads a string, an array of strings, or null.
func (stops *stops) UnmarshalJSON(data []byte) error {
	var one *string
	if json.Unmarshal(data, &one) == nil {
		if one != nil {
			*stops = []string{*one}
		}
		return nil
	}
	var several []string
	if json.Unmarshal(data, &several) != nil {
		return models.Invalid("stop", "stop must be a string or an array of strings.")
	}
	*stops = several
	return nil
}

// toRequest makes the pool's request of the shared fields, each within its range.
func (fields *generation) toRequest() (*v1.GenerateRequest, error) {
	if fields.Model == "" {
		return nil, models.Invalid("model", "model must name a model.")
	}
	sampling, err := fields.toSampling()
	if err != nil {
		return nil, err
	}
	if err := checkStops(fields.Stop); err != nil {
		return nil, err
	}
	n, err := whole("n", fields.N, 1, choicesMax, 1)
	if err != nil {
		return nil, err
	}
	schema, err := fields.ResponseFormat.toSchema()
	if err != nil {
		return nil, err
	}
	request := &v1.GenerateRequest{
		Model: fields.Model, Sampling: sampling, Stop: fields.Stop, N: uint32(n), JsonSchema: schema,
		IgnoreEos: fields.IgnoreEOS, CacheSalt: fields.CacheSalt,
	}
	return request, nil
}

func (fields *generation) toSampling() (*v1.Sampling, error) {
	for _, field := range []struct {
		name      string
		value     *float32
		low, high float32
	}{
		{"temperature", fields.Temperature, 0, 2},
		{"top_p", fields.TopP, 0, 1},
		{"min_p", fields.MinP, 0, 1},
		{"presence_penalty", fields.PresencePenalty, -2, 2},
		{"frequency_penalty", fields.FrequencyPenalty, -2, 2},
		{"repetition_penalty", fields.RepetitionPenalty, 0, 2},
	} {
		if field.value != nil && !(*field.value >= field.low && *field.value <= field.high) {
			return nil, models.Invalid(field.name, "%s must be from %g to %g.", field.name, field.low, field.high)
		}
	}
	if fields.TopP != nil && *fields.TopP == 0 {
		return nil, models.Invalid("top_p", "top_p must be over 0.")
	}
	if fields.RepetitionPenalty != nil && *fields.RepetitionPenalty == 0 {
		return nil, models.Invalid("repetition_penalty", "repetition_penalty must be over 0.")
	}
	sampling := &v1.Sampling{
		Temperature: fields.Temperature, TopP: fields.TopP, MinP: fields.MinP, PresencePenalty: fields.PresencePenalty,
		FrequencyPenalty: fields.FrequencyPenalty, RepetitionPenalty: fields.RepetitionPenalty,
	}
	if fields.TopK != nil {
		// vLLM's -1 is our 0: off.
		topK, err := whole("top_k", fields.TopK, -1, 1<<31-1, 0)
		if err != nil {
			return nil, err
		}
		limit := uint32(max(topK, 0))
		sampling.TopK = &limit
	}
	if fields.Seed != nil {
		seed := uint64(*fields.Seed)
		sampling.Seed = &seed
	}
	var err error
	sampling.LogitBias, err = toLogitBias(fields.LogitBias)
	return sampling, err
}

func toLogitBias(biases map[string]float32) (map[uint32]float32, error) {
	if len(biases) == 0 {
		return nil, nil
	}
	if len(biases) > logitBiasMax {
		return nil, models.Invalid("logit_bias", "logit_bias must name at most %d tokens.", logitBiasMax)
	}
	byToken := make(map[uint32]float32, len(biases))
	for text, bias := range biases {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, models.Invalid("logit_bias", "logit_bias must map token ids to numbers; %q is no id.",
				models.Shorten(text))
		}
		if !(bias >= -100 && bias <= 100) {
			return nil, models.Invalid("logit_bias", "The values of logit_bias must be from -100 to 100.")
		}
		byToken[uint32(id)] = bias
	}
	return byToken, nil
}

func checkStops(sequences []string) error {
	if len(sequences) > stopsMax {
		return models.Invalid("stop", "stop must hold at most %d sequences.", stopsMax)
	}
	for _, sequence := range sequences {
		if sequence == "" || len(sequence) > stopBytesMax {
			return models.Invalid("stop", "A stop sequence must have 1 to %d bytes.", stopBytesMax)
		}
	}
	return nil
}

// toSchema gives the JSON Schema of a format; empty: free text. OpenAI's json_object is any object.
func (format *responseFormat) toSchema() (string, error) {
	if format == nil {
		return "", nil
	}
	switch format.Type {
	case "text":
		return "", nil
	case "json_object":
		return `{"type":"object"}`, nil
	case "json_schema":
		if format.JSONSchema == nil || len(format.JSONSchema.Schema) == 0 {
			return "", models.Invalid("response_format.json_schema.schema", "response_format needs json_schema.schema.")
		}
		return string(format.JSONSchema.Schema), nil
	}
	return "", models.Invalid("response_format.type",
		"response_format.type must be text, json_object or json_schema, not %q.", models.Shorten(format.Type))
}

// whole gives an integer field within its bounds, or `absent`.
func whole(name string, value *int64, low, high, absent int64) (int64, error) {
	if value == nil {
		return absent, nil
	}
	if *value < low || *value > high {
		return 0, models.Invalid(name, "%s must be a whole number from %d to %d.", name, low, high)
	}
	return *value, nil
}

// tokensMax bounds `max_tokens`: more than any context, and within the contract's 32 bits.
const tokensMax = 1<<31 - 1

// limitOf gives a limit of tokens by name; absent: null.
func limitOf(name string, value *int64) (*uint32, error) {
	if value == nil {
		return nil, nil
	}
	count, err := whole(name, value, 1, tokensMax, 1)
	limit := uint32(count)
	return &limit, err
}

// ParseGeneration reads the fields that chat and text completions share from a JSON object, for doors that take the same
// settings by the same names. The prompt is the caller's to add.
func ParseGeneration(model string, object []byte) (*v1.GenerateRequest, error) {
	var fields generation
	if err := door.ParseJSON(object, &fields); err != nil {
		return nil, err
	}
	fields.Model = model
	request, err := fields.toRequest()
	if err != nil {
		return nil, err
	}
	request.MaxTokens, err = limitOf("max_tokens", fields.MaxTokens)
	return request, err
}
