/**
 * The port `Singletons` on rows of Postgres, for hosts without durable objects. A change takes the row's lease, runs,
 * and puts the state back; others wait their turn by asking again. Slower than a durable object (two statements a
 * change, and a wait where it is contended), and as strong: states follow one another, none is lost.
 */
import { type Clock, type Random, type Singletons, type Sql, SqlUnavailable } from '../ports.ts';

/** Milliseconds after which a holder that vanished is passed over. A change is plain computation: far shorter. */
export const leaseMs = 5_000;
/** Milliseconds that a caller waits for its turn before it is told that the state is busy. */
export const waitMsMax = 15_000;
const pauseMsMin = 5;
const pauseMsMax = 200;

interface Lease extends Record<string, unknown> {
  state: unknown;
  token: string;
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Makes the port out of the database. Updates throw what `Sql` throws, and `SqlUnavailable` where a turn never came. */
export function createSqlSingletons(sql: Sql, clock: Clock, random: Random): Singletons {
  async function takeLease(name: string): Promise<Lease> {
    const giveUpAt = clock.elapsed() + waitMsMax;
    for (let pauseMs = pauseMsMin; clock.elapsed() < giveUpAt; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
      const text = 'select state, token::text as token from treeline.take_singleton($1, $2)';
      const [lease] = await sql.query<Lease>(text, [name, leaseMs]);
      if (lease !== undefined) return lease;
      // Between half and all of the pause, at random, so that those who wait do not all ask at once.
      await pause(pauseMs * (0.5 + random.fraction() / 2));
    }
    throw new SqlUnavailable(`The state ${name} was busy for ${waitMsMax} ms.`);
  }

  return {
    async update<State, Result>(name: string, change: (state: State | null) => { state: State; result: Result }) {
      const giveUpAt = clock.elapsed() + waitMsMax;
      while (clock.elapsed() < giveUpAt) {
        const lease = await takeLease(name);
        let next: { state: State; result: Result };
        try {
          next = change(lease.state as State | null);
        } catch (error) {
          await sql.query('select treeline.release_singleton($1, $2)', [name, lease.token]);
          throw error;
        }
        const text = 'select treeline.put_singleton($1, $2, $3::jsonb) as kept';
        const [row] = await sql.query<{ kept: boolean }>(text, [name, lease.token, JSON.stringify(next.state)]);
        // Where the lease ran out and was overtaken nothing was stored: the change is made anew on the newer state.
        if (row?.kept === true) return next.result;
      }
      throw new SqlUnavailable(`The state ${name} could not be stored within ${waitMsMax} ms.`);
    },
  };
}
