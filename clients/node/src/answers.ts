/** Answers that wait to be read: as many as a reader may lag, then the sender waits for it. */

import { AnswersUnread } from "./errors.js";
import { Signal } from "./signal.js";
import type { Answer } from "./values.js";

const UNREAD_LIMIT = 16_384; // answers of a few hundred bytes each: some MB, minutes at 100 Hz
const UNREAD_MS = 10_000; // a slow reader is waited for; one that stands still this long is an error

/** A queue from one stream to its reader. */
export class AnswerQueue {
  readonly #answers: Answer[] = [];
  readonly #added = new Signal(); // an answer is there, or no more come
  readonly #taken = new Signal(); // there is room, or no more come
  #isClosed = false;

  /** @param owed Says how many more answers are on their way. */
  constructor(private readonly owed: () => number) {}

  /** Hand over answers. */
  push(answers: Answer[]): void {
    if (answers.length > 0) {
      this.#answers.push(...answers);
      this.#added.notify();
    }
  }

  /** Say that no more answers come. */
  close(): void {
    this.#isClosed = true;
    this.#added.notify();
    this.#taken.notify();
  }

  /** Wait for the next answer; nothing once all are read and no more come. */
  async next(): Promise<Answer | undefined> {
    while (this.#answers.length === 0 && !this.#isClosed) {
      await this.#added.wait();
    }
    const answer = this.#answers.shift();
    if (this.#unread() === UNREAD_LIMIT - 1) {
      this.#taken.notify();
    }
    return answer;
  }

  /**
   * Wait until there is room for one more frame's answers.
   *
   * @throws AnswersUnread None was read for 10 s.
   */
  async waitForRoom(): Promise<void> {
    let last = this.#unread();
    let since = performance.now();
    for (let unread = last; unread >= UNREAD_LIMIT && !this.#isClosed; unread = this.#unread()) {
      const now = performance.now();
      if (unread < last) {
        [last, since] = [unread, now];
      }
      if (now - since >= UNREAD_MS) {
        throw new AnswersUnread(
          `${unread} answers wait and none was read for ${UNREAD_MS / 1000} s; ` +
            "iterate over the stream while sending",
        );
      }
      await this.#taken.waitAtMost(since + UNREAD_MS - now);
    }
  }

  #unread(): number {
    return this.#answers.length + this.owed();
  }
}
