// Package toolcalls reads calls of tools out of what a model says, however its provider came by the words: a request's tools
// are checked and put before the model, and the messages of its answer come with the calls apart from the text. Every door
// gets them read already, since the catalogue reads all generations through Read.
package toolcalls

import (
	"google.golang.org/protobuf/proto"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Send takes the next message of a generation.
type Send func(*v1.GenerateResponse) error

// Read checks the tools of a request. It gives the call as a provider is to be asked, with the schema of a call where one has
// to be made, and what to give the provider's messages to: `send` gets them with the calls read. The request itself is left
// as it is; without tools, both are given back. newID makes the random part of a call's id.
//
// It fails with STATUS_INVALID_ARGUMENT where the tools, or the choice among them, cannot be read.
func Read(request *v1.GenerateRequest, newID func() string, send Send) (*v1.GenerateRequest, Send, error) {
	if !mentionsTools(request) {
		return request, send, nil
	}
	set, err := toToolset(request)
	if err != nil {
		return nil, nil, err
	}
	call := proto.Clone(request).(*v1.GenerateRequest)
	call.ToolChoice, call.ToolName, call.ParallelToolCalls = v1.ToolChoice_TOOL_CHOICE_UNSPECIFIED, "", nil
	if set == nil {
		call.ToolsJson = ""
		return call, send, nil
	}
	if set.must {
		if call.JsonSchema != "" {
			return nil, nil, invalid("response_format", "response_format cannot be kept to where a tool has to be called.")
		}
		if call.JsonSchema, err = set.schema(); err != nil {
			return nil, nil, err
		}
	}
	reading := &stream{set: set, newID: newID, send: send, readers: make([]*reader, max(call.GetN(), 1))}
	return call, reading.message, nil
}

func mentionsTools(request *v1.GenerateRequest) bool {
	return request.GetToolsJson() != "" || request.GetToolName() != "" ||
		request.GetToolChoice() != v1.ToolChoice_TOOL_CHOICE_UNSPECIFIED
}

// stream reads the calls in the messages of a generation.
type stream struct {
	set   *toolset
	newID func() string
	send  Send
	// readers are one a choice.
	readers []*reader
}

// message passes a message on, with the calls taken out of its text. A message stays where no text of it is left: its ids
// and log-probabilities count.
func (stream *stream) message(message *v1.GenerateResponse) error {
	if int(message.GetIndex()) >= len(stream.readers) {
		// A choice that nobody asked for is the door's to refuse.
		return stream.send(message)
	}
	reader := stream.reader(message.GetIndex())
	message.Text, message.ToolCalls = reader.push(message.GetText())
	if message.GetFinishReason() != v1.FinishReason_FINISH_REASON_UNSPECIFIED {
		rest, last := reader.end()
		message.Text, message.ToolCalls = message.GetText()+rest, append(message.GetToolCalls(), last...)
	}
	if message.GetFinishReason() == v1.FinishReason_FINISH_REASON_STOP && reader.calls > 0 {
		message.FinishReason = v1.FinishReason_FINISH_REASON_TOOL_CALLS
	}
	return stream.send(message)
}

func (stream *stream) reader(choice uint32) *reader {
	if stream.readers[choice] == nil {
		stream.readers[choice] = &reader{set: stream.set, newID: stream.newID}
	}
	return stream.readers[choice]
}

// Gather adds the next pieces to the calls gathered so far, each of which is one piece then.
func Gather(calls, pieces []*v1.ToolCallDelta) []*v1.ToolCallDelta {
	for _, piece := range pieces {
		begun := find(calls, piece.GetIndex())
		if begun == nil {
			begun = &v1.ToolCallDelta{Index: piece.GetIndex()}
			calls = append(calls, begun)
		}
		begun.Id += piece.GetId()
		begun.Name += piece.GetName()
		begun.Arguments += piece.GetArguments()
	}
	return calls
}

func find(calls []*v1.ToolCallDelta, index uint32) *v1.ToolCallDelta {
	for _, call := range calls {
		if call.GetIndex() == index {
			return call
		}
	}
	return nil
}
