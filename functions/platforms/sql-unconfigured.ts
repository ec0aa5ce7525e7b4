/** Stands where no database is configured: what needs one fails with the way out. */
import { type Sql, SqlUnavailable } from '../ports.ts';

const refuse = async (): Promise<never> => {
  throw new SqlUnavailable('No database is configured: set DATABASE_URL.');
};

/** Refuses everything. */
export const unconfiguredSql: Sql = { asTenant: refuse, query: refuse };
