package golearn

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
	"treeline.dev/pool/goml/gomltest"
)

func TestEachAlgorithmLearnsAndASecondServerPredictsTheSame(test *testing.T) {
	for algorithm, expected := range map[string]struct {
		accuracy   float64
		parameters map[string]*v1.Parameter
	}{
		"k-nearest-neighbours": {0.95, map[string]*v1.Parameter{"neighbours": gomltest.Integer(3)}},
		"decision-tree":        {0.95, nil},
	} {
		test.Run(algorithm, func(test *testing.T) {
			provider, folder := gomltest.Open(test, New())
			trained := gomltest.Train(test, provider, "golearn", algorithm, expected.parameters)
			if trained.Metrics["accuracy"] < expected.accuracy {
				test.Errorf("accuracy %v, expected %v at least", trained.Metrics["accuracy"], expected.accuracy)
			}
			features, targets := gomltest.Iris(test)
			predicted := gomltest.Predict(test, provider, features)
			labels, _ := goml.Labels(targets)
			if accuracy := goml.Accuracy(predicted, labels); accuracy < expected.accuracy {
				test.Errorf("served accuracy %v", accuracy)
			}
			second, err := goml.Open(folder, New())
			if err != nil {
				test.Fatal(err)
			}
			defer second.Close()
			if !slices.Equal(predicted, gomltest.Predict(test, second, features)) {
				test.Error("the loaded model predicts otherwise than the trained one")
			}
		})
	}
}

func TestNaiveBayesLearnsFromPresenceAndAbsence(test *testing.T) {
	provider, _ := gomltest.Open(test, New())
	// Words of a mail: offer, meeting. Two classes by name.
	features := goml.FromFloats("features", []int64{6, 2}, []float64{1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0})
	targets := goml.FromStrings("targets", []int64{6}, []string{"spam", "spam", "spam", "work", "work", "work"})
	_, err := provider.Train(test.Context(), &v1.TrainModelRequest{
		Model: "iris", Backend: "golearn", Algorithm: "naive-bayes", Tensors: []*v1.Tensor{features, targets},
	})
	if err != nil {
		test.Fatal(err)
	}
	predicted := gomltest.Predict(test, provider, goml.FromFloats("features", []int64{2, 2}, []float64{1, 0, 0, 1}))
	if !slices.Equal(predicted, []string{"spam", "work"}) {
		test.Errorf("predicted %v", predicted)
	}
}

func TestATrainingThatCannotBeIsRefusedWithItsParameter(test *testing.T) {
	provider, folder := gomltest.Open(test, New())
	features, targets := gomltest.Iris(test)
	one := goml.FromIntegers("targets", []int64{150}, make([]int64, 150))
	for name, wrong := range map[string]struct {
		request   *v1.TrainModelRequest
		parameter string
	}{
		"algorithm":  {&v1.TrainModelRequest{Algorithm: "magic", Tensors: []*v1.Tensor{features, targets}}, "algorithm"},
		"no targets": {&v1.TrainModelRequest{Algorithm: "decision-tree", Tensors: []*v1.Tensor{features}}, "targets"},
		"one class":  {&v1.TrainModelRequest{Algorithm: "decision-tree", Tensors: []*v1.Tensor{features, one}}, "targets"},
		"neighbours": {&v1.TrainModelRequest{
			Algorithm: "k-nearest-neighbours", Tensors: []*v1.Tensor{features, targets},
			Parameters: map[string]*v1.Parameter{"neighbours": gomltest.Integer(0)},
		}, "parameters.neighbours"},
		"unknown parameter": {&v1.TrainModelRequest{
			Algorithm: "decision-tree", Tensors: []*v1.Tensor{features, targets},
			Parameters: map[string]*v1.Parameter{"leaves": gomltest.Integer(3)},
		}, "parameters.leaves"},
	} {
		wrong.request.Model, wrong.request.Backend = "iris", "golearn"
		_, err := provider.Train(test.Context(), wrong.request)
		var refused *engine.Error
		if !errors.As(err, &refused) || refused.Status != enginev1.Status_STATUS_INVALID_ARGUMENT || refused.Parameter != wrong.parameter {
			test.Errorf("%s: %#v", name, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(folder, "iris")); len(left) != 0 {
		test.Errorf("refused trainings left %v", left)
	}
}

func TestADamagedFileFailsItsOwnModelAlone(test *testing.T) {
	provider, folder := gomltest.Open(test, New())
	gomltest.Train(test, provider, "golearn", "decision-tree", nil)
	path := filepath.Join(folder, "iris", "1", datasetName)
	data, err := os.ReadFile(path)
	if err != nil {
		test.Fatal(err)
	}
	data[len(data)/2] ^= 0xff
	if err := os.WriteFile(path, data, 0o644); err != nil {
		test.Fatal(err)
	}
	second, err := goml.Open(folder, New())
	if err != nil {
		test.Fatal(err)
	}
	listed, err := second.Models(test.Context())
	if err != nil || len(listed) != 1 || listed[0].State != v1.ModelState_MODEL_STATE_FAILED || listed[0].Reason == "" {
		test.Errorf("listed %v, %v", listed, err)
	}
}
