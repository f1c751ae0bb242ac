/** A live stream: frames or chunks in, one outcome a frame out, across broken connections. */

import type { ClientDuplexStream } from "@grpc/grpc-js";

import { AnswerQueue } from "./answers.js";
import { type Connection, requestBytes } from "./connection.js";
import {
  EthostreamError,
  InvalidFrame,
  InvalidRequest,
  ServerFailed,
  StreamClosed,
  Unavailable,
} from "./errors.js";
import { type ChunkOptions, encodeChunk, encodeFrame, type FrameOptions, nowNs } from "./frames.js";
import {
  InferenceService,
  type StreamFramesRequest,
  StreamFramesRequestSchema,
  type StreamFramesResponse,
  type StreamStart,
  type StreamStarted,
} from "./generated/ethostream/v1/inference_service_pb.js";
import { Ledger, type LedgerCounts } from "./ledger.js";
import * as messages from "./messages.js";
import { streamStart, type StreamOptions } from "./options.js";
import { Reconnect } from "./reconnect.js";
import { behaviorBundles, settle } from "./settle.js";
import { Signal } from "./signal.js";
import { Silence } from "./silence.js";
import type { Answer, BundleInfo, Bundles, ChunkCodec, Image } from "./values.js";

type Call = ClientDuplexStream<Uint8Array, StreamFramesResponse>;

const SILENCE_MS = 60_000; // without any answer while some are owed
const BROKE = "the connection broke before the answer";

/**
 * One camera's frames in, answers out; made by `Client.stream`.
 *
 * Sending and reading may go on side by side, or in turn. Every frame that `send` took gets exactly
 * one `FrameOutcome`, and one `BehaviorResult` per behavior bundle, each kind in the order of the
 * frames, also when the connection breaks: what the server owed then arrives as error `lost`, and
 * behavior results as status ERROR. Encoded video goes by `sendChunk` instead.
 */
export class LiveStream implements AsyncIterable<Answer> {
  /** Id of the session on the server; another one after each reconnect. */
  sessionId = "";
  /** The bundles with resolved versions. */
  bundles: readonly BundleInfo[] = [];
  /** Behavior bundles: every how many-th frame is looked at, in the order of `bundles`. */
  strides: readonly number[] = [];
  /** Frames that may be in flight. */
  credits = 0;
  /** How often the connection was made again. */
  reconnects = 0;

  readonly #start: StreamStart;
  readonly #ledger = new Ledger();
  readonly #answers = new AnswerQueue(() => this.#ledger.size);
  readonly #changed = new Signal(); // credits, connection or intention changed
  readonly #reconnect: Reconnect;
  #call: Call | undefined;
  #running: Promise<void> | undefined;
  #failure: unknown;
  #nextIndex = 0; // of the next frame, or of the next chunk
  #codec: ChunkCodec | undefined; // where chunks are sent
  #isConnected = false;
  #isDraining = false;
  #isFinishing = false;
  #isClosing = false;
  #isOver = false;

  /** @internal */
  constructor(
    private readonly connection: Connection,
    bundles: Bundles,
    private readonly options: StreamOptions,
    private readonly silenceMs = SILENCE_MS,
  ) {
    this.#start = streamStart(bundles, options);
    this.#reconnect = new Reconnect(options.reconnectSeconds ?? 60);
  }

  /** What was taken and what became of it; after a break it is closed. */
  get ledger(): LedgerCounts {
    return this.#ledger.counts;
  }

  /**
   * Connect and wait until the server agrees; the first `send` or read does it, too.
   *
   * @throws EthostreamError The server is not there or refuses.
   */
  async open(): Promise<void> {
    this.#running ??= this.#run();
    while (!this.#isConnected && !this.#isOver) {
      await this.#changed.wait();
    }
    this.#throwFailure();
  }

