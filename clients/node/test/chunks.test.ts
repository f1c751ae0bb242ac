/** Encoded video against the real server: the answers of its pictures. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import {
  type Answer,
  type ChunkCodec,
  Client,
  InvalidFrame,
  InvalidRequest,
  type LiveStream,
} from "ethostream";

import { madeFrame } from "./frames.js";
import { EXACT, python, Server, VECTORS } from "./server.js";

const MODELS = `${VECTORS}/models`;
const BUNDLES = ["vector-points", "vector-motion"];
const PICTURES = 12;
const TIMEOUT = { timeout: 240_000 };

let server: Server;
let client: Client;

before(async () => {
  server = await Server.start(MODELS, ...EXACT);
  client = new Client(server.address);
}, TIMEOUT);

after(async () => {
  client.close();
  await server.stop();
});

async function encodeChunks(codec: ChunkCodec, count: number): Promise<Uint8Array[]> {
  const printed = await python("-m", "clients.testdata.encode_chunks", codec, `${count}`);
  return printed.trimEnd().split("\n").map((line) => Buffer.from(line, "base64"));
}

async function read(stream: LiveStream) {
  const answers: Answer[] = [];
  for await (const answer of stream) {
    answers.push(answer);
  }
  return {
    outcomes: answers.filter((one) => one.type === "outcome"),
    behaviors: answers.filter((one) => one.type === "behavior"),
    taken: answers.filter((one) => one.type === "chunk"),
  };
}

for (const codec of ["h264", "hevc", "mjpeg"] as const) {
  test(`${codec} chunks give the answers of their pictures`, TIMEOUT, async () => {
    const stream = client.stream(BUNDLES, { frameRateHz: 30 });
    const numbers = Array.from({ length: PICTURES }, (_, number) => number);
    for (const data of await encodeChunks(codec, PICTURES)) {
      await stream.sendChunk(data, { codec, captureTimeNs: BigInt(stream.ledger.chunks) });
    }
    const counts = await stream.finish();
    const { outcomes, behaviors, taken } = await read(stream);
    assert.deepEqual(outcomes.map((one) => one.frameIndex), numbers);
    assert.deepEqual(outcomes.map((one) => Number(one.captureTimeNs)), numbers);
    assert.deepEqual(behaviors.map((one) => one.frameIndex), numbers);
    assert.deepEqual(taken.map((one) => one.chunkIndex), numbers);
    assert.ok(taken.every((one) => !one.isLost && one.packetsCorrupt === 0));
    const { results, inFlight, unexpected, chunksAcknowledged } = counts;
    assert.deepEqual([results, inFlight, unexpected, chunksAcknowledged], [12, 0, 0, 12]);
    // picture n has its brightest point at (4 + 2 n, 10); a point is 2 x 2 px
    const brightest = outcomes.map(({ poses }) => poses[0]!.poses[0]!);
    assert.deepEqual(brightest.map((one) => one.xPx[0]), numbers.map((number) => 4.5 + 2 * number));
    assert.ok(brightest.every((one) => one.yPx[0] === 10.5));
  });
}

test("a stream of chunks goes on after its server was killed", TIMEOUT, async () => {
  let there = await Server.start(MODELS, ...EXACT);
  const other = new Client(there.address);
  try {
    const stream = other.stream(BUNDLES, { frameRateHz: 30 });
    for (const [number, data] of (await encodeChunks("h264", 40)).entries()) {
      if (number === 15) { // the server takes no more, so that the next three are lost
        while (stream.ledger.chunksAcknowledged < 15) {
          await sleep(20);
        }
        there.kill("SIGSTOP");
      }
      await stream.sendChunk(data, { codec: "h264" });
      if (number === 17) {
        await there.stop("SIGKILL");
        there = await Server.start(MODELS, ...EXACT, "--listen", there.address);
      }
    }
    const counts = await stream.finish();
    const { outcomes, behaviors, taken } = await read(stream);
    assert.equal(stream.reconnects, 1);
    assert.deepEqual(taken.map((one) => one.chunkIndex), [...Array(40).keys()]);
    assert.equal(taken.filter((one) => one.isLost).length, counts.chunksLost);
    assert.equal(counts.chunksLost, 3);
    const numbers = [...Array(counts.accepted).keys()];
    assert.deepEqual(outcomes.map((one) => one.frameIndex), numbers);
    assert.deepEqual(behaviors.map((one) => one.frameIndex), numbers);
    assert.deepEqual([counts.inFlight, counts.unexpected], [0, 0]);
  } finally {
    other.close();
    await there.stop();
  }
});

test("what cannot be sent is told at once and the stream goes on", TIMEOUT, async () => {
  const stream = client.stream(BUNDLES);
  const [first, second] = await encodeChunks("mjpeg", 2);
  const codec = "mjpeg";
  await stream.sendChunk(first!, { codec, chunkIndex: 3 });
  for (const [data, options, kind, words] of [
    [second!, { codec, chunkIndex: 3 }, InvalidFrame, /chunk 3 after chunk 3/],
    [second!, { codec: "hevc" }, InvalidRequest, /sends mjpeg chunks; open another one/],
    ["text" as unknown as Uint8Array, { codec }, InvalidFrame, /not string/],
  ] as const) {
    await assert.rejects(stream.sendChunk(data, options), (error) => {
      return error instanceof kind && words.test(error.message);
    });
  }
  await assert.rejects(stream.send(madeFrame(0, 64, 48)), /sends chunks; open another one/);
  await stream.sendChunk(second!, { codec });
  assert.equal((await stream.finish()).results, 2);
  const frames = client.stream(BUNDLES);
  await frames.send(madeFrame(0, 64, 48));
  await assert.rejects(frames.sendChunk(second!, { codec }), /sends frames; open another one/);
  await frames.finish();
  const unknown = client.stream(BUNDLES);
  const av1 = "av1" as ChunkCodec;
  await assert.rejects(unknown.sendChunk(first!, { codec: av1 }), /choose one of h264, hevc, mjpeg/);
  await unknown.finish();
});
