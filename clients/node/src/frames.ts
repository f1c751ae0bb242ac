/** Images as a camera gives them, made into frames for the wire. */

import { create } from "@bufbuild/protobuf";

import { InvalidFrame } from "./errors.js";
import {
  type CropRegion,
  CropRegionSchema,
  type DynamicCrop as DynamicCropMessage,
  DynamicCropSchema,
  type Frame,
  FrameEncoding,
  FrameSchema,
} from "./generated/ethostream/v1/frame_pb.js";
import type { Color, Crop, DynamicCrop, Image, Pixels } from "./values.js";

const JPEG = [0xff, 0xd8, 0xff];
const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const FIELD_BYTES = 1024; // the fields around the pixels
const COLORS = { rgb: FrameEncoding.RGB24, bgr: FrameEncoding.BGR24 };

/** How a frame is sent. */
export interface FrameOptions {
  /** Number of the frame, greater than the last one; by default one more. */
  readonly frameIndex?: number;
  /** Time of capture on the camera's clock, ns; by default now, ns since 1970. */
  readonly captureTimeNs?: bigint;
  /** Order of the channels of this frame, instead of the stream's. */
  readonly color?: Color;
  /** Part of the frame that the models look at, instead of the stream's. */
  readonly crop?: Crop;
}

/** What goes with the pixels of a frame. */
export interface FrameFields {
  readonly frameIndex: number;
  readonly captureTimeNs: bigint;
  readonly color: Color;
  readonly crop: Crop | undefined;
}

/**
 * Make a frame for the wire; its bytes are not copied yet.
 *
 * @throws InvalidFrame The image fits no encoding, or not into a message.
 */
export function encodeFrame(image: Image, fields: FrameFields, maxMessageBytes: number): Frame {
  const { frameIndex, captureTimeNs, color, crop } = fields;
  const frame = create(FrameSchema, {
    frameIndex: BigInt(frameIndex),
    captureTimeNs,
    ...(image instanceof Uint8Array
      ? { encoding: fileEncoding(image), data: image }
      : pixelFields(image, color)),
    ...(crop && { crop: cropRegion(crop) }),
  });
  const limit = maxMessageBytes - FIELD_BYTES;
  if (frame.data.length > limit) {
    throw new InvalidFrame(
      `frame ${frameIndex} holds ${frame.data.length} bytes, over the client's limit of ${limit}; ` +
        "send JPEG, or raise maxMessageBytes here and on the server",
    );
  }
  return frame;
}

/**
 * The crop for the wire.
 *
 * @throws InvalidFrame It begins before the frame or is empty.
 */
export function cropRegion(crop: Crop): CropRegion {
  const { xPx, yPx, widthPx, heightPx } = crop;
  if (![xPx, yPx, widthPx - 1, heightPx - 1].every((one) => Number.isSafeInteger(one) && one >= 0)) {
    throw new InvalidFrame(
      `the crop ${widthPx}x${heightPx} at (${xPx}, ${yPx}) px lies outside any frame; ` +
        "x, y from 0, width, height from 1 px, whole numbers",
    );
  }
  return create(CropRegionSchema, { xPx, yPx, widthPx, heightPx });
}

/** The dynamic crop for the wire; the server checks its values. */
export function dynamicCropMessage(crop: DynamicCrop): DynamicCropMessage {
  return create(DynamicCropSchema, crop);
}

/** Ns since 1970. */
export function nowNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

function pixelFields({ data, widthPx, heightPx }: Pixels, color: Color) {
  if (!(isSize(widthPx) && isSize(heightPx))) {
    throw new InvalidFrame(`a frame of ${widthPx}x${heightPx} px; give whole numbers from 1`);
  }
  const pixels = widthPx * heightPx;
  if (data.length !== pixels && data.length !== 3 * pixels) {
    throw new InvalidFrame(
      `${data.length} bytes are no frame of ${widthPx}x${heightPx} px; ` +
        `give ${pixels} (gray) or ${3 * pixels} (color)`,
    );
  }
  const encoding = data.length === pixels ? FrameEncoding.GRAY8 : COLORS[color];
  return { encoding, widthPx, heightPx, data };
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}

function fileEncoding(data: Uint8Array): FrameEncoding {
  const begins = (magic: number[]) => magic.every((byte, place) => data[place] === byte);
  if (begins(JPEG)) {
    return FrameEncoding.JPEG;
  }
  if (begins(PNG)) {
    return FrameEncoding.PNG;
  }
  throw new InvalidFrame(
    `${data.length} bytes that begin neither like JPEG nor like PNG; ` +
      "send such a file, or pixels as { data, widthPx, heightPx }",
  );
}
