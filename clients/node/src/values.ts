/**
 * What the client gives and takes: plain values, no protobuf.
 *
 * Axes: T frames, N animals, K keypoints, C behaviors. Positions are px of the frame as sent; 0 is
 * the center of the first pixel. Times of a clock are bigint, since no number holds ns since 1970.
 */

export type Freshness = "all" | "latest" | "deadline";
export type Color = "rgb" | "bgr";

/** How encoded video is to be read: Annex B byte streams, or JPEGs in a row. */
export type ChunkCodec = "h264" | "hevc" | "mjpeg";

/** Raw pixels, rows from top to bottom: W x H bytes are gray, W x H x 3 bytes color. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly widthPx: number;
  readonly heightPx: number;
}

/** Raw pixels, or the bytes of a JPEG or PNG file. */
export type Image = Pixels | Uint8Array;

/** What decoding a frame of a file gave. */
export enum FrameStatus {
  OK = 1,
  /** Shown again by the container; the pixels are those of the frame before. */
  REPEATED = 2,
  /** A frame should be here and is not. */
  MISSING = 3,
  /** There, but damaged. */
  CORRUPT = 4,
}

/** What a behavior result rests on. */
export enum BehaviorStatus {
  OK = 1,
  /** The recording runs at a multiple of the bundle's rate: the last evaluated frame's answer. */
  HELD = 2,
  /** Too few frames before this one. */
  NO_CONTEXT = 3,
  /** The frame itself was skipped or failed. */
  NO_FRAME = 4,
  /** The engine failed on this frame, or the connection broke before the answer. */
  ERROR = 5,
}

/** A bundle to run, with what may be changed for this request. */
export interface BundleSelection {
  /** Its name, or name@version. */
  readonly name: string;
  /** Behavior bundles: thresholds in (0, 1) by behavior name, instead of the bundle's own. */
  readonly thresholds?: Readonly<Record<string, number>>;
  /** Behavior bundles: shortest bouts by behavior name, frames at the bundle's rate. */
  readonly minBoutFrames?: Readonly<Record<string, number>>;
  /** Behavior bundles: tell onsets and offsets in the `bouts` of the answers. */
  readonly boutEvents?: boolean;
}

/** Bundles to run: names, `name@version`, or selections. */
export type Bundles = string | BundleSelection | ReadonlyArray<string | BundleSelection>;

/** The part of a frame that the models look at, px of the frame as sent. */
export interface Crop {
  readonly xPx: number;
  readonly yPx: number;
  readonly widthPx: number;
  readonly heightPx: number;
}

/** Crops each frame around the animal, where it was in an earlier frame; one-animal bundles only. */
export interface DynamicCrop {
  /** Added on each side of the keypoints' box, px; by default the server's, 50. */
  readonly marginPx?: number;
  /** Confidence in [0, 1] from which a keypoint counts as found; by default the bundle's own. */
  readonly confidenceCutoff?: number;
  /** Largest magnification against the whole frame, at least 1; by default the server's, 2.5. */
  readonly maxZoom?: number;
}

/** What a pose bundle answers. */
export interface PoseModel {
  readonly keypoints: readonly string[];
  readonly skeleton: ReadonlyArray<readonly [string, string]>;
  readonly leftRight: ReadonlyArray<readonly [string, string]>;
  /** Poses in an answer; several are detections that are not grouped into animals. */
  readonly maxAnimals: number;
  /** Keypoints that exist once in the scene: only in the first pose. */
  readonly uniqueKeypoints: readonly string[];
  readonly confidenceCutoff: number;
}

/** What a behavior bundle answers. */
export interface BehaviorModel {
  readonly behaviors: readonly string[];
  readonly exclusive: boolean;
  readonly thresholds: readonly number[];
  readonly minBoutFrames: readonly number[];
  readonly frameRateHz: number;
  readonly frameRateTolerance: number;
  readonly pastFrames: number;
  readonly futureFrames: number;
  readonly maxGapFrames: number;
}

/** A bundle as the server describes it. */
export interface BundleInfo {
  readonly name: string;
  readonly version: number;
  readonly task: "pose" | "behavior";
  readonly description: string;
  /** available, loading, ready, unloading or failed. */
  readonly state: string;
  /** Why it failed, where it did. */
  readonly reason: string;
  readonly inputWidthPx: number;
  readonly inputHeightPx: number;
  /** Engine and device, such as openvino:cpu; empty while not loaded. */
  readonly engine: string;
  /** Such as bf16; empty while not loaded. */
  readonly precision: string;
  readonly pose?: PoseModel;
  readonly behavior?: BehaviorModel;
  /** Held-out figures of the card by name. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly manifestSha256: string;
  /** Markdown; only `Client.model` fills it. */
  readonly card: string;
  /** JSON; only `Client.model` fills it. */
  readonly parityJson: string;
}

