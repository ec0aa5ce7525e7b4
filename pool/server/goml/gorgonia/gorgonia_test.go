package gorgonia

import (
	"math"
	"slices"
	"testing"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
	"treeline.dev/pool/goml/gomltest"
)

func TestANetworkLearnsTheIrisDataAndASecondServerPredictsTheSame(test *testing.T) {
	provider, folder := gomltest.Open(test, New())
	trained := gomltest.Train(test, provider, "gorgonia", "multilayer-perceptron", nil)
	if trained.Metrics["accuracy"] < 0.95 || trained.Metrics["loss"] > 0.2 {
		test.Errorf("metrics %v", trained.Metrics)
	}
	features, _ := gomltest.Iris(test)
	second, err := goml.Open(folder, New())
	if err != nil {
		test.Fatal(err)
	}
	defer second.Close()
	if !slices.Equal(gomltest.Predict(test, provider, features), gomltest.Predict(test, second, features)) {
		test.Error("the loaded network predicts otherwise than the trained one")
	}
}

func TestTheSameSeedGivesTheSameNetwork(test *testing.T) {
	parameters := map[string]*v1.Parameter{"epochs": gomltest.Integer(5), "seed": gomltest.Integer(7)}
	losses := map[float64]bool{}
	for range 2 {
		provider, _ := gomltest.Open(test, New())
		losses[gomltest.Train(test, provider, "gorgonia", "multilayer-perceptron", parameters).Metrics["loss"]] = true
	}
	if len(losses) != 1 {
		test.Errorf("losses differ: %v", losses)
	}
}

func TestProbabilitiesOfEachRowAddUpToOne(test *testing.T) {
	provider, _ := gomltest.Open(test, New())
	gomltest.Train(test, provider, "gorgonia", "multilayer-perceptron", map[string]*v1.Parameter{"epochs": gomltest.Integer(3)})
	features, _ := gomltest.Iris(test)
	response, err := provider.Infer(test.Context(), &v1.InferRequest{Model: "iris", Inputs: []*v1.Tensor{features}})
	if err != nil {
		test.Fatal(err)
	}
	probabilities, err := goml.Named(response.Outputs, "probabilities")
	if err != nil {
		test.Fatal(err)
	}
	values, _ := goml.Floats(probabilities)
	for row := 0; row < len(values); row += 3 {
		if sum := values[row] + values[row+1] + values[row+2]; math.Abs(sum-1) > 1e-9 {
			test.Fatalf("row %d adds up to %v", row/3, sum)
		}
	}
}
