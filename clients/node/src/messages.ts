/** The one place that turns protobuf messages into the client's values and back. */

import { create } from "@bufbuild/protobuf";

import { InvalidRequest } from "./errors.js";
import * as behaviorPb from "./generated/ethostream/v1/behavior_pb.js";
import * as bundlePb from "./generated/ethostream/v1/bundle_pb.js";
import * as pb from "./generated/ethostream/v1/inference_service_pb.js";
import type * as posePb from "./generated/ethostream/v1/pose_pb.js";
import * as triggerPb from "./generated/ethostream/v1/trigger_pb.js";
import type {
  BehaviorResult,
  BoutEvent,
  BundleInfo,
  Bundles,
  BundleSelection,
  FrameOutcome,
  PoseResult,
  ResultChunk,
  TriggerEvent,
  VideoFinished,
  VideoStarted,
} from "./values.js";

const MAX_FRAME_RATE_HZ = 1_000_000;

/**
 * A frame rate for the wire.
 *
 * @throws InvalidRequest It is negative, no number, or more than the server takes.
 */
export function frameRate(rateHz: number): number {
  if (!(rateHz >= 0 && rateHz <= MAX_FRAME_RATE_HZ)) {
    throw new InvalidRequest(
      `frameRateHz is ${rateHz}; it is 0 or more, and at most ${MAX_FRAME_RATE_HZ}`,
    );
  }
  return rateHz;
}

/**
 * The bundles of a request for the wire.
 *
 * @throws InvalidRequest None is given, or a version is not a number.
 */
export function selections(bundles: Bundles): bundlePb.BundleSelection[] {
  const chosen: ReadonlyArray<string | BundleSelection> =
    typeof bundles === "string" || !isList(bundles) ? [bundles] : bundles;
  if (chosen.length === 0) {
    throw new InvalidRequest("no bundle is given; name at least one, such as 'openfield-mouse'");
  }
  return chosen.map((one) => {
    const selection: BundleSelection = typeof one === "string" ? { name: one } : one;
    const { name, thresholds = {}, minBoutFrames = {}, boutEvents = false } = selection;
    return create(bundlePb.BundleSelectionSchema, {
      bundle: reference(name),
      thresholds: { ...thresholds },
      minBoutFrames: { ...minBoutFrames },
      boutEvents,
    });
  });
}

/**
 * A bundle for the wire, from `name` or `name@version`.
 *
 * @throws InvalidRequest The version is not a whole number from 1.
 */
export function reference(bundle: string): bundlePb.BundleReference {
  const [name, number, ...more] = bundle.split("@");
  if (number === undefined) {
    return create(bundlePb.BundleReferenceSchema, { name: bundle });
  }
  if (more.length > 0 || !/^[1-9][0-9]*$/.test(number)) {
    throw new InvalidRequest(`'${bundle}' names no version; write name or name@2, from 1`);
  }
  return create(bundlePb.BundleReferenceSchema, { name: name!, version: Number(number) });
}

/** A bundle as the server describes it. */
export function bundleInfo(message: bundlePb.BundleInfo): BundleInfo {
  const { pose, behavior } = message;
  const pair = (one: bundlePb.KeypointPair) => [one.first, one.second] as const;
  return {
    name: message.bundle?.name ?? "",
    version: message.bundle?.version ?? 0,
    task: pose ? "pose" : "behavior",
    description: message.description,
    state: lower(bundlePb.BundleState[message.state]),
    reason: message.reason,
    inputWidthPx: message.inputWidthPx,
    inputHeightPx: message.inputHeightPx,
    engine: message.engine,
    precision: message.precision,
    ...(pose && {
      pose: {
        keypoints: pose.keypoints,
        skeleton: pose.skeleton.map(pair),
        leftRight: pose.leftRight.map(pair),
        maxAnimals: pose.maxAnimals,
        uniqueKeypoints: pose.uniqueKeypoints,
        confidenceCutoff: pose.confidenceCutoff,
      },
    }),
    ...(behavior && {
      behavior: {
        behaviors: behavior.behaviors,
        exclusive: behavior.exclusive,
        thresholds: behavior.thresholds,
        minBoutFrames: behavior.minBoutFrames,
        frameRateHz: behavior.frameRateHz,
        frameRateTolerance: behavior.frameRateTolerance,
        pastFrames: behavior.pastFrames,
        futureFrames: behavior.futureFrames,
        maxGapFrames: behavior.maxGapFrames,
      },
    }),
    metrics: message.metrics,
    manifestSha256: message.manifestSha256,
    card: message.card,
    parityJson: message.parityJson,
  };
}

/** The answer to a frame. */
export function outcome(message: pb.FrameOutcome, roundTripNs: number): FrameOutcome {
  const { timings } = message;
  const common = {
    type: "outcome" as const,
    frameIndex: Number(message.frameIndex),
    captureTimeNs: message.captureTimeNs,
    poses: [],
    reason: "",
    message: "",
    ...(timings && {
      timings: {
        queueNs: Number(timings.queueNs),
        decodeNs: Number(timings.decodeNs),
        preprocessNs: Number(timings.preprocessNs),
        batchWaitNs: Number(timings.batchWaitNs),
        engineNs: Number(timings.engineNs),
        postprocessNs: Number(timings.postprocessNs),
        totalNs: Number(timings.totalNs),
        batchSize: timings.batchSize,
      },
    }),
    arrivalTimeNs: message.arrivalTimeNs,
    roundTripNs,
  };
  const answer = message.outcome;
  switch (answer.case) {
    case "result":
      return { ...common, kind: "result", poses: answer.value.poses.map(poseResult) };
    case "skipped":
      return { ...common, kind: "skipped", reason: lower(pb.SkipReason[answer.value.reason]) };
    case "error":
      return {
        ...common,
        kind: "error",
        reason: lower(pb.FrameErrorCode[answer.value.code]),
        message: answer.value.message,
      };
    default: // of a newer server
      return { ...common, kind: "error", reason: "unspecified" };
  }
}

