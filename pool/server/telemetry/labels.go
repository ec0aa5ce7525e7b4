package telemetry

import "sync"

const (
	// modelsMax bounds the models, with their versions, that have labels of their own. The others share one.
	modelsMax = 256
	// otherModel is that one.
	otherModel = "other"
)

// modelLabels are a model as a label.
type modelLabels struct{ model, version string }

// boundedModels gives each model its labels until there are modelsMax.
type boundedModels struct {
	lock  sync.Mutex
	known map[modelLabels]struct{}
}

func newBoundedModels() *boundedModels {
	return &boundedModels{known: map[modelLabels]struct{}{}}
}

func (models *boundedModels) of(model, version string) modelLabels {
	labels := modelLabels{model: model, version: version}
	models.lock.Lock()
	defer models.lock.Unlock()
	if _, known := models.known[labels]; known {
		return labels
	}
	if len(models.known) >= modelsMax {
		return modelLabels{model: otherModel}
	}
	models.known[labels] = struct{}{}
	return labels
}
