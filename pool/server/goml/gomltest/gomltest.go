// Package gomltest is what the tests of the Go models share: a real data set, and a training over a folder of its own.
package gomltest

import (
	_ "embed"
	"encoding/csv"
	"strconv"
	"strings"
	"testing"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
)

// Fisher's iris data (1936): 150 flowers, four measures in centimetres, three species. The file is scikit-learn's
// (BSD-3-Clause); its first line is a header, its last column the species' number.
//
//go:embed testdata/iris.csv
var irisFile string

// Iris gives features FP64 [150, 4] and targets INT64 [150].
func Iris(test *testing.T) (features, targets *v1.Tensor) {
	test.Helper()
	records, err := csv.NewReader(strings.NewReader(irisFile)).ReadAll()
	if err != nil {
		test.Fatal(err)
	}
	var values []float64
	var classes []int64
	for _, record := range records[1:] {
		for column, text := range record {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				test.Fatal(err)
			}
			if column < 4 {
				values = append(values, value)
			} else {
				classes = append(classes, int64(value))
			}
		}
	}
	rows := int64(len(classes))
	return goml.FromFloats("features", []int64{rows, 4}, values), goml.FromIntegers("targets", []int64{rows}, classes)
}

// Open serves an empty folder by the backends, until the test ends.
func Open(test *testing.T, backends ...goml.Backend) (provider *goml.Provider, folder string) {
	test.Helper()
	folder = test.TempDir()
	provider, err := goml.Open(folder, backends...)
	if err != nil {
		test.Fatal(err)
	}
	test.Cleanup(func() {
		if err := provider.Close(); err != nil {
			test.Error(err)
		}
	})
	return provider, folder
}

// Train trains on the iris data as the model "iris".
func Train(test *testing.T, provider *goml.Provider, backend, algorithm string, parameters map[string]*v1.Parameter) *v1.TrainModelResponse {
	test.Helper()
	features, targets := Iris(test)
	response, err := provider.Train(test.Context(), &v1.TrainModelRequest{
		Model: "iris", Backend: backend, Algorithm: algorithm,
		Tensors: []*v1.Tensor{features, targets}, Parameters: parameters,
	})
	if err != nil {
		test.Fatal(err)
	}
	return response
}

// Predict gives the classes of the rows.
func Predict(test *testing.T, provider *goml.Provider, features *v1.Tensor) []string {
	test.Helper()
	response, err := provider.Infer(test.Context(), &v1.InferRequest{
		Model: "iris", Inputs: []*v1.Tensor{features}, Outputs: []string{"predictions"},
	})
	if err != nil {
		test.Fatal(err)
	}
	labels, err := goml.Labels(response.Outputs[0])
	if err != nil {
		test.Fatal(err)
	}
	return labels
}

// Integer is a parameter.
func Integer(value int64) *v1.Parameter {
	return &v1.Parameter{Value: &v1.Parameter_Int64Value{Int64Value: value}}
}

// Double is a parameter.
func Double(value float64) *v1.Parameter {
	return &v1.Parameter{Value: &v1.Parameter_DoubleValue{DoubleValue: value}}
}
