package jobs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"google.golang.org/protobuf/proto"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Names in NATS.
const (
	queueStream   = "TREELINE_JOBS"
	deadStream    = "TREELINE_DEAD_LETTERS"
	adviceStream  = "TREELINE_JOB_ADVICE"
	answersStream = "TREELINE_ANSWERS"
	statesBucket  = "TREELINE_JOB_STATES"

	queueSubject  = "treeline.jobs."
	deadSubject   = "treeline.dead."
	cancelSubject = "treeline.cancel."
	// AnswersSubject begins the reply subjects whose answers JetStream keeps: a reader of its stream misses none and gets
	// none twice. Answers to any other subject are published once, to who listens at that moment.
	AnswersSubject = "treeline.answers."

	adviceSubject  = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + queueStream + ".*"
	adviceConsumer = "dead-letters"

	jobHeader      = "Treeline-Job-Id"
	reasonHeader   = "Treeline-Reason"
	errorHeader    = "Treeline-Error"
	attemptsHeader = "Treeline-Attempts"
	traceHeader    = "traceparent"
)

// idBytes of an id's digest or randomness.
const idBytes = 16

// idOf is the job of an idempotency key; of an empty one, a job that nobody else has.
func idOf(key string) string {
	if key == "" {
		random := make([]byte, idBytes)
		_, _ = rand.Read(random) // never fails, by its documentation
		return "job-" + hex.EncodeToString(random)
	}
	digest := sha256.Sum256([]byte(key))
	return "job-" + hex.EncodeToString(digest[:idBytes])
}

// isID keeps everything else out of keys and subjects.
func isID(id string) bool {
	digits, found := strings.CutPrefix(id, "job-")
	decoded, err := hex.DecodeString(digits)
	return found && err == nil && len(decoded) == idBytes
}

// tokenOf is a model's name as part of a subject and of a consumer's name, which take no dots, blanks or wildcards.
func tokenOf(model string) string {
	for _, letter := range model {
		isPlain := letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '0' && letter <= '9'
		if !isPlain && letter != '-' && letter != '_' {
			digest := sha256.Sum256([]byte(model))
			return "x" + hex.EncodeToString(digest[:idBytes])
		}
	}
	return "m" + model
}

// checkRequest refuses what the contract forbids, and gives the model that the call is for.
func checkRequest(request *v1.SubmitJobRequest) (model string, err error) {
	if key := request.GetIdempotencyKey(); len(key) > idempotencyKeyMax || !isVisible(key) {
		return "", invalid("idempotency_key", "An idempotency key is 1 to 128 visible ASCII characters.")
	}
	if err := checkReply(request.GetReplySubject()); err != nil {
		return "", err
	}
	switch call := request.GetCall().(type) {
	case *v1.SubmitJobRequest_Generate:
		model = call.Generate.GetModel()
	case *v1.SubmitJobRequest_Embed:
		model = call.Embed.GetModel()
	case *v1.SubmitJobRequest_Infer:
		model = call.Infer.GetModel()
	default:
		return "", invalid("call", "A job needs a call: generate, embed or infer.")
	}
	if model == "" || len(model) > modelBytesMax {
		return "", invalid("model", "A call needs the name of a model, of at most 200 bytes.")
	}
	return model, nil
}

// setModel gives the call's model another name.
func setModel(request *v1.SubmitJobRequest, model string) {
	switch call := request.GetCall().(type) {
	case *v1.SubmitJobRequest_Generate:
		call.Generate.Model = model
	case *v1.SubmitJobRequest_Embed:
		call.Embed.Model = model
	case *v1.SubmitJobRequest_Infer:
		call.Infer.Model = model
	}
}

// modelBytesMax keeps subjects and names in NATS' bounds.
const modelBytesMax = 200

func isVisible(text string) bool {
	for _, letter := range []byte(text) {
		if letter <= ' ' || letter > '~' {
			return false
		}
	}
	return true
}

// checkReply takes subjects that an answer may go to. NATS' own and the queue's are not among them: an answer there would
// be taken for a command.
func checkReply(subject string) error {
	if subject == "" {
		return nil
	}
	refused := invalid("reply_subject", "A reply subject is a plain NATS subject of at most 256 bytes, outside of $ and treeline.; treeline.answers.… is allowed.")
	isReserved := strings.HasPrefix(subject, "$") ||
		(strings.HasPrefix(subject, "treeline.") && !strings.HasPrefix(subject, AnswersSubject))
	if len(subject) > subjectBytesMax || isReserved || !isVisible(subject) || strings.ContainsAny(subject, "*>") {
		return refused
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" {
			return refused
		}
	}
	return nil
}

func invalid(parameter, message string) *engine.Error {
	return &engine.Error{Status: enginev1.Status_STATUS_INVALID_ARGUMENT, Message: message, Parameter: parameter}
}

// encodeCall is the message of the queue, and the digest that tells one call from another.
func encodeCall(request *v1.SubmitJobRequest) (encoded []byte, digest string, err error) {
	call := proto.CloneOf(request)
	call.IdempotencyKey = ""
	encoded, err = proto.MarshalOptions{Deterministic: true}.Marshal(call)
	if err != nil {
		return nil, "", invalid("call", "The call cannot be encoded.")
	}
	sum := sha256.Sum256(encoded)
	return encoded, hex.EncodeToString(sum[:]), nil
}
