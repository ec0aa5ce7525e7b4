/** `/v1/search`: searches that outlive their request. */
import { createRoute, z } from '@hono/zod-openapi';
import { boundJson } from '../body.ts';
import type { RequestContext } from '../environment.ts';
import { ApiError } from '../errors.ts';
import { searchDepthHeader } from '../gateway/chat-models.ts';
import { searchDepthOf } from '../gateway/routes.ts';
import { createRouter, failures, security } from '../openapi.ts';
import type { Clock, SearchKey } from '../ports.ts';
import {
  algorithmFor,
  deadlineMsMax,
  type Message,
  rendered,
  type SearchDefinition,
  searchRequest,
  trialsMax,
} from './definition.ts';
import { refuseLoops } from './door.ts';
import type { Entry, EntryOf } from './entries.ts';
import { eventsOf } from './events.ts';
import type { Change, SearchService } from './service.ts';
import { searchSchema, shownSearch } from './shown.ts';
import type { SearchState } from './state.ts';
import { viewOf } from './view.ts';

/** Longest wait of one request for answers to score, in milliseconds. */
export const askWaitMsMax = 20_000;
/** Deadline of a search that is resumed or forked without one, in milliseconds. */
const deadlineMsDefault = 600_000;

const params = z.object({ id: z.uuid().openapi({ example: '018f5b3e-7b1a-4c55-9c50-0a4f5d1f6a11' }) });
const jsonBody = <Schema extends z.ZodType>(schema: Schema) => ({
  body: { content: { 'application/json': { schema } }, required: true },
});
const answer = <Schema extends z.ZodType>(description: string, schema: Schema) => ({
  description,
  content: { 'application/json': { schema } },
});
const searchFailures = failures('openai', 404, 409, 429, 502, 504, 508);
const modelFailures = failures('openai', 404, 409, 429, 501, 502, 504, 508);

const bounds = z
  .strictObject({
    budget: z
      .strictObject({
        trials: z.int().min(1).max(trialsMax).optional(),
        tokens: z.int().min(1).max(1_000_000_000).optional(),
      })
      .default({}),
    score_reached: z.number().min(0).max(1).optional(),
    deadline_ms: z.int().min(100).max(deadlineMsMax).default(deadlineMsDefault),
  })
  .openapi('SearchBounds', { example: { budget: { trials: 32 } } });

const waiting = z.object({
  status: searchSchema.shape.status,
  trials: z.array(z.object({ trial: z.int(), parent: z.int(), model: z.string(), answer: z.string() })),
});

const createSearchRoute = createRoute({
  method: 'post',
  path: '/v1/search',
  summary: 'Start a search over answers of models; it goes on after this request',
  security,
  middleware: boundJson,
  request: jsonBody(searchRequest),
  responses: { 202: answer('The search', searchSchema), ...modelFailures },
});

const getSearchRoute = createRoute({
  method: 'get',
  path: '/v1/search/{id}',
  summary: 'How a search stands: best answers, cost, and the whole tree',
  security,
  request: { params },
  responses: { 200: answer('The search', searchSchema), ...searchFailures },
});

const cancelRoute = createRoute({
  method: 'post',
  path: '/v1/search/{id}/cancel',
  summary: 'End a search; what it has found stays',
  security,
  request: { params },
  responses: { 200: answer('The search', searchSchema), ...searchFailures },
});

const resumeRoute = createRoute({
  method: 'post',
  path: '/v1/search/{id}/resume',
  summary: 'Go on with a search that has ended, within new bounds',
  security,
  middleware: boundJson,
  request: { params, ...jsonBody(bounds) },
  responses: { 202: answer('The search', searchSchema), ...searchFailures },
});

const forkRoute = createRoute({
  method: 'post',
  path: '/v1/search/{id}/fork',
  summary: 'A new search that goes on from where this one stands',
  security,
  middleware: boundJson,
  request: { params, ...jsonBody(bounds) },
  responses: { 202: answer('The new search', searchSchema), ...searchFailures },
});

const askRoute = createRoute({
  method: 'post',
  path: '/v1/search/{id}/ask',
  summary: 'Answers that wait for the client’s score',
  security,
  middleware: boundJson,
  request: { params, ...jsonBody(z.strictObject({ wait_ms: z.int().min(0).max(askWaitMsMax).default(0) })) },
  responses: { 200: answer('The answers; none where none waits', waiting), ...searchFailures },
});