/** What a behavior bundle says of a frame. */
export function behaviorResult(
  message: behaviorPb.BehaviorResult,
  behaviors: readonly string[],
): BehaviorResult {
  const { probabilities, present } = message;
  return {
    type: "behavior",
    frameIndex: Number(message.frameIndex),
    captureTimeNs: message.captureTimeNs,
    bundle: message.bundle?.name ?? "",
    version: message.bundle?.version ?? 0,
    behaviors,
    status: Number(message.status),
    ...(probabilities.length > 0 && { probabilities, present }),
    latencyNs: Number(message.latencyNs),
    background: message.background,
    bouts: message.bouts.flatMap(boutEvent),
  };
}

/** The beginning of an analysis. */
export function videoStarted(message: pb.VideoStarted): VideoStarted {
  const { video } = message;
  return {
    info: {
      widthPx: video?.widthPx ?? 0,
      heightPx: video?.heightPx ?? 0,
      frameRateHz: video?.frameRateHz ?? 0,
      claimedFrames: Number(video?.claimedFrames ?? 0),
      codec: video?.codec ?? "",
      decoder: video?.decoder ?? "",
    },
    bundles: message.bundles.map(bundleInfo),
    strides: message.strides,
  };
}

/** The end of an analysis. */
export function videoFinished(message: pb.VideoFinished): VideoFinished {
  return {
    frames: Number(message.frames),
    framesOk: Number(message.framesOk),
    framesFailed: Number(message.framesFailed),
    message: message.message,
    totalNs: Number(message.totalNs),
    framesRepeated: Number(message.framesRepeated),
    framesMissing: Number(message.framesMissing),
    framesCorrupt: Number(message.framesCorrupt),
  };
}

/** Results of T frames. */
export function resultChunk(message: pb.ResultChunk): ResultChunk {
  return {
    frameIndex: Float64Array.from(message.frameIndex, Number),
    ptsNs: BigInt64Array.from(message.ptsNs),
    status: Uint8Array.from(message.status),
    poses: message.poses.map((columns) => ({
      bundle: columns.bundle?.name ?? "",
      version: columns.bundle?.version ?? 0,
      animals: columns.animals,
      keypoints: columns.keypoints,
      xPx: Float32Array.from(columns.xPx),
      yPx: Float32Array.from(columns.yPx),
      confidence: Float32Array.from(columns.confidence),
    })),
    behaviors: message.behaviors.map((columns) => ({
      bundle: columns.bundle?.name ?? "",
      version: columns.bundle?.version ?? 0,
      behaviors: columns.behaviors,
      status: Uint8Array.from(columns.status),
      probabilities: Float32Array.from(columns.probabilities),
      present: Uint8Array.from(columns.present, Number),
      bouts: columns.bouts.flatMap(boutEvent),
    })),
    faults: message.faults.map((one) => ({
      frameIndex: Number(one.frameIndex),
      status: Number(one.status),
      reason: one.reason,
    })),
  };
}

function poseResult(message: posePb.PoseResult): PoseResult {
  const { crop } = message;
  return {
    bundle: message.bundle?.name ?? "",
    version: message.bundle?.version ?? 0,
    poses: message.poses.map(({ xPx, yPx, confidence }) => ({ xPx, yPx, confidence })),
    ...(message.predicted.length > 0 && {
      predicted: message.predicted.map(({ xPx, yPx, confidence }) => ({ xPx, yPx, confidence })),
    }),
    ...(crop && {
      crop: { xPx: crop.xPx, yPx: crop.yPx, widthPx: crop.widthPx, heightPx: crop.heightPx },
    }),
  };
}

function boutEvent(message: behaviorPb.BoutEvent): BoutEvent[] {
  const kind = lower(behaviorPb.BoutEventKind[message.kind]);
  const { behavior, frameIndex } = message;
  // A newer server may tell more.
  return kind === "onset" || kind === "offset"
    ? [{ behavior, kind, frameIndex: Number(frameIndex) }]
    : [];
}

/** What a trigger did. */
export function triggerEvent(message: triggerPb.TriggerEvent): TriggerEvent[] {
  const kind = lower(triggerPb.TriggerEventKind[message.kind]);
  const { trigger, frameIndex, captureTimeNs, latencyNs } = message;
  const event = { trigger, captureTimeNs, latencyNs: Number(latencyNs) };
  // A newer server may tell more.
  return kind === "on" || kind === "off"
    ? [{ type: "trigger", ...event, kind, frameIndex: Number(frameIndex) }]
    : [];
}

function isList(bundles: Bundles): bundles is ReadonlyArray<string | BundleSelection> {
  return Array.isArray(bundles);
}

function lower(name: string | undefined): string {
  return (name ?? "unspecified").toLowerCase();
}