/** One animal; the three lists have one entry per keypoint, in the bundle's order. */
export interface Pose {
  /** Px of the frame as sent. */
  readonly xPx: readonly number[];
  /** Px of the frame as sent. */
  readonly yPx: readonly number[];
  /** In [0, 1]. */
  readonly confidence: readonly number[];
}

/** What one pose bundle found in one frame. */
export interface PoseResult {
  readonly bundle: string;
  readonly version: number;
  /** One per animal. */
  readonly poses: readonly Pose[];
  /** The part of the frame that the bundle looked at; not there: all of it. */
  readonly crop?: Crop;
  /**
   * Where the animals are expected, where the stream has a `prediction`; NaN where a keypoint was
   * not seen for long.
   */
  readonly predicted?: readonly Pose[];
}

/** Where the time of a frame went on the server, ns. */
export interface StageTimings {
  readonly queueNs: number;
  readonly decodeNs: number;
  readonly preprocessNs: number;
  readonly batchWaitNs: number;
  readonly engineNs: number;
  readonly postprocessNs: number;
  readonly totalNs: number;
  readonly batchSize: number;
}

/** The one answer to a frame that `send` took. */
export interface FrameOutcome {
  readonly type: "outcome";
  readonly frameIndex: number;
  /** As given to `send`. */
  readonly captureTimeNs: bigint;
  readonly kind: "result" | "skipped" | "error";
  /** Answers of the pose bundles, in the order of the stream's bundles; empty unless a result. */
  readonly poses: readonly PoseResult[];
  /**
   * Skipped: replaced, too_old or no_credit (left out by this client because as many frames as
   * allowed were in flight). Error: invalid_frame, too_large, decode_failed, engine_failed or lost
   * (the connection broke before the answer).
   */
  readonly reason: string;
  /** Error: what happened and what to do. */
  readonly message: string;
  /** Not there where the server did not see the frame. */
  readonly timings?: StageTimings;
  /** When the frame arrived, on the server's wall clock, ns since 1970; 0 where it did not. */
  readonly arrivalTimeNs: bigint;
  /** From `send` until this answer was here, ns on this machine's monotonic clock. */
  readonly roundTripNs: number;
}

/** The onset or offset of a bout; gaps and bouts under the shortest bout do not count. */
export interface BoutEvent {
  readonly behavior: string;
  readonly kind: "onset" | "offset";
  /** The first frame of the bout, or the first frame after it. */
  readonly frameIndex: number;
}

/** What one behavior bundle says of one frame, later than its outcome by the look-ahead. */
export interface BehaviorResult {
  readonly type: "behavior";
  readonly frameIndex: number;
  readonly captureTimeNs: bigint;
  readonly bundle: string;
  readonly version: number;
  /** Names, in the order of the lists. */
  readonly behaviors: readonly string[];
  readonly status: BehaviorStatus;
  /** (C,) in [0, 1]; not there without context. */
  readonly probabilities?: readonly number[];
  /** (C,) by threshold, or the most probable one where exclusive; not there without context. */
  readonly present?: readonly boolean[];
  /** From the frame's arrival to this answer, ns on the server's clock. */
  readonly latencyNs: number;
  /** None of the behaviors is present; false without context. */
  readonly background: boolean;
  /** What this frame decided, where the selection has `boutEvents`. */
  readonly bouts: readonly BoutEvent[];
}

/** The one answer to a chunk that `sendChunk` took; its frames' outcomes come on their own. */
export interface ChunkAcknowledgement {
  readonly type: "chunk";
  readonly chunkIndex: number;
  /** As given to `sendChunk`. */
  readonly captureTimeNs: bigint;
  /**
   * Frames that came out with it; the decoder holds the last picture back until the next one
   * begins, so these may be of the chunk before.
   */
  readonly framesDecoded: number;
  /** Packets and pictures that could not be decoded. */
  readonly packetsCorrupt: number;
  /** On the first of these, or why the chunk is lost; empty when nothing was wrong. */
  readonly message: string;
  /** The connection broke before the server took it in. */
  readonly isLost: boolean;
}

/** What a live stream answers; `type` tells which. */
export type Answer = FrameOutcome | BehaviorResult | ChunkAcknowledgement | TriggerEvent;

