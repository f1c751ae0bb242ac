/** Images as a camera gives them, made into frames for the wire; and pieces of encoded video. */

import { create } from "@bufbuild/protobuf";

import { InvalidFrame, InvalidRequest } from "./errors.js";
import {
  type CropRegion,
  CropRegionSchema,
  type DynamicCrop as DynamicCropMessage,
  DynamicCropSchema,
  type Frame,
  FrameEncoding,
  FrameSchema,
  type VideoChunk,
  VideoChunkSchema,
  VideoCodec,
} from "./generated/ethostream/v1/frame_pb.js";
import type { ChunkCodec, Color, Crop, DynamicCrop, Image, Pixels } from "./values.js";

const JPEG = [0xff, 0xd8, 0xff];
const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const FIELD_BYTES = 1024; // the fields around the pixels
const CODECS = { h264: VideoCodec.H264, hevc: VideoCodec.HEVC, mjpeg: VideoCodec.MJPEG };
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

/** How a chunk is sent. */
export interface ChunkOptions {
  /** How its bytes are to be read; the same for all chunks of a stream. */
  readonly codec: ChunkCodec;
  /** Number of the chunk, greater than the last one; by default one more. */
  readonly chunkIndex?: number;
  /** Time of capture of its first frame on the camera's clock, ns; by default now. */
  readonly captureTimeNs?: bigint;
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
  checkSize(`frame ${frameIndex}`, frame.data, maxMessageBytes, "send JPEG");
  return frame;
}

/**
 * Make a piece of encoded video for the wire; its bytes are not copied yet.
 *
 * @throws InvalidRequest An unknown codec.
 * @throws InvalidFrame It is no bytes, or does not fit into a message.
 */
export function encodeChunk(
  data: Uint8Array,
  { codec, chunkIndex, captureTimeNs }: Required<ChunkOptions>,
  maxMessageBytes: number,
): VideoChunk {
  if (!Object.hasOwn(CODECS, codec)) {
    const known = Object.keys(CODECS).join(", ");
    throw new InvalidRequest(`unknown codec '${codec}'; choose one of ${known}`);
  }
  if (!(data instanceof Uint8Array)) {
    throw new InvalidFrame(`a chunk is bytes, not ${typeof data}; send images by \`send\``);
  }
  checkSize(`chunk ${chunkIndex}`, data, maxMessageBytes, "send smaller pieces");
  return create(VideoChunkSchema, {
    chunkIndex: BigInt(chunkIndex),
    captureTimeNs,
    codec: CODECS[codec],
    data,
  });
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

function checkSize(what: string, data: Uint8Array, maxMessageBytes: number, remedy: string) {
  const limit = maxMessageBytes - FIELD_BYTES;
  if (data.length > limit) {
    throw new InvalidFrame(
      `${what} holds ${data.length} bytes, over the client's limit of ${limit}; ` +
        `${remedy}, or raise maxMessageBytes here and on the server`,
    );
  }
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
  if (!Object.hasOwn(COLORS, color)) {
    throw new InvalidFrame(`unknown color '${color}'; choose one of ${Object.keys(COLORS).join(", ")}`);
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
