package gorgonia

import (
	"fmt"
	"math"
	"math/rand/v2"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// weights are the network's two layers, row-major, and how features were scaled.
type weights struct {
	Columns int       `json:"columns"`
	Hidden  int       `json:"hidden"`
	Classes int       `json:"classes"`
	First   []float64 `json:"first"`
	FirstB  []float64 `json:"first_bias"`
	Second  []float64 `json:"second"`
	SecondB []float64 `json:"second_bias"`
	// Features are shifted by -Mean and divided by Deviation.
	Mean      []float64 `json:"mean"`
	Deviation []float64 `json:"deviation"`
}

// check tells whether the parts fit together.
func (weights *weights) check() error {
	if weights.Columns < 1 || weights.Hidden < 1 || weights.Classes < 1 ||
		len(weights.First) != weights.Columns*weights.Hidden || len(weights.FirstB) != weights.Hidden ||
		len(weights.Second) != weights.Hidden*weights.Classes || len(weights.SecondB) != weights.Classes ||
		len(weights.Mean) != weights.Columns || len(weights.Deviation) != weights.Columns {
		return fmt.Errorf("the network's layers do not fit together")
	}
	return nil
}

// newWeights draws the first weights as Glorot and Bengio (2010) do, from the seed alone.
func newWeights(columns, hidden, classes int, seed uint64) *weights {
	random := rand.New(rand.NewPCG(seed, 0))
	draw := func(in, out int) []float64 {
		bound := math.Sqrt(6 / float64(in+out))
		values := make([]float64, in*out)
		for index := range values {
			values[index] = bound * (2*random.Float64() - 1)
		}
		return values
	}
	return &weights{
		Columns: columns, Hidden: hidden, Classes: classes,
		First: draw(columns, hidden), FirstB: make([]float64, hidden),
		Second: draw(hidden, classes), SecondB: make([]float64, classes),
	}
}

// standardise measures mean and deviation of each column; a column that never changes is left as it is.
func (weights *weights) standardise(features []float64) {
	rows := len(features) / weights.Columns
	weights.Mean, weights.Deviation = make([]float64, weights.Columns), make([]float64, weights.Columns)
	for column := range weights.Columns {
		sum, squares := 0.0, 0.0
		for row := range rows {
			sum += features[row*weights.Columns+column]
		}
		mean := sum / float64(rows)
		for row := range rows {
			difference := features[row*weights.Columns+column] - mean
			squares += difference * difference
		}
		weights.Mean[column], weights.Deviation[column] = mean, math.Sqrt(squares/float64(rows))
		if weights.Deviation[column] == 0 {
			weights.Deviation[column] = 1
		}
	}
}

func (weights *weights) scaled(features []float64) []float64 {
	values := make([]float64, len(features))
	for index, value := range features {
		column := index % weights.Columns
		values[index] = (value - weights.Mean[column]) / weights.Deviation[column]
	}
	return values
}

// graph is the network for one number of rows, as Gorgonia's expression graph.
type graph struct {
	graph         *G.ExprGraph
	input         *G.Node
	learnables    G.Nodes
	logits        *G.Node
	probabilities *G.Node
}

// newGraph builds features → tanh layer → softmax over the weights, which it shares and changes when it is trained.
func newGraph(weights *weights, rows int) (*graph, error) {
	made := &graph{graph: G.NewGraph()}
	matrix := func(name string, height, width int, values []float64) *G.Node {
		backing := tensor.New(tensor.WithShape(height, width), tensor.WithBacking(values))
		return G.NewMatrix(made.graph, tensor.Float64, G.WithShape(height, width), G.WithName(name), G.WithValue(backing))
	}
	made.input = G.NewMatrix(made.graph, tensor.Float64, G.WithShape(rows, weights.Columns), G.WithName("features"))
	first := matrix("first", weights.Columns, weights.Hidden, weights.First)
	firstBias := matrix("first-bias", 1, weights.Hidden, weights.FirstB)
	second := matrix("second", weights.Hidden, weights.Classes, weights.Second)
	secondBias := matrix("second-bias", 1, weights.Classes, weights.SecondB)
	made.learnables = G.Nodes{first, firstBias, second, secondBias}

	layer := func(input, matrix, bias *G.Node) (*G.Node, error) {
		product, err := G.Mul(input, matrix)
		if err != nil {
			return nil, err
		}
		return G.BroadcastAdd(product, bias, nil, []byte{0})
	}
	sum, err := layer(made.input, first, firstBias)
	if err != nil {
		return nil, err
	}
	hidden, err := G.Tanh(sum)
	if err != nil {
		return nil, err
	}
	if made.logits, err = layer(hidden, second, secondBias); err != nil {
		return nil, err
	}
	made.probabilities, err = G.SoftMax(made.logits)
	return made, err
}

// predict gives each row's probabilities, row-major.
func predict(weights *weights, features []float64) ([]float64, error) {
	rows := len(features) / weights.Columns
	built, err := newGraph(weights, rows)
	if err != nil {
		return nil, err
	}
	input := tensor.New(tensor.WithShape(rows, weights.Columns), tensor.WithBacking(weights.scaled(features)))
	if err := G.Let(built.input, input); err != nil {
		return nil, err
	}
	machine := G.NewTapeMachine(built.graph)
	defer machine.Close()
	if err := machine.RunAll(); err != nil {
		return nil, err
	}
	values, ok := built.probabilities.Value().Data().([]float64)
	if !ok || len(values) != rows*weights.Classes {
		return nil, fmt.Errorf("gorgonia gave a value of another shape")
	}
	return append([]float64(nil), values...), nil
}
