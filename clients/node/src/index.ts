/**
 * Client of ethostream: stream animal video, get keypoints and behavior probabilities back.
 *
 * @packageDocumentation
 */

export { Analysis, type VideoResults } from "./analysis.js";
export { type AnalysisOptions, Client, type VideoSource } from "./client.js";
export type { ClientOptions, TlsOptions } from "./connection.js";
export * from "./errors.js";
export type { ChunkOptions, FrameOptions } from "./frames.js";
export { type Job, type JobOptions, Jobs, type JobState, type JobVideo } from "./jobs.js";
export type { LedgerCounts } from "./ledger.js";
export { LiveStream } from "./live.js";
export type { SessionOptions, StreamOptions, Trigger } from "./options.js";
export { type FrameAnswers, FrameSession } from "./session.js";
export * from "./values.js";
