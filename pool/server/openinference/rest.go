package openinference

import (
	"net/http"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// Mount adds the routes under /v2.
func (oip *Door) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /v2", oip.answering(oip.server))
	mux.HandleFunc("GET /v2/health/live", oip.answering(oip.live))
	mux.HandleFunc("GET /v2/health/ready", oip.answering(oip.ready))
	mux.HandleFunc("GET /v2/models/stats", oip.answering(oip.allStatistics))
	for _, path := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		mux.HandleFunc("GET "+path, oip.answering(oip.metadata))
		mux.HandleFunc("GET "+path+"/ready", oip.answering(oip.modelReady))
		mux.HandleFunc("GET "+path+"/config", oip.answering(oip.config))
		mux.HandleFunc("GET "+path+"/stats", oip.answering(oip.modelStatistics))
		mux.HandleFunc("POST "+path+"/infer", oip.answering(oip.inferREST))
		mux.HandleFunc("POST "+path+"/generate", oip.answering(oip.generateREST))
		mux.HandleFunc("POST "+path+"/generate_stream", oip.answering(oip.generateStreamREST))
	}
	mux.HandleFunc("POST /v2/repository/index", oip.answering(oip.index))
	mux.HandleFunc("POST /v2/repository/models/{model}/load", oip.answering(oip.load))
	mux.HandleFunc("POST /v2/repository/models/{model}/unload", oip.answering(oip.unload))
	// What is left under /v2 is answered in the same dialect.
	mux.HandleFunc("/v2/", func(writer http.ResponseWriter, request *http.Request) {
		writeFailure(writer, door.NoRoute(request, mux))
	})
}

// errorBody is the protocol's form of a failure; `code` is ours.
type errorBody struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

func writeFailure(writer http.ResponseWriter, err error) {
	failure := models.Describe(err)
	door.WriteFailure(writer, failure, errorBody{failure.Message, failure.Code})
}

func (oip *Door) answering(handle func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		if err := handle(writer, request); err != nil {
			writeFailure(writer, err)
		}
	}
}

type serverMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

func (oip *Door) server(writer http.ResponseWriter, _ *http.Request) error {
	door.WriteJSON(writer, http.StatusOK, serverMetadata{serverName, oip.Version, extensions})
	return nil
}

func (oip *Door) live(writer http.ResponseWriter, _ *http.Request) error {
	door.WriteJSON(writer, http.StatusOK, map[string]bool{"live": true})
	return nil
}

func (oip *Door) ready(writer http.ResponseWriter, _ *http.Request) error {
	status := http.StatusOK
	if !oip.Ready() {
		status = http.StatusServiceUnavailable
	}
	door.WriteJSON(writer, status, map[string]bool{"ready": status == http.StatusOK})
	return nil
}

// model finds the model of the path.
func (oip *Door) model(request *http.Request) (*v1.Model, error) {
	return oip.Models.Model(request.Context(), request.PathValue("model"), request.PathValue("version"))
}

type tensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

type modelMetadata struct {
	Name     string           `json:"name"`
	Versions []string         `json:"versions"`
	Platform string           `json:"platform"`
	Inputs   []tensorMetadata `json:"inputs"`
	Outputs  []tensorMetadata `json:"outputs"`
}

func shownTensors(infos []*v1.TensorInfo) []tensorMetadata {
	shown := make([]tensorMetadata, len(infos))
	for index, info := range infos {
		shape := info.GetShape()
		if shape == nil {
			shape = []int64{}
		}
		shown[index] = tensorMetadata{info.GetName(), info.GetDatatype(), shape}
	}
	return shown
}

func (oip *Door) metadata(writer http.ResponseWriter, request *http.Request) error {
	model, err := oip.model(request)
	if err != nil {
		return err
	}
	inputs, outputs := tensorsOf(model)
	door.WriteJSON(writer, http.StatusOK, modelMetadata{
		Name: model.GetName(), Versions: versionsOf(model), Platform: model.GetBackend(),
		Inputs: shownTensors(inputs), Outputs: shownTensors(outputs),
	})
	return nil
}

func (oip *Door) modelReady(writer http.ResponseWriter, request *http.Request) error {
	model, err := oip.model(request)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if !isReady(model) {
		status = http.StatusServiceUnavailable
	}
	door.WriteJSON(writer, status, map[string]any{"name": model.GetName(), "ready": status == http.StatusOK})
	return nil
}

type configTensor struct {
	Name     string  `json:"name"`
	DataType string  `json:"data_type"`
	Dims     []int64 `json:"dims"`
	Optional bool    `json:"optional,omitempty"`
}

type modelConfig struct {
	Name         string          `json:"name"`
	Platform     string          `json:"platform"`
	Backend      string          `json:"backend"`
	MaxBatchSize int32           `json:"max_batch_size"`
	Input        []configTensor  `json:"input"`
	Output       []configTensor  `json:"output"`
	Transactions map[string]bool `json:"model_transaction_policy"`
}

func (oip *Door) config(writer http.ResponseWriter, request *http.Request) error {
	model, err := oip.model(request)
	if err != nil {
		return err
	}
	config := configOf(model)
	shown := modelConfig{
		Name: config.GetName(), Platform: config.GetPlatform(), Backend: config.GetBackend(),
		MaxBatchSize: config.GetMaxBatchSize(), Input: []configTensor{}, Output: []configTensor{},
		Transactions: map[string]bool{"decoupled": config.GetModelTransactionPolicy().GetDecoupled()},
	}
	for _, input := range config.GetInput() {
		shown.Input = append(shown.Input,
			configTensor{input.GetName(), input.GetDataType().String(), input.GetDims(), input.GetOptional()})
	}
	for _, output := range config.GetOutput() {
		shown.Output = append(shown.Output,
			configTensor{output.GetName(), output.GetDataType().String(), output.GetDims(), false})
	}
	door.WriteJSON(writer, http.StatusOK, shown)
	return nil
}

func (oip *Door) inferREST(writer http.ResponseWriter, request *http.Request) error {
	memory := oip.memoryFor(request.PathValue("model"))
	defer memory.release()
	call, forms, err := oip.readREST(writer, request, memory)
	if err != nil {
		return err
	}
	call.Model, call.Version = request.PathValue("model"), request.PathValue("version")
	response, err := oip.infer(request.Context(), call)
	if err != nil {
		return err
	}
	return writeREST(writer, request, response, forms)
}
