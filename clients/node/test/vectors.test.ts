/** The recorded test vectors: the same bytes, and the same results to the last digit. */

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type Answer,
  type BehaviorResult,
  BehaviorStatus,
  type BundleSelection,
  Client,
  type Color,
  type Crop,
  EthostreamError,
  type FrameOptions,
  type FrameOutcome,
  FrameStatus,
  type Image,
} from "ethostream";

import { Connection } from "../dist/connection.js";
import type {
  BehaviorResult as BehaviorMessage,
  BoutEvent as BoutEventMessage,
} from "../dist/generated/ethostream/v1/behavior_pb.js";
import { type CropRegion, type Frame, FrameEncoding } from "../dist/generated/ethostream/v1/frame_pb.js";
import {
  type AnalyzeFrameRequest,
  type AnalyzeFrameResponse,
  type AnalyzeVideoResponse,
  type BehaviorColumns,
  FrameErrorCode,
  type FrameOutcome as FrameOutcomeMessage,
  InferenceService,
  type PoseColumns,
  type StreamFramesRequest,
  type StreamFramesResponse,
  type UploadVideoRequest,
} from "../dist/generated/ethostream/v1/inference_service_pb.js";
import {
  type GetModelResponse,
  type ListModelsResponse,
  ModelService,
} from "../dist/generated/ethostream/v1/model_service_pb.js";
import { EXACT, Server, VECTORS } from "./server.js";

const CASES = join(VECTORS, "cases");
const SERVICES = [InferenceService, ModelService];
// Poses are exact by construction; probabilities go through NumPy's exp of the server's machine.
const TOLERANCE = 2e-7;
const COLORS = new Map<FrameEncoding, Color>([
  [FrameEncoding.RGB24, "rgb"],
  [FrameEncoding.BGR24, "bgr"],
]);

interface Case {
  method: string;
  status: string;
  message: string;
  requests: JsonValue[];
  responses: JsonValue[];
}

const names = readdirSync(CASES).flatMap((file) => /^(.+)\.json$/.exec(file)?.[1] ?? []);
let server: Server;
let client: Client;
let connection: Connection;

before(async () => {
  server = await Server.start(join(VECTORS, "models"), ...EXACT);
  client = new Client(server.address);
  connection = new Connection(server.address, {});
});

after(async () => {
  client.close();
  connection.close();
  await server.stop();
});

function read(name: string): Case {
  return JSON.parse(readFileSync(join(CASES, `${name}.json`), "utf8"));
}

function methodOf({ method }: Case) {
  const [typeName, name] = method.split("/");
  return SERVICES.find((one) => one.typeName === typeName)!.methods.find((one) => one.name === name)!;
}

/** Messages one after the other, each after a zero and its length, as gRPC sends them. */
function pieces(name: string, kind: "requests" | "responses"): Buffer[] {
  let data = readFileSync(join(CASES, `${name}.${kind}.bin`));
  const found: Buffer[] = [];
  while (data.length > 0) {
    const length = data.readUInt32BE(1);
    found.push(data.subarray(5, 5 + length));
    data = data.subarray(5 + length);
  }
  return found;
}

function messagesOf<M extends Message>(name: string, kind: "requests" | "responses"): M[] {
  const { input, output } = methodOf(read(name));
  const schema: DescMessage = kind === "requests" ? input : output;
  return pieces(name, kind).map((piece) => fromBinary(schema, piece) as M);
}

function image({ data, widthPx, heightPx }: Frame): Image {
  return widthPx ? { data, widthPx, heightPx } : data;
}

function crop(region: CropRegion | undefined): Crop | undefined {
  if (region === undefined) {
    return undefined;
  }
  const { xPx, yPx, widthPx, heightPx } = region;
  return { xPx, yPx, widthPx, heightPx };
}

function frameOptions(frame: Frame): FrameOptions {
  const color = COLORS.get(frame.encoding);
  const region = crop(frame.crop);
  return {
    frameIndex: Number(frame.frameIndex),
    captureTimeNs: frame.captureTimeNs,
    ...(color && { color }),
    ...(region && { crop: region }),
  };
}

function assertOutcome(found: FrameOutcome, recorded: FrameOutcomeMessage): void {
  assert.equal(found.frameIndex, Number(recorded.frameIndex));
  assert.equal(found.captureTimeNs, recorded.captureTimeNs);
  assert.equal(found.kind, recorded.outcome.case);
  if (recorded.outcome.case === "error") {
    assert.equal(found.message, recorded.outcome.value.message);
    assert.equal(found.reason, FrameErrorCode[recorded.outcome.value.code].toLowerCase());
  }
  const poses = recorded.outcome.case === "result" ? recorded.outcome.value.poses : [];
  assert.equal(found.poses.length, poses.length);
  poses.forEach((wanted, place) => {
    const pose = found.poses[place]!;
    assert.equal(`${pose.bundle}@${pose.version}`, "vector-points@1");
    assert.deepEqual(pose.crop, crop(wanted.crop));
    assert.deepEqual(
      pose.poses,
      wanted.poses.map(({ xPx, yPx, confidence }) => ({ xPx, yPx, confidence })),
    );
  });
}

