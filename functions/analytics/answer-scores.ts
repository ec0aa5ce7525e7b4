/** Scores of an answer, for the rewards whose source they are; by the scorers that searches use. */
import { z } from 'zod';
import { ApiError } from '../errors.ts';
import type { ChatContext, ChatModels } from '../gateway/chat-models.ts';
import type { Clock, Log } from '../ports.ts';
import { type Message, messagesSchema } from '../search/definition.ts';
import { type ScoringPorts, scoreOf } from '../search/scorers/score.ts';
import type { Decision } from './experiments.ts';

/** Longest time that the scoring of one answer may take, in milliseconds. */
export const scoringMsMax = 60_000;

interface ScoreServices {
  readonly chat: ChatModels;
  readonly clock: Clock;
  readonly log: Log;
}

/** Whether an answer under the decision is scored at all. */
export const isScored = ({ experiment }: Decision): boolean =>
  experiment.definition.rewards.some(({ source }) => source === 'scorer');

/** The scores by the rewards' names. One that cannot be had is missing, and logged. Never throws. */
export async function scoresOf(
  services: ScoreServices,
  { experiment, id }: Decision,
  messages: readonly unknown[],
  answer: string,
  context: ChatContext,
): Promise<Record<string, number>> {
  const { log } = services;
  const scored = { search: id, trial: 0, problem: problemOf(messages), answer, best: null };
  const ports = portsOf(services, context);
  const scores = await Promise.all(
    experiment.definition.rewards.map(async ({ name, scorer }) => {
      if (scorer === undefined || scorer.type === 'client') return [];
      try {
        return [[name, (await scoreOf(scorer, scored, ports)).score] as const];
      } catch (thrown) {
        const cause = thrown instanceof Error ? (thrown.cause ?? thrown) : thrown;
        log.write('warn', 'an answer was not scored', {
          experiment: experiment.name,
          reward: name,
          reason: String(cause),
        });
        return [];
      }
    }),
  );
  return Object.fromEntries(scores.flat());
}

/** The messages as a judge is shown them: those that are text. */
function problemOf(messages: readonly unknown[]): readonly Message[] {
  const text = z.array(messagesSchema.element.catch({ role: 'user', content: '(not text)' }));
  return text.parse(messages);
}

function portsOf({ chat, clock }: ScoreServices, context: ChatContext): ScoringPorts {
  // The client has its answer, and may be gone.
  const signal = AbortSignal.timeout(scoringMsMax);
  return {
    complete: (request) => chat.complete(request, { ...context, signal }),
    similarity: () => Promise.reject(new ApiError('unsupported')),
    webhooks: { addresses: [], secret: null },
    now: () => clock.now(),
    signal,
  };
}
