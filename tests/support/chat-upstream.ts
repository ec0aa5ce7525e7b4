/** A small OpenAI-compatible chat server that repeats what it is told: what stands behind the gateway in tests. */
import { startHttpServer, type TestServer } from './http-server.ts';

const usage = { prompt_tokens: 4, completion_tokens: 3, total_tokens: 7 };

/** Listens on `port`; answers whole or as a stream, one word an event. */
export function startChatUpstream(port: number): Promise<TestServer> {
  return startHttpServer(async (_request, body, response) => {
    const { messages, model, stream } = JSON.parse(body.toString());
    const content = `echo: ${String(messages.at(-1).content)}`;
    const head = { id: 'chatcmpl-1', created: 1, model };
    if (stream !== true) {
      const message = { role: 'assistant', content, refusal: null };
      const choices = [{ index: 0, message, finish_reason: 'stop', logprobs: null }];
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ ...head, object: 'chat.completion', choices, usage }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const event = (data: object) =>
      response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...data })}\n\n`);
    for (const word of content.split(/(?<= )/)) {
      event({ choices: [{ index: 0, delta: { content: word }, finish_reason: null }] });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    event({ choices: [], usage });
    response.end('data: [DONE]\n\n');
  }, port);
}
