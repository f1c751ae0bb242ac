/** Whether and when a live stream connects again. */

import { Backoff } from "./backoff.js";
import type { EthostreamError } from "./errors.js";

const BROKEN = ["UNAVAILABLE", "CANCELLED"]; // a stopped, killed or unreachable server
// A server that just began may still load its bundles, or count the old stream as open.
const NOT_READY = ["NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"];

/** Remembers since when a stream is without connection, and how often it was tried. */
export class Reconnect {
  readonly #backoff = new Backoff();
  #disconnectedAt = 0;

  /** @param limitSeconds Longest time without connection. */
  constructor(private readonly limitSeconds: number) {}

  /** Note that the connection is in use, so that the next break begins anew. */
  works(): void {
    this.#backoff.reset();
  }

  /** Whether another try may meet another answer than this one. */
  static isWorthIt(error: EthostreamError, wasConnected: boolean): boolean {
    return (
      BROKEN.includes(error.status) || (NOT_READY.includes(error.status) && !wasConnected)
    );
  }

  /**
   * When to try again, on the clock of `performance`.
   *
   * @param error What ended the connection; nothing where the server asked to go.
   * @param wasConnected Whether it was a connection, not a try.
   * @throws EthostreamError `error`, where that would be too late.
   */
  resumesAt(error: EthostreamError | undefined, wasConnected: boolean): number {
    const now = performance.now();
    if (wasConnected) {
      this.#disconnectedAt = now;
    }
    const at = now + this.#backoff.nextSeconds() * 1000;
    if (error !== undefined && at > this.#disconnectedAt + this.limitSeconds * 1000) {
      throw error;
    }
    return at;
  }
}
