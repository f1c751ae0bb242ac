/**
 * The account of a live stream: what was taken, and the one answer that each frame gets.
 *
 * The frames of encoded chunks are taken as they turn up: with a chunk's acknowledgement, which says
 * how many were decoded, or with their first answer. The server counts them from 0 on each
 * connection; the numbers given here go on.
 */

import {
  type Answer,
  type BehaviorResult,
  BehaviorStatus,
  type ChunkAcknowledgement,
  type FrameOutcome,
} from "./values.js";

/** Frames that were taken, and what became of them. */
export interface LedgerCounts {
  /** Frames that `send` took, or that came out of chunks. */
  readonly accepted: number;
  /** Of these, analyzed. */
  readonly results: number;
  /** Of these, left out by the server or by this client. */
  readonly skipped: number;
  /** Of these, failed on the server. */
  readonly errors: number;
  /** Of these, sent, and the connection broke before the answer; delivered as error `lost`. */
  readonly lost: number;
  /** Answers of the server that fit no open frame or chunk; they are not delivered. */
  readonly unexpected: number;
  /** Frames that have no answer yet. */
  readonly inFlight: number;
  /** Chunks that `sendChunk` took. */
  readonly chunks: number;
  /** Of these, taken in by the server. */
  readonly chunksAcknowledged: number;
  /** Of these, sent, and the connection broke before the acknowledgement. */
  readonly chunksLost: number;
}

/** A behavior bundle of the stream. */
export interface BehaviorBundle {
  readonly name: string;
  readonly version: number;
  readonly behaviors: readonly string[];
}

interface Entry {
  readonly captureTimeNs: bigint;
  readonly sentNs: bigint;
  outcome?: FrameOutcome;
}

interface Chunk {
  readonly captureTimeNs: bigint;
  readonly sentNs: bigint;
}

interface Owed {
  readonly frameIndex: number;
  readonly captureTimeNs: bigint;
  readonly isSent: boolean;
}

/**
 * Gives each frame exactly one outcome and one result per behavior bundle, in frame order.
 *
 * Methods that settle something return the answers that may be delivered now.
 */
export class Ledger {
  #counts = { accepted: 0, results: 0, skipped: 0, errors: 0, lost: 0, unexpected: 0 };
  #chunkCounts = { chunks: 0, chunksAcknowledged: 0, chunksLost: 0 };
  #chunks = new Map<number, Chunk>(); // that wait for their acknowledgement, in order
  #newestChunk: Chunk = { captureTimeNs: 0n, sentNs: 0n }; // that was acknowledged
  #first = 0; // number of the first decoded frame of this connection
  #announced = 0; // decoded frames up to here are known by acknowledgements
  #next = 0; // number of the decoded frame that turns up next
  #sentInFlight = 0;
  #entries = new Map<number, Entry>(); // in the order of the frames
  #owed = new Map<string, { bundle: BehaviorBundle; results: Owed[] }>();

  /** What was taken, and what became of it. */
  get counts(): LedgerCounts {
    const { accepted, results, skipped, errors, lost } = this.#counts;
    const inFlight = accepted - results - skipped - errors - lost;
    return { ...this.#counts, inFlight, ...this.#chunkCounts };
  }

  /** Frames that the server owes an outcome: each holds one credit. */
  get sentInFlight(): number {
    return this.#sentInFlight;
  }

  /** Chunks that have no acknowledgement yet. */
  get chunksInFlight(): number {
    return this.#chunks.size;
  }

  /** Frames that wait for their outcome or for those before them. */
  get size(): number {
    return this.#entries.size;
  }

  /** Say which behavior results each frame from now on is owed. */
  setBehaviorBundles(bundles: readonly BehaviorBundle[]): void {
    this.#owed = new Map(
      bundles.map((bundle) => [key(bundle.name, bundle.version), { bundle, results: [] }]),
    );
  }

  /** Names of a bundle's behaviors; empty where it is not of this stream. */
  behaviorsOf(name: string, version: number): readonly string[] {
    return this.#owed.get(key(name, version))?.bundle.behaviors ?? [];
  }

  /** Take a frame that goes to the server. */
  send(frameIndex: number, captureTimeNs: bigint): void {
    this.#take(frameIndex, captureTimeNs, true);
    this.#sentInFlight += 1;
  }

  /** Take a chunk that goes to the server. */
  sendChunk(chunkIndex: number, captureTimeNs: bigint): void {
    this.#chunks.set(chunkIndex, { captureTimeNs, sentNs: process.hrtime.bigint() });
    this.#chunkCounts.chunks += 1;
  }

  /** Take the server's acknowledgement of a chunk, and the frames that came out of it. */
  acknowledge(answer: Omit<ChunkAcknowledgement, "captureTimeNs">): Answer[] {
    const chunk = this.#chunks.get(answer.chunkIndex);
    if (chunk === undefined) {
      this.#counts.unexpected += 1;
      return [];
    }
    this.#chunks.delete(answer.chunkIndex);
    this.#chunkCounts.chunksAcknowledged += 1;
    this.#newestChunk = chunk;
    this.#announced += answer.framesDecoded;
    this.#turnUp(this.#announced, chunk);
    return [{ ...answer, captureTimeNs: chunk.captureTimeNs }];
  }

