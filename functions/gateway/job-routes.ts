/** `/v1/jobs`: chat and embeddings that wait in the pool's queue, for answers that nobody holds a connection for. */
import { createRoute, z } from '@hono/zod-openapi';
import { boundJson } from '../body.ts';
import { hex } from '../digest.ts';
import type { RequestContext } from '../environment.ts';
import { ApiError } from '../errors.ts';
import { createRouter, failures, security } from '../openapi.ts';
import type { Job } from '../pool-client/gen/services_pb.js';
import type { Random } from '../ports.ts';
import { traceparentOf } from '../telemetry/tracing.ts';
import type { UsageLedger } from '../tenancy/usage.ts';
import { poolChatRequest, toGenerateRequest } from './pool/chat-request.ts';
import { type JobCall, Jobs, jobNamePattern, type QueuedCall, shownJob, usageIdOf, usageOfJob } from './pool/jobs.ts';
import type { Pool } from './pool/pool.ts';

/** Texts of one queued call: its result must fit into one message of the queue. */
const textsMax = 256;

const nameSchema = z.string().regex(jobNamePattern, 'must be 1 to 64 letters, digits, and . _ : -');

const embeddingCall = z.object({
  model: z.string().min(1),
  input: z.union([z.string().min(1), z.array(z.string().min(1)).min(1).max(textsMax)]),
});

const submission = z
  .object({ chat: poolChatRequest.optional(), embedding: embeddingCall.optional() })
  .refine(({ chat, embedding }) => (chat === undefined) !== (embedding === undefined), 'give either chat or embedding')
  .openapi('JobSubmission', {
    example: { chat: { model: 'smollm2-135m-instruct', messages: [{ role: 'user', content: 'Say hello' }] } },
  });

const jobSchema = z
  .object({
    id: z.string(),
    object: z.literal('job'),
    status: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
    attempt: z.int(),
    created_at: z.int().nullable(),
    ended_at: z.int().nullable(),
    error: z.string().nullable(),
    result: z.looseObject({}).nullable(),
  })
  .openapi('Job');

const answer = (description: string) => ({ description, content: { 'application/json': { schema: jobSchema } } });
const jobFailures = failures('openai', 404, 429, 501, 502, 504);
const params = z.object({ id: nameSchema });

const submitRoute = createRoute({
  method: 'post',
  path: '/v1/jobs',
  summary: 'Queue a call; the same Idempotency-Key is the same job',
  security,
  middleware: boundJson,
  request: {
    headers: z.object({ 'idempotency-key': nameSchema.optional() }),
    body: { content: { 'application/json': { schema: submission } }, required: true },
  },
  responses: { 202: answer('The job; its id is the Idempotency-Key, where one was given'), ...jobFailures },
});

const getRoute = createRoute({
  method: 'get',
  path: '/v1/jobs/{id}',
  summary: 'How a job does, and its result once it has succeeded',
  security,
  request: { params },
  responses: { 200: answer('The job'), ...jobFailures },
});

const cancelRoute = createRoute({
  method: 'post',
  path: '/v1/jobs/{id}/cancel',
  summary: 'End a job that has not ended',
  security,
  request: { params },
  responses: { 200: answer('The job'), ...jobFailures },
});

interface JobServices {
  readonly pool: Pool;
  readonly usage: UsageLedger;
  readonly random: Random;
}

function queuedCall({ chat, embedding }: z.infer<typeof submission>, salt: string): QueuedCall {
  if (chat !== undefined) {
    if (chat.stream === true) throw new ApiError('invalid_request', 'chat.stream: a job does not stream');
    return { case: 'generate', value: toGenerateRequest(chat, salt) };
  }
  const { model = '', input = [] } = embedding ?? {};
  return { case: 'embed', value: { model, texts: typeof input === 'string' ? [input] : input } };
}

/** The pool knows of a missing model and of a missing job by one code; here it can only be the job. */
function jobFailure(thrown: unknown): unknown {
  if (!(thrown instanceof ApiError) || thrown.code !== 'model_not_found') return thrown;
  return new ApiError('job_not_found', undefined, { cause: thrown });
}

/** Mounts `/v1/jobs`. */
export function jobRoutes({ pool, usage, random }: JobServices) {
  const jobs = new Jobs(pool);
  const callOf = (context: RequestContext, name: string, traceparent: string): JobCall => ({
    tenantId: context.get('caller').tenantId,
    name,
    traceparent,
    signal: context.req.raw.signal,
    background: context.env.background,
  });
  /** Runs one step, and accounts for a job that has ended: with an id of the job's own, so however often it is read. */
  const ask = (context: RequestContext, name: string, work: (call: JobCall) => Promise<Job>) =>
    context.get('steps').run('pool', async (span) => {
      const call = callOf(context, name, traceparentOf(span));
      const job = await work(call);
      const used = usageOfJob(job);
      if (used !== null) {
        const { model, input: inputTokens, output: outputTokens } = used;
        const latencyMs = Math.max(0, Number(job.endedAtMs - job.submittedAtMs));
        const event = { operation: 'job', model, inputTokens, outputTokens, cacheHit: false, latencyMs };
        usage.record(context.get('caller'), event, await usageIdOf(call));
      }
      return shownJob(name, job);
    });
  return createRouter()
    .openapi(submitRoute, async (context) => {
      const name = context.req.valid('header')['idempotency-key'] ?? hex(random.bytes(12));
      const queued = queuedCall(context.req.valid('json'), context.get('caller').tenantId);
      return context.json(await ask(context, name, (call) => jobs.submit(call, queued)), 202);
    })
    .openapi(getRoute, async (context) => {
      const { id } = context.req.valid('param');
      const work = (call: JobCall) => jobs.get(call).catch((thrown: unknown) => Promise.reject(jobFailure(thrown)));
      return context.json(await ask(context, id, work), 200);
    })
    .openapi(cancelRoute, async (context) => {
      const { id } = context.req.valid('param');
      const work = (call: JobCall) => jobs.cancel(call).catch((thrown: unknown) => Promise.reject(jobFailure(thrown)));
      return context.json(await ask(context, id, work), 200);
    });
}
