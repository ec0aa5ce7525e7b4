package engine

import "encoding/json"

// Settings are how an engine that this server starts is opened: EngineConfig of pool/engine/engine.
type Settings struct {
	// Repository is the folder of models; empty: "models".
	Repository string `json:"repository,omitempty"`
	// MemoryBytesMax bounds what loaded models hold together; 0: the engine's default.
	MemoryBytesMax uint64 `json:"memory_bytes_max,omitempty"`
	// Threads for computing; 0: as many as the machine has.
	Threads int `json:"threads,omitempty"`
	// ModelDirectory is the model cache, for files that manifests name `cache:…`; empty: the engine's default.
	ModelDirectory string `json:"model_directory,omitempty"`
	// Load names models to load at the start: `name` or `name:version`.
	Load []string `json:"load,omitempty"`
}

// JSON is the form in which the engine reads them.
func (settings Settings) JSON() string {
	text, err := json.Marshal(settings)
	if err != nil {
		panic(err) // Strings and numbers always have a form in JSON.
	}
	return string(text)
}
