package openinference

import (
	"net/http"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

type modelStatistics struct {
	Name           string              `json:"name"`
	Version        string              `json:"version"`
	LastInference  uint64              `json:"last_inference"`
	InferenceCount uint64              `json:"inference_count"`
	ExecutionCount uint64              `json:"execution_count"`
	InferenceStats map[string]duration `json:"inference_stats"`
}

// statisticsOf shows what is counted: calls that went well and that failed, and their time from the door's side.
func (oip *Door) statisticsOf(model *v1.Model) modelStatistics {
	counted := oip.statistics.of(model.GetName())
	return modelStatistics{
		Name: model.GetName(), Version: model.GetVersion(), LastInference: counted.lastMs,
		InferenceCount: counted.success.Count, ExecutionCount: counted.success.Count,
		InferenceStats: map[string]duration{"success": counted.success, "fail": counted.fail},
	}
}

func (oip *Door) modelStatistics(writer http.ResponseWriter, request *http.Request) error {
	model, err := oip.model(request)
	if err != nil {
		return err
	}
	door.WriteJSON(writer, http.StatusOK, map[string]any{"model_stats": []modelStatistics{oip.statisticsOf(model)}})
	return nil
}

func (oip *Door) allStatistics(writer http.ResponseWriter, request *http.Request) error {
	listed, err := oip.Models.Models(request.Context())
	if err != nil {
		return err
	}
	shown := []modelStatistics{}
	for _, model := range listed {
		shown = append(shown, oip.statisticsOf(model))
	}
	door.WriteJSON(writer, http.StatusOK, map[string]any{"model_stats": shown})
	return nil
}
