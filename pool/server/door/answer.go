package door

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"

	"treeline.dev/pool/models"
)

// WriteJSON answers with a value. Text is sent as it is: no HTML escapes.
func WriteJSON(writer http.ResponseWriter, status int, value any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	// A client that has gone is the only way in which this fails, and nobody is left to be told.
	_ = EncodeJSON(writer, value)
}

// EncodeJSON writes a value and a line feed.
func EncodeJSON(writer io.Writer, value any) error {
	encoder := json.NewEncoder(writer)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// WriteFailure answers with a failure's status and headers, and the body that the door's dialect has for it.
func WriteFailure(writer http.ResponseWriter, failure models.Failure, body any) {
	if failure.RetryAfter > 0 {
		seconds := int(math.Ceil(failure.RetryAfter.Seconds()))
		writer.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	NoteFailure(writer, failure)
	WriteJSON(writer, failure.HTTP, body)
}
