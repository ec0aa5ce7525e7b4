import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { FinishReason, JobSchema, JobState } from '../../pool-client/gen/services_pb.js';
import { shownJob } from './jobs.ts';

test('a job of chat that has called tools shows the calls as a call would have', () => {
  const toolCalls = [{ index: 0, id: 'call_a', name: 'f', arguments: '{"a":1}' }];
  const job = create(JobSchema, {
    state: JobState.SUCCEEDED,
    endedAtMs: 7_000n,
    generated: [{ model: 'm', toolCalls, finishReason: FinishReason.TOOL_CALLS, usage: { completionTokens: 3 } }],
  });
  expect(shownJob('mine', job).result).toMatchObject({
    id: 'chatcmpl-mine',
    created: 7,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'call_a', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
        },
        finish_reason: 'tool_calls',
      },
    ],
  });
});
