/** A session of single calls, for programs that cannot stream both ways. */

import type { Connection } from "./connection.js";
import { InvalidFrame, ServerFailed } from "./errors.js";
import { encodeFrame, type FrameOptions, nowNs } from "./frames.js";
import type { Frame } from "./generated/ethostream/v1/frame_pb.js";
import {
  type AnalyzeFrameResponse,
  InferenceService,
  type StreamStart,
} from "./generated/ethostream/v1/inference_service_pb.js";
import * as messages from "./messages.js";
import { type SessionOptions, streamStart } from "./options.js";
import type {
  BehaviorResult,
  BundleInfo,
  Bundles,
  FrameOutcome,
  Image,
  TriggerEvent,
} from "./values.js";

/** The answers to one frame of a session. */
export interface FrameAnswers {
  readonly outcome: FrameOutcome;
  /** Behavior results that are ready by now, for this frame or for earlier ones. */
  readonly behaviors: readonly BehaviorResult[];
  /** Triggers that have switched by now. */
  readonly triggers: readonly TriggerEvent[];
}

/**
 * Frames in, one call each; made by `Client.session`.
 *
 * Calls of one session are made one after the other. A session without a call for the server's
 * limit, 60 s by default, ends by itself and later calls are refused with `NotFound`.
 */
export class FrameSession {
  /** Id of the session on the server; there after the first answer. */
  sessionId = "";
  /** The bundles with resolved versions; there after the first answer. */
  bundles: readonly BundleInfo[] = [];
  /** Behavior bundles: every how many-th frame is looked at, in the order of `bundles`. */
  strides: readonly number[] = [];

  readonly #start: StreamStart;
  #nextIndex = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(
    private readonly connection: Connection,
    bundles: Bundles,
    private readonly options: SessionOptions,
  ) {
    this.#start = streamStart(bundles, options);
  }

  /**
   * Send a frame and wait for its answers; the first call opens the session.
   *
   * @throws InvalidFrame The image cannot be sent, or its number does not follow the last one.
   * @throws EthostreamError The server refuses, or is not there.
   */
  async analyze(image: Image, options: FrameOptions = {}): Promise<FrameAnswers> {
    const frameIndex = options.frameIndex ?? this.#nextIndex;
    if (!(Number.isSafeInteger(frameIndex) && frameIndex >= this.#nextIndex)) {
      const last = this.#nextIndex - 1;
      throw new InvalidFrame(`frame ${frameIndex} after frame ${last}; numbers only grow`);
    }
    const captureTimeNs = options.captureTimeNs ?? nowNs();
    const color = options.color ?? this.options.color ?? "rgb";
    const fields = { frameIndex, captureTimeNs, color, crop: options.crop };
    const frame = encodeFrame(image, fields, this.connection.maxMessageBytes);
    this.#nextIndex = frameIndex + 1;
    const began = process.hrtime.bigint();
    const response = await this.#call({ frame });
    if (response.outcome === undefined) {
      throw new ServerFailed(`the server gave no outcome of frame ${frameIndex}; report this`);
    }
    const roundTripNs = Number(process.hrtime.bigint() - began);
    return {
      outcome: messages.outcome(response.outcome, roundTripNs),
      behaviors: this.#behaviors(response),
      triggers: response.triggers.flatMap(messages.triggerEvent),
    };
  }

  /**
   * End the session.
   *
   * @returns The behavior results that were still owed.
   */
  async end(): Promise<readonly BehaviorResult[]> {
    await this.#last.catch(() => {});
    if (!this.sessionId) {
      return [];
    }
    const behaviors = this.#behaviors(await this.#call({ endSession: true }));
    this.sessionId = "";
    return behaviors;
  }

  #call(request: { frame?: Frame; endSession?: boolean }): Promise<AnalyzeFrameResponse> {
    const before = this.#last;
    const answer = (async () => {
      await before.catch(() => {});
      const response = await this.connection.unary(InferenceService.method.analyzeFrame, {
        ...request,
        ...(this.sessionId ? { sessionId: this.sessionId } : { start: this.#start }),
      });
      if (response.started !== undefined) {
        this.bundles = response.started.bundles.map(messages.bundleInfo);
        this.strides = response.started.strides;
      }
      this.sessionId = response.sessionId;
      return response;
    })();
    this.#last = answer;
    return answer;
  }

  #behaviors(response: AnalyzeFrameResponse): BehaviorResult[] {
    return response.behaviors.map((one) => {
      const bundle = this.bundles.find(
        ({ name, version }) => name === one.bundle?.name && version === one.bundle.version,
      );
      return messages.behaviorResult(one, bundle?.behavior?.behaviors ?? []);
    });
  }
}
