/** The examples run as they stand there, against a real server. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { EXACT, REPOSITORY, Server, VECTORS } from "./server.js";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "ethostream-node-"));
const images = join(folder, "images");
const video = join(folder, "points.mkv");
let server: Server;

function recorded(name: string): any[] {
  return JSON.parse(readFileSync(join(VECTORS, "cases", `${name}.json`), "utf8")).requests;
}

before(async () => {
  mkdirSync(images);
  const png = recorded("stream").find((one) => one.frame?.encoding === "FRAME_ENCODING_PNG");
  for (let number = 0; number < 4; number++) {
    writeFileSync(join(images, `${number}.png`), Buffer.from(png.frame.data, "base64"));
  }
  const pieces = recorded("upload").map((one) => Buffer.from(one.data ?? "", "base64"));
  writeFileSync(video, Buffer.concat(pieces));
  server = await Server.start(join(VECTORS, "models"), ...EXACT);
});

after(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

async function example(name: string, ...args: string[]): Promise<string[]> {
  const path = join(REPOSITORY, "clients", "node", "examples", name);
  const { stdout } = await run(process.execPath, [path, ...args], { timeout: 60_000 });
  return stdout.trimEnd().split("\n");
}

test("folder.mjs prints poses with latency", async () => {
  const lines = await example("folder.mjs", images, server.address, "vector-points");
  const frames = lines.filter((one) => /^frame \d: \(20\.5, 10\.5\) \(30\.5, 32\.5\), [\d.]+ ms$/.test(one));
  assert.equal(frames.length, 4, lines.join("\n"));
  assert.match(lines.join("\n"), /results: 4/);
});

test("session.mjs prints behaviors", async () => {
  const lines = await example("session.mjs", images, server.address, "vector-motion");
  assert.deepEqual(lines, [
    "frame 0: NO_CONTEXT",
    "frame 1: bright",
    "frame 2: bright",
    "frame 3: NO_CONTEXT",
  ]);
});

test("video.mjs prints keypoints", async () => {
  const lines = await example("video.mjs", video, server.address, "vector-points");
  assert.equal(lines.length, 1 + 12 * 2 * 2);
  assert.equal(lines[1], "0,OK,0,bright,4.500,10.500,0.781");
  assert.equal(lines[6], "1,OK,0,dark,30.500,38.500,0.957");
});

test("models.mjs lists bundles", async () => {
  const lines = await example("models.mjs", server.address);
  assert.deepEqual(lines, [
    "vector-motion@1 ready onnxruntime:cpu fp32: bright, brightening",
    "vector-points@1 ready onnxruntime:cpu fp32: bright, dark",
  ]);
});

test("models.mjs tells what went wrong", async () => {
  await assert.rejects(example("models.mjs", "127.0.0.1:1"), (error: { stderr?: string }) => {
    return /^Unavailable \(UNAVAILABLE\): no server answers at 127/.test(error.stderr ?? "");
  });
});

test("the JavaScript of the guide answers every frame", async () => {
  const guide = readFileSync(join(REPOSITORY, "clients", "README.md"), "utf8");
  const blocks = [...guide.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code!);
  const [code, ...others] = blocks.filter((one) => one.includes("import { Client }"));
  assert.deepEqual(others, []);
  const frame = "{ data: new Uint8Array(64 * 48).fill(9), widthPx: 64, heightPx: 48 }";
  const path = join(REPOSITORY, "clients", "node", "build", "guide.mjs"); // finds "ethostream"
  const here = code!
    .replace("127.0.0.1:50051", server.address)
    .replace("openfield-mouse", "vector-points");
  writeFileSync(path, `const camera = [${frame}, ${frame}, ${frame}];\n${here}`);
  const { stdout } = await run(process.execPath, [path], { timeout: 60_000 });
  assert.match(stdout, /^0 \[ [\d.]+, [\d.]+ \]/);
  assert.match(stdout, /results: 3/);
});
