package gorgonia

import (
	"context"
	"math"
	"math/rand/v2"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// plan is how a network is trained.
type plan struct {
	Epochs       int
	BatchRows    int
	LearningRate float64
	Seed         uint64
}

// train fits the weights to the classes by Adam on the cross-entropy of mini-batches, and gives the mean loss of the last
// epoch. The rows' order is drawn from the seed, so the same call gives the same weights.
func train(ctx context.Context, weights *weights, features []float64, classes []int, plan plan) (loss float64, err error) {
	scaled := weights.scaled(features)
	rows := len(classes)
	plan.BatchRows = min(plan.BatchRows, rows)
	built, err := newGraph(weights, plan.BatchRows)
	if err != nil {
		return 0, err
	}
	wanted := G.NewMatrix(built.graph, tensor.Float64, G.WithShape(plan.BatchRows, weights.Classes), G.WithName("wanted"))
	cost, err := crossEntropy(built.probabilities, wanted)
	if err != nil {
		return 0, err
	}
	if _, err := G.Grad(cost, built.learnables...); err != nil {
		return 0, err
	}
	machine := G.NewTapeMachine(built.graph, G.BindDualValues(built.learnables...))
	defer machine.Close()
	solver := G.NewAdamSolver(G.WithLearnRate(plan.LearningRate))
	random := rand.New(rand.NewPCG(plan.Seed, 1))
	for range plan.Epochs {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		order := random.Perm(rows)
		sum, batches := 0.0, 0
		for begin := 0; begin+plan.BatchRows <= rows; begin += plan.BatchRows {
			batch := order[begin : begin+plan.BatchRows]
			if err := fill(built.input, wanted, batch, scaled, classes, weights); err != nil {
				return 0, err
			}
			if err := machine.RunAll(); err != nil {
				return 0, err
			}
			if err := solver.Step(G.NodesToValueGrads(built.learnables)); err != nil {
				return 0, err
			}
			value, ok := cost.Value().Data().(float64)
			if !ok || math.IsNaN(value) || math.IsInf(value, 0) {
				return 0, errDiverged
			}
			sum, batches = sum+value, batches+1
			machine.Reset()
		}
		loss = sum / float64(batches)
	}
	return loss, weights.takeBack(built.learnables)
}

// crossEntropy is the mean over the rows of -log p(class); a small term keeps the logarithm finite.
func crossEntropy(probabilities, wanted *G.Node) (*G.Node, error) {
	const least = 1e-12
	shifted, err := G.Add(probabilities, G.NewConstant(least))
	if err != nil {
		return nil, err
	}
	logarithm, err := G.Log(shifted)
	if err != nil {
		return nil, err
	}
	chosen, err := G.HadamardProd(logarithm, wanted)
	if err != nil {
		return nil, err
	}
	sum, err := G.Sum(chosen)
	if err != nil {
		return nil, err
	}
	mean, err := G.Div(sum, G.NewConstant(float64(wanted.Shape()[0])))
	if err != nil {
		return nil, err
	}
	return G.Neg(mean)
}

// fill puts the batch's rows and their classes, one-hot, into the graph.
func fill(input, wanted *G.Node, batch []int, scaled []float64, classes []int, weights *weights) error {
	rows := make([]float64, 0, len(batch)*weights.Columns)
	hot := make([]float64, len(batch)*weights.Classes)
	for place, row := range batch {
		rows = append(rows, scaled[row*weights.Columns:(row+1)*weights.Columns]...)
		hot[place*weights.Classes+classes[row]] = 1
	}
	if err := G.Let(input, tensor.New(tensor.WithShape(len(batch), weights.Columns), tensor.WithBacking(rows))); err != nil {
		return err
	}
	return G.Let(wanted, tensor.New(tensor.WithShape(len(batch), weights.Classes), tensor.WithBacking(hot)))
}

// takeBack copies the trained values out of the graph.
func (weights *weights) takeBack(learnables G.Nodes) error {
	for index, target := range []*[]float64{&weights.First, &weights.FirstB, &weights.Second, &weights.SecondB} {
		values, ok := learnables[index].Value().Data().([]float64)
		if !ok || len(values) != len(*target) {
			return errShape
		}
		*target = append([]float64(nil), values...)
	}
	return nil
}