function assertClose(found: Iterable<number>, wanted: number[]): void {
  const values = [...found];
  assert.equal(values.length, wanted.length);
  for (const [place, value] of values.entries()) {
    const other = wanted[place]!;
    assert.ok(
      Object.is(value, other) || Math.abs(value - other) <= TOLERANCE,
      `${value} instead of ${other} at ${place}`,
    );
  }
}

function assertBehavior(found: BehaviorResult, recorded: BehaviorMessage): void {
  assert.equal(`${found.bundle}@${found.version}`, "vector-motion@1");
  assert.equal(found.frameIndex, Number(recorded.frameIndex));
  assert.equal(found.captureTimeNs, recorded.captureTimeNs);
  assert.equal(found.status, Number(recorded.status));
  assert.deepEqual(found.present ?? [], recorded.present);
  assertClose(found.probabilities ?? [], recorded.probabilities);
  assert.equal(found.background, recorded.background);
  assert.deepEqual(found.bouts, recorded.bouts.map(boutEvent));
}

function boutEvent({ behavior, kind, frameIndex }: BoutEventMessage) {
  const name = { 0: "", 1: "onset", 2: "offset" }[kind];
  return { behavior, kind: name, frameIndex: Number(frameIndex) };
}

for (const name of names) {
  test(`the JSON form of ${name} has the bytes of its binary form`, () => {
    const { input, output } = methodOf(read(name));
    for (const [kind, schema] of [
      ["requests", input],
      ["responses", output],
    ] as const) {
      const binary = pieces(name, kind);
      const encoded = read(name)[kind].map((one) => toBinary(schema, fromJson(schema, one)));
      assert.deepEqual(encoded.map((one) => Buffer.from(one)), binary);
      const again = binary.map((one) => toBinary(schema, fromBinary(schema, one)));
      assert.deepEqual(again.map((one) => Buffer.from(one)), binary);
    }
  });
}

test("the recorded stream gets the recorded answers", { timeout: 60_000 }, async () => {
  const requests = messagesOf<StreamFramesRequest>("stream", "requests");
  const responses = messagesOf<StreamFramesResponse>("stream", "responses");
  const start = requests[0]!.request;
  assert.ok(start.case === "start");
  const bundles = start.value.bundles.map(
    ({ bundle, thresholds, minBoutFrames, boutEvents }): BundleSelection => {
      const changed = Object.keys(thresholds).length > 0 || boutEvents;
      return { name: bundle!.name, ...(changed && { thresholds, minBoutFrames, boutEvents }) };
    },
  );
  const { frameRateHz, maxFramesInFlight, camera } = start.value;
  const stream = client.stream(bundles, { frameRateHz, maxFramesInFlight, camera });
  for (const { request } of requests.slice(1)) {
    assert.ok(request.case === "frame");
    await stream.send(image(request.value), frameOptions(request.value));
  }
  const counts = await stream.finish();
  const answers: Answer[] = [];
  for await (const answer of stream) {
    answers.push(answer);
  }
  const outcomes = answers.filter((one) => one.type === "outcome");
  const behaviors = answers.filter((one) => one.type === "behavior");
  for (const { response } of responses) {
    if (response.case === "outcome") {
      assertOutcome(outcomes.shift()!, response.value);
    } else if (response.case === "behavior") {
      assertBehavior(behaviors.shift()!, response.value);
    } else if (response.case === "ended") {
      assert.equal(counts.results, Number(response.value.framesResult));
      assert.equal(counts.errors, Number(response.value.framesError));
    }
  }
  assert.deepEqual([outcomes, behaviors], [[], []]);
});

test("the recorded session of single calls gets the recorded answers", async () => {
  const requests = messagesOf<AnalyzeFrameRequest>("session", "requests");
  const responses = messagesOf<AnalyzeFrameResponse>("session", "responses");
  const { bundles, frameRateHz } = requests[0]!.start!;
  const session = client.session(bundles.map(({ bundle }) => bundle!.name), { frameRateHz });
  const behaviors: BehaviorResult[] = [];
  for (const [place, { frame }] of requests.entries()) {
    const answers = await session.analyze(image(frame!), frameOptions(frame!));
    assertOutcome(answers.outcome, responses[place]!.outcome!);
    behaviors.push(...answers.behaviors);
  }
  behaviors.push(...(await session.end()));
  const wanted = responses.flatMap((one) => one.behaviors); // which call brings one is chance
  assert.equal(behaviors.length, wanted.length);
  behaviors.forEach((found, place) => assertBehavior(found, wanted[place]!));
  assert.ok(behaviors.some((one) => one.status === BehaviorStatus.OK));
});

function recordedVideo(): Buffer {
  const requests = messagesOf<UploadVideoRequest>("upload", "requests");
  return Buffer.concat(
    requests.flatMap(({ request }) => (request.case === "data" ? [request.value] : [])),
  );
}

