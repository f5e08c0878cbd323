// Types of @name@.js: the network @network@, compiled by ninc.

/** A value of the network. */
export interface Value {
  name: string;
  /** `float32`, or `uint8` for the bytes of pictures. */
  type: string;
  /** Its dimensions: channels, height, width, or one number for each class. */
  shape: number[];
}

/** A layer, or several that are computed together. */
export interface Layer {
  /** The value that it computes. */
  name: string;
  algorithm: string;
  /** Multiply-adds that it does. */
  executed: number;
  shape: number[] | null;
}

/** What the network is. */
export const about: {
  name: string;
  /** What script and module share: those of two builds do not go together. */
  build: string;
  /** The version of ninc that compiled it. */
  ninc: string;
  /** May multiply-adds be rounded once? */
  relaxed: boolean;
  /** The most threads that share a run; more than 1 need two headers from the page's server. */
  threads: number;
  classes: string[];
  input: Value;
  output: Value;
  /** The value whose channels are maps of the classes, if there is one. */
  maps: Value | null;
  /** How pictures are read, if the network takes any. */
  pictures: { channels: number; height: number; width: number; crop: boolean } | null;
  layers: Layer[];
  /** Bytes of the module, and how many of them are weights. */
  bytes: { module: number; parameters: number };
};

/** Names of the classes, in the order of the results. */
export const classes: string[];

/** Pixels, row by row, with 1 to 4 bytes each: grey, grey and alpha, RGB or RGBA, as an `ImageData` has them. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8Array | Uint8ClampedArray;
}

/** A class with its probability. */
export interface Answer {
  index: number;
  name: string;
  probability: number;
}

/** A network that is ready. */
export class Network {
  /** `load` makes one. */
  private constructor();
  /** The classes of a picture, or of numbers that are prepared; the best `top` first. */
  classify(input: Picture | Float32Array, options?: { top?: number }): { top: Answer[]; probabilities: number[] };
  /** The numbers that the network gets for a picture. */
  prepare(picture: Picture): Float32Array;
  /** The network's result for numbers that are prepared, in the shape of `about.input`. */
  run(numbers: Float32Array): Float32Array;
  /**
   * Where the last input looks like a class: the map whose mean is the class's score; null for a network without maps.
   * Throws before the first run, behind `profile`, and for an index that no class has.
   */
  map(index: number): { height: number; width: number; values: Float32Array } | null;
  /** The threads that share a run, the caller's counted. */
  readonly threads: number;
  /** Ends the threads beside the caller's; runs go on without them. */
  close(): void;
  /** Milliseconds that each of `about.layers` takes on one thread, the mean of `runs` runs. Maps of the last input are gone then. */
  profile(runs?: number): number[];
}

/** The bytes of a picture at the network's size: row by row, the channels of a pixel together. */
export function read(picture: Picture): Uint8Array;

/**
 * Compiles the module at an address, or its bytes; by default @name@.wasm beside the script. `threads` share each run,
 * `about.threads` at most; by default as many as the machine has.
 */
export function load(
  source?: string | URL | BufferSource | WebAssembly.Module,
  options?: { threads?: number },
): Promise<Network>;
