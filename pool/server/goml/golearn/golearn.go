// Package golearn trains and serves GoLearn's classifiers: k-nearest neighbours, Bernoulli naive Bayes (features present
// or absent) and CART decision trees.
//
// Input `features` [rows, columns], any numeric datatype; output `predictions` [rows], INT64 where the classes of the
// training were numbers, else BYTES.
package golearn

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
)

const (
	datasetName = "dataset.json"
	// datasetBytesMax bounds what a damaged or foreign file can make us read.
	datasetBytesMax = 1 << 30
)

type backend struct{}

// New is the backend.
func New() goml.Backend { return backend{} }

// Name implements goml.Backend.
func (backend) Name() string { return "golearn" }

// Train implements goml.Backend. What is stored is the data: k-nearest neighbours and naive Bayes consist of it, and a tree
// is made again from it, always the same. (GoLearn's own files of trees do not load as they were saved, and its random
// forest gets 0.66 of the iris data right, so there is none here: smartcore and linfa have forests.)
func (backend) Train(_ context.Context, request *v1.TrainModelRequest, folder string) (goml.Trained, error) {
	dataset, err := goml.ReadDataset(request.Tensors)
	if err != nil {
		return goml.Trained{}, err
	}
	chosen, err := readSettings(request.Algorithm, goml.NewParameters(request.Parameters), dataset)
	if err != nil {
		return goml.Trained{}, err
	}
	if len(dataset.Classes()) < 2 {
		return goml.Trained{}, goml.Invalid("targets", "A classifier needs at least two classes.")
	}
	model, err := fit(chosen, dataset)
	if err != nil {
		return goml.Trained{}, err
	}
	predictions, err := model.predict(dataset.Features)
	if err != nil {
		return goml.Trained{}, err
	}
	data, err := json.Marshal(dataset)
	if err != nil {
		return goml.Trained{}, fmt.Errorf("golearn: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, datasetName), data, 0o644); err != nil {
		return goml.Trained{}, fmt.Errorf("golearn: %w", err)
	}
	settings, err := asMap(chosen)
	return goml.Trained{
		Files:    map[string]string{"dataset": datasetName},
		Settings: settings,
		Metrics:  map[string]float64{"accuracy": goml.Accuracy(predictions, dataset.Labels)},
	}, err
}

func asMap(chosen settings) (values map[string]any, err error) {
	data, err := json.Marshal(chosen)
	if err != nil {
		return nil, err
	}
	return values, json.Unmarshal(data, &values)
}

func fit(chosen settings, dataset goml.Dataset) (*model, error) {
	trained, err := chosen.fit(dataset)
	if err != nil {
		return nil, fmt.Errorf("golearn: %w", err)
	}
	return &model{
		classifier: trained, columns: dataset.Columns, labelsAreNumbers: dataset.LabelsAreNumbers,
		memoryBytes: uint64(8 * len(dataset.Features)),
	}, nil
}

// Load implements goml.Backend.
func (backend) Load(source goml.Source) (goml.Model, error) {
	chosen, err := settingsOf(source)
	if err != nil {
		return nil, err
	}
	dataset, err := readDataset(source)
	if err != nil {
		return nil, err
	}
	return fit(chosen, dataset)
}

func settingsOf(source goml.Source) (settings, error) {
	data, err := json.Marshal(source.Settings)
	if err != nil {
		return settings{}, err
	}
	var read settings
	if err := json.Unmarshal(data, &read); err != nil {
		return settings{}, fmt.Errorf("version.json has unusable settings: %w", err)
	}
	return read, nil
}

func readDataset(source goml.Source) (goml.Dataset, error) {
	path, err := source.File("dataset")
	if err != nil {
		return goml.Dataset{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return goml.Dataset{}, err
	}
	defer file.Close()
	var stored goml.Dataset
	if err := json.NewDecoder(io.LimitReader(file, datasetBytesMax)).Decode(&stored); err != nil {
		return goml.Dataset{}, fmt.Errorf("%s cannot be read: %w", datasetName, err)
	}
	whole := stored.Columns > 0 && stored.Rows > 0 && len(stored.Labels) == stored.Rows &&
		len(stored.Features)/stored.Columns == stored.Rows && len(stored.Features)%stored.Columns == 0
	if !whole {
		return goml.Dataset{}, fmt.Errorf("%s does not fit together", datasetName)
	}
	return stored, nil
}

// model is a trained classifier.
type model struct {
	// GoLearn's classifiers are not made for several callers at once.
	mutex            sync.Mutex
	classifier       classifier
	columns          int
	labelsAreNumbers bool
	memoryBytes      uint64
}

// Signature implements goml.Model.
func (model *model) Signature() goml.Signature {
	datatype := "BYTES"
	if model.labelsAreNumbers {
		datatype = "INT64"
	}
	return goml.Signature{
		Inputs:      []*v1.TensorInfo{{Name: "features", Datatype: "FP64", Shape: []int64{-1, int64(model.columns)}}},
		Outputs:     []*v1.TensorInfo{{Name: "predictions", Datatype: datatype, Shape: []int64{-1}}},
		MemoryBytes: model.memoryBytes,
	}
}

// Infer implements goml.Model.
func (model *model) Infer(_ context.Context, inputs []*v1.Tensor) ([]*v1.Tensor, error) {
	tensor, err := goml.Named(inputs, "features")
	if err != nil {
		return nil, err
	}
	features, _, columns, err := goml.Matrix(tensor)
	if err != nil {
		return nil, err
	}
	if columns != model.columns {
		return nil, goml.Invalid("features", "The model was trained on %d columns, not %d.", model.columns, columns)
	}
	labels, err := model.predict(features)
	if err != nil {
		return nil, err
	}
	predictions, err := goml.FromLabels("predictions", labels, model.labelsAreNumbers)
	if err != nil {
		return nil, err
	}
	return []*v1.Tensor{predictions}, nil
}

func (model *model) predict(features []float64) ([]string, error) {
	model.mutex.Lock()
	defer model.mutex.Unlock()
	labels, err := model.classifier.predict(features)
	if err != nil {
		return nil, fmt.Errorf("golearn: %w", err)
	}
	return labels, nil
}

// Close implements goml.Model.
func (model *model) Close() error { return nil }
