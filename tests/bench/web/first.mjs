// From the start of `ninc build` to the first answer of the script that it writes, compilation by the browser included, in
// a headless browser that has a page of the same server open; medians of several rounds, each in a new browser, which has
// three seconds to be done with its own start: it takes both cores of a small machine.
import { spawnSync } from "node:child_process";
import { setTimeout } from "node:timers/promises";
import { Browser, serve } from "../../web/browser.mjs";

const [ninc, folder, rounds = "9"] = process.argv.slice(2);
const { server, address } = await serve(folder);

/** Builds a page of the network and asks it for a first answer; milliseconds of both. */
async function round(network, i) {
  const name = `first-${network}-${i}`;
  const browser = await Browser.start();
  try {
    await browser.open(`${address}/bench.html`);
    await browser.until("globalThis.ready");
    await setTimeout(3000);
    const start = performance.now();
    const weights = ["--weights", `models/${network}.safetensors`];
    const command = ["build", `models/${network}.nin`, ...weights, "--target", "wasm32", "--overwrite", "-o", `${folder}/${name}`];
    const { status, stderr } = spawnSync(ninc, command, { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
    const built = performance.now();
    await browser.value(`firstAnswer("/${name}/${network}.js")`);
    return [built - start, performance.now() - built];
  } finally {
    await browser.close();
  }
}

const median = (times) => times.toSorted((a, b) => a - b)[times.length >> 1].toFixed(0);
try {
  for (const network of ["digits", "mnist", "cifar10"]) {
    const times = [];
    for (let i = 0; i < Number(rounds); i++) times.push(await round(network, i));
    const whole = times.map(([build, answer]) => build + answer);
    const [build, answer] = [0, 1].map((part) => median(times.map((time) => time[part])));
    console.log(`${network.padEnd(8)} built in ${build} ms, first answer ${answer} ms later, in all ${median(whole)} ms`);
  }
} finally {
  server.close();
}