  /**
   * Send a frame and return its number; its bytes may be reused afterwards.
   *
   * With freshness "all" this waits until the server has room for the frame. Otherwise a frame that
   * finds no room is answered as skipped (`no_credit`) at once; nothing piles up.
   *
   * @throws InvalidFrame The image cannot be sent, or its number does not follow the last one.
   * @throws AnswersUnread Nobody read an answer for 10 s and the buffer for them is full.
   * @throws EthostreamError The stream failed, was finished, or sends chunks.
   */
  async send(image: Image, options: FrameOptions = {}): Promise<number> {
    const captureTimeNs = options.captureTimeNs ?? nowNs();
    if (this.#codec !== undefined) {
      throw new InvalidRequest("this stream sends chunks; open another one for frames");
    }
    return this.#whenThereIsRoom((this.options.freshness ?? "all") === "all", () => {
      const frameIndex = this.#checkedIndex("frame", options.frameIndex);
      if (this.#hasCredit()) {
        const color = options.color ?? this.options.color ?? "rgb";
        const fields = { frameIndex, captureTimeNs, color, crop: options.crop };
        const frame = encodeFrame(image, fields, this.connection.maxMessageBytes);
        const request = encode({ case: "frame", value: frame });
        this.#ledger.send(frameIndex, captureTimeNs);
        this.#call!.write(request); // gRPC buffers no more than the credits allow
      } else {
        this.#answers.push(this.#ledger.skip(frameIndex, captureTimeNs));
      }
      return frameIndex;
    });
  }

  /**
   * Send a piece of encoded video and return its number; its bytes may be reused afterwards.
   *
   * This waits while as many chunks as there are credits have no acknowledgement, whatever the
   * freshness: later pictures rest on earlier ones. Each chunk gets one `ChunkAcknowledgement`, each
   * frame decoded one `FrameOutcome`, numbered from 0 in the order of presentation. After a break,
   * pictures come again with the next key frame.
   *
   * @param data Bytes in stream order, cut anywhere, usually one picture: Annex B for h264 and
   *   hevc, JPEGs in a row for mjpeg.
   * @throws InvalidFrame The chunk cannot be sent, or its number does not follow the last one.
   * @throws AnswersUnread Nobody read an answer for 10 s and the buffer for them is full.
   * @throws EthostreamError The stream failed, was finished, or sends frames or another codec.
   */
  async sendChunk(data: Uint8Array, options: ChunkOptions): Promise<number> {
    const { codec, captureTimeNs = nowNs() } = options;
    if (this.#nextIndex > 0 && this.#codec !== codec) {
      const sends = this.#codec ? `${this.#codec} chunks` : "frames";
      throw new InvalidRequest(`this stream sends ${sends}; open another one for ${codec} chunks`);
    }
    return this.#whenThereIsRoom(true, () => {
      const chunkIndex = this.#checkedIndex("chunk", options.chunkIndex);
      const fields = { codec, chunkIndex, captureTimeNs };
      const chunk = encodeChunk(data, fields, this.connection.maxMessageBytes);
      const request = encode({ case: "chunk", value: chunk });
      this.#codec = codec;
      this.#ledger.sendChunk(chunkIndex, captureTimeNs);
      this.#call!.write(request);
      return chunkIndex;
    });
  }

  /**
   * Tell the server that no more frames come, and wait until all are answered.
   *
   * Answers that were not read yet can still be read afterwards.
   *
   * @throws EthostreamError The stream had failed.
   */
  async finish(): Promise<LedgerCounts> {
    this.#isFinishing = true;
    this.#call?.end();
    this.#changed.notify();
    await this.#running;
    this.#throwFailure();
    return this.ledger;
  }

  /** End the stream now; frames in flight are closed as lost. */
  async close(): Promise<void> {
    this.#isFinishing = this.#isClosing = true;
    this.#call?.cancel();
    this.#changed.notify();
    await this.#running;
  }

  /**
   * Iterate over the answers until the stream is finished and all are read; leaving the loop early
   * leaves the stream open.
   *
   * @throws EthostreamError The stream failed; all answers before that were given.
   */
  [Symbol.asyncIterator](): AsyncIterator<Answer, undefined> {
    return { next: () => this.#read() };
  }

  async #read(): Promise<IteratorResult<Answer, undefined>> {
    if (this.#running === undefined) {
      await this.open();
    }
    const answer = await this.#answers.next();
    if (answer !== undefined) {
      return { done: false, value: answer };
    }
    this.#throwFailure();
    return { done: true, value: undefined };
  }

  /**
   * Connect, and wait for room among the answers; where patient, for credit, too. Then take what is
   * to be sent at once, before the room can go to another, and let it leave before the caller works
   * on.
   *
   * @param take Returns the number that it took.
   */
  async #whenThereIsRoom(isPatient: boolean, take: () => number): Promise<number> {
    if (this.#running === undefined) {
      await this.open();
    }
    await this.#answers.waitForRoom();
    while (isPatient && !this.#hasCredit()) {
      this.#throwIfOver();
      await this.#changed.wait();
    }
    this.#throwIfOver();
    const index = take();
    this.#nextIndex = index + 1;
    await new Promise((resolve) => setImmediate(resolve)); // answers must not be kept out either
    return index;
  }

  #checkedIndex(kind: string, index = this.#nextIndex): number {
    if (!(Number.isSafeInteger(index) && index >= this.#nextIndex)) {
      const last = this.#nextIndex - 1;
      throw new InvalidFrame(`${kind} ${index} after ${kind} ${last}; numbers only grow`);
    }
    return index;
  }

  /** Connect, talk, and connect again until the stream is over. */
  async #run(): Promise<void> {
    try {
      for (let goesOn = true; goesOn; ) {
        goesOn = await this.#mayReconnect(await this.#talk());
      }
    } catch (error) {
      this.#failure =
        error instanceof EthostreamError
          ? error
          : new ServerFailed(`an answer of ${this.connection.address} cannot be read: ${error}`);
    }
    this.#isConnected = false;
    this.#isOver = true;
    this.#answers.push(this.#ledger.close("the stream was closed before the answer"));
    this.#answers.close();
    this.#changed.notify();
  }

  /** One connection from its start to its end, and the error that it ended with. */
  async #talk(): Promise<EthostreamError | undefined> {
    const call = this.connection.bidiStream(InferenceService.method.streamFrames);
    const silence = new Silence(() => call.cancel(), this.silenceMs, () => this.#isOwed());
    this.#call = call;
    this.#isDraining = false;
    call.write(
      encode({ case: "start", value: { ...this.#start, resumesSessionId: this.sessionId } }),
    );
    if (this.#isFinishing) {
      call.end();
    }
    try {
      for await (const response of call) {
        silence.heard();
        this.#take(response as StreamFramesResponse);
      }
    } catch (error) {
      if (silence.isBroken) {
        const seconds = this.silenceMs / 1000;
        return new Unavailable(`${this.connection.address} owed an answer for ${seconds} s`);
      }
      const typed = this.connection.error(error);
      if (typed instanceof EthostreamError) {
        return typed;
      }
      throw error;
    } finally {
      silence.stop();
      call.cancel();
      this.#call = undefined;
    }
    return undefined;
  }

  #take(message: StreamFramesResponse): void {
    const { response } = message;
    switch (response.case) {
      case "started":
        this.#begin(response.value);
        break;
      case "drain":
        this.#isDraining = true;
        this.#call?.end(); // the server flushes what it owes
        break;
      default:
        this.#reconnect.works();
        this.#answers.push(settle(message, this.#ledger));
    }
    this.#changed.notify();
  }

  #begin(started: StreamStarted): void {
    // Frames that were skipped while there was no connection are still owed behavior results.
    this.#answers.push(this.#ledger.close(BROKE));
    this.reconnects += this.sessionId ? 1 : 0;
    this.sessionId = started.sessionId;
    this.bundles = started.bundles.map(messages.bundleInfo);
    this.strides = started.strides;
    this.credits = started.credits;
    this.#ledger.setBehaviorBundles(behaviorBundles(this.bundles));
    this.#isConnected = true;
  }

  /**
   * Close the account of a connection that ended, and wait for the time of the next one.
   *
   * @throws EthostreamError There will be no next one.
   */
  async #mayReconnect(ended: EthostreamError | undefined): Promise<boolean> {
    const wasConnected = this.#isConnected;
    const wasDrained = this.#isDraining && ended === undefined;
    this.#isConnected = false;
    if (this.#isClosing) {
      return false;
    }
    this.#answers.push(this.#ledger.close(BROKE));
    const { address } = this.connection;
    let error = ended;
    if (error === undefined && !wasDrained && !this.#isFinishing) {
      error = new Unavailable(`the server at ${address} ended the stream`);
    }
    const isRetried =
      this.sessionId !== "" &&
      (error === undefined || Reconnect.isWorthIt(error, wasConnected));
    if (error !== undefined && !isRetried) {
      throw error;
    }
    if (this.#isFinishing) {
      return false; // nothing is open any more; the ledger tells what was lost
    }
    if (this.options.reconnect === false) {
      throw error ?? new Unavailable(`the server at ${address} is stopping`);
    }
    const resumesAt = this.#reconnect.resumesAt(error, wasConnected);
    while (performance.now() < resumesAt && !this.#isFinishing) {
      await this.#changed.waitAtMost(resumesAt - performance.now());
    }
    return !this.#isFinishing;
  }

  /** Whether the server has to say something; else the camera may pause. */
  #isOwed(): boolean {
    return (
      !this.#isConnected || this.#isDraining || this.#isFinishing || this.#inFlight() > 0
    );
  }

  #hasCredit(): boolean {
    return (
      this.#call !== undefined && // it may have ended just now
      this.#isConnected &&
      !this.#isDraining &&
      !this.#isFinishing &&
      this.#inFlight() < this.credits
    );
  }

  /** Frames or chunks, whichever are more, that the server owes an answer. */
  #inFlight(): number {
    return Math.max(this.#ledger.sentInFlight, this.#ledger.chunksInFlight);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
  }

  #throwIfOver(): void {
    this.#throwFailure();
    if (this.#isFinishing || this.#isOver) {
      throw new StreamClosed("the stream is finished and takes no more frames; open a new one");
    }
  }
}

function encode(request: StreamFramesRequest["request"]): Uint8Array {
  return requestBytes(StreamFramesRequestSchema, { request });
}
