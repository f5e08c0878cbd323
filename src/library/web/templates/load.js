/**
 * Compiles the module at an address, or its bytes; by default @name@.wasm beside this script. `threads` share each run,
 * where the page was built for several: `about.threads` at most.
 */
export async function load(source = new URL("./@name@.wasm?v=@module-sum@", import.meta.url), { threads } = {}) {
  if (about.threads > 1 && !node && !globalThis.crossOriginIsolated) {
    const headers = "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";
    throw new Error(`${about.name} runs on several threads: its server must send the headers ${headers}`);
  }
  const module = await compiled(source);
  // Addresses are the script's: with another module's memory they would mean something else.
  const [build] = WebAssembly.Module.customSections(module, "ninc").map((bytes) => String.fromCharCode(...new Uint8Array(bytes)));
  if (build !== about.build) throw new Error(`@name@.wasm ${OTHER}`);
  if (about.threads > 1) return shared(module, threads);
  const { exports } = await WebAssembly.instantiate(module);
  return new Network(exports, exports.memory, []);
}

const OTHER = "is of another build than @name@.js: reload, or put both of one build there";

const node = Boolean(globalThis.process?.versions?.node);

/** The network with workers beside this thread, over one memory. The workers get the module that was checked here. */
async function shared(module, wanted = node ? about.threads : navigator.hardwareConcurrency) {
  const threads = Math.max(1, Math.min(about.threads, wanted));
  const pages = Math.max(1, Math.ceil(about.memory / 65536));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  exports.fill();
  const all = Array.from({ length: threads - 1 }, (_, i) => worker({ module, memory, index: i + 1 }));
  return new Network(exports, memory, await Promise.all(all));
}

/** A worker that is ready. */
async function worker(message) {
  const url = new URL("./@name@.worker.js", import.meta.url);
  const Thread = node ? (await import("node:worker_threads")).Worker : Worker;
  const thread = new Thread(url, { type: "module" });
  await new Promise((ready, failed) => {
    if (node) thread.once("message", ready).once("error", failed);
    else [thread.onmessage, thread.onerror] = [ready, (event) => failed(new Error(event.message || `${url} fails`))];
    thread.postMessage(message);
  });
  // A worker keeps no program of Node alive.
  thread.unref?.();
  return thread;
}

/** The module at an address, or that of these bytes. */
async function compiled(source) {
  if (source instanceof WebAssembly.Module) return source;
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return compiledBytes(source);
  const url = new URL(source, import.meta.url);
  if (url.protocol === "file:" && node) {
    const { readFile } = await import("node:fs/promises");
    return compiledBytes(await readFile(url));
  }
  const fetched = async () => {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
    return response;
  };
  const response = await fetched();
  if (response.headers.get("content-type")?.startsWith("application/wasm")) {
    try {
      // Compiled while it arrives, by servers that say what it is.
      return await WebAssembly.compileStreaming(response);
    } catch (error) {
      // Its bytes say why.
      if (!(error instanceof WebAssembly.CompileError)) throw error;
      return compiledBytes(await (await fetched()).arrayBuffer());
    }
  }
  return compiledBytes(await response.arrayBuffer());
}

async function compiledBytes(bytes) {
  try {
    return await WebAssembly.compile(bytes);
  } catch (error) {
    throw error instanceof WebAssembly.CompileError ? new Error(fault(bytes, error), { cause: error }) : error;
  }
}

/** Why bytes are not a module that this engine takes. */
function fault(bytes, { message }) {
  const [whole, length] = [about.bytes.module, bytes.byteLength];
  const start = ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, length) : new Uint8Array(bytes);
  // "\0asm"
  if (![0, 97, 115, 109].every((byte, i) => i >= length || start[i] === byte)) {
    return "@name@.wasm is not a module of WebAssembly: does the server answer with a page in its place?";
  }
  if (length < whole) return `@name@.wasm is not whole: ${length} of ${whole} bytes`;
  if (length > whole) return `@name@.wasm ${OTHER}`;
  const features = [about.relaxed ? "relaxed SIMD" : "SIMD", ...(about.threads > 1 ? ["threads"] : [])].join(" and ");
  return `${about.name}: this engine may lack ${features} of WebAssembly: ${message}`;
}