/** A trigger switched; it comes before the last answer to the frame that decided. */
export interface TriggerEvent {
  readonly type: "trigger";
  /** Its name. */
  readonly trigger: string;
  readonly kind: "on" | "off";
  /** The frame that decided. */
  readonly frameIndex: number;
  /** As given to `send`. */
  readonly captureTimeNs: bigint;
  /** From the frame's arrival until the event was complete, ns on the server's clock. */
  readonly latencyNs: number;
}

/**
 * Says where keypoints are expected some time after a frame was captured: the time that a pose
 * takes from the camera to the rig is paid back. Only for bundles of one animal.
 */
export interface ForwardPrediction {
  /** Time after the capture, in (0, 1000] ms. */
  readonly aheadMs: number;
  /** Standard deviation of a position at confidence 1; by default the server's, 1.5. */
  readonly measurementSdPx?: number;
  /** Standard deviation of the acceleration along each axis; by default the server's, 3000. */
  readonly accelerationSdPxS2?: number;
  /** Time in which the acceleration forgets itself to 1/e; by default the server's, 0.1. */
  readonly accelerationTimeS?: number;
}

/** What the server knows of a video before it decodes it. */
export interface VideoInfo {
  readonly widthPx: number;
  readonly heightPx: number;
  /** Average rate; 0 where the container does not say. */
  readonly frameRateHz: number;
  /** Number of frames that the container claims; 0 where it does not say. */
  readonly claimedFrames: number;
  readonly codec: string;
  readonly decoder: string;
}

/** An analysis begins. */
export interface VideoStarted {
  readonly info: VideoInfo;
  /** With resolved versions. */
  readonly bundles: readonly BundleInfo[];
  /** Behavior bundles: every how many-th frame is looked at, in the order of `bundles`. */
  readonly strides: readonly number[];
}

/** An analysis is complete. */
export interface VideoFinished {
  readonly frames: number;
  readonly framesOk: number;
  readonly framesFailed: number;
  /** What was wrong with the file; empty when nothing was. */
  readonly message: string;
  /** Wall time on the server. */
  readonly totalNs: number;
  /** Of `framesOk`, shown again by the container. */
  readonly framesRepeated: number;
  /** Of `framesFailed`, not in the file. */
  readonly framesMissing: number;
  /** Of `framesFailed`, in the file but damaged. */
  readonly framesCorrupt: number;
}

/** Poses of T frames by one bundle, row-major; NaN in rows without a result. */
export interface PoseColumns {
  readonly bundle: string;
  readonly version: number;
  /** N. */
  readonly animals: number;
  /** K. */
  readonly keypoints: number;
  /** (T, N, K) px of the video's frame. */
  readonly xPx: Float32Array;
  /** (T, N, K) px of the video's frame. */
  readonly yPx: Float32Array;
  /** (T, N, K) in [0, 1]. */
  readonly confidence: Float32Array;
}

/** Behavior of T frames by one bundle, row-major; NaN and 0 in rows without context. */
export interface BehaviorColumns {
  readonly bundle: string;
  readonly version: number;
  /** C. */
  readonly behaviors: number;
  /** (T,) of `BehaviorStatus`. */
  readonly status: Uint8Array;
  /** (T, C) in [0, 1]. */
  readonly probabilities: Float32Array;
  /** (T, C) 1 where present by threshold, without the bout rule. */
  readonly present: Uint8Array;
  /** What these frames decided, in order, where bout events were asked for. */
  readonly bouts: readonly BoutEvent[];
}

/** Results of T consecutive frames of a video. */
export interface ResultChunk {
  /** (T,) in presentation order of the file, from 0. */
  readonly frameIndex: Float64Array;
  /** (T,) presentation times, ns. */
  readonly ptsNs: BigInt64Array;
  /** (T,) of `FrameStatus`. */
  readonly status: Uint8Array;
  readonly poses: readonly PoseColumns[];
  readonly behaviors: readonly BehaviorColumns[];
  /** Why the rows without pixels have none, one each. */
  readonly faults: readonly FrameFault[];
}

/** Why a frame of a video has no pixels. */
export interface FrameFault {
  readonly frameIndex: number;
  readonly status: FrameStatus;
  readonly reason: string;
}

/** A video that was uploaded. */
export interface Upload {
  readonly uploadId: string;
  readonly sizeBytes: number;
  /** Hexadecimal, of the bytes that the server received; equals that of the bytes sent. */
  readonly sha256: string;
}
