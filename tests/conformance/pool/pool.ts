/** The pool under test, as run.ts names it: its address, and models that are ready. */

/** Where it answers, such as http://127.0.0.1:8089. */
export const poolUrl = (): string => {
  const url = process.env.POOL_URL;
  if (url === undefined) throw new Error('POOL_URL names no pool; start these tests by tests/conformance/pool/run.ts');
  return url;
};

export const embedder = 'all-minilm-l6-v2';
export const chatModel = 'smollm2-135m-instruct';

/** The first numbers of the embedding of "hello world", by the float model. */
export const helloWorld = [-0.03448, 0.03102, 0.00673, 0.02611];
