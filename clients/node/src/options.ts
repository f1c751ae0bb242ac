/** How a live stream or a session is to be run, and the message that asks for it. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { requestBytes } from "./connection.js";
import { InvalidRequest } from "./errors.js";
import { cropRegion, dynamicCropMessage } from "./frames.js";
import {
  FreshnessPolicy,
  type StreamStart,
  StreamStartSchema,
} from "./generated/ethostream/v1/inference_service_pb.js";
import type { TriggerSchema } from "./generated/ethostream/v1/trigger_pb.js";
import { frameRate, selections } from "./messages.js";
import type {
  Bundles,
  Color,
  Crop,
  DynamicCrop,
  ForwardPrediction,
  Freshness,
} from "./values.js";

/** A trigger as trigger.proto describes it: a name, a condition, and how many frames decide. */
export type Trigger = MessageInitShape<typeof TriggerSchema>;

/** How a session of single calls is run. */
export interface SessionOptions {
  /** Rate of the camera; by default the behavior bundles' own. */
  readonly frameRateHz?: number;
  /** Part of every frame that the models look at. */
  readonly crop?: Crop;
  /** Name of the camera for logs and metrics. */
  readonly camera?: string;
  /** Channel order of color pixels, by default rgb. */
  readonly color?: Color;
  /** Crop each frame around the animal, within `crop`, where it was in the newest answered frame. */
  readonly dynamicCrop?: DynamicCrop;
  /** Events to wait for, at most 32: `TriggerEvent` among the answers. */
  readonly triggers?: readonly Trigger[];
  /** Say where the keypoints will be: `PoseResult.predicted`. */
  readonly prediction?: ForwardPrediction;
}

/** How a live stream is run. */
export interface StreamOptions extends SessionOptions {
  /**
   * "all" (default) answers every frame and slows `send` down; "latest" leaves out frames that
   * newer ones overtake; "deadline" those that waited longer than `maxAgeMs`.
   */
  readonly freshness?: Freshness;
  /** "deadline": longest wait of a frame, ms. */
  readonly maxAgeMs?: number;
  /** Frames to have in flight; by default the server's. */
  readonly maxFramesInFlight?: number;
  /**
   * Connect again after a break, with growing waits (default true); frames that were in flight are
   * answered as lost, and numbers go on.
   */
  readonly reconnect?: boolean;
  /** Give up when this long without connection, by default 60. */
  readonly reconnectSeconds?: number;
}

const FRESHNESS: Record<Freshness, FreshnessPolicy> = {
  all: FreshnessPolicy.ALL,
  latest: FreshnessPolicy.LATEST,
  deadline: FreshnessPolicy.DEADLINE,
};

/**
 * The message that opens a stream or a session.
 *
 * @throws InvalidRequest An option is outside its range.
 */
export function streamStart(bundles: Bundles, options: StreamOptions): StreamStart {
  const { freshness = "all", maxAgeMs = 0, maxFramesInFlight = 0, frameRateHz = 0 } = options;
  const policy = FRESHNESS[freshness];
  if (policy === undefined) {
    throw new InvalidRequest(
      `unknown freshness '${freshness}'; choose one of ${Object.keys(FRESHNESS).join(", ")}`,
    );
  }
  if (freshness === "deadline" && !(maxAgeMs >= 1)) {
    throw new InvalidRequest(`maxAgeMs is ${maxAgeMs}; 'deadline' needs 1 or more`);
  }
  if (![maxAgeMs, maxFramesInFlight].every((one) => one >= 0)) {
    throw new InvalidRequest("maxAgeMs and maxFramesInFlight are 0 or more");
  }
  const start = create(StreamStartSchema, {
    bundles: selections(bundles),
    freshness: policy,
    maxAgeMs,
    maxFramesInFlight,
    frameRateHz: frameRate(frameRateHz),
    camera: options.camera ?? "",
    triggers: [...(options.triggers ?? [])],
    ...(options.prediction && { prediction: options.prediction }),
    ...(options.crop && { crop: cropRegion(options.crop) }),
    ...(options.dynamicCrop && { dynamicCrop: dynamicCropMessage(options.dynamicCrop) }),
  });
  requestBytes(StreamStartSchema, start); // throws here what would fit into no message
  return start;
}
