/** Frames and answers as `clients/testdata/stream_frames.py` makes and prints them. */

import type {
  Answer,
  BehaviorResult,
  Client,
  FrameOutcome,
  Pixels,
  StreamOptions,
} from "ethostream";

/** Gray; the pixel at x, y of frame n has the level (3 x + 5 y + 7 n) mod 251. */
export function madeFrame(number: number, widthPx: number, heightPx: number): Pixels {
  const data = new Uint8Array(widthPx * heightPx);
  for (let y = 0; y < heightPx; y++) {
    for (let x = 0; x < widthPx; x++) {
      data[y * widthPx + x] = (3 * x + 5 * y + 7 * number) % 251;
    }
  }
  return { data, widthPx, heightPx };
}

/** What does not change from run to run. */
export function plain(answer: FrameOutcome | BehaviorResult): unknown {
  if (answer.type === "behavior") {
    const { frameIndex: frame, bundle, status, probabilities, present } = answer;
    return { frame, bundle, status, ...(probabilities && { probabilities, present }) };
  }
  const poses = answer.poses.map(({ poses }) => ({
    x_px: poses.map((one) => one.xPx),
    y_px: poses.map((one) => one.yPx),
    confidence: poses.map((one) => one.confidence),
  }));
  return { frame: answer.frameIndex, kind: answer.kind, poses };
}

/** Stream made frames; outcomes first, then behavior results. */
export async function streamMade(
  client: Client,
  bundles: string[],
  frames: number,
  size: readonly [number, number],
  options: StreamOptions = {},
): Promise<(FrameOutcome | BehaviorResult)[]> {
  const stream = client.stream(bundles, options);
  for (let number = 0; number < frames; number++) {
    await stream.send(madeFrame(number, ...size), { captureTimeNs: BigInt(number) });
  }
  await stream.finish();
  const answers: Answer[] = [];
  for await (const answer of stream) {
    answers.push(answer);
  }
  return [
    ...answers.filter((one) => one.type === "outcome"),
    ...answers.filter((one) => one.type === "behavior"),
  ];
}
