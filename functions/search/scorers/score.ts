/** One answer's score, by whichever scorer the search names. */
import { z } from 'zod';
import { ApiError } from '../../errors.ts';
import type { Completion } from '../../gateway/chat-models.ts';
import type { Message, Scorer, SimpleScorer } from '../definition.ts';
import type { ModelUsage } from '../entries.ts';
import { comparePrompt, compareSchema, judgePrompt, judgeSchema } from '../prompts.ts';
import { byNumber, byPattern, bySchema, byText, type Score } from './closeness.ts';
import { SchemaRefused } from './json-schema.ts';
import { byWebhook, type WebhookConfiguration } from './webhook.ts';

/** Times that a judge is asked for one score, where its reply cannot be read. */
export const judgeAttemptsMax = 2;
/** Tokens of a judge's reply, where the search does not say. */
const judgeTokensDefault = 256;
/** Parts of the way to the top, or to the bottom, that a won or lost comparison goes. */
const comparisonStep = 0.5;

/** What scoring is done with. Each call of a model ends with its own usage. */
export interface ScoringPorts {
  readonly complete: (request: { readonly model: string } & Record<string, unknown>) => Promise<Completion>;
  /** Cosine similarity of two texts, by an embedding model. */
  readonly similarity: (model: string, left: string, right: string) => Promise<number>;
  readonly webhooks: WebhookConfiguration;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/** What is scored. */
export interface Scored {
  readonly search: string;
  readonly trial: number;
  readonly problem: readonly Message[];
  readonly answer: string;
  /** The best answer so far and its score, where there is one. */
  readonly best: { readonly text: string; readonly score: number } | null;
}

/** A score, and what the calls of models for it used. */
export interface ScoreAndUsage extends Score {
  readonly usage: readonly ModelUsage[];
}

/** A scorer that failed, with what it used until then. */
export class ScoringFailed extends Error {
  override readonly name = 'ScoringFailed';
  readonly usage: readonly ModelUsage[];

