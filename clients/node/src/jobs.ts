/** Archive jobs of a server: many videos of its disks to result files, unattended. */

import { setTimeout as sleep } from "node:timers/promises";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import type { Connection } from "./connection.js";
import { EthostreamError, InvalidRequest } from "./errors.js";
import { cropRegion, dynamicCropMessage } from "./frames.js";
import * as pb from "./generated/ethostream/v1/job_service_pb.js";
import * as messages from "./messages.js";
import { Reconnect } from "./reconnect.js";
import type { Crop, DynamicCrop } from "./values.js";

const { method } = pb.JobService;
const MOST_INT32 = 2 ** 31;
const SUBMIT_SECONDS = 600; // the server looks through the folders first

/** How far a job or a video is; `skipped`: of a video, its results were there already. */
export type JobState = "queued" | "running" | "done" | "skipped" | "failed" | "cancelled";

const STATES: Readonly<Record<pb.JobState, JobState>> = {
  [pb.JobState.UNSPECIFIED]: "queued",
  [pb.JobState.QUEUED]: "queued",
  [pb.JobState.RUNNING]: "running",
  [pb.JobState.DONE]: "done",
  [pb.JobState.SKIPPED]: "skipped",
  [pb.JobState.FAILED]: "failed",
  [pb.JobState.CANCELLED]: "cancelled",
};

/** What a job is to do. */
export interface JobOptions {
  /** Folder of the results, below a root of the server for results; by default the job's own. */
  readonly out?: string;
  /** Put results beside each video instead. */
  readonly besideVideos?: boolean;
  /** What to write besides the Parquet record, by name; by default the usual ones. */
  readonly formats?: readonly string[];
  /** Draw each video with what was found in it. */
  readonly overlay?: boolean;
  /** Write a page for each video, and one for the job. */
  readonly report?: boolean;
  /** Analyze finished videos again. */
  readonly overwrite?: boolean;
  /** Jobs with a higher number go first, at the next video; by default 0. */
  readonly priority?: number;
  /** Part of every frame that the models look at. */
  readonly crop?: Crop;
  /** Crop each frame around the animal, within `crop`. */
  readonly dynamicCrop?: DynamicCrop;
  /** Frames of each video; by default all. */
  readonly frameLimit?: number;
  /** Rate to assume where the container's is wrong; by default the container's. */
  readonly frameRateHz?: number;
  /** What people call it. */
  readonly title?: string;
}

/** One video of a job. */
export interface JobVideo {
  /** Where it is, on the server. */
  readonly path: string;
  readonly state: JobState;
  /** Frames whose results are on disk. */
  readonly frames: number;
  /** Frames that there will be; 0 where that is not known yet. */
  readonly totalFrames: number;
  /** Time of the analysis, once it is over. */
  readonly seconds: number;
  /** Why it failed, or what was wrong with the file. */
  readonly message: string;
  /** Decoder and version; empty where nothing was decoded. */
  readonly decoder: string;
  /** What was written, the Parquet record first; once it is over. */
  readonly files: readonly string[];
  /** Of `frames`, those that were there from an interrupted run. */
  readonly resumedFrames: number;
  /** Time left by the speed so far; 0 where that is not known. */
  readonly remainingSeconds: number;
}

/** A job as it is now. */
export interface Job {
  readonly jobId: string;
  readonly title: string;
  /** `failed`: over, but some videos failed. */
  readonly state: JobState;
  readonly priority: number;
  readonly paths: readonly string[];
  /** Each name@version. */
  readonly bundles: readonly string[];
  readonly formats: readonly string[];
  /** ns since 1970. */
  readonly submittedNs: bigint;
  readonly videos: number;
  /** Analyzed or skipped. */
  readonly videosDone: number;
  readonly videosFailed: number;
  /** Frames whose results are on disk. */
  readonly frames: number;
  /** Of late, all its videos together; 0: none. */
  readonly framesPerSecond: number;
  /** Share of the work that is done, in [0, 1]. */
  readonly progress: number;
  /** Time left by the speed so far; 0 where that is not known. */
  readonly remainingSeconds: number;
  /** The page that tells what became of it, once it is over and where one was asked for. */
  readonly report: string;
  /** Its videos; empty in a list of jobs. */
  readonly listed: readonly JobVideo[];
  /** Files that are not analyzed, and why; empty in a list of jobs. */
  readonly leftOut: ReadonlyArray<{ readonly path: string; readonly reason: string }>;
}

/** The jobs of one server; `client.jobs`. */
export class Jobs {
  readonly #connection: Connection;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Have videos of the server's disks analyzed; the job goes on without this client.
   *
   * @param paths Files, folders with all below them, and patterns with * and **, below the
   *   server's roots.
   * @param bundles name or name@version, at least one.
   * @throws InvalidRequest No video is there, or an option is outside its range.
   * @throws PermissionDenied A path is outside the roots, or the token lacks the scope `jobs`.
   */
  async submit(
    paths: string | readonly string[],
    bundles: string | readonly string[],
    options: JobOptions = {},
  ): Promise<Job> {
    const request = { spec: jobSpec(paths, bundles, options) };
    const { job } = await this.#connection.unary(method.submitJob, request, SUBMIT_SECONDS);
    return jobValue(job!);
  }