test("the recorded video gets the recorded columns", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "ethostream-node-"));
  try {
    const upload = join(folder, "points.mkv");
    writeFileSync(upload, recordedVideo());
    const bundles = ["vector-points", { name: "vector-motion", boutEvents: true }];
    const found = await client.analyzeAll({ upload }, bundles, { framesPerChunk: 5 });
    const chunks = messagesOf<AnalyzeVideoResponse>("video", "responses").flatMap(({ response }) =>
      response.case === "chunk" ? [response.value] : [],
    );
    const pose = (column: (one: PoseColumns) => number[]) =>
      chunks.flatMap(({ poses }) => column(poses[0]!));
    const behavior = <Value>(column: (one: BehaviorColumns) => Value[]) =>
      chunks.flatMap(({ behaviors }) => column(behaviors[0]!));
    const { rows } = found;
    assert.deepEqual([...rows.frameIndex], chunks.flatMap((one) => one.frameIndex.map(Number)));
    assert.deepEqual([...rows.ptsNs], chunks.flatMap((one) => one.ptsNs));
    assert.deepEqual([...rows.status], chunks.flatMap((one) => one.status));
    assert.deepEqual([...rows.poses[0]!.xPx], pose((one) => one.xPx));
    assert.deepEqual([...rows.poses[0]!.yPx], pose((one) => one.yPx));
    assert.deepEqual([...rows.poses[0]!.confidence], pose((one) => one.confidence));
    assert.deepEqual([...rows.behaviors[0]!.status], behavior((one) => one.status));
    assert.deepEqual(
      [...rows.behaviors[0]!.present].map(Boolean),
      behavior((one) => one.present),
    );
    assertClose(rows.behaviors[0]!.probabilities, behavior((one) => one.probabilities));
    assert.deepEqual(rows.behaviors[0]!.bouts, behavior((one) => one.bouts.map(boutEvent)));
    assert.ok(rows.behaviors[0]!.bouts.length > 0);
    assert.deepEqual([found.finished.frames, found.finished.framesOk], [12, 12]);
    assert.equal(found.started.info.codec, "ffv1");
    assert.deepEqual(rows.faults, []);
    const later = await client.analyzeAll({ upload }, ["vector-points"], { resumeFrame: 7 });
    assert.deepEqual([...later.rows.frameIndex], [7, 8, 9, 10, 11]);
    assert.deepEqual(
      later.rows.poses[0]!.xPx,
      rows.poses[0]!.xPx.slice(-later.rows.poses[0]!.xPx.length),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("frames without pixels tell why", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "ethostream-node-"));
  try {
    const upload = join(folder, "damaged.mkv");
    const video = recordedVideo();
    video.fill(0, Math.floor(video.length / 2), Math.floor(video.length / 2) + 600);
    writeFileSync(upload, video);
    const { rows } = await client.analyzeAll({ upload }, ["vector-points"]);
    assert.ok(rows.faults.length > 0);
    for (const { frameIndex, status, reason } of rows.faults) {
      assert.equal(rows.status[rows.frameIndex.indexOf(frameIndex)], status);
      assert.ok(status === FrameStatus.MISSING || status === FrameStatus.CORRUPT);
      assert.notEqual(reason, "");
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the recorded bundles are told", async () => {
  const [list] = messagesOf<ListModelsResponse>("models", "responses");
  const [one] = messagesOf<GetModelResponse>("model", "responses");
  const found = await client.models();
  assert.deepEqual(
    found.map((model) => [model.name, model.version, model.manifestSha256, model.precision]),
    list!.models.map(({ bundle, manifestSha256, precision }) => [
      bundle!.name,
      bundle!.version,
      manifestSha256,
      precision,
    ]),
  );
  const { behavior, engine } = await client.model("vector-motion@1");
  assert.equal(engine, "onnxruntime:cpu");
  const wanted = one!.model!.behavior!;
  assert.deepEqual(behavior?.thresholds, wanted.thresholds);
  assert.deepEqual(behavior?.behaviors, wanted.behaviors);
  assert.equal(behavior?.futureFrames, wanted.futureFrames);
});

for (const name of names.filter((one) => one.startsWith("refused-"))) {
  test(`${name} with the recorded status and message`, async () => {
    const recorded = read(name);
    const [request] = messagesOf(name, "requests");
    const method = methodOf(recorded);
    const ask = async () => {
      if (method.methodKind === "unary") {
        await connection.unary(method as DescMethodUnary, request!);
      } else if (method.methodKind === "server_streaming") {
        for await (const _ of connection.serverStream(method as DescMethodServerStreaming, request!)) {
          assert.fail("an answer came");
        }
      } else if (method.methodKind === "bidi_streaming") {
        const call = connection.bidiStream(method as DescMethodBiDiStreaming);
        call.end(toBinary(method.input, create(method.input, request!)));
        for await (const _ of call) {
          assert.fail("an answer came");
        }
      }
      assert.fail("it was not refused");
    };
    await assert.rejects(ask(), (error) => {
      const typed = connection.error(error);
      assert.ok(typed instanceof EthostreamError, String(error));
      assert.deepEqual([typed.status, typed.message], [recorded.status, recorded.message]);
      return typed.name !== "EthostreamError";
    });
  });
}
