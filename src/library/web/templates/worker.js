// A thread of the network @network@: @name@.js starts it with the compiled module and the memory that all of them share.

const node = Boolean(globalThis.process?.versions?.node);
const port = node ? (await import("node:worker_threads")).parentPort : globalThis;

async function start({ module, memory, index }) {
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  port.postMessage("ready");
  // Never returns: orders come through the memory.
  exports.work(index);
}

if (node) port.once("message", start);
else port.onmessage = (event) => start(event.data);
