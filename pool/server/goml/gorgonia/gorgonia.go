// Package gorgonia trains and serves a small network as a Gorgonia expression graph: one hidden layer with tanh, softmax
// over the classes, Adam.
//
// Input `features` [rows, columns], any numeric datatype; outputs `predictions` [rows] (INT64, or BYTES where the classes
// of the training were strings) and `probabilities` FP64 [rows, classes] in the order of the setting `classes`.
package gorgonia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
)

const (
	fileName     = "network.json"
	fileBytesMax = 256 << 20
	classesMax   = 1_000
	hiddenMax    = 4_096
	epochsMax    = 10_000
	batchMax     = 4_096
	// predictRowsMax bounds the graph of one prediction.
	predictRowsMax = 100_000
)

var (
	errDiverged = goml.Invalid("parameters.learning_rate", "The training diverged; a smaller learning_rate may help.")
	errShape    = errors.New("gorgonia gave weights of another shape")
)

type backend struct{}

// New is the backend.
func New() goml.Backend { return backend{} }

// Name implements goml.Backend.
func (backend) Name() string { return "gorgonia" }

// network is the file.
type network struct {
	Weights         *weights `json:"weights"`
	Classes         []string `json:"classes"`
	ClassesAreWhole bool     `json:"classes_are_whole_numbers"`
}

// Train implements goml.Backend.
func (backend) Train(ctx context.Context, request *v1.TrainModelRequest, folder string) (goml.Trained, error) {
	if request.Algorithm != "multilayer-perceptron" {
		return goml.Trained{}, goml.Invalid("algorithm", "Gorgonia trains multilayer-perceptron, not %q.", request.Algorithm)
	}
	dataset, err := goml.ReadDataset(request.Tensors)
	if err != nil {
		return goml.Trained{}, err
	}
	parameters := goml.NewParameters(request.Parameters)
	hidden := parameters.Integer("hidden", 16, 1, hiddenMax)
	plan := plan{
		Epochs:       parameters.Integer("epochs", 100, 1, epochsMax),
		BatchRows:    parameters.Integer("batch_rows", 16, 1, batchMax),
		LearningRate: parameters.Float("learning_rate", 0.01, 1e-6, 1),
		Seed:         uint64(parameters.Integer("seed", 0, 0, 1<<53)),
	}
	if err := parameters.Err(); err != nil {
		return goml.Trained{}, err
	}
	names := dataset.Classes()
	sort.Strings(names)
	if len(names) < 2 || len(names) > classesMax {
		return goml.Trained{}, goml.Invalid("targets", "A classifier has 2 to %d classes, not %d.", classesMax, len(names))
	}
	trained := &network{
		Weights: newWeights(dataset.Columns, hidden, len(names), plan.Seed), Classes: names,
		ClassesAreWhole: dataset.LabelsAreNumbers,
	}
	trained.Weights.standardise(dataset.Features)
	loss, err := train(ctx, trained.Weights, dataset.Features, indices(dataset.Labels, names), plan)
	if err != nil {
		return goml.Trained{}, err
	}
	_, labels, err := trained.predict(dataset.Features)
	if err != nil {
		return goml.Trained{}, err
	}
	data, err := json.Marshal(trained)
	if err != nil {
		return goml.Trained{}, err
	}
	if err := os.WriteFile(filepath.Join(folder, fileName), data, 0o644); err != nil {
		return goml.Trained{}, err
	}
	return goml.Trained{
		Files:    map[string]string{"network": fileName},
		Settings: map[string]any{"algorithm": request.Algorithm, "classes": names},
		Metrics:  map[string]float64{"loss": loss, "accuracy": goml.Accuracy(labels, dataset.Labels)},
	}, nil
}

func indices(labels, names []string) []int {
	places := map[string]int{}
	for place, name := range names {
		places[name] = place
	}
	found := make([]int, len(labels))
	for row, label := range labels {
		found[row] = places[label]
	}
	return found
}

// Load implements goml.Backend.
func (backend) Load(source goml.Source) (goml.Model, error) {
	path, err := source.File("network")
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	loaded := &network{}
	if err := json.NewDecoder(io.LimitReader(file, fileBytesMax)).Decode(loaded); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", fileName, err)
	}
	if loaded.Weights == nil || loaded.Weights.check() != nil || len(loaded.Classes) != loaded.Weights.Classes {
		return nil, fmt.Errorf("%s does not fit together", fileName)
	}
	return loaded, nil
}

// Signature implements goml.Model.
func (network *network) Signature() goml.Signature {
	datatype := "BYTES"
	if network.ClassesAreWhole {
		datatype = "INT64"
	}
	weights := network.Weights
	return goml.Signature{
		Inputs: []*v1.TensorInfo{{Name: "features", Datatype: "FP64", Shape: []int64{-1, int64(weights.Columns)}}},
		Outputs: []*v1.TensorInfo{
			{Name: "predictions", Datatype: datatype, Shape: []int64{-1}},
			{Name: "probabilities", Datatype: "FP64", Shape: []int64{-1, int64(weights.Classes)}},
		},
		MemoryBytes: uint64(8 * (len(weights.First) + len(weights.Second) + len(weights.FirstB) + len(weights.SecondB))),
	}
}

// Infer implements goml.Model. Each call has a graph of its own, over the same weights.
func (network *network) Infer(_ context.Context, inputs []*v1.Tensor) ([]*v1.Tensor, error) {
	tensor, err := goml.Named(inputs, "features")
	if err != nil {
		return nil, err
	}
	features, rows, columns, err := goml.Matrix(tensor)
	if err != nil {
		return nil, err
	}
	if columns != network.Weights.Columns {
		return nil, goml.Invalid("features", "The model was trained on %d columns, not %d.", network.Weights.Columns, columns)
	}
	if rows > predictRowsMax {
		return nil, goml.Invalid("features", "One call has at most %d rows.", predictRowsMax)
	}
	probabilities, labels, err := network.predict(features)
	if err != nil {
		return nil, err
	}
	predictions, err := goml.FromLabels("predictions", labels, network.ClassesAreWhole)
	if err != nil {
		return nil, err
	}
	shape := []int64{int64(rows), int64(network.Weights.Classes)}
	return []*v1.Tensor{predictions, goml.FromFloats("probabilities", shape, probabilities)}, nil
}

func (network *network) predict(features []float64) (probabilities []float64, labels []string, err error) {
	if probabilities, err = predict(network.Weights, features); err != nil {
		return nil, nil, err
	}
	width := network.Weights.Classes
	labels = make([]string, len(probabilities)/width)
	for row := range labels {
		best := 0
		for class := range width {
			if probabilities[row*width+class] > probabilities[row*width+best] {
				best = class
			}
		}
		labels[row] = network.Classes[best]
	}
	return probabilities, labels, nil
}

// Close implements goml.Model.
func (network *network) Close() error { return nil }
