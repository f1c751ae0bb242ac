/** The client's account: one outcome a frame and one result per behavior bundle, in order. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { type BehaviorResult, BehaviorStatus, type FrameOutcome } from "ethostream";

import { AnswerQueue } from "../dist/answers.js";
import { Backoff } from "../dist/backoff.js";
import { Ledger } from "../dist/ledger.js";

const CAGE = { name: "cage", version: 1, behaviors: ["rest", "rear"] };

function outcome(frameIndex: number): FrameOutcome {
  return {
    type: "outcome",
    frameIndex,
    captureTimeNs: 0n,
    kind: "result",
    poses: [],
    reason: "",
    message: "",
    arrivalTimeNs: 1n,
    roundTripNs: 1,
  };
}

function behavior(frameIndex: number): BehaviorResult {
  return {
    type: "behavior",
    frameIndex,
    captureTimeNs: 0n,
    bundle: "cage",
    version: 1,
    behaviors: CAGE.behaviors,
    status: BehaviorStatus.OK,
    latencyNs: 1,
    background: false,
    bouts: [],
  };
}

test("outcomes are delivered in the order of the frames", () => {
  const ledger = new Ledger();
  [0, 1, 2].forEach((index) => ledger.send(index, 0n));
  assert.deepEqual(ledger.settle(outcome(1)), []);
  assert.equal(ledger.sentInFlight, 2);
  assert.deepEqual(ledger.settle(outcome(0)), [outcome(0), outcome(1)]);
  assert.equal(ledger.counts.inFlight, 1);
});

test("an answer that nobody waits for is counted and not delivered", () => {
  const ledger = new Ledger();
  ledger.setBehaviorBundles([CAGE]);
  ledger.send(0, 0n);
  assert.equal(ledger.settle(outcome(0)).length, 1);
  assert.deepEqual([ledger.settle(outcome(0)), ledger.settle(outcome(9))], [[], []]);
  assert.deepEqual(ledger.settleBehavior(behavior(0)), [behavior(0)]);
  assert.deepEqual(ledger.settleBehavior(behavior(0)), []);
  assert.deepEqual(ledger.settleBehavior({ ...behavior(0), bundle: "other" }), []);
  assert.equal(ledger.counts.unexpected, 4);
});

test("a frame that was left out here is owed a behavior result without an answer", () => {
  const ledger = new Ledger();
  ledger.setBehaviorBundles([CAGE]);
  ledger.send(0, 0n);
  assert.deepEqual(ledger.skip(1, 5n), []); // after frame 0
  ledger.send(2, 0n);
  const [, skipped] = ledger.settle(outcome(0));
  assert.ok(skipped?.type === "outcome");
  assert.deepEqual([skipped.kind, skipped.reason, skipped.captureTimeNs], ["skipped", "no_credit", 5n]);
  assert.equal(ledger.settleBehavior(behavior(0)).length, 1);
  const [owed, found] = ledger.settleBehavior(behavior(2));
  assert.ok(owed?.type === "behavior");
  assert.deepEqual([owed.frameIndex, owed.status], [1, BehaviorStatus.NO_FRAME]);
  assert.deepEqual(found, behavior(2));
});

test("closing answers all that is open as lost", () => {
  const ledger = new Ledger();
  ledger.setBehaviorBundles([CAGE]);
  [0, 1].forEach((index) => ledger.send(index, 0n));
  ledger.settle(outcome(1));
  const answers = ledger.close("gone");
  assert.deepEqual(
    answers.map((one) => {
      assert.ok(one.type !== "trigger");
      return one.type === "chunk"
        ? [one.type, one.chunkIndex, one.isLost]
        : [one.type, one.frameIndex, one.type === "outcome" ? one.reason : one.status];
    }),
    [
      ["outcome", 0, "lost"],
      ["outcome", 1, ""],
      ["behavior", 0, BehaviorStatus.ERROR],
      ["behavior", 1, BehaviorStatus.ERROR],
    ],
  );
  const { accepted, results, lost, inFlight } = ledger.counts;
  assert.deepEqual([accepted, results, lost, inFlight, ledger.sentInFlight], [2, 1, 1, 0, 0]);
});

test("frames of chunks turn up with acknowledgements or answers, and numbers go on", () => {
  const ledger = new Ledger();
  const taken = { type: "chunk", packetsCorrupt: 0, message: "", isLost: false } as const;
  [0, 1, 2].forEach((index) => ledger.sendChunk(index, BigInt(10 * index)));
  const answer = { ...taken, chunkIndex: 0, framesDecoded: 2 };
  assert.deepEqual(ledger.acknowledge(answer), [{ ...answer, captureTimeNs: 0n }]);
  assert.deepEqual(ledger.acknowledge(answer), []); // of no open chunk
  assert.deepEqual([ledger.chunksInFlight, ledger.sentInFlight], [2, 2]);
  assert.equal(ledger.number(2n, 10n), 2); // a frame of chunk 1, before its acknowledgement
  assert.ok(ledger.roundTripNs(2) > 0);
  assert.equal(ledger.settle(outcome(0)).length, 1);
  const lost = ledger.close("gone");
  assert.deepEqual(
    lost.map((one) => (one.type === "chunk" ? [one.chunkIndex, one.isLost] : [one.frameIndex])),
    [[1], [2], [1, true], [2, true]],
  );
  ledger.sendChunk(3, 0n);
  assert.equal(ledger.number(0n, 0n), 3); // the first frame of the next connection
  const { accepted, results, unexpected, chunks, chunksAcknowledged, chunksLost } = ledger.counts;
  assert.deepEqual([accepted, results, ledger.counts.lost, unexpected], [4, 1, 2, 1]);
  assert.deepEqual([chunks, chunksAcknowledged, chunksLost], [4, 1, 2]);
});

test("a sender waits while too many answers are unread", async () => {
  const queue = new AnswerQueue(() => 0);
  queue.push(Array.from({ length: 16_384 }, (_, index) => outcome(index)));
  let hasRoom = false;
  const waiting = queue.waitForRoom().then(() => (hasRoom = true));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(hasRoom, false);
  assert.deepEqual(await queue.next(), outcome(0));
  await waiting;
  queue.close();
  let read = 1;
  while ((await queue.next()) !== undefined) {
    read += 1;
  }
  assert.equal(read, 16_384);
});

test("waits double up to a limit, with jitter", () => {
  const backoff = new Backoff(0.1, 1, () => 0.5);
  const waits = Array.from({ length: 6 }, () => backoff.nextSeconds());
  assert.deepEqual(waits, [0.1, 0.2, 0.4, 0.8, 1, 1]);
  backoff.reset();
  assert.equal(backoff.nextSeconds(), 0.1);
});
