package jobs

import (
	"testing"

	"google.golang.org/protobuf/proto"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/models/modelstest"
)

func TestAJobsResultHasTheCallsOfToolsOfEachChoice(t *testing.T) {
	t.Parallel()
	catalogue, err := models.NewCatalogue(models.Options{
		Providers: []models.Provider{&modelstest.Provider{ProviderName: "test"}}, NewID: func() string { return "id" },
	})
	if err != nil {
		t.Fatal(err)
	}
	request := &v1.SubmitJobRequest{Call: &v1.SubmitJobRequest_Generate{Generate: &v1.GenerateRequest{
		Model: modelstest.Chat, N: 2, ToolsJson: `[{"type":"function","function":{"name":"f"}}]`,
		Messages: []*v1.Message{{Role: "user", Content: `Well. <tool_call> {"name": "f"} </tool_call> <tool_call>{"name":"f"}`}},
	}}}
	job, err := run(t.Context(), catalogue, request, 1<<20)
	if err != nil || len(job.GetGenerated()) != 2 {
		t.Fatal(job, err)
	}
	for _, choice := range job.GetGenerated() {
		calls := choice.GetToolCalls()
		if choice.GetText() != "Well." || choice.GetFinishReason() != v1.FinishReason_FINISH_REASON_TOOL_CALLS ||
			len(calls) != 2 || !proto.Equal(calls[1], &v1.ToolCallDelta{Index: 1, Id: "call_id", Name: "f", Arguments: "{}"}) {
			t.Error(choice)
		}
	}
}
