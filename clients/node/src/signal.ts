/** A wake-up for all that wait; who waits checks its condition again. */
export class Signal {
  #wake: () => void = () => {};
  #next = this.#renew();

  /** Wake all who wait now. */
  notify(): void {
    const wake = this.#wake;
    this.#next = this.#renew();
    wake();
  }

  /** Wait for the next `notify`. */
  wait(): Promise<void> {
    return this.#next;
  }

  /** Wait for the next `notify`, but no longer than this. */
  async waitAtMost(milliseconds: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, milliseconds)));
    await Promise.race([this.#next, late]);
    clearTimeout(timer);
  }

  #renew(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
