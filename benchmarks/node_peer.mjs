// Node's side of `benchmarks.node`: reads requests, one JSON object a line, and answers each with one line.
//
//   {"do": "load", "streams": [{"path": ..., "sizes": [...]}]}   bodies, and the sizes of their chunks
//   {"do": "pass"}     reads them all once           -> {"seconds": ...}
//   {"do": "read"}     the same, with what it found  -> {"events": [[...], ...]}

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { createParser } = await import(pathToFileURL(process.argv[2]).href);

let streams = [];

// One streaming TextDecoder a body, as every JavaScript client has it: the parser takes strings.
function readStream(chunks, onEvent) {
  const decoder = new TextDecoder();
  const parser = createParser({ onEvent });
  for (const chunk of chunks) parser.feed(decoder.decode(chunk, { stream: true }));
}

function load(specs) {
  streams = specs.map(({ path, sizes }) => {
    const body = readFileSync(path);
    let start = 0;
    return sizes.map((size) => body.subarray(start, (start += size)));
  });
  return {};
}

function pass() {
  let last = null;
  const start = process.hrtime.bigint();
  for (const chunks of streams) readStream(chunks, (event) => (last = JSON.parse(event.data)));
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  return { seconds, last: last?.type };
}

function read() {
  const events = streams.map((chunks) => {
    const found = [];
    readStream(chunks, (event) => found.push(JSON.parse(event.data)));
    return found;
  });
  return { events };
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const answer = request.do === "load" ? load(request.streams) : request.do === "pass" ? pass() : read();
  process.stdout.write(JSON.stringify(answer) + "\n");
}
