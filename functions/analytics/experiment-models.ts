/**
 * A chat call whose model is `experiment/<name>`: the experiment chooses the settings, the call goes the way of any chat
 * call, and what it shows (time, tokens, cost) comes back as rewards. Free of Hono.
 */
import { z } from 'zod';
import { ApiError, toApiError } from '../errors.ts';
import type { ChatContext, ChatModels, ChatRequest } from '../gateway/chat-models.ts';
import type { VirtualModels } from '../gateway/virtual-models.ts';
import { parseRequest } from '../openapi.ts';
import type { Clock, Log } from '../ports.ts';
import { metered } from './answer-meter.ts';
import { isScored, scoresOf } from './answer-scores.ts';
import { experimentPrefix, featuresSchema, nameSchema, taskSchema } from './definition.ts';
import type { Decision, Experiments } from './experiments.ts';

/** Response headers that name the decision behind an answer, and its arm. */
export const decisionIdHeader = 'treeline-decision-id';
export const armHeader = 'treeline-arm';

/** What of the settings is not a parameter of the call. */
const notPassed = new Set(['prompt_version', 'route']);

const requestSchema = z.looseObject({
  messages: z.array(z.unknown()),
  treeline: z
    .object({
      experiment: z
        .object({ task: taskSchema.default(''), features: featuresSchema.default([]) })
        .default({ task: '', features: [] }),
    })
    .nullish(),
});

interface Services {
  readonly experiments: Experiments;
  readonly chat: ChatModels;
  readonly clock: Clock;
  readonly log: Log;
}

/** The models `experiment/…`. */
export function experimentModels(services: Services): VirtualModels {
  return {
    prefix: experimentPrefix,
    owner: 'treeline',
    names: (_, { tenantId }) => names(services, tenantId),
    answer: (request, context) => answer(services, request, context),
  };
}

/** The tenant's running experiments. None, and a line in the log, where the database cannot be asked. */
async function names({ experiments, log }: Services, tenantId: string): Promise<string[]> {
  try {
    const all = await experiments.list(tenantId);
    return all.filter(({ endedAtMs }) => endedAtMs === null).map(({ name }) => `${experimentPrefix}${name}`);
  } catch (thrown) {
    log.write('warn', 'experiments are not among the models listed', { reason: String(thrown) });
    return [];
  }
}

async function answer(services: Services, { model, json }: ChatRequest, context: ChatContext): Promise<Response> {
  const { experiments, chat, clock } = services;
  const { caller, background, signal } = context;
  const name = parseRequest(nameSchema, model.slice(experimentPrefix.length));
  const { treeline, ...request } = parseRequest(requestSchema, json);
  const { task, features } = treeline?.experiment ?? { task: '', features: [] };
  const decision = await context.steps.run('decide', () =>
    experiments.decide(caller.tenantId, name, { task, features, durable: false }, background),
  );
  const body = withSettings(request, decision);
  const startedAt = clock.elapsed();
  const fail = () => background.run(experiments.measure(decision, null));
  let response: Response;
  try {
    const bytes = new TextEncoder().encode(JSON.stringify(body));
    response = await chat.answer({ model: body.model, json: body, body: bytes }, context);
  } catch (thrown) {
    if (isOfTheArm(toApiError(thrown).status) && !signal.aborted) fail();
    throw thrown;
  }
  if (!response.ok && isOfTheArm(response.status)) fail();
  const shown = { experiment: name, decision_id: decision.id, arm: decision.arm, propensity: decision.propensity };
  const { answered, ended } = metered(response, shown, isScored(decision));
  const measured = ended.then(async (end) => {
    if (!response.ok || end.kind === 'left') return;
    const latencyMs = Math.max(0, clock.elapsed() - startedAt);
    if (end.kind === 'broken') return experiments.measure(decision, null);
    const scores = end.text === null ? {} : await scoresOf(services, decision, body.messages, end.text, context);
    return experiments.measure(decision, { model: body.model, latencyMs, ...end.tokens, scores });
  });
  background.run(measured);
  answered.headers.set(decisionIdHeader, decision.id);
  if (decision.arm !== null) answered.headers.set(armHeader, decision.arm);
  return answered;
}

/** Failures that tell of the settings (no such model, a model that is busy or fails), not of what the client sent. */
const isOfTheArm = (status: number): boolean => status >= 500 || status === 429 || status === 404;

/** The client's request with the decision's settings in the place of its own, and the prompt's version in front. */
function withSettings(
  request: { readonly messages: readonly unknown[] } & Record<string, unknown>,
  { settings, experiment, arm }: Decision,
): Record<string, unknown> & { readonly model: string; readonly messages: readonly unknown[] } {
  const { model, prompt_version: version } = settings;
  if (typeof model !== 'string') {
    const which = arm === null ? 'The point chosen' : `The arm "${arm}"`;
    throw new ApiError('no_arm', `${which} of "${experiment.name}" names no model, so it cannot answer a chat call.`);
  }
  const { prompts } = experiment.definition;
  const prompt =
    version !== undefined && Object.hasOwn(prompts, String(version)) ? prompts[String(version)] : undefined;
  const front = prompt === undefined ? [] : [{ role: 'system', content: prompt }];
  const passed = Object.entries(settings).filter(([setting]) => !notPassed.has(setting));
  return { ...request, ...Object.fromEntries(passed), model, messages: [...front, ...request.messages] };
}
