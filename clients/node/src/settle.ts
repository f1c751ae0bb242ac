/** Settles what a server answers with the account of a live stream. */

import type { StreamFramesResponse } from "./generated/ethostream/v1/inference_service_pb.js";
import type { BehaviorBundle, Ledger } from "./ledger.js";
import * as messages from "./messages.js";
import type { Answer, BundleInfo } from "./values.js";

/**
 * The answers that may be delivered after an outcome, behavior result or acknowledgement.
 *
 * Frames get the numbers of this client, which go on over broken connections.
 */
export function settle({ response }: StreamFramesResponse, ledger: Ledger): Answer[] {
  switch (response.case) {
    case "outcome": {
      const number = ledger.number(response.value.frameIndex, response.value.captureTimeNs);
      const outcome = messages.outcome(response.value, ledger.roundTripNs(number));
      return ledger.settle({ ...outcome, frameIndex: number });
    }
    case "behavior": {
      const { frameIndex, captureTimeNs, bundle } = response.value;
      const number = ledger.number(frameIndex, captureTimeNs);
      const names = ledger.behaviorsOf(bundle?.name ?? "", bundle?.version ?? 0);
      const result = messages.behaviorResult(response.value, names);
      const bouts = result.bouts.map((one) => ({
        ...one,
        frameIndex: ledger.number(BigInt(one.frameIndex), captureTimeNs),
      }));
      return ledger.settleBehavior({ ...result, frameIndex: number, bouts });
    }
    case "chunk": {
      const { chunkIndex, framesDecoded, packetsCorrupt, message } = response.value;
      const taken = { framesDecoded, packetsCorrupt, message, isLost: false };
      return ledger.acknowledge({ type: "chunk", chunkIndex: Number(chunkIndex), ...taken });
    }
    case "trigger": {
      const { frameIndex, captureTimeNs } = response.value;
      const number = ledger.number(frameIndex, captureTimeNs);
      return messages.triggerEvent(response.value).map((one) => ({ ...one, frameIndex: number }));
    }
    default:
      return [];
  }
}

/** Those that owe a behavior result for each frame. */
export function behaviorBundles(bundles: readonly BundleInfo[]): BehaviorBundle[] {
  return bundles.flatMap(({ name, version, behavior }) =>
    behavior ? [{ name, version, behaviors: behavior.behaviors }] : [],
  );
}
