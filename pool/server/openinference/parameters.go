package openinference

import (
	"encoding/json"
	"strconv"
	"strings"

	"treeline.dev/pool/gen/inference"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// parameters are those of a request, a tensor or an output, as JSON has them.
type parameters map[string]json.RawMessage

// flag reads a parameter that is true or false.
func (given parameters) flag(name string) (value, isThere bool, err error) {
	raw, isThere := given[name]
	if !isThere {
		return false, false, nil
	}
	if json.Unmarshal(raw, &value) != nil {
		return false, true, models.Invalid(name, "%s must be true or false.", name)
	}
	return value, true, nil
}

// size reads a parameter that counts bytes.
func (given parameters) size(name string) (value int, isThere bool, err error) {
	raw, isThere := given[name]
	if !isThere {
		return 0, false, nil
	}
	if json.Unmarshal(raw, &value) != nil || value < 0 {
		return 0, true, models.Invalid(name, "%s must be a number of bytes.", name)
	}
	return value, true, nil
}

// refuseUnsupported names what Triton's clients may ask for and the pool does not do.
func refuseUnsupported(name string) error {
	if strings.HasPrefix(name, "shared_memory_") || name == "classification" {
		return models.Invalid(name, "The parameter %s is not supported.", name)
	}
	return nil
}

// isDoors tells the parameters that mean something to this door, and nothing to a model.
func isDoors(name string) bool {
	switch name {
	case "binary_data", "binary_data_size", "binary_data_output", "triton_enable_empty_final_response":
		return true
	}
	return false
}

// toPool converts parameters of JSON for the model.
func (given parameters) toPool() (map[string]*v1.Parameter, error) {
	converted := map[string]*v1.Parameter{}
	for name, raw := range given {
		if err := refuseUnsupported(name); err != nil {
			return nil, err
		}
		if isDoors(name) {
			continue
		}
		value, ok := parameterOf(raw)
		if !ok {
			return nil, models.Invalid(name, "The parameter %s must be a string, a number, true or false.",
				models.Shorten(name))
		}
		converted[name] = value
	}
	return converted, nil
}

func parameterOf(raw json.RawMessage) (*v1.Parameter, bool) {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil, false
	}
	switch value := value.(type) {
	case bool:
		return &v1.Parameter{Value: &v1.Parameter_BoolValue{BoolValue: value}}, true
	case string:
		return &v1.Parameter{Value: &v1.Parameter_StringValue{StringValue: value}}, true
	case float64:
		if whole, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return &v1.Parameter{Value: &v1.Parameter_Int64Value{Int64Value: whole}}, true
		}
		return &v1.Parameter{Value: &v1.Parameter_DoubleValue{DoubleValue: value}}, true
	}
	return nil, false
}

// valueOf is a model's parameter as JSON has it.
func valueOf(parameter *v1.Parameter) any {
	switch value := parameter.GetValue().(type) {
	case *v1.Parameter_BoolValue:
		return value.BoolValue
	case *v1.Parameter_Int64Value:
		return value.Int64Value
	case *v1.Parameter_DoubleValue:
		return value.DoubleValue
	case *v1.Parameter_StringValue:
		return value.StringValue
	}
	return nil
}

func valuesOf(given map[string]*v1.Parameter) map[string]any {
	values := map[string]any{}
	for name, parameter := range given {
		values[name] = valueOf(parameter)
	}
	return values
}

// fromGRPC converts the protocol's parameters for the model.
func fromGRPC(given map[string]*inference.InferParameter) (map[string]*v1.Parameter, error) {
	converted := map[string]*v1.Parameter{}
	for name, parameter := range given {
		if err := refuseUnsupported(name); err != nil {
			return nil, err
		}
		if isDoors(name) {
			continue
		}
		switch value := parameter.GetParameterChoice().(type) {
		case *inference.InferParameter_BoolParam:
			converted[name] = &v1.Parameter{Value: &v1.Parameter_BoolValue{BoolValue: value.BoolParam}}
		case *inference.InferParameter_Int64Param:
			converted[name] = &v1.Parameter{Value: &v1.Parameter_Int64Value{Int64Value: value.Int64Param}}
		case *inference.InferParameter_Uint64Param:
			if value.Uint64Param > 1<<63-1 {
				return nil, models.Invalid(name, "The parameter %s is too large.", models.Shorten(name))
			}
			converted[name] = &v1.Parameter{Value: &v1.Parameter_Int64Value{Int64Value: int64(value.Uint64Param)}}
		case *inference.InferParameter_DoubleParam:
			converted[name] = &v1.Parameter{Value: &v1.Parameter_DoubleValue{DoubleValue: value.DoubleParam}}
		case *inference.InferParameter_StringParam:
			converted[name] = &v1.Parameter{Value: &v1.Parameter_StringValue{StringValue: value.StringParam}}
		}
	}
	return converted, nil
}

// toGRPC converts a model's parameters for the protocol.
func toGRPC(given map[string]*v1.Parameter) map[string]*inference.InferParameter {
	if len(given) == 0 {
		return nil
	}
	converted := map[string]*inference.InferParameter{}
	for name, parameter := range given {
		shown := &inference.InferParameter{}
		switch value := parameter.GetValue().(type) {
		case *v1.Parameter_BoolValue:
			shown.ParameterChoice = &inference.InferParameter_BoolParam{BoolParam: value.BoolValue}
		case *v1.Parameter_Int64Value:
			shown.ParameterChoice = &inference.InferParameter_Int64Param{Int64Param: value.Int64Value}
		case *v1.Parameter_DoubleValue:
			shown.ParameterChoice = &inference.InferParameter_DoubleParam{DoubleParam: value.DoubleValue}
		case *v1.Parameter_StringValue:
			shown.ParameterChoice = &inference.InferParameter_StringParam{StringParam: value.StringValue}
		}
		converted[name] = shown
	}
	return converted
}
