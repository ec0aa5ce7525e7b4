package goml

import (
	"math"
	"slices"
	"sort"
	"strings"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Parameters reads a training's settings and complains of those that nobody read.
type Parameters struct {
	given map[string]*v1.Parameter
	read  map[string]bool
	err   error
}

// NewParameters begins to read.
func NewParameters(given map[string]*v1.Parameter) *Parameters {
	return &Parameters{given: given, read: map[string]bool{}}
}

func (parameters *Parameters) fail(name, format string, arguments ...any) {
	if parameters.err == nil {
		parameters.err = Invalid("parameters."+name, format, arguments...)
	}
}

func (parameters *Parameters) number(name string) (float64, bool) {
	parameters.read[name] = true
	switch value := parameters.given[name].GetValue().(type) {
	case nil:
		return 0, false
	case *v1.Parameter_Int64Value:
		return float64(value.Int64Value), true
	case *v1.Parameter_DoubleValue:
		return value.DoubleValue, true
	default:
		parameters.fail(name, "%s must be a number.", name)
		return 0, false
	}
}

// Integer is the parameter in [least, most], or otherwise where it is absent.
func (parameters *Parameters) Integer(name string, otherwise, least, most int) int {
	value, given := parameters.number(name)
	if !given {
		return otherwise
	}
	if value != math.Trunc(value) || value < float64(least) || value > float64(most) {
		parameters.fail(name, "%s must be a whole number from %d to %d, not %v.", name, least, most, value)
		return otherwise
	}
	return int(value)
}

// Float is the parameter in [least, most], or otherwise where it is absent.
func (parameters *Parameters) Float(name string, otherwise, least, most float64) float64 {
	value, given := parameters.number(name)
	if !given {
		return otherwise
	}
	if math.IsNaN(value) || value < least || value > most {
		parameters.fail(name, "%s must be from %v to %v, not %v.", name, least, most, value)
		return otherwise
	}
	return value
}

// Choice is the parameter, one of the words, or the first of them where it is absent.
func (parameters *Parameters) Choice(name string, words ...string) string {
	parameters.read[name] = true
	given, present := parameters.given[name]
	if !present {
		return words[0]
	}
	word := given.GetStringValue()
	if !slices.Contains(words, word) {
		parameters.fail(name, "%s must be one of %s.", name, strings.Join(words, ", "))
		return words[0]
	}
	return word
}

// Err is the first complaint: a value out of its range, or a parameter that there is not.
func (parameters *Parameters) Err() error {
	if parameters.err != nil {
		return parameters.err
	}
	var unknown []string
	for name := range parameters.given {
		if !parameters.read[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	sort.Strings(unknown)
	known := make([]string, 0, len(parameters.read))
	for name := range parameters.read {
		known = append(known, name)
	}
	sort.Strings(known)
	return Invalid("parameters."+unknown[0], "There is no parameter %s here; there are: %s.", unknown[0], strings.Join(known, ", "))
}
