/** How long to wait before connecting again: doubled with each try, with jitter. */
export class Backoff {
  #tries = 0;

  constructor(
    private readonly firstSeconds = 0.1,
    private readonly longestSeconds = 5,
    private readonly uniform: () => number = Math.random,
  ) {}

  /** The next wait: between half and one and a half times its middle. */
  nextSeconds(): number {
    const middle = Math.min(this.longestSeconds, this.firstSeconds * 2 ** this.#tries);
    this.#tries += 1;
    return middle * (0.5 + this.uniform());
  }

  /** Begin anew, because the connection works. */
  reset(): void {
    this.#tries = 0;
  }
}
