package golearn

import (
	"fmt"
	"math"

	"github.com/sjwhitworth/golearn/base"
	"github.com/sjwhitworth/golearn/ensemble"
	"github.com/sjwhitworth/golearn/knn"
	"github.com/sjwhitworth/golearn/naive"
	"github.com/sjwhitworth/golearn/trees"

	"treeline.dev/pool/goml"
)

// Bounds of the settings.
const (
	neighboursMax = 1_000
	treesMax      = 500
)

// settings are what a training was asked for; they lie in version.json.
type settings struct {
	Algorithm  string  `json:"algorithm"`
	Neighbours int     `json:"neighbours,omitempty"`
	Distance   string  `json:"distance,omitempty"`
	Trees      int     `json:"trees,omitempty"`
	Features   int     `json:"features,omitempty"`
	Prune      float64 `json:"prune,omitempty"`
}

// classifier is what the algorithms of GoLearn have in common.
type classifier interface {
	Fit(base.FixedDataGrid) error
	Predict(base.FixedDataGrid) (base.FixedDataGrid, error)
}

// saved is a classifier that is stored as itself. The others are made again from their training data, which is what
// k-NN and naive Bayes consist of.
type saved interface {
	classifier
	SaveWithPrefix(*base.ClassifierSerializer, string) error
	LoadWithPrefix(*base.ClassifierDeserializer, string) error
	GetMetadata() base.ClassifierMetadataV1
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
		read.Prune = parameters.Float("prune", 0, 0, 0.9)
	case "random-forest":
		root := max(1, int(math.Sqrt(float64(dataset.Columns))))
		read.Trees = parameters.Integer("trees", 50, 1, treesMax)
		read.Features = parameters.Integer("features", root, 1, dataset.Columns)
	default:
		return settings{}, goml.Invalid("algorithm",
			"GoLearn trains k-nearest-neighbours, naive-bayes, decision-tree and random-forest, not %q.", algorithm)
	}
	return read, parameters.Err()
}

// isBinary tells that the algorithm takes features as present or absent.
func (settings settings) isBinary() bool { return settings.Algorithm == "naive-bayes" }

// newClassifier makes the algorithm, untrained.
func (settings settings) newClassifier() (classifier, error) {
	switch settings.Algorithm {
	case "k-nearest-neighbours":
		return knn.NewKnnClassifier(settings.Distance, "linear", settings.Neighbours), nil
	case "naive-bayes":
		return naive.NewBernoulliNBClassifier(), nil
	case "decision-tree":
		return trees.NewID3DecisionTree(settings.Prune), nil
	case "random-forest":
		return ensemble.NewRandomForest(settings.Trees, settings.Features), nil
	default:
		return nil, fmt.Errorf("version.json names an algorithm that there is not: %q", settings.Algorithm)
	}
}

func save(trained saved, path string) error {
	writer, err := base.CreateSerializedClassifierStub(path, trained.GetMetadata())
	if err != nil {
		return err
	}
	// GoLearn's own Save of trees leaves the file open and unfinished.
	if err := trained.SaveWithPrefix(writer, "model"); err != nil {
		writer.Close()
		return err
	}
	return writer.Close()
}

func load(into saved, path string) error {
	reader, err := base.ReadSerializedClassifierStub(path)
	if err != nil {
		return err
	}
	defer reader.Close()
	return into.LoadWithPrefix(reader, "model")
}
