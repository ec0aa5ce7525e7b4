// Package door is what all HTTP doors of the pool share: bounded bodies, deadlines, the log line of a request, and the
// way from an error to an answer. What a door says in its own dialect stays in that door's package.
package door

import "time"

const (
	// BodyBytesMaxDefault bounds a request's body, compressed or not, where nothing else is set.
	BodyBytesMaxDefault = 64 << 20
	// HeaderBytesMax bounds a request's header.
	HeaderBytesMax = 64 << 10
	// JSONDepthMax bounds how deep a body's JSON may nest.
	JSONDepthMax = 64
	// DeadlineDefault is how long a call may take where the client sets no deadline.
	DeadlineDefault = 10 * time.Minute
	// DeadlineMax is the longest deadline that a client may set.
	DeadlineMax = time.Hour
	// StreamsPerConnectionMax is how many calls an HTTP/2 connection carries at once.
	StreamsPerConnectionMax = 1000
	// bodyReadTimeout bounds how long a client may take to send a body.
	bodyReadTimeout = 60 * time.Second
)

// Bounds are the limits that a door takes from the configuration.
type Bounds struct {
	// BodyBytesMax bounds a body, before and after decompression.
	BodyBytesMax int64
}

// Deadlines of connections.
const (
	// HeaderTimeout bounds how long a client may take to send a request's header.
	HeaderTimeout = 10 * time.Second
	// IdleTimeout is how long a connection without a request is kept.
	IdleTimeout = 2 * time.Minute
)
