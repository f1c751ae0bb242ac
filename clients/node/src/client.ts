/** The client: live streams, sessions, analyses, uploads, models and jobs of one server. */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";

import { create } from "@bufbuild/protobuf";

import { Analysis, type VideoResults } from "./analysis.js";
import { type ClientOptions, Connection } from "./connection.js";
import { InvalidRequest, ServerFailed } from "./errors.js";
import { cropRegion, dynamicCropMessage } from "./frames.js";
import {
  InferenceService,
  type UploadVideoRequest,
  UploadVideoRequestSchema,
  UploadStartSchema,
} from "./generated/ethostream/v1/inference_service_pb.js";
import { ModelService } from "./generated/ethostream/v1/model_service_pb.js";
import { Jobs } from "./jobs.js";
import { LiveStream } from "./live.js";
import * as messages from "./messages.js";
import type { SessionOptions, StreamOptions } from "./options.js";
import { FrameSession } from "./session.js";
import type { BundleInfo, Bundles, Crop, DynamicCrop, Upload } from "./values.js";

const UPLOAD_PIECE_BYTES = 1 << 20; // the server takes 4 MiB; 1 MiB already fills a fast network

/** Where a video is: a path below a root of the server, a file here, or an earlier upload. */
export type VideoSource =
  | { readonly path: string }
  | { readonly upload: string }
  | { readonly uploadId: string };

/** How a video is analyzed. */
export interface AnalysisOptions {
  /** Part of every frame that the models look at. */
  readonly crop?: Crop;
  /** First frame to analyze, by default 0; behavior context begins here. */
  readonly firstFrame?: number;
  /**
   * Go on with an analysis that broke off: rows before this frame are there already. Not with
   * `dynamicCrop`.
   */
  readonly resumeFrame?: number;
  /** Number of frames to analyze; by default up to the end. */
  readonly frameLimit?: number;
  /** Frames in a result chunk; by default the server's. */
  readonly framesPerChunk?: number;
  /** Rate to assume where the container's is wrong; by default the container's. */
  readonly frameRateHz?: number;
  /** Crop each frame around the animal, within `crop`, where it was in the frame before. */
  readonly dynamicCrop?: DynamicCrop;
}

/** A connection to a server; it connects with the first call. Call `close` at the end. */
export class Client {
  /** The archive jobs of the server. */
  readonly jobs: Jobs;
  readonly #connection: Connection;

