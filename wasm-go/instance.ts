/**
 * Starts a module that TinyGo made. Such a module imports nothing; its `_initialize` sets up the Go runtime and has to
 * run before anything else. The module comes compiled, since Workers do not compile at request time.
 */
export function startGoModule<Exports extends { _initialize(): void }>(module: WebAssembly.Module): Exports {
  const instance = new WebAssembly.Instance(module, {});
  // The declaration in dist/ is generated from the same source as the module, and the manifest binds the two.
  const exports = instance.exports as unknown as Exports;
  exports._initialize();
  return exports;
}
