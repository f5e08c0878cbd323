/**
 * Compiles the module at an address, or its bytes; by default @name@.wasm beside this script. `threads` share each run,
 * where the page was built for several: `about.threads` at most.
 */
export async function load(source = new URL("./@name@.wasm", import.meta.url), { threads } = {}) {
  try {
    if (about.threads === 1) {
      const { instance } = await instantiated(source, {});
      return new Network(instance.exports, instance.exports.memory, []);
    }
    return await shared(source, threads);
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    const features = [about.relaxed ? "relaxed SIMD" : "SIMD", ...(about.threads > 1 ? ["threads"] : [])].join(" and ");
    const needed = `${features} of WebAssembly`;
    throw new Error(`${about.name}: this engine may lack ${needed}: ${error.message}`, { cause: error });
  }
}

const node = Boolean(globalThis.process?.versions?.node);

/** The network with workers beside this thread, over one memory. */
async function shared(source, wanted = node ? about.threads : navigator.hardwareConcurrency) {
  if (!node && !globalThis.crossOriginIsolated) {
    const headers = "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";
    throw new Error(`${about.name} runs on several threads: its server must send the headers ${headers}`);
  }
  const threads = Math.max(1, Math.min(about.threads, wanted));
  const pages = Math.max(1, Math.ceil(about.memory / 65536));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const { module, instance } = await instantiated(source, { env: { memory } });
  instance.exports.fill();
  const all = Array.from({ length: threads - 1 }, (_, i) => worker({ module, memory, index: i + 1 }));
  return new Network(instance.exports, memory, await Promise.all(all));
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

/** The compiled module and an instance of it. */
async function instantiated(source, imports) {
  if (source instanceof WebAssembly.Module) {
    return { module: source, instance: await WebAssembly.instantiate(source, imports) };
  }
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return WebAssembly.instantiate(source, imports);
  const url = new URL(source, import.meta.url);
  if (url.protocol === "file:" && node) {
    const { readFile } = await import("node:fs/promises");
    return WebAssembly.instantiate(await readFile(url), imports);
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  // Compiled while it arrives, by servers that say what it is.
  const said = response.headers.get("content-type")?.startsWith("application/wasm");
  if (said) return WebAssembly.instantiateStreaming(response, imports);
  return WebAssembly.instantiate(await response.arrayBuffer(), imports);
}
