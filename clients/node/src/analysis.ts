/** The analysis of one video: its result chunks as they come, or all of them gathered. */

import type { ClientReadableStream } from "@grpc/grpc-js";

import { ServerFailed } from "./errors.js";
import type { AnalyzeVideoResponse } from "./generated/ethostream/v1/inference_service_pb.js";
import * as messages from "./messages.js";
import type { ResultChunk, VideoFinished, VideoStarted } from "./values.js";

/** All results of one video; every column has a row for each of its T frames. */
export interface VideoResults {
  readonly started: VideoStarted;
  readonly finished: VideoFinished;
  /** All chunks joined. */
  readonly rows: ResultChunk;
}

/**
 * The analysis of one video; made by `Client.analyze`, iterate over its chunks.
 *
 * Leaving the iteration early stops the analysis on the server.
 */
export class Analysis implements AsyncIterable<ResultChunk> {
  /** The video and the resolved bundles; there after `open` or the first chunk. */
  started: VideoStarted | undefined;
  /** Counts and what was wrong with the file; there after the last chunk. */
  finished: VideoFinished | undefined;

  readonly #chunks: AsyncGenerator<ResultChunk, undefined>;
  #first: Promise<IteratorResult<ResultChunk, undefined>> | undefined;

  /** @internal */
  constructor(
    open: () => Promise<ClientReadableStream<AnalyzeVideoResponse>>,
    toTyped: (error: unknown) => unknown,
  ) {
    this.#chunks = this.#read(open, toTyped);
  }

  /**
   * Upload where asked to, wait until the first results are there, and return what is known.
   *
   * @throws EthostreamError The server refuses or is not there.
   */
  async open(): Promise<VideoStarted> {
    this.#first ??= this.#chunks.next();
    await this.#first;
    return this.started!; // else the reading would have thrown
  }

  /**
   * Iterate over the result chunks.
   *
   * @throws EthostreamError The analysis failed.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ResultChunk, undefined> {
    await this.open();
    const first = this.#first;
    this.#first = Promise.resolve({ done: true, value: undefined });
    try {
      for (let one = await first!; !one.done; one = await this.#chunks.next()) {
        yield one.value;
      }
    } finally {
      await this.close();
    }
    return undefined;
  }

  /** Stop the analysis. */
  async close(): Promise<void> {
    await this.#chunks.return(undefined);
  }

  /** Run the analysis to its end and join its chunks. */
  async gather(): Promise<VideoResults> {
    const started = await this.open();
    const chunks: ResultChunk[] = [];
    for await (const chunk of this) {
      chunks.push(chunk);
    }
    return { started, finished: this.finished!, rows: joinChunks(chunks) };
  }

  async *#read(
    open: () => Promise<ClientReadableStream<AnalyzeVideoResponse>>,
    toTyped: (error: unknown) => unknown,
  ): AsyncGenerator<ResultChunk, undefined> {
    const call = await open();
    try {
      for await (const { response } of call as AsyncIterable<AnalyzeVideoResponse>) {
        if (response.case === "started") {
          this.started = messages.videoStarted(response.value);
        } else if (response.case === "chunk") {
          yield messages.resultChunk(response.value);
        } else if (response.case === "finished") {
          this.finished = messages.videoFinished(response.value);
        }
      }
    } catch (error) {
      throw toTyped(error);
    } finally {
      call.cancel();
    }
    if (this.started === undefined || this.finished === undefined) {
      throw new ServerFailed("the server ended the analysis without its first or last message");
    }
    return undefined;
  }
}

/** One chunk that holds the rows of all, in order; empty for no chunks. */
export function joinChunks(chunks: readonly ResultChunk[]): ResultChunk {
  const first = chunks[0];
  return {
    frameIndex: join(new Float64Array(), chunks, (chunk) => chunk.frameIndex),
    ptsNs: BigInt64Array.from(chunks.flatMap((chunk) => [...chunk.ptsNs])),
    status: join(new Uint8Array(), chunks, (chunk) => chunk.status),
    poses: (first?.poses ?? []).map((columns, place) => ({
      ...columns,
      xPx: join(new Float32Array(), chunks, (chunk) => chunk.poses[place]!.xPx),
      yPx: join(new Float32Array(), chunks, (chunk) => chunk.poses[place]!.yPx),
      confidence: join(new Float32Array(), chunks, (chunk) => chunk.poses[place]!.confidence),
    })),
    behaviors: (first?.behaviors ?? []).map((columns, place) => ({
      ...columns,
      status: join(new Uint8Array(), chunks, (chunk) => chunk.behaviors[place]!.status),
      probabilities: join(
        new Float32Array(),
        chunks,
        (chunk) => chunk.behaviors[place]!.probabilities,
      ),
      present: join(new Uint8Array(), chunks, (chunk) => chunk.behaviors[place]!.present),
      bouts: chunks.flatMap((chunk) => chunk.behaviors[place]!.bouts),
    })),
    faults: chunks.flatMap((chunk) => chunk.faults),
  };
}

function join<Column extends Float32Array | Float64Array | Uint8Array>(
  kind: Column,
  chunks: readonly ResultChunk[],
  column: (chunk: ResultChunk) => Column,
): Column {
  const parts = chunks.map(column);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const joined = new (kind.constructor as new (length: number) => Column)(length);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
