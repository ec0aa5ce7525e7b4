/** The text in a chat answer that has passed by. Pure. */
import { z } from 'zod';

/** Characters of an answer, as it is sent, that are kept to read its text. */
export const answerLengthMax = 1_048_576;

const wholeSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().nullish() }) })).min(1),
});
const eventSchema = z.object({
  choices: z.array(z.object({ index: z.int().default(0), delta: z.object({ content: z.string().nullish() }) })),
});

/** The first choice's text; null where `body` is no chat answer. */
export function answerText(body: string, isStream: boolean): string | null {
  if (!isStream) return wholeSchema.safeParse(jsonOf(body)).data?.choices[0]?.message.content ?? null;
  const events = body.split(/\r?\n/).filter((line) => line.startsWith('data:'));
  const pieces = events.flatMap(
    (line) => eventSchema.safeParse(jsonOf(line.slice('data:'.length))).data?.choices ?? [],
  );
  const ofFirst = pieces.filter(({ index }) => index === 0);
  return ofFirst.length === 0 ? null : ofFirst.map(({ delta }) => delta.content ?? '').join('');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
