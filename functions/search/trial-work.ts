/** The calls of one trial: an answer from an arm's model, and its score. What goes wrong becomes an entry of the log. */
import { ApiError, toApiError } from '../errors.ts';
import type { ChatContext, ChatModels } from '../gateway/chat-models.ts';
import type { EmbeddingService } from '../inference/embedding.ts';
import { similarity } from '../inference/ranking.ts';
import type { Clock } from '../ports.ts';
import type { Entry, ModelUsage } from './entries.ts';
import { promptFor } from './prompts.ts';
import type { TrialWork } from './run.ts';
import { ScoringFailed, scoreOf } from './scorers/score.ts';
import type { WebhookConfiguration } from './scorers/webhook.ts';
import { failuresInRowMax, type SearchState, type TrialState } from './state.ts';

/** Characters of an answer that are kept; what is longer fails its trial. */
export const answerLengthMax = 65_536;

/** Pause after a failure, in milliseconds; twice as long after each one more in a row: an upstream may need time. */
export const failurePauseMs = 100;

/** What trials are carried out with. */
export interface TrialServices {
  readonly chat: ChatModels;
  readonly embedding: EmbeddingService;
  readonly clock: Clock;
  readonly webhooks: WebhookConfiguration;
}

/** The calls of a search's trials, made in `context`. */
export class ModelWork implements TrialWork {
  readonly #services: TrialServices;
  readonly #context: ChatContext;

  constructor(services: TrialServices, context: ChatContext) {
    this.#services = services;
    this.#context = context;
  }

  generate(state: SearchState, trial: TrialState, signal: AbortSignal): Promise<Entry | null> {
    const { clock, chat } = this.#services;
    const startedAt = clock.elapsed();
    return this.#carryOut(state, trial, 'generate', signal, async (limited) => {
      const arm = state.definition.arms[trial.arm];
      if (arm === undefined) throw new ApiError('internal', `There is no arm ${trial.arm}.`);
      const messages = promptFor(state.definition.messages, state.trial(trial.parent) ?? null);
      const request = { ...arm.parameters, model: arm.model, messages };
      const { text, finishReason, usage } = await chat.complete(request, { ...this.#context, signal: limited });
      if (text.length > answerLengthMax) {
        throw new ApiError('upstream_failed', `The answer is longer than ${answerLengthMax} characters.`);
      }
      return {
        type: 'generated',
        at: clock.now(),
        trial: trial.id,
        text,
        finish_reason: finishReason,
        usage: { model: arm.model, calls: 1, input_tokens: usage.inputTokens, output_tokens: usage.outputTokens },
        latency_ms: Math.max(0, Math.round(clock.elapsed() - startedAt)),
      };
    });
  }

  score(state: SearchState, trial: TrialState, signal: AbortSignal): Promise<Entry | null> {
    const { clock, webhooks } = this.#services;
    const { scorer, messages: problem } = state.definition;
    return this.#carryOut(state, trial, 'score', signal, async (limited) => {
      if (scorer.type === 'client') throw new ApiError('internal', 'The client scores by itself.');
      const [best] = state.answers(1);
      const scored = {
        search: state.started.id,
        trial: trial.id,
        problem,
        answer: trial.text ?? '',
        best: best === undefined || best.score === null ? null : { text: best.text, score: best.score },
      };
      const context = { ...this.#context, signal: limited };
      const { score, feedback, usage } = await scoreOf(scorer, scored, {
        complete: (request) => this.#services.chat.complete(request, context),
        similarity: (model, left, right) => this.#similarity(model, left, right, context),
        webhooks,
        now: () => clock.now(),
        signal: limited,
      });
      return { type: 'scored', at: clock.now(), trial: trial.id, score, feedback, usage };
    });
  }

  async #carryOut(
    state: SearchState,
    trial: TrialState,
    stage: 'generate' | 'score',
    signal: AbortSignal,
    work: (limited: AbortSignal) => Promise<Entry>,
  ): Promise<Entry | null> {
    const timeoutMs = state.definition.trial_timeout_ms;
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      return await work(AbortSignal.any([signal, timeout]));
    } catch (thrown) {
      if (signal.aborted) return null;
      const cause = thrown instanceof ScoringFailed ? thrown.cause : thrown;
      const usage: readonly ModelUsage[] = thrown instanceof ScoringFailed ? thrown.usage : [];
      const late = new ApiError('upstream_timeout', `The call took longer than ${timeoutMs} ms.`);
      const { code, message } = timeout.aborted ? late : toApiError(cause);
      await pause(failurePauseMs * 2 ** Math.min(state.failuresInRow, failuresInRowMax), signal);
      if (signal.aborted) return null;
      return { type: 'failed', at: this.#services.clock.now(), trial: trial.id, stage, code, message, usage };
    }
  }

  async #similarity(name: string, left: string, right: string, context: ChatContext): Promise<number> {
    const { embedding } = this.#services;
    const model = await embedding.modelAnywhere(name, context.background);
    const wishes = { mayRead: true, mayStore: true, maxAgeSeconds: null };
    const call = { ...context, wishes, operation: 'search' };
    const { batch } = await embedding.embed(model, { kind: 'texts', texts: [left, right] }, call);
    return similarity(batch, 0, 1);
  }
}

/** Waits, at most until `signal` aborts. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