  /** The client's number of a frame that the server names; a decoded one may be new here. */
  number(frameIndex: bigint, captureTimeNs: bigint): number {
    if (this.#chunkCounts.chunks === 0) {
      return Number(frameIndex);
    }
    const [chunk = this.#newestChunk] = this.#chunks.values();
    const number = this.#first + Number(frameIndex);
    this.#turnUp(number + 1, { captureTimeNs, sentNs: chunk.sentNs });
    return number;
  }

  /** Take a frame and leave it out here, because all credits are in use. */
  skip(frameIndex: number, captureTimeNs: bigint): Answer[] {
    const outcome = { ...ownOutcome(frameIndex, captureTimeNs), kind: "skipped" as const };
    this.#take(frameIndex, captureTimeNs, false).outcome = { ...outcome, reason: "no_credit" };
    return this.#deliver();
  }

  /** Time since a frame was sent, ns; 0 for an unknown one. */
  roundTripNs(frameIndex: number): number {
    const entry = this.#entries.get(frameIndex);
    return entry ? sinceNs(entry.sentNs) : 0;
  }

  /** Take the server's outcome of a frame. */
  settle(outcome: FrameOutcome): Answer[] {
    const entry = this.#entries.get(outcome.frameIndex);
    if (entry === undefined || entry.outcome !== undefined) {
      this.#counts.unexpected += 1;
      return [];
    }
    entry.outcome = outcome;
    this.#sentInFlight -= 1;
    return this.#deliver();
  }

  /** Take the server's behavior result of a frame. */
  settleBehavior(result: BehaviorResult): Answer[] {
    const owed = this.#owed.get(key(result.bundle, result.version));
    const place =
      owed?.results.findIndex((one) => one.isSent && one.frameIndex === result.frameIndex) ?? -1;
    if (owed === undefined || place < 0) {
      this.#counts.unexpected += 1;
      return [];
    }
    const passed = owed.results.splice(0, place + 1).slice(0, -1);
    return [...passed.map((one) => withoutAnswer(owed.bundle, one)), result];
  }

  /** Close all that is open: frames as error `lost`, behavior results without an answer. */
  close(message: string): Answer[] {
    for (const [frameIndex, entry] of this.#entries) {
      entry.outcome ??= {
        ...ownOutcome(frameIndex, entry.captureTimeNs),
        kind: "error",
        reason: "lost",
        message,
        roundTripNs: sinceNs(entry.sentNs),
      };
    }
    this.#sentInFlight = 0;
    const answers = this.#deliver();
    for (const { bundle, results } of this.#owed.values()) {
      answers.push(...results.splice(0).map((one) => withoutAnswer(bundle, one)));
    }
    for (const [chunkIndex, { captureTimeNs }] of this.#chunks) {
      const nothing = { framesDecoded: 0, packetsCorrupt: 0, message, isLost: true };
      answers.push({ type: "chunk", chunkIndex, captureTimeNs, ...nothing });
    }
    this.#chunkCounts.chunksLost += this.#chunks.size;
    this.#chunks.clear();
    this.#first = this.#announced = this.#next;
    return answers;
  }

  /** Take the decoded frames before number `end` that are not known yet. */
  #turnUp(end: number, { captureTimeNs, sentNs }: Chunk): void {
    for (; this.#next < end; this.#next++) {
      this.#take(this.#next, captureTimeNs, true, sentNs);
      this.#sentInFlight += 1;
    }
  }

  #take(
    frameIndex: number,
    captureTimeNs: bigint,
    isSent: boolean,
    sentNs = process.hrtime.bigint(),
  ): Entry {
    const entry: Entry = { captureTimeNs, sentNs };
    this.#entries.set(frameIndex, entry);
    this.#counts.accepted += 1;
    for (const { results } of this.#owed.values()) {
      results.push({ frameIndex, captureTimeNs, isSent });
    }
    return entry;
  }

  #deliver(): Answer[] {
    const answers: Answer[] = [];
    for (const [frameIndex, { outcome }] of this.#entries) {
      if (outcome === undefined) {
        break;
      }
      this.#entries.delete(frameIndex);
      this.#count(outcome);
      answers.push(outcome);
    }
    return answers;
  }

  #count({ kind, reason }: FrameOutcome): void {
    if (kind === "result") {
      this.#counts.results += 1;
    } else if (kind === "skipped") {
      this.#counts.skipped += 1;
    } else if (reason === "lost") {
      this.#counts.lost += 1;
    } else {
      this.#counts.errors += 1;
    }
  }
}

function key(name: string, version: number): string {
  return `${name}@${version}`;
}

function sinceNs(beganNs: bigint): number {
  return Number(process.hrtime.bigint() - beganNs);
}

/** An outcome that the server had no part in, but for what became of the frame. */
function ownOutcome(frameIndex: number, captureTimeNs: bigint): Omit<FrameOutcome, "kind"> {
  return {
    type: "outcome",
    frameIndex,
    captureTimeNs,
    poses: [],
    reason: "",
    message: "",
    arrivalTimeNs: 0n,
    roundTripNs: 0,
  };
}

/** What is owed for a frame that the server will not answer any more, or never saw. */
function withoutAnswer(bundle: BehaviorBundle, owed: Owed): BehaviorResult {
  return {
    type: "behavior",
    frameIndex: owed.frameIndex,
    captureTimeNs: owed.captureTimeNs,
    bundle: bundle.name,
    version: bundle.version,
    behaviors: bundle.behaviors,
    status: owed.isSent ? BehaviorStatus.ERROR : BehaviorStatus.NO_FRAME,
    latencyNs: 0,
    background: false,
    bouts: [],
  };
}
