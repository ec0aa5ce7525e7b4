/** onnxruntime-web makes its memory itself and does not show it: it is seen as it is made. */

/** Call before the library loads; the result tells the bytes of the largest memory made since. */
export function watchMemory(): () => number {
  const Memory = WebAssembly.Memory;
  let made: WebAssembly.Memory | null = null;
  const watching = function watching(descriptor: WebAssembly.MemoryDescriptor): WebAssembly.Memory {
    const memory = new Memory(descriptor);
    // The library also makes an empty one, only to reach the constructor of shared buffers.
    if (descriptor.initial > 0) made = memory;
    return memory;
  };
  Object.assign(WebAssembly, { Memory: watching });
  return () => made?.buffer.byteLength ?? 0;
}