  /**
   * @param address HOST:PORT of the server.
   * @throws InvalidRequest A certificate cannot be read.
   */
  constructor(
    readonly address = "127.0.0.1:50051",
    options: ClientOptions = {},
  ) {
    this.#connection = new Connection(address, options);
    this.jobs = new Jobs(this.#connection);
  }

  /**
   * A live stream of one camera.
   *
   * @throws InvalidRequest An option is outside its range.
   */
  stream(bundles: Bundles, options: StreamOptions = {}): LiveStream {
    return new LiveStream(this.#connection, bundles, options);
  }

  /**
   * A session of single calls: simpler than a stream, and about half as fast.
   *
   * @throws InvalidRequest An option is outside its range.
   */
  session(bundles: Bundles, options: SessionOptions = {}): FrameSession {
    return new FrameSession(this.#connection, bundles, options);
  }

  /**
   * Analyze a video; iterate over the answer for its result chunks.
   *
   * @throws InvalidRequest An option is outside its range.
   */
  analyze(source: VideoSource, bundles: Bundles, options: AnalysisOptions = {}): Analysis {
    const { firstFrame = 0, resumeFrame = 0, frameLimit = 0, framesPerChunk = 0 } = options;
    const { frameRateHz = 0 } = options;
    const counts = [firstFrame, resumeFrame, frameLimit, framesPerChunk];
    if (!counts.every((one) => Number.isSafeInteger(one) && one >= 0)) {
      throw new InvalidRequest(
        "firstFrame, resumeFrame, frameLimit and framesPerChunk are 0 or more",
      );
    }
    const request = {
      bundles: messages.selections(bundles),
      firstFrame: BigInt(firstFrame),
      resumeFrame: BigInt(resumeFrame),
      frameLimit: BigInt(frameLimit),
      framesPerChunk,
      frameRateHz: messages.frameRate(frameRateHz),
      ...(options.crop && { crop: cropRegion(options.crop) }),
      ...(options.dynamicCrop && { dynamicCrop: dynamicCropMessage(options.dynamicCrop) }),
    };
    const begin = async () =>
      this.#connection.serverStream(InferenceService.method.analyzeVideo, {
        ...request,
        source:
          "path" in source
            ? { case: "path", value: source.path }
            : { case: "uploadId", value: await this.#uploadId(source) },
      });
    return new Analysis(begin, (error) => this.#connection.error(error));
  }

  /** Analyze a video and gather all its results. */
  async analyzeAll(
    source: VideoSource,
    bundles: Bundles,
    options: AnalysisOptions = {},
  ): Promise<VideoResults> {
    return this.analyze(source, bundles, options).gather();
  }

  /**
   * Upload a video file, to analyze it by the id of the answer.
   *
   * @throws InvalidRequest The file cannot be read.
   * @throws ServerFailed The server received other bytes than were sent.
   */
  async upload(path: string): Promise<Upload> {
    let file: FileHandle;
    try {
      file = await open(path);
    } catch (error) {
      throw new InvalidRequest(`cannot read ${path}: ${(error as Error).message}`);
    }
    const digest = createHash("sha256");
    const { call, answer } = this.#connection.clientStream(InferenceService.method.uploadVideo);
    const write = async (request: UploadVideoRequest["request"]) => {
      if (!call.write(create(UploadVideoRequestSchema, { request }))) {
        await Promise.race([once(call, "drain"), answer]);
      }
    };
    try {
      const { size } = await file.stat();
      const start = { filename: basename(path), sizeBytes: BigInt(size) };
      await write({ case: "start", value: create(UploadStartSchema, start) });
      for await (const piece of file.createReadStream({ highWaterMark: UPLOAD_PIECE_BYTES })) {
        digest.update(piece);
        await write({ case: "data", value: piece });
      }
      call.end();
      const { uploadId, sizeBytes, sha256 } = await answer;
      const sent = digest.digest("hex");
      if (sha256 !== sent) {
        throw new ServerFailed(
          `the server received ${path} with SHA-256 ${sha256}, sent was ${sent}; upload it again`,
        );
      }
      return { uploadId, sizeBytes: Number(sizeBytes), sha256 };
    } finally {
      call.cancel();
      await file.close();
    }
  }

  /** All bundles of the server, loaded or not, by name and version. */
  async models(): Promise<BundleInfo[]> {
    const { models } = await this.#connection.unary(ModelService.method.listModels, {});
    return models.map(messages.bundleInfo);
  }

  /** One bundle, `name` or `name@version`, with its card and parity report. */
  async model(bundle: string): Promise<BundleInfo> {
    const request = { bundle: messages.reference(bundle) };
    const { model } = await this.#connection.unary(ModelService.method.getModel, request);
    return messages.bundleInfo(model!);
  }

  /**
   * Load a bundle beside those that run, and wait until it answers requests.
   *
   * @param bundle `name` takes the highest version of the model folder, which is read anew.
   * @param timeoutSeconds Longest wait; compiling for a device may take minutes.
   */
  async load(bundle: string, timeoutSeconds = 600): Promise<BundleInfo> {
    const { model } = await this.#connection.unary(
      ModelService.method.loadModel,
      { bundle: messages.reference(bundle) },
      timeoutSeconds,
    );
    return messages.bundleInfo(model!);
  }

  /** Take a bundle out of service, `name` all its versions; open streams keep it until they end. */
  async unload(bundle: string): Promise<BundleInfo[]> {
    const request = { bundle: messages.reference(bundle) };
    const { models } = await this.#connection.unary(ModelService.method.unloadModel, request);
    return models.map(messages.bundleInfo);
  }

  /** Every bundle as it is now, then each change, until the caller stops iterating. */
  async *watch(): AsyncGenerator<BundleInfo, undefined> {
    const call = this.#connection.serverStream(ModelService.method.watchModels, {});
    try {
      for await (const { model } of call) {
        yield messages.bundleInfo(model);
      }
    } catch (error) {
      throw this.#connection.error(error);
    } finally {
      call.cancel();
    }
    return undefined;
  }

  /** Close the connection; streams that still run end by themselves, so finish them first. */
  close(): void {
    this.#connection.close();
  }

  async #uploadId(source: { upload: string } | { uploadId: string }): Promise<string> {
    return "uploadId" in source ? source.uploadId : (await this.upload(source.upload)).uploadId;
  }
}
