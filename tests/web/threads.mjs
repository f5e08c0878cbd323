// Runs a built network with one thread and with several and compares all bits, in Node.
//
//     node threads.mjs NAME.js
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const { about, load } = await import(pathToFileURL(process.argv[2]));
const count = about.input.shape.reduce((a, b) => a * b);
const inputs = Array.from({ length: 5 }, (_, i) => Float32Array.from({ length: count }, (_, j) => ((i + 1) * j * 37 % 256) / 256));
const bits = (numbers) => Array.from(new Uint32Array(numbers.buffer));
const results = async (threads) => {
  const network = await load(undefined, { threads });
  assert.equal(network.threads, threads);
  // Again and again, so that threads meet in every order; then alone.
  const all = Array.from({ length: 20 }, (_, i) => bits(network.run(inputs[i % inputs.length])));
  const [times, before] = [network.profile(1).length, network.threads];
  network.close();
  assert.equal(network.threads, 1);
  all.push(bits(network.run(inputs[0])));
  return { all, times, before };
};
const one = await results(1);
assert.notDeepEqual(one.all[0], one.all[1]);
assert.deepEqual(one.all[20], one.all[0]);
for (let threads = 2; threads <= about.threads; threads++) {
  const { all, times } = await results(threads);
  assert.deepEqual(all, one.all, `${threads} threads give other bits`);
  assert.equal(times, about.layers.length);
}
console.log(JSON.stringify({ threads: about.threads, bits: one.all[0] }));