const tell = z
  .strictObject({
    trial: z.int().min(1),
    score: z.number().min(0).max(1),
    feedback: z.string().max(10_000).default(''),
  })
  .openapi('SearchScore', { example: { trial: 1, score: 0.75, feedback: 'The second step is wrong.' } });

const tellRoute = createRoute({
  method: 'post',
  path: '/v1/search/{id}/tell',
  summary: 'The client’s score of one answer; telling it again changes nothing',
  security,
  middleware: boundJson,
  request: { params, ...jsonBody(tell) },
  responses: { 200: answer('Whether it is new', z.object({ recorded: z.boolean() })), ...searchFailures },
});

const eventStream = z.unknown().openapi({
  description: 'Server-sent events: the id is the entry’s number, the event its type, the data the entry.',
});

const eventsRoute = createRoute({
  method: 'get',
  path: '/v1/search/{id}/events',
  summary: 'What happens in a search, from its beginning or from Last-Event-ID on',
  security,
  request: {
    params,
    headers: z.object({
      'last-event-id': z
        .string()
        .regex(/^\d{1,6}$/)
        .optional(),
    }),
  },
  responses: {
    200: { description: 'The events', content: { 'text/event-stream': { schema: eventStream } } },
    204: { description: 'The search has ended, and there are no more events' },
    ...searchFailures,
  },
});

const viewRoute = createRoute({
  method: 'get',
  path: '/v1/search/{id}/view',
  summary: 'A page that draws the tree of a search, and loads itself again while it grows',
  security,
  request: { params },
  responses: { 200: { description: 'The page', content: { 'text/html': { schema: z.string() } } }, ...searchFailures },
});

interface SearchRouteServices {
  readonly search: SearchService;
  readonly clock: Clock;
}

/** The messages that a request gives, or its template makes. @throws ApiError invalid_request */
function messagesOf({ messages, prompt }: z.infer<typeof searchRequest>): Message[] {
  if (prompt === undefined) return messages ?? [];
  const content = rendered(prompt);
  if (content === null || content === '') {
    throw new ApiError('invalid_request', 'prompt.variables: a variable of the template is not given', {
      parameter: 'prompt.variables',
    });
  }
  return [{ role: 'user', content }];
}

function definitionOf(request: z.infer<typeof searchRequest>, seed: number): SearchDefinition {
  const { prompt: _, deadline_ms: __, ...rest } = request;
  return {
    ...rest,
    messages: messagesOf(request),
    algorithm: algorithmFor(request.algorithm, request.scorer),
    seed: request.seed ?? seed,
  };
}

/** The entry with which a search that has stopped goes on. @throws ApiError search_conflict */
function resumed(
  state: SearchState,
  { budget, score_reached: score, deadline_ms: deadlineMs }: z.infer<typeof bounds>,
  now: number,
): EntryOf<'resumed'> {
  const { limits } = state;
  const entry = {
    type: 'resumed' as const,
    at: now,
    trials: budget.trials ?? limits.trials,
    tokens: budget.tokens ?? limits.tokens,
    score_reached: score ?? limits.scoreReached,
    deadline_at: now + deadlineMs,
  };
  const spent = [
    [state.reason === 'trials' && entry.trials <= state.trials.length, 'budget.trials'],
    [state.reason === 'tokens' && entry.tokens !== null && entry.tokens <= state.tokens, 'budget.tokens'],
    [state.reason === 'score_reached' && entry.score_reached <= limits.scoreReached, 'score_reached'],
  ] as const;
  const [, parameter] = spent.find(([isSpent]) => isSpent) ?? [];
  if (parameter !== undefined) {
    throw new ApiError('search_conflict', `${parameter}: must be more than before, which is used up`, { parameter });
  }
  return entry;
}

const unchanged: Change<null> = { entries: [], result: null };

