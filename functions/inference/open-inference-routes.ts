/** Open Inference Protocol v2 under `/v2`, with the binary tensor extension: what Triton's and KServe's clients speak. */
import { createRoute, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { parseJson, readBody } from '../body.ts';
import { cacheStatus } from '../cache/cache-status.ts';
import type { Environment } from '../environment.ts';
import { ApiError } from '../errors.ts';
import { createRouter, failures, parseRequest, security } from '../openapi.ts';
import type { Background } from '../ports.ts';
import { callContext } from './call-context.ts';
import type { EmbeddingService } from './embedding.ts';
import type { EmbeddingModel } from './engine.ts';
import { BinaryData, toEmbeddingInputs, toOutputTensor } from './tensors.ts';

const parameters = z.record(z.string(), z.unknown());
const tensorSchema = z
  .object({
    name: z.string().min(1),
    shape: z.array(z.int().min(0)).min(1).max(8),
    datatype: z.string(),
    parameters: parameters.optional(),
    data: z.array(z.unknown()).optional(),
  })
  .openapi('InferenceTensor');

const inferenceRequest = z
  .object({
    id: z.string().max(256).optional(),
    parameters: parameters.optional(),
    inputs: z.array(tensorSchema).min(1).max(3),
    outputs: z
      .array(z.object({ name: z.string(), parameters: parameters.optional() }))
      .max(1)
      .optional(),
  })
  .openapi('InferenceRequest', {
    example: { inputs: [{ name: 'text', shape: [1], datatype: 'BYTES', data: ['hello world'] }] },
  });

const inferenceResponse = z
  .object({
    model_name: z.string(),
    model_version: z.string(),
    id: z.string().optional(),
    outputs: z.array(tensorSchema),
  })
  .openapi('InferenceResponse');

const tensorMetadata = z.object({ name: z.string(), datatype: z.string(), shape: z.array(z.int()) });
const modelMetadata = z
  .object({
    name: z.string(),
    versions: z.array(z.string()),
    platform: z.string(),
    inputs: z.array(tensorMetadata),
    outputs: z.array(tensorMetadata),
  })
  .openapi('InferenceModel');
const readiness = z.object({ name: z.string(), ready: z.boolean() });
const live = z.object({ live: z.boolean() });
const ready = z.object({ ready: z.boolean() });
const server = z.object({ name: z.string(), version: z.string(), extensions: z.array(z.string()) });

const json = <Schema extends z.ZodType>(description: string, schema: Schema) => ({
  200: { description, content: { 'application/json': { schema } } },
});

const modelParameters = z.object({ model: z.string() });
const versionParameters = z.object({ model: z.string(), version: z.string() });
const answers = <Schema extends z.ZodType>(summary: string, schema: Schema) => ({
  method: 'get' as const,
  summary,
  responses: { ...json(summary, schema), ...failures('open-inference', 404) },
});

const serverRoute = createRoute({ path: '/v2', ...answers('The server', server) });
const liveRoute = createRoute({ path: '/v2/health/live', ...answers('Whether the isolate answers', live) });
const readyRoute = createRoute({ path: '/v2/health/ready', ...answers('Whether the models are loaded', ready) });
const modelRoute = createRoute({
  path: '/v2/models/{model}',
  security,
  request: { params: modelParameters },
  ...answers('A model', modelMetadata),
});
const versionRoute = createRoute({
  path: '/v2/models/{model}/versions/{version}',
  security,
  request: { params: versionParameters },
  ...answers('A version of a model', modelMetadata),
});
const modelReadyRoute = createRoute({
  path: '/v2/models/{model}/ready',
  security,
  request: { params: modelParameters },
  ...answers('Whether a model is loaded', readiness),
});
const versionReadyRoute = createRoute({
  path: '/v2/models/{model}/versions/{version}/ready',
  security,
  request: { params: versionParameters },
  ...answers('Whether a version is loaded', readiness),
});

/** What a client may send to, and gets from, `model`. */
function metadataOf(model: EmbeddingModel): z.infer<typeof modelMetadata> {
  return {
    name: model.name,
    versions: [model.version],
    platform: model.kind === 'remote' ? 'treeline_pool' : `treeline_${model.kind}`,
    inputs: [
      { name: 'text', datatype: 'BYTES', shape: [-1] },
      { name: 'input_ids', datatype: 'INT64', shape: [-1, -1] },
      { name: 'attention_mask', datatype: 'INT64', shape: [-1, -1] },
    ],
    outputs: [{ name: 'embedding', datatype: 'FP32', shape: [-1, model.kind === 'remote' ? -1 : model.dimensions] }],
  };
}

/** The model of the path; a version that it does not have is as unknown as a model. */
async function modelOf(
  service: EmbeddingService,
  name: string,
  version: string | undefined,
  background: Background,
): Promise<EmbeddingModel> {
  const model = await service.modelAnywhere(name, background);
  if (version === undefined || version === model.version) return model;
  const message = `${model.name} has version ${model.version}, not "${version.slice(0, 40)}".`;
  throw new ApiError('model_not_found', message, { parameter: 'version' });
}

/** Splits a body into its JSON head and its binary data. */
function splitBody(body: Uint8Array, headLength: string | undefined): { head: unknown; binary: BinaryData } {
  if (headLength === undefined) return { head: parseJson(body), binary: new BinaryData(new Uint8Array()) };
  const length = /^\d{1,10}$/.test(headLength) ? Number(headLength) : Number.NaN;
  if (!(length <= body.byteLength)) {
    throw new ApiError('invalid_request', 'Inference-Header-Content-Length is not a length within the body.');
  }
  return { head: parseJson(body.subarray(0, length)), binary: new BinaryData(body.subarray(length)) };
}

/** Whether the client wants the output as raw bytes: by its output's own parameter, or else by the request's. */
function wantsBinary(request: z.infer<typeof inferenceRequest>): boolean {
  const [output] = request.outputs ?? [];
  if (output !== undefined && output.name !== 'embedding') {
    throw new ApiError('invalid_request', `There is no output "${output.name.slice(0, 80)}"; there is embedding.`);
  }
  return (output?.parameters?.binary_data ?? request.parameters?.binary_data_output) === true;
}

async function infer(service: EmbeddingService, context: Context<Environment>): Promise<Response> {
  const { model: name = '', version } = context.req.param() as Record<string, string | undefined>;
  const model = await modelOf(service, name, version, context.env.background);
  const { head, binary } = splitBody(
    await readBody(context.req.raw),
    context.req.header('inference-header-content-length'),
  );
  const request = parseRequest(inferenceRequest, head);
  const asBinary = wantsBinary(request);
  const inputs = toEmbeddingInputs(request.inputs, binary);
  const answer = await service.embed(model, inputs, callContext(context, 'infer'));
  const { tensor, raw } = toOutputTensor(answer.batch, asBinary);
  const body = {
    model_name: model.name,
    model_version: model.version,
    ...(request.id === undefined ? {} : { id: request.id }),
    outputs: [tensor],
  };
  context.header('cache-status', cacheStatus(answer.outcome));
  if (raw === null) return context.json(body);
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  context.header('content-type', 'application/octet-stream');
  context.header('inference-header-content-length', String(bytes.byteLength));
  return context.body(await new Blob([bytes, raw as Uint8Array<ArrayBuffer>]).arrayBuffer());
}

/** Mounts `/v2`. */
export function openInferenceRoutes(service: EmbeddingService) {
  const router = createRouter();
  const inferPaths = ['/v2/models/{model}/infer', '/v2/models/{model}/versions/{version}/infer'] as const;
  for (const path of inferPaths) {
    const params = path.includes('{version}') ? versionParameters : modelParameters;
    router.openAPIRegistry.registerPath({
      method: 'post',
      path,
      summary: 'Run a model on tensors',
      security,
      request: { params, body: { content: { 'application/json': { schema: inferenceRequest } }, required: true } },
      responses: {
        ...json('The outputs', inferenceResponse),
        ...failures('open-inference', 404, 415, 429, 501, 502, 504),
      },
    });
    router.post(path.replace(/\{(\w+)\}/g, ':$1'), (context) => infer(service, context));
  }
  const readinessOf = async (model: EmbeddingModel, { background }: Environment['Bindings']) => {
    // The pool lists a model only while it is ready.
    if (model.kind !== 'remote') await service.engine.ready(model, background);
    return { name: model.name, ready: true };
  };
  return router
    .openapi(serverRoute, (context) =>
      context.json({ name: 'treeline', version: '0.1.0', extensions: ['binary_tensor_data'] }, 200),
    )
    .openapi(liveRoute, (context) => context.json({ live: true }, 200))
    .openapi(readyRoute, async (context) => {
      await Promise.all(service.engine.models.map((model) => service.engine.ready(model, context.env.background)));
      return context.json({ ready: true }, 200);
    })
    .openapi(modelRoute, async (context) => {
      const { model } = context.req.valid('param');
      return context.json(metadataOf(await modelOf(service, model, undefined, context.env.background)), 200);
    })
    .openapi(versionRoute, async (context) => {
      const { model, version } = context.req.valid('param');
      return context.json(metadataOf(await modelOf(service, model, version, context.env.background)), 200);
    })
    .openapi(modelReadyRoute, async (context) => {
      const { model } = context.req.valid('param');
      const found = await modelOf(service, model, undefined, context.env.background);
      return context.json(await readinessOf(found, context.env), 200);
    })
    .openapi(versionReadyRoute, async (context) => {
      const { model, version } = context.req.valid('param');
      const found = await modelOf(service, model, version, context.env.background);
      return context.json(await readinessOf(found, context.env), 200);
    });
}
