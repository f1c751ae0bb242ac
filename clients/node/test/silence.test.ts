/** A server that owes an answer is given a whole limit for it, whatever was silent before. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Silence } from "../dist/silence.js";

function watched(context: TestContext) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const state = { isOwed: true, givenUp: 0 };
  const silence = new Silence(() => (state.givenUp += 1), 60_000, () => state.isOwed);
  const pass = (seconds: number) => {
    for (let passed = 0; passed < seconds; passed++) {
      context.mock.timers.tick(1000); // one check at a time, since each sets the next one
    }
  };
  return { state, silence, pass };
}

test("who owes an answer for the whole limit is given up, once", (context) => {
  const { state, silence, pass } = watched(context);
  pass(59);
  assert.deepEqual([state.givenUp, silence.isBroken], [0, false]);
  pass(1);
  assert.deepEqual([state.givenUp, silence.isBroken], [1, true]);
  pass(120);
  assert.equal(state.givenUp, 1);
});

test("a pause does not count, and the first frame after it has the whole limit", (context) => {
  const { state, pass } = watched(context);
  state.isOwed = false;
  pass(179);
  state.isOwed = true;
  pass(59);
  assert.equal(state.givenUp, 0);
  pass(1);
  assert.equal(state.givenUp, 1);
});

test("each answer begins the limit anew, and the end ends it", (context) => {
  const { state, silence, pass } = watched(context);
  for (let answer = 0; answer < 5; answer++) {
    pass(50);
    silence.heard();
  }
  pass(59);
  silence.stop();
  pass(120);
  assert.deepEqual([state.givenUp, silence.isBroken], [0, false]);
});