/** Mounts `/v1/search`. */
export function searchRoutes({ search, clock }: SearchRouteServices) {
  const keyOf = (context: RequestContext, id: string): SearchKey => ({ tenantId: context.get('caller').tenantId, id });
  const shown = (context: RequestContext, key: SearchKey) => search.look(key, context.env.background, shownSearch);
  const onlyClient = (state: SearchState): void => {
    if (state.definition.scorer.type !== 'client') {
      throw new ApiError('search_conflict', 'This search does not wait for the client’s scores.');
    }
  };
  return createRouter()
    .openapi(createSearchRoute, async (context) => {
      refuseLoops(searchDepthOf(context.req.header(searchDepthHeader)));
      const request = context.req.valid('json');
      const { background } = context.env;
      const caller = context.get('caller');
      const definition = definitionOf(request, search.seed());
      await search.check(definition, background);
      const started = search.start(definition, request.deadline_ms, caller);
      const state = await search.create(caller.tenantId, [started], background);
      return context.json(shownSearch(state), 202);
    })
    .openapi(getSearchRoute, async (context) => {
      const { id } = context.req.valid('param');
      return context.json(await shown(context, keyOf(context, id)), 200);
    })
    .openapi(viewRoute, async (context) => {
      const { id } = context.req.valid('param');
      return context.html(await search.look(keyOf(context, id), context.env.background, viewOf));
    })
    .openapi(cancelRoute, async (context) => {
      const key = keyOf(context, context.req.valid('param').id);
      const cancelled: Entry = { type: 'finished', at: clock.now(), reason: 'cancelled' };
      await search.change(key, context.env.background, (state) =>
        state.reason === null ? { entries: [cancelled], result: null } : unchanged,
      );
      return context.json(await shown(context, key), 200);
    })
    .openapi(resumeRoute, async (context) => {
      const key = keyOf(context, context.req.valid('param').id);
      const body = context.req.valid('json');
      await search.change(key, context.env.background, (state) => {
        if (state.reason === null) throw new ApiError('search_conflict', 'The search is running already.');
        return { entries: [resumed(state, body, clock.now())], result: null };
      });
      return context.json(await shown(context, key), 202);
    })
    .openapi(forkRoute, async (context) => {
      const key = keyOf(context, context.req.valid('param').id);
      const { background } = context.env;
      const caller = context.get('caller');
      const body = context.req.valid('json');
      const entries = await search.look(key, background, (state) => {
        const fork = search.fork(state, caller);
        return [...fork.entries, resumed(state, body, clock.now())];
      });
      const state = await search.create(caller.tenantId, entries, background);
      return context.json(shownSearch(state), 202);
    })
    .openapi(askRoute, async (context) => {
      const key = keyOf(context, context.req.valid('param').id);
      const { wait_ms: waitMs } = context.req.valid('json');
      const giveUpAt = clock.elapsed() + waitMs;
      for (;;) {
        const { length, ...found } = await search.look(key, context.env.background, (state) => {
          onlyClient(state);
          const open = state.trials.filter(({ status }) => status === 'generated');
          const trials = open.map(({ id, parent, arm, text }) => {
            const model = state.definition.arms[arm]?.model ?? '';
            return { trial: id, parent, model, answer: text ?? '' };
          });
          return { length: state.length, status: state.status, trials };
        });
        const left = giveUpAt - clock.elapsed();
        if (found.trials.length > 0 || found.status !== 'running' || left <= 0) return context.json(found, 200);
        await search.entries(key, length, left);
      }
    })
    .openapi(tellRoute, async (context) => {
      const key = keyOf(context, context.req.valid('param').id);
      const { trial: id, score, feedback } = context.req.valid('json');
      const recorded = await search.change(key, context.env.background, (state): Change<boolean> => {
        onlyClient(state);
        const trial = state.trial(id);
        if (trial === undefined) {
          throw new ApiError('invalid_request', `trial: there is no trial ${id}`, { parameter: 'trial' });
        }
        if (trial.status === 'scored') return { entries: [], result: false };
        if (trial.status !== 'generated' || state.reason !== null) {
          throw new ApiError('search_conflict', `Trial ${id} does not wait for a score.`);
        }
        const entry: Entry = { type: 'scored', at: clock.now(), trial: id, score, feedback, usage: [] };
        return { entries: [entry], result: true };
      });
      return context.json({ recorded }, 200);
    })
    .openapi(eventsRoute, async (context) => {
      const key = keyOf(context, context.req.valid('param').id);
      const last = context.req.valid('header')['last-event-id'];
      const after = last === undefined ? 0 : Number(last) + 1;
      const { isOver, length } = await search.look(key, context.env.background, (state) => ({
        isOver: state.reason !== null,
        length: state.length,
      }));
      // By this, browsers stop asking (HTML Standard, section 9.2.3).
      if (isOver && after >= length) return context.body(null, 204);
      // The route's type knows no streams; the document says what this is.
      return eventsOf((from, waitMs) => search.entries(key, from, waitMs), after) as never;
    });
}
