// Package golearn trains and serves GoLearn's classifiers: k-nearest neighbours, Bernoulli naive Bayes, ID3 decision trees
// and random forests.
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
	modelName   = "model.golearn"
	// datasetBytesMax bounds what a damaged or foreign file can make us read.
	datasetBytesMax = 1 << 30
)

type backend struct{}

// New is the backend.
func New() goml.Backend { return backend{} }

// Name implements goml.Backend.
func (backend) Name() string { return "golearn" }

// header is what a stored model needs besides GoLearn's own file: the training data where the model consists of it,
// else only its shape and classes.
type header struct {
	goml.Dataset
	ClassNames []string `json:"class_names"`
}

// Train implements goml.Backend.
func (backend) Train(_ context.Context, request *v1.TrainModelRequest, folder string) (goml.Trained, error) {
	dataset, err := goml.ReadDataset(request.Tensors)
	if err != nil {
		return goml.Trained{}, err
	}
	chosen, err := readSettings(request.Algorithm, goml.NewParameters(request.Parameters), dataset)
	if err != nil {
		return goml.Trained{}, err
	}
	stored := header{Dataset: dataset, ClassNames: dataset.Classes()}
	if len(stored.ClassNames) < 2 {
		return goml.Trained{}, goml.Invalid("targets", "A classifier needs at least two classes.")
	}
	model, err := fit(chosen, stored)
	if err != nil {
		return goml.Trained{}, err
	}
	predictions, err := model.predict(dataset.Features)
	if err != nil {
		return goml.Trained{}, err
	}
	files := map[string]string{"dataset": datasetName}
	if trained, ok := model.classifier.(saved); ok && chosen.isSaved() {
		if err := save(trained, filepath.Join(folder, modelName)); err != nil {
			return goml.Trained{}, fmt.Errorf("golearn: %w", err)
		}
		files["model"] = modelName
		stored.Features, stored.Labels = nil, nil
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return goml.Trained{}, fmt.Errorf("golearn: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, datasetName), data, 0o644); err != nil {
		return goml.Trained{}, fmt.Errorf("golearn: %w", err)
	}
	return goml.Trained{
		Files:    files,
		Settings: chosen.asMap(),
		Metrics:  map[string]float64{"accuracy": goml.Accuracy(predictions, dataset.Labels)},
	}, nil
}

// isSaved tells that the trained classifier is stored as itself, not made again from its data.
func (settings settings) isSaved() bool {
	return settings.Algorithm == "decision-tree" || settings.Algorithm == "random-forest"
}

func (settings settings) asMap() map[string]any {
	data, _ := json.Marshal(settings)
	var values map[string]any
	_ = json.Unmarshal(data, &values)
	return values
}

func fit(chosen settings, stored header) (*model, error) {
	made, err := newModel(chosen, stored)
	if err != nil {
		return nil, err
	}
	instances, err := made.table.instances(stored.Features, stored.Labels)
	if err != nil {
		return nil, fmt.Errorf("golearn: %w", err)
	}
	if err := made.classifier.Fit(instances); err != nil {
		return nil, fmt.Errorf("golearn: %w", err)
	}
	return made, nil
}

// Load implements goml.Backend.
func (backend) Load(source goml.Source) (goml.Model, error) {
	chosen, err := settingsOf(source)
	if err != nil {
		return nil, err
	}
	stored, err := readHeader(source)
	if err != nil {
		return nil, err
	}
	if !chosen.isSaved() {
		return fit(chosen, stored)
	}
	made, err := newModel(chosen, stored)
	if err != nil {
		return nil, err
	}
	path, err := source.File("model")
	if err != nil {
		return nil, err
	}
	if err := load(made.classifier.(saved), path); err != nil {
		return nil, fmt.Errorf("the model's file cannot be read: %w", err)
	}
	return made, nil
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

func readHeader(source goml.Source) (header, error) {
	path, err := source.File("dataset")
	if err != nil {
		return header{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return header{}, err
	}
	defer file.Close()
	var stored header
	if err := json.NewDecoder(io.LimitReader(file, datasetBytesMax)).Decode(&stored); err != nil {
		return header{}, fmt.Errorf("%s cannot be read: %w", datasetName, err)
	}
	whole := stored.Columns > 0 && len(stored.ClassNames) > 1
	if stored.Features != nil {
		whole = whole && len(stored.Labels) == stored.Rows && len(stored.Features) == stored.Rows*stored.Columns
	}
	if !whole {
		return header{}, fmt.Errorf("%s does not fit together", datasetName)
	}
	return stored, nil
}

// model is a trained classifier.
type model struct {
	// GoLearn's classifiers are not made for several callers at once.
	mutex      sync.Mutex
	classifier classifier
	table      *table
	stored     header
}

func newModel(chosen settings, stored header) (*model, error) {
	made, err := chosen.newClassifier()
	if err != nil {
		return nil, err
	}
	return &model{
		classifier: made,
		table:      newTable(stored.Columns, stored.ClassNames, chosen.isBinary()),
		stored:     stored,
	}, nil
}

// Signature implements goml.Model.
func (model *model) Signature() goml.Signature {
	datatype := "BYTES"
	if model.stored.LabelsAreNumbers {
		datatype = "INT64"
	}
	return goml.Signature{
		Inputs:      []*v1.TensorInfo{{Name: "features", Datatype: "FP64", Shape: []int64{-1, int64(model.stored.Columns)}}},
		Outputs:     []*v1.TensorInfo{{Name: "predictions", Datatype: datatype, Shape: []int64{-1}}},
		MemoryBytes: uint64(8 * len(model.stored.Features)),
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
	if columns != model.stored.Columns {
		return nil, goml.Invalid("features", "The model was trained on %d columns, not %d.", model.stored.Columns, columns)
	}
	labels, err := model.predict(features)
	if err != nil {
		return nil, err
	}
	predictions, err := goml.FromLabels("predictions", labels, model.stored.LabelsAreNumbers)
	if err != nil {
		return nil, err
	}
	return []*v1.Tensor{predictions}, nil
}

func (model *model) predict(features []float64) ([]string, error) {
	model.mutex.Lock()
	defer model.mutex.Unlock()
	instances, err := model.table.instances(features, nil)
	if err != nil {
		return nil, fmt.Errorf("golearn: %w", err)
	}
	predicted, err := model.classifier.Predict(instances)
	if err != nil {
		return nil, fmt.Errorf("golearn: %w", err)
	}
	return labelsOf(predicted), nil
}

// Close implements goml.Model.
func (model *model) Close() error { return nil }
