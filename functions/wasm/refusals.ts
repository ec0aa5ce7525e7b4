/** What a Rust core refuses comes as an Error with a `code`; whoever calls the core gives it a type of its own. */

/** Wraps calls into a core: what it refuses is thrown as `toRefusal` makes it; traps and all else pass. */
export function refusals(toRefusal: (code: string, message: string, cause: Error) => Error) {
  return <Result>(call: () => Result): Result => {
    try {
      return call();
    } catch (thrown) {
      if (thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string') {
        throw toRefusal(thrown.code, thrown.message, thrown);
      }
      throw thrown;
    }
  };
}
