/**
 * Ends a call that gives no sign of life while something is owed.
 *
 * gRPC can leave a call without an end, though the connection lives: seen once with grpc-js 1.14 and
 * grpcio 1.85, and where a call meets a stopping server.
 */

const CHECKS = 20; // in the time of a short limit

/** Watches one call, from its begin until `stop`. */
export class Silence {
  /** Whether it lasted too long. */
  isBroken = false;

  // Counted in checks, not by the clock: while this process stood still it could hear nothing.
  #silentMs = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param giveUp Called once, when the silence is too long.
   * @param limitMs How long it may last.
   * @param isOwed Whether anything is owed now; else the time counts from what is owed next.
   */
  constructor(
    private readonly giveUp: () => void,
    private readonly limitMs: number,
    private readonly isOwed: () => boolean,
  ) {
    this.#checkSoon();
  }

  /** Note a sign of life. */
  heard(): void {
    this.#silentMs = 0;
  }

  /** End the watch. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #checkSoon(): void {
    const passedMs = Math.min(this.limitMs / CHECKS, 1000);
    this.#timer = setTimeout(() => {
      this.#silentMs = this.isOwed() ? this.#silentMs + passedMs : 0;
      if (this.#silentMs < this.limitMs) {
        this.#checkSoon();
      } else {
        this.isBroken = true;
        this.giveUp();
      }
    }, passedMs);
  }
}
