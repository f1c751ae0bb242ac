/** A live stream against the real server: every frame answered once, in order, as for Python. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  Client,
  type Color,
  InvalidFrame,
  InvalidRequest,
  NotFound,
  StreamClosed,
  type Trigger,
  type TriggerEvent,
} from "ethostream";

import { madeFrame, plain, streamMade } from "./frames.js";
import { EXACT, python, Server, SHIPPED_MODELS, VECTORS } from "./server.js";

const BUNDLES = ["vector-points", "vector-motion"];
const SIZE = [64, 48] as const;
const FRAME = madeFrame(0, ...SIZE);
const TIMEOUT = { timeout: 240_000 };

let server: Server;
let client: Client;

before(async () => {
  server = await Server.start(`${VECTORS}/models`, ...EXACT);
  client = new Client(server.address);
}, TIMEOUT);

after(async () => {
  client.close();
  await server.stop();
});

async function pythonAnswers(address: string, bundles: string[], ...more: string[]) {
  const named = bundles.flatMap((one) => ["--bundle", one]);
  const printed = await python("-m", "clients.testdata.stream_frames", address, ...named, ...more);
  return printed.trimEnd().split("\n").map((line) => JSON.parse(line));
}

test("1000 frames are answered, none lost, in order, as the Python client's", TIMEOUT, async () => {
  const answers = await streamMade(client, BUNDLES, 1000, SIZE);
  const outcomes = answers.slice(0, 1000);
  const numbers = Array.from({ length: 1000 }, (_, number) => number);
  assert.deepEqual(outcomes.map((one) => one.frameIndex), numbers);
  assert.deepEqual(answers.slice(1000).map((one) => one.frameIndex), numbers);
  assert.ok(outcomes.every((one) => one.type === "outcome" && one.kind === "result"));
  assert.ok(answers.every((one) => one.captureTimeNs === BigInt(one.frameIndex)));
  assert.deepEqual(answers.map(plain), await pythonAnswers(server.address, BUNDLES));
});

test("shipped bundles answer as they do the Python client", TIMEOUT, async () => {
  const shipped = ["openfield-mouse", "openfield-activity"];
  const loads = shipped.flatMap((one) => ["--load", one]);
  const other = await Server.start(SHIPPED_MODELS, ...EXACT, ...loads);
  const there = new Client(other.address);
  try {
    // One in flight: batches of the same size, since that changes the last digit of a network.
    const options = { maxFramesInFlight: 1 };
    const answers = await streamMade(there, shipped, 40, [320, 240], options);
    const more = ["--frames", "40", "--size", "320", "240", "--in-flight", "1"];
    assert.deepEqual(answers.map(plain), await pythonAnswers(other.address, shipped, ...more));
  } finally {
    there.close();
    await other.stop();
  }
});

test("a stream tells its session, and each answer where its time went", TIMEOUT, async () => {
  const stream = client.stream(BUNDLES, { maxFramesInFlight: 2, camera: "top" });
  await stream.open();
  assert.equal(stream.credits, 2);
  assert.deepEqual(stream.strides, [1, 1]);
  assert.deepEqual(stream.bundles.map(({ name, version }) => [name, version]), [
    ["vector-points", 1],
    ["vector-motion", 1],
  ]);
  assert.deepEqual(stream.bundles[0]?.pose?.keypoints, ["bright", "dark"]);
  await stream.send(FRAME);
  const counts = await stream.finish();
  assert.deepEqual([counts.accepted, counts.results, counts.inFlight], [1, 1, 0]);
  for await (const answer of stream) {
    if (answer.type === "outcome") {
      assert.ok(answer.roundTripNs > (answer.timings?.totalNs ?? Infinity));
      assert.ok(answer.captureTimeNs > 10n ** 18n);
    } else if (answer.type === "behavior") {
      assert.deepEqual(answer.behaviors, ["bright", "brightening"]);
    }
  }
});

test("triggers tell when a keypoint enters and leaves, in streams and sessions", TIMEOUT, async () => {
  const answers = await streamMade(client, ["vector-points"], 12, SIZE);
  const places = answers.map((one) => {
    assert.ok(one.type === "outcome");
    const { xPx, yPx } = one.poses[0]!.poses[0]!;
    return { xPx: xPx[0]!, yPx: yPx[0]! };
  });
  const center = places[4]!;
  const radiusPx = 5;
  const condition: Trigger["condition"] = {
    condition: {
      case: "inRegion",
      value: {
        keypoint: { keypoint: "bright", minConfidence: 0 },
        region: { case: "circle", value: { center, radiusPx } },
      },
    },
  };
  const isIn = places.map(
    ({ xPx, yPx }) => Math.hypot(xPx - center.xPx, yPx - center.yPx) <= radiusPx,
  );
  const expected = isIn.flatMap((now, frameIndex) =>
    now === (isIn[frameIndex - 1] ?? false) ? [] : [[now ? "on" : "off", frameIndex]],
  );
  const triggers = [{ name: "near", condition }];

  const stream = client.stream("vector-points", { triggers });
  const session = client.session("vector-points", { triggers });
  const streamed: TriggerEvent[] = [];
  const called: TriggerEvent[] = [];
  for (let number = 0; number < 12; number++) {
    const frame = madeFrame(number, ...SIZE);
    await stream.send(frame, { captureTimeNs: BigInt(1000 + number) });
    called.push(...(await session.analyze(frame)).triggers);
  }
  await stream.finish();
  await session.end();
  for await (const answer of stream) {
    if (answer.type === "trigger") {
      streamed.push(answer);
    }
  }
  assert.ok(expected.length > 0);
  assert.deepEqual(streamed.map(({ kind, frameIndex }) => [kind, frameIndex]), expected);
  assert.deepEqual(called.map(({ kind, frameIndex }) => [kind, frameIndex]), expected);
  assert.ok(streamed.every((one) => one.trigger === "near" && one.latencyNs > 0));
  assert.ok(streamed.every((one) => one.captureTimeNs === BigInt(1000 + one.frameIndex)));

  const unknown = { name: "near", condition: {} };
  await assert.rejects(client.stream("vector-points", { triggers: [unknown] }).open(), InvalidRequest);
});

test("predictions are made of one animal, and refused of several", TIMEOUT, async () => {
  const prediction = { aheadMs: 50 };
  const several = client.stream("vector-points", { prediction });
  await assert.rejects(several.open(), /2 animals/);
  const other = await Server.start(SHIPPED_MODELS, ...EXACT, "--load", "openfield-mouse");
  const there = new Client(other.address);
  try {
    const session = there.session("openfield-mouse", { prediction });
    for (let number = 0; number < 2; number++) {
      const { outcome } = await session.analyze(madeFrame(number, 320, 240));
      assert.ok(outcome.kind === "result");
      const [pose] = outcome.poses;
      assert.equal(pose!.predicted!.length, 1);
      assert.equal(pose!.predicted![0]!.xPx.length, pose!.poses[0]!.xPx.length);
    }
    await session.end();
  } finally {
    there.close();
    await other.stop();
  }
});

test("no more frames are in flight than the server gave credits", TIMEOUT, async () => {
  const stream = client.stream(BUNDLES, { maxFramesInFlight: 3 });
  let most = 0;
  for (let number = 0; number < 50; number++) {
    await stream.send(FRAME);
    most = Math.max(most, stream.ledger.inFlight);
  }
  await stream.finish();
  assert.ok(most > 1 && most <= 3, `${most} frames in flight`);
});

test("with 'latest' what finds no room is answered as skipped", TIMEOUT, async () => {
  const stream = client.stream(BUNDLES, { freshness: "latest", maxFramesInFlight: 1 });
  for (let number = 0; number < 200; number++) {
    await stream.send(FRAME);
  }
  const counts = await stream.finish();
  const kinds = { outcome: 0, behavior: 0 };
  for await (const answer of stream) {
    assert.ok(answer.type === "outcome" || answer.type === "behavior");
    assert.equal(answer.frameIndex, kinds[answer.type]);
    kinds[answer.type] += 1;
  }
  assert.deepEqual(kinds, { outcome: 200, behavior: 200 });
  assert.equal(counts.results + counts.skipped, 200);
  assert.ok(counts.skipped > 0);
});

test("four streams at once do not mix their answers", TIMEOUT, async () => {
  const streams = [3, 5, 7, 11].map(async (first) => {
    const stream = client.stream("vector-points");
    for (let number = first; number < first + 100; number++) {
      await stream.send(madeFrame(number, ...SIZE), { frameIndex: number });
    }
    await stream.finish();
    const found = [];
    for await (const answer of stream) {
      assert.ok(answer.type === "outcome" || answer.type === "behavior");
      found.push(plain(answer));
    }
    return found as { frame: number }[];
  });
  const all = (await Promise.all(streams)).flat();
  assert.equal(all.length, 400);
  const byFrame = new Map<number, unknown>();
  for (const answer of all) {
    assert.deepEqual(answer, byFrame.get(answer.frame) ?? answer);
    byFrame.set(answer.frame, answer);
  }
});

test("what cannot be sent is told at once and the stream goes on", TIMEOUT, async () => {
  const stream = client.stream("vector-points");
  await stream.send(FRAME, { frameIndex: 5 });
  for (const [image, options, words] of [
    [FRAME, { frameIndex: 5 }, /frame 5 after frame 5/],
    [FRAME, { frameIndex: 7.5 }, /numbers only grow/],
    [{ ...FRAME, widthPx: 63 }, {}, /3072 bytes are no frame of 63x48 px; give 3024/],
    [{ ...FRAME, heightPx: -1 }, {}, /64x-1/],
    [FRAME, { color: "red" as Color }, /unknown color 'red'; choose one of rgb, bgr/],
    [new Uint8Array([1, 2, 3]), {}, /neither like JPEG nor like PNG/],
    [FRAME, { crop: { xPx: 0, yPx: -1, widthPx: 8, heightPx: 8 } }, /outside any frame/],
  ] as const) {
    await assert.rejects(stream.send(image, options), (error) => {
      assert.ok(error instanceof InvalidFrame, String(error));
      return words.test(error.message) && error.status === "INVALID_ARGUMENT";
    });
  }
  await stream.send(FRAME);
  assert.equal((await stream.finish()).results, 2);
});

test("what fits into no message is told at once, and no frame waits for it", TIMEOUT, async () => {
  const stream = client.stream("vector-points");
  for (const captureTimeNs of [2n ** 63n, 0.5 as unknown as bigint]) {
    await assert.rejects(stream.send(FRAME, { captureTimeNs }), (error) => {
      assert.ok(error instanceof InvalidRequest, String(error));
      return /capture_time_ns/.test(error.message);
    });
    const session = client.session("vector-points");
    await assert.rejects(session.analyze(FRAME, { captureTimeNs }), InvalidRequest);
  }
  await stream.send(FRAME);
  const counts = await stream.finish();
  assert.deepEqual([counts.accepted, counts.results], [1, 1]);
  const odd = { freshness: "deadline", maxAgeMs: 33.3 } as const;
  assert.throws(() => client.stream("vector-points", odd), /max_age_ms.*33.3/);
});

test("sends that nobody awaited in turn wait for credit all the same", TIMEOUT, async () => {
  const stream = client.stream(BUNDLES, { maxFramesInFlight: 1 });
  await stream.open();
  const sent = Array.from({ length: 20 }, () => stream.send(FRAME));
  assert.deepEqual(await Promise.all(sent), [...sent.keys()]);
  const counts = await stream.finish();
  assert.deepEqual([counts.results, counts.skipped], [20, 0]);
});

test("a finished stream takes no more frames", TIMEOUT, async () => {
  const stream = client.stream("vector-points");
  await stream.send(FRAME);
  await stream.finish();
  await assert.rejects(stream.send(FRAME), StreamClosed);
});

test("a closed stream answers what was in flight as lost", TIMEOUT, async () => {
  const stream = client.stream(BUNDLES, { maxFramesInFlight: 8 });
  for (let number = 0; number < 20; number++) {
    await stream.send(FRAME);
  }
  await stream.close();
  assert.equal(stream.ledger.inFlight, 0);
  let outcomes = 0;
  for await (const answer of stream) {
    outcomes += answer.type === "outcome" ? 1 : 0;
  }
  assert.equal(outcomes, 20);
});

test("refusals have types and say what to do", TIMEOUT, async () => {
  const unknown = client.stream("cat");
  await assert.rejects(unknown.open(), (error) => {
    assert.ok(error instanceof NotFound);
    assert.equal(error.status, "NOT_FOUND");
    return error.message.startsWith("the bundle 'cat' is not loaded; loaded are: vector-motion@1");
  });
  await assert.rejects(unknown.send(FRAME), NotFound);
  await assert.rejects(unknown.finish(), NotFound);
  await assert.rejects(client.stream("vector-motion", { frameRateHz: 20 }).open(), InvalidRequest);
  for (const options of [{ freshness: "deadline" }, { maxAgeMs: NaN }] as const) {
    assert.throws(() => client.stream(BUNDLES, options), InvalidRequest);
  }
  for (const frameRateHz of [-1, NaN, Infinity, 1e300]) {
    assert.throws(() => client.stream(BUNDLES, { frameRateHz }), InvalidRequest);
    assert.throws(() => client.analyze({ path: "a.mp4" }, BUNDLES, { frameRateHz }), InvalidRequest);
  }
  for (const bundles of [[], "a@0", "a@b", "a@1@2"]) {
    assert.throws(() => client.stream(bundles), InvalidRequest);
  }
});
