// What runs in the browser: each engine's CIFAR-10 network on the same numbers. `run.mjs` calls `measure`.
const INPUT = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i));

async function ours(folder) {
  const { load } = await import(`./${folder}/cifar10.js`);
  const network = await load();
  return async () => network.run(INPUT);
}

async function onnxruntime() {
  const ort = await import("./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create("./cifar10.onnx", { executionProviders: ["wasm"] });
  const input = new ort.Tensor("float32", INPUT, [1, 3, 32, 32]);
  return async () => (await session.run({ [session.inputNames[0]]: input }))[session.outputNames[0]].data;
}

/** The tensors of a safetensors file. */
async function tensors(path) {
  const bytes = await (await fetch(path)).arrayBuffer();
  const length = Number(new DataView(bytes).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
  delete header.__metadata__;
  const numbers = ({ dtype, data_offsets: [start, end] }) => {
    const Numbers = { F32: Float32Array, F16: Float16Array }[dtype];
    return Float32Array.from(new Numbers(bytes.slice(8 + length + start, 8 + length + end)));
  };
  return Object.fromEntries(Object.entries(header).map(([name, t]) => [name, { ...t, data: numbers(t) }]));
}

/** The network as models/cifar10.nin writes it; dropout that is not inverted halves its input. */
function network(tf, input, conv) {
  let x = input;
  for (const block of ["block1", "block2"]) {
    x = conv(x, `${block}.conv`);
    x = conv(conv(x, `${block}.cccp1`), `${block}.cccp2`);
    x = tf.mul(tf.maxPool(x, 3, 2, "same"), 0.5);
  }
  for (const layer of ["conv3", "cccp5", "cccp6"]) x = conv(x, layer);
  return tf.softmax(tf.mean(x, [1, 2]));
}

async function tensorflow() {
  const scripts = ["tfjs-core/dist/tf-core.min.js", "tfjs-backend-wasm/dist/tf-backend-wasm.min.js"];
  for (const script of scripts) {
    await new Promise((done, failed) => {
      const tag = document.createElement("script");
      Object.assign(tag, { src: `./node_modules/@tensorflow/${script}`, onload: done, onerror: failed });
      document.head.append(tag);
    });
  }
  const { tf } = globalThis;
  tf.wasm.setWasmPaths("./node_modules/@tensorflow/tfjs-backend-wasm/dist/");
  tf.wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  const all = await tensors("./cifar10.safetensors");
  const layers = Object.keys(all).filter((name) => name.endsWith(".weight")).map((name) => name.slice(0, -7));
  const weights = (name) => tf.transpose(tf.tensor(all[name].data, all[name].shape), [2, 3, 1, 0]);
  const convolution = (layer) => ({ w: weights(`${layer}.weight`), b: tf.tensor(all[`${layer}.bias`].data) });
  const made = Object.fromEntries(layers.map((layer) => [layer, convolution(layer)]));
  const conv = (x, layer) =>
    tf.fused.conv2d({ x, filter: made[layer].w, bias: made[layer].b, strides: 1, pad: "same", activation: "relu" });
  const input = tf.transpose(tf.tensor(INPUT, [1, 3, 32, 32]), [0, 2, 3, 1]);
  return async () => {
    const result = tf.tidy(() => network(tf, input, conv));
    const numbers = await result.data();
    result.dispose();
    return numbers;
  };
}

const engines = {
  strict: () => ours("strict"),
  relaxed: () => ours("relaxed"),
  "onnxruntime-web": onnxruntime,
  "TensorFlow.js": tensorflow,
};

globalThis.measure = async (name, runs) => {
  const start = performance.now();
  const run = await engines[name]();
  let result = await run();
  const first = performance.now() - start;
  for (let i = 0; i < runs; i++) await run();
  const times = [];
  for (let i = 0; i < runs; i++) {
    const begin = performance.now();
    result = await run();
    times.push(performance.now() - begin);
  }
  times.sort((a, b) => a - b);
  return { first, median: times[runs >> 1], best: times[0], result: Array.from(result) };
};
/** The classes of a picture, from a network's script; `first.mjs` calls it. */
globalThis.firstAnswer = async (script) => {
  const { load } = await import(script);
  const picture = new ImageData(64, 48);
  picture.data.forEach((_, i) => (picture.data[i] = (i * 37) & 255));
  return (await load()).classify(picture).top;
};
globalThis.ready = true;
