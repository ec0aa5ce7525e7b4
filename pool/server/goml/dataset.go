package goml

import v1 "treeline.dev/pool/gen/treeline/v1"

// Dataset is what a supervised training learns from: rows of features, and a class for each row.
type Dataset struct {
	// Features are row-major.
	Features []float64 `json:"features"`
	Rows     int       `json:"rows"`
	Columns  int       `json:"columns"`
	// Labels are the rows' classes as text.
	Labels []string `json:"labels"`
	// LabelsAreNumbers tells that the classes were whole numbers.
	LabelsAreNumbers bool `json:"labels_are_numbers"`
}

// ReadDataset takes `features` [rows, columns] and `targets` [rows].
func ReadDataset(tensors []*v1.Tensor) (Dataset, error) {
	features, err := Named(tensors, "features")
	if err != nil {
		return Dataset{}, err
	}
	targets, err := Named(tensors, "targets")
	if err != nil {
		return Dataset{}, err
	}
	var dataset Dataset
	if dataset.Features, dataset.Rows, dataset.Columns, err = Matrix(features); err != nil {
		return Dataset{}, err
	}
	if dataset.Labels, err = Labels(targets); err != nil {
		return Dataset{}, err
	}
	dataset.LabelsAreNumbers = targets.Datatype != "BYTES"
	if len(dataset.Labels) != dataset.Rows {
		return Dataset{}, Invalid("targets", "There are %d rows of features and %d targets.", dataset.Rows, len(dataset.Labels))
	}
	return dataset, nil
}

// Classes are the different labels in the order of their first appearance.
func (dataset Dataset) Classes() []string {
	seen := map[string]bool{}
	var classes []string
	for _, label := range dataset.Labels {
		if !seen[label] {
			seen[label] = true
			classes = append(classes, label)
		}
	}
	return classes
}

// Accuracy is the share of predictions that equal the labels.
func Accuracy(predictions, labels []string) float64 {
	right := 0
	for index, prediction := range predictions {
		if prediction == labels[index] {
			right++
		}
	}
	return float64(right) / float64(len(labels))
}