  /** One job with its videos. */
  async get(jobId: string): Promise<Job> {
    return jobValue((await this.#connection.unary(method.getJob, { jobId })).job!);
  }

  /** All jobs, the newest first, without their videos. */
  async list(): Promise<Job[]> {
    return (await this.#connection.unary(method.listJobs, {})).jobs.map(jobValue);
  }

  /** End a job; what is finished stays. */
  async cancel(jobId: string): Promise<Job> {
    return jobValue((await this.#connection.unary(method.cancelJob, { jobId })).job!);
  }

  /** Have the failed and cancelled videos of a job tried once more. */
  async retry(jobId: string): Promise<Job> {
    return jobValue((await this.#connection.unary(method.retryJob, { jobId })).job!);
  }

  /**
   * A job as it is now, then whenever it has changed, until it is over. A server that stops is
   * waited for: jobs outlive it.
   *
   * @param reconnectSeconds Give up when this long without connection; a server that is not there
   *   at first is not waited for.
   */
  async *watch(jobId: string, reconnectSeconds = 60): AsyncGenerator<Job, undefined> {
    const reconnect = new Reconnect(reconnectSeconds);
    for (let wasSeen = false; ; ) {
      let isConnected = false;
      let resumesAt: number;
      const call = this.#connection.serverStream(method.watchJob, { jobId });
      try {
        for await (const { job } of call) {
          isConnected = wasSeen = true;
          reconnect.works();
          yield jobValue(job!);
        }
        return undefined;
      } catch (broken) {
        const error = this.#connection.error(broken);
        if (!(error instanceof EthostreamError && wasSeen && Reconnect.isWorthIt(error, true))) {
          throw error;
        }
        resumesAt = reconnect.resumesAt(error, isConnected);
      } finally {
        call.cancel();
      }
      await sleep(Math.max(0, resumesAt - performance.now()));
    }
  }
}

function jobSpec(
  paths: string | readonly string[],
  bundles: string | readonly string[],
  options: JobOptions,
): pb.JobSpec {
  const { crop, dynamicCrop, frameLimit = 0, frameRateHz = 0, priority = 0, ...others } = options;
  if (!Number.isSafeInteger(frameLimit) || frameLimit < 0) {
    throw new InvalidRequest(`frameLimit is ${frameLimit}; it is 0 or more`);
  }
  if (!Number.isInteger(priority) || Math.abs(priority) >= MOST_INT32) {
    throw new InvalidRequest(`priority is ${priority}; give a number of 32 bits, 0 is usual`);
  }
  const spec: MessageInitShape<typeof pb.JobSpecSchema> = {
    ...others,
    formats: [...(others.formats ?? [])],
    paths: typeof paths === "string" ? [paths] : [...paths],
    bundles: (typeof bundles === "string" ? [bundles] : bundles).map(messages.reference),
    priority,
    frameLimit: BigInt(frameLimit),
    frameRateHz: messages.frameRate(frameRateHz),
    ...(crop && { crop: cropRegion(crop) }),
    ...(dynamicCrop && { dynamicCrop: dynamicCropMessage(dynamicCrop) }),
  };
  return create(pb.JobSpecSchema, spec);
}

function jobValue(message: pb.Job): Job {
  const { spec } = message;
  return {
    jobId: message.jobId,
    title: spec?.title ?? "",
    state: STATES[message.state],
    priority: spec?.priority ?? 0,
    paths: spec?.paths ?? [],
    bundles: (spec?.bundles ?? []).map(({ name, version }) => `${name}@${version}`),
    formats: spec?.formats ?? [],
    submittedNs: message.submittedNs,
    videos: message.videos,
    videosDone: message.videosDone,
    videosFailed: message.videosFailed,
    frames: Number(message.frames),
    framesPerSecond: message.framesPerSecond,
    progress: message.progress,
    remainingSeconds: message.remainingSeconds,
    report: message.report,
    listed: message.listed.map(jobVideo),
    leftOut: message.leftOut.map(({ path, reason }) => ({ path, reason })),
  };
}

function jobVideo(message: pb.JobVideo): JobVideo {
  return {
    path: message.path,
    state: STATES[message.state],
    frames: Number(message.frames),
    totalFrames: Number(message.totalFrames),
    seconds: message.seconds,
    message: message.message,
    decoder: message.decoder,
    files: message.files,
    resumedFrames: Number(message.resumedFrames),
    remainingSeconds: message.remainingSeconds,
  };
}
