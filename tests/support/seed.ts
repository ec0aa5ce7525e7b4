/** The seed of a random test: printed on every run, and given again by `TREELINE_SEED` to repeat one. */
export function testSeed(name: string): number {
  const given = process.env.TREELINE_SEED;
  const seed = given === undefined ? Date.now() % 2 ** 31 : Number.parseInt(given, 10);
  console.info(`${name}: TREELINE_SEED=${seed}`);
  return seed;
}
