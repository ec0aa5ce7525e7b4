/** Reads a Postgres URL without ever repeating it: an error about a URL must not show the password in it. */

/** The parts of a Postgres URL that decide how it is reached. */
export interface SqlAddress {
  readonly url: string;
  readonly host: string;
  /** What must not appear in a message: the password, as it stands in the URL and decoded. */
  readonly secrets: readonly string[];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Reads `postgres://` or `postgresql://` URLs. Throws a `TypeError` that says what is wrong, without the URL. */
export function parseSqlAddress(databaseUrl: string): SqlAddress {
  const parsed = URL.canParse(databaseUrl) ? new URL(databaseUrl) : null;
  if (parsed === null || !/^postgres(ql)?:$/.test(parsed.protocol) || parsed.hostname === '')
    throw new TypeError('The database URL must look like postgres://user:password@host:5432/database.');
  const secrets = [...new Set([parsed.password, decoded(parsed.password)])].filter((secret) => secret !== '');
  return { url: databaseUrl, host: parsed.hostname, secrets };
}
