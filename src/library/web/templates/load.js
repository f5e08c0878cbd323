/** Compiles the module at an address, or its bytes; by default @name@.wasm beside this script. */
export async function load(source = new URL("./@name@.wasm", import.meta.url)) {
  try {
    return new Network((await instance(source)).exports);
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    const needed = about.relaxed ? "relaxed SIMD of WebAssembly" : "SIMD of WebAssembly";
    throw new Error(`${about.name}: this engine may lack ${needed}: ${error.message}`, { cause: error });
  }
}

async function instance(source) {
  if (source instanceof WebAssembly.Module) return WebAssembly.instantiate(source);
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) {
    return (await WebAssembly.instantiate(source)).instance;
  }
  const url = new URL(source, import.meta.url);
  if (url.protocol === "file:" && globalThis.process?.versions?.node) {
    const { readFile } = await import("node:fs/promises");
    return (await WebAssembly.instantiate(await readFile(url))).instance;
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  // Compiled while it arrives, by servers that say what it is.
  const said = response.headers.get("content-type")?.startsWith("application/wasm");
  if (said) return (await WebAssembly.instantiateStreaming(response)).instance;
  return (await WebAssembly.instantiate(await response.arrayBuffer())).instance;
}