  constructor(cause: unknown, usage: readonly ModelUsage[]) {
    super('the scorer failed', { cause });
    this.usage = usage;
  }
}

/** Scores an answer. @throws ScoringFailed */
export async function scoreOf(
  scorer: Exclude<Scorer, { type: 'client' }>,
  scored: Scored,
  ports: ScoringPorts,
): Promise<ScoreAndUsage> {
  const usage: ModelUsage[] = [];
  const complete: ScoringPorts['complete'] = async (request) => {
    const completion = await ports.complete(request);
    const { inputTokens, outputTokens } = completion.usage;
    usage.push({ model: request.model, calls: 1, input_tokens: inputTokens, output_tokens: outputTokens });
    return completion;
  };
  try {
    const score = await byScorer(scorer, scored, { ...ports, complete });
    return { ...score, usage };
  } catch (thrown) {
    const cause =
      thrown instanceof SchemaRefused ? new ApiError('invalid_request', thrown.message, { cause: thrown }) : thrown;
    throw new ScoringFailed(cause, usage);
  }
}

function byScorer(
  scorer: Exclude<Scorer, { type: 'client' }>,
  scored: Scored,
  ports: ScoringPorts,
): Promise<Score> | Score {
  return scorer.type === 'mix' ? byMix(scorer, scored, ports) : bySimple(scorer, scored, ports);
}

/** The parts' scores by their weights, all asked at once; their feedback, part by part. */
async function byMix({ parts }: Extract<Scorer, { type: 'mix' }>, scored: Scored, ports: ScoringPorts): Promise<Score> {
  const scores = await Promise.all(parts.map(({ scorer }) => bySimple(scorer, scored, ports)));
  const total = parts.reduce((sum, { weight }) => sum + weight, 0);
  const score = parts.reduce((sum, { weight }, at) => sum + (weight / total) * (scores[at]?.score ?? 0), 0);
  const feedback = scores.map((one) => one.feedback).filter((one) => one !== '');
  return { score: Math.min(1, Math.max(0, score)), feedback: feedback.join('\n') };
}

async function bySimple(scorer: SimpleScorer, scored: Scored, ports: ScoringPorts): Promise<Score> {
  const { answer } = scored;
  switch (scorer.type) {
    case 'json_schema':
      return bySchema(scorer, answer);
    case 'pattern':
      return byPattern(scorer, answer);
    case 'exact':
      return byText(scorer, answer);
    case 'numeric':
      return byNumber(scorer, answer);
    case 'similarity':
      return bySimilarity(scorer, answer, ports);
    case 'judge':
      return byJudge(scorer, scored, ports);
    case 'pairwise':
      return byComparison(scorer, scored, ports);
    case 'webhook': {
      const { search, trial, problem } = scored;
      const payload = { search, trial, messages: problem, answer };
      return byWebhook(scorer.url, payload, { configuration: ports.webhooks, now: ports.now(), signal: ports.signal });
    }
  }
}

async function bySimilarity(
  { model, reference }: Extract<SimpleScorer, { type: 'similarity' }>,
  answer: string,
  ports: ScoringPorts,
): Promise<Score> {
  if (answer.trim() === '') return { score: 0, feedback: 'The answer is empty.' };
  const cosine = await ports.similarity(model, reference, answer);
  // Opposite and unrelated are equally far from what is wanted.
  const score = Math.min(1, Math.max(0, cosine));
  return { score, feedback: `Its meaning is ${Math.round(score * 100)} % like the wanted answer's.` };
}

/** Asks a model for JSON by a schema, again where the reply cannot be read. @throws ApiError */
async function asked<Reply>(
  { model, parameters }: { readonly model: string; readonly parameters: object },
  messages: readonly Message[],
  schema: object,
  reply: z.ZodType<Reply>,
  ports: ScoringPorts,
): Promise<Reply> {
  const format = { type: 'json_schema', json_schema: { name: 'verdict', strict: true, schema } };
  for (let attempt = 0; attempt < judgeAttemptsMax; attempt += 1) {
    const request = { temperature: 0, max_tokens: judgeTokensDefault, ...parameters, model, messages };
    const { text } = await ports.complete({ ...request, response_format: format });
    const parsed = reply.safeParse(firstObject(text));
    if (parsed.success) return parsed.data;
  }
  throw new ApiError('upstream_failed', `The judge ${model} gave no verdict that can be read.`);
}

/** The JSON object in a text that may say more around it. */
function firstObject(text: string): unknown {
  const [from, to] = [text.indexOf('{'), text.lastIndexOf('}')];
  try {
    return JSON.parse(text.slice(Math.max(0, from), to + 1));
  } catch {
    return undefined;
  }
}

const markReply = z.object({ score: z.number().min(0).max(10), feedback: z.string().default('') });

async function byJudge(
  judge: Extract<SimpleScorer, { type: 'judge' }>,
  { problem, answer }: Scored,
  ports: ScoringPorts,
): Promise<Score> {
  const messages = judgePrompt(problem, answer, judge.rubric);
  const { score, feedback } = await asked(judge, messages, judgeSchema, markReply, ports);
  return { score: score / 10, feedback };
}

const verdictReply = z.object({ better: z.enum(['first', 'second', 'same']), feedback: z.string().default('') });

/**
 * Compares with the best answer so far, in both orders, since judges favour a place. The first answer of all gets ½. One
 * that wins both goes half of the way from the best score to 1, one that loses both has half of it, all else is equal.
 */
async function byComparison(
  judge: Extract<SimpleScorer, { type: 'pairwise' }>,
  { problem, answer, best }: Scored,
  ports: ScoringPorts,
): Promise<Score> {
  if (best === null) return { score: comparisonStep, feedback: '' };
  if (best.text === answer) return { score: best.score, feedback: 'It is the same as the best answer so far.' };
  const compare = (first: string, second: string) =>
    asked(judge, comparePrompt(problem, first, second, judge.rubric), compareSchema, verdictReply, ports);
  const [before, after] = await Promise.all([compare(answer, best.text), compare(best.text, answer)]);
  const { feedback } = before;
  if (before.better === 'first' && after.better === 'second') {
    return { score: best.score + (1 - best.score) * comparisonStep, feedback };
  }
  if (before.better === 'second' && after.better === 'first') return { score: best.score * comparisonStep, feedback };
  return { score: best.score, feedback };
}
