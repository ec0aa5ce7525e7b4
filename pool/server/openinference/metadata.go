package openinference

import (
	"treeline.dev/pool/gen/inference"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// serverName is what the server calls itself.
const serverName = "treeline-pool"

// tensorsOf gives the inputs and outputs that the protocol shows of a model.
func tensorsOf(model *v1.Model) (inputs, outputs []*v1.TensorInfo) {
	switch kindOf(model) {
	case embedding:
		if len(model.GetOutputs()) > 0 {
			return embeddingInputs, model.GetOutputs()
		}
		return embeddingInputs, embeddingOutputs
	case language:
		return languageInputs, languageOutputs
	}
	return model.GetInputs(), model.GetOutputs()
}

func versionsOf(model *v1.Model) []string {
	if len(model.GetVersions()) > 0 {
		return model.GetVersions()
	}
	if model.GetVersion() != "" {
		return []string{model.GetVersion()}
	}
	return []string{}
}

func isReady(model *v1.Model) bool { return model.GetState() == v1.ModelState_MODEL_STATE_READY }

// configOf is a model's configuration, of which the pool knows what follows from its description.
func configOf(model *v1.Model) *inference.ModelConfig {
	inputs, outputs := tensorsOf(model)
	config := &inference.ModelConfig{
		Name: model.GetName(), Platform: model.GetBackend(), Backend: model.GetBackend(),
		// The shapes are whole, batch dimension included, which the protocol has for models without batches.
		MaxBatchSize:           0,
		ModelTransactionPolicy: &inference.ModelTransactionPolicy{Decoupled: kindOf(model) == language},
	}
	for _, input := range inputs {
		config.Input = append(config.Input, &inference.ModelInput{
			Name: input.GetName(), DataType: configTypes[input.GetDatatype()], Dims: input.GetShape(),
			Optional: optionalInputs[input.GetName()],
		})
	}
	for _, output := range outputs {
		config.Output = append(config.Output, &inference.ModelOutput{
			Name: output.GetName(), DataType: configTypes[output.GetDatatype()], Dims: output.GetShape(),
		})
	}
	return config
}

// stateOf is a model's state by the repository extension's words.
func stateOf(model *v1.Model) string {
	switch model.GetState() {
	case v1.ModelState_MODEL_STATE_READY:
		return "READY"
	case v1.ModelState_MODEL_STATE_LOADING:
		return "LOADING"
	case v1.ModelState_MODEL_STATE_UNLOADING:
		return "UNLOADING"
	}
	return "UNAVAILABLE"
}
