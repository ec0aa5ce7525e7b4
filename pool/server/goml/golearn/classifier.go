package golearn

import (
	"fmt"

	"github.com/sjwhitworth/golearn/base"
	"github.com/sjwhitworth/golearn/knn"
	"github.com/sjwhitworth/golearn/naive"
	"github.com/sjwhitworth/golearn/trees"

	"treeline.dev/pool/goml"
)

// Bounds of the settings.
const (
	neighboursMax = 1_000
	depthMax      = 64
	depthDefault  = 10
)

// settings are what a training was asked for; they lie in version.json.
type settings struct {
	Algorithm  string `json:"algorithm"`
	Neighbours int    `json:"neighbours,omitempty"`
	Distance   string `json:"distance,omitempty"`
	Criterion  string `json:"criterion,omitempty"`
	Depth      int    `json:"depth,omitempty"`
}

// readSettings checks a training's parameters against the data.
func readSettings(algorithm string, parameters *goml.Parameters, dataset goml.Dataset) (settings, error) {
	read := settings{Algorithm: algorithm}
	switch algorithm {
	case "k-nearest-neighbours":
		read.Neighbours = parameters.Integer("neighbours", min(5, dataset.Rows), 1, min(neighboursMax, dataset.Rows))
		read.Distance = parameters.Choice("distance", "euclidean", "manhattan", "cosine")
	case "naive-bayes":
	case "decision-tree":
		read.Criterion = parameters.Choice("criterion", trees.GINI, trees.ENTROPY)
		read.Depth = parameters.Integer("depth", depthDefault, 1, depthMax)
	default:
		return settings{}, goml.Invalid("algorithm",
			"GoLearn trains k-nearest-neighbours, naive-bayes and decision-tree, not %q.", algorithm)
	}
	return read, parameters.Err()
}

// classifier is a trained algorithm; it gives the class of each row.
type classifier interface {
	predict(features []float64) ([]string, error)
}

// fit trains the algorithm on the data.
func (settings settings) fit(dataset goml.Dataset) (classifier, error) {
	switch settings.Algorithm {
	case "k-nearest-neighbours":
		return fitGrid(knn.NewKnnClassifier(settings.Distance, "linear", settings.Neighbours), dataset, false)
	case "naive-bayes":
		return fitGrid(naive.NewBernoulliNBClassifier(), dataset, true)
	case "decision-tree":
		return fitTree(settings, dataset)
	default:
		return nil, fmt.Errorf("version.json names an algorithm that there is not: %q", settings.Algorithm)
	}
}

// gridClassifier is what most algorithms of GoLearn are: instances in, instances with a class out.
type gridClassifier struct {
	algorithm interface {
		Fit(base.FixedDataGrid) error
		Predict(base.FixedDataGrid) (base.FixedDataGrid, error)
	}
	table *table
}

func fitGrid(algorithm interface {
	Fit(base.FixedDataGrid) error
	Predict(base.FixedDataGrid) (base.FixedDataGrid, error)
}, dataset goml.Dataset, binary bool) (classifier, error) {
	made := gridClassifier{algorithm: algorithm, table: newTable(dataset.Columns, dataset.Classes(), binary)}
	instances, err := made.table.instances(dataset.Features, dataset.Labels)
	if err != nil {
		return nil, err
	}
	return made, algorithm.Fit(instances)
}

func (classifier gridClassifier) predict(features []float64) ([]string, error) {
	instances, err := classifier.table.instances(features, nil)
	if err != nil {
		return nil, err
	}
	predicted, err := classifier.algorithm.Predict(instances)
	if err != nil {
		return nil, err
	}
	return labelsOf(predicted), nil
}

// treeClassifier is GoLearn's CART, whose classes are their numbers.
type treeClassifier struct {
	tree    *trees.CARTDecisionTreeClassifier
	columns int
	classes []string
}

func fitTree(settings settings, dataset goml.Dataset) (classifier, error) {
	made := treeClassifier{columns: dataset.Columns, classes: dataset.Classes()}
	numbers := map[string]float64{}
	labels := make([]int64, len(made.classes))
	for number, class := range made.classes {
		numbers[class], labels[number] = float64(number), int64(number)
	}
	targets := make([]float64, dataset.Rows)
	for row, label := range dataset.Labels {
		targets[row] = numbers[label]
	}
	instances, err := floatInstances(dataset.Columns, dataset.Features, targets)
	if err != nil {
		return nil, err
	}
	made.tree = trees.NewDecisionTreeClassifier(settings.Criterion, int64(settings.Depth), labels)
	return made, made.tree.Fit(instances)
}

func (classifier treeClassifier) predict(features []float64) ([]string, error) {
	instances, err := floatInstances(classifier.columns, features, make([]float64, len(features)/classifier.columns))
	if err != nil {
		return nil, err
	}
	predicted := classifier.tree.Predict(instances)
	labels := make([]string, len(predicted))
	for row, number := range predicted {
		if number < 0 || number >= int64(len(classifier.classes)) {
			return nil, fmt.Errorf("the tree gave a class that there is not: %d", number)
		}
		labels[row] = classifier.classes[number]
	}
	return labels, nil
}
