/** `npm run help`: every command of the project, one line each. */
const commands: readonly [string, string][] = [
  ['start', 'run the edge on http://localhost:8787 with an embedded Postgres and a store; nothing else is needed'],
  ['start-supabase', 'the same on the other host: http://localhost:54321/functions/v1/treeline, under Deno'],
  ['start-all', 'the same with real PostgreSQL, Redis, NATS, etcd, Prometheus and the inference pool'],
  ['stop', 'stop what start or start-all left running'],
  ['pool', 'build the inference pool (Go and Rust), fetch its models, and run a node on port 8089'],
  ['test', 'install what is missing and run all tests'],
  ['models', 'fetch the models’ weights and make the files that the edge loads'],
  ['wasm', 'build wasm-rust/pkg and wasm-go/dist from source'],
  ['proto', 'check the contracts in proto/ and generate code from them'],
  ['certificates', 'make a local authority and certificates for mutual TLS'],
  ['bench', 'list and run the benchmarks'],
  ['bench-analytics', 'the policies of parameter analytics beside mabwiser and Optuna: regret, cost of a decision'],
  ['bench-inference', 'in-isolate inference beside onnxruntime-web and ONNX Runtime'],
  ['bench-pool', 'the pool’s throughput and latency under load, and a soak'],
  ['bench-search', 'the search core beside TreeQuest: speed of a decision, quality of the answers'],
  ['bench-ipc', 'what a call from Go to Rust costs by each transport'],
  ['deploy', 'deploy to Workers and to Supabase'],
  ['deploy-dry-run', 'bundle for both hosts and print the sizes against their limits; works offline'],
  ['format', 'format every language'],
  ['lint', 'check format and lint of every language'],
  ['types', 'check the TypeScript'],
];

console.log('Treeline: one HTTPS address in front of every model.\n\nmake <command> [ARGS="…"]:\n');
for (const [name, what] of commands) console.log(`  ${name.padEnd(16)} ${what}`);
console.log('\nARGS="--help" tells more of start, models, test and bench.');
