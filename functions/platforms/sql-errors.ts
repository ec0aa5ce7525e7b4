/**
 * What a Postgres driver threw, told as one of the two errors of the port. The drivers' own texts pass through here
 * alone, so that no password can leave with one of them.
 */
import { SqlError, SqlUnavailable } from '../ports.ts';

const sqlState = /^[0-9A-Z]{5}$/;

/**
 * SQLSTATEs with which the server says that it does not serve now, rather than that a statement is wrong: connection
 * exceptions (class 08), too many connections, statement timeout, shutdown, crash, start-up, idle for too long.
 */
const unavailableStates = new Set(['53300', '57014', '57P01', '57P02', '57P03', '57P05', '25P03']);

function field(error: unknown, name: string): string | null {
  if (typeof error !== 'object' || error === null) return null;
  const value = (error as Record<string, unknown>)[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

/** The SQLSTATE where the server answered with an error, else null: `ECONNREFUSED` and the like are no SQLSTATE. */
function sqlStateOf(error: unknown): string | null {
  const code = field(error, 'code');
  return code !== null && sqlState.test(code) && field(error, 'severity') !== null ? code : null;
}

/** What went wrong, in the driver's words, with each of `secrets` left out. */
function reasonOf(error: unknown, secrets: readonly string[]): string {
  // Node gives an AggregateError without a message where a name has several addresses and none answers.
  const parts = [field(error, 'message'), field(error, 'code')].filter((part) => part !== null);
  const text = parts[0] ?? 'no reason given';
  return secrets.reduce((shown, secret) => (secret === '' ? shown : shown.replaceAll(secret, '***')), text);
}

/** The error of a connection that could not be made, whatever the reason. */
export function connectionError(error: unknown, secrets: readonly string[]): SqlUnavailable {
  if (error instanceof SqlUnavailable) return error;
  return new SqlUnavailable(`Postgres cannot be reached: ${reasonOf(error, secrets)}`);
}

/** The error of a statement: `SqlError` where the server refused it, `SqlUnavailable` where it did not answer. */
export function statementError(error: unknown, secrets: readonly string[]): SqlError | SqlUnavailable {
  if (error instanceof SqlError || error instanceof SqlUnavailable) return error;
  const state = sqlStateOf(error);
  if (state === null) return new SqlUnavailable(`Postgres did not answer: ${reasonOf(error, secrets)}`);
  if (state.startsWith('08') || unavailableStates.has(state))
    return new SqlUnavailable(`Postgres does not serve now (${state}): ${reasonOf(error, secrets)}`);
  return new SqlError(reasonOf(error, secrets), state);
}
