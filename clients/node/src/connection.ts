/** How the client reaches a server: address, TLS, token, limits, and calls with types. */

import { readFileSync } from "node:fs";

import {
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  create,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";

import { fromRpcError, InvalidRequest } from "./errors.js";

/** How to reach a server over TLS; all files are PEM. */
export interface TlsOptions {
  /** Who is trusted to sign the server's certificate; by default the roots of Node. */
  readonly rootCertificate?: string;
  /** This client's certificate chain, where the server asks for one. */
  readonly certificate?: string;
  /** The key of `certificate`. */
  readonly privateKey?: string;
  /** Name that the server's certificate must hold, where it is not the host of the address. */
  readonly serverName?: string;
}

/** How to reach a server, and the limits of a connection. */
export interface ClientOptions {
  /** Sent with every call as `authorization: Bearer ...`; give `tls` too on a network. */
  readonly token?: string;
  /** How to reach a server over TLS; by default without. */
  readonly tls?: TlsOptions;
  /** Largest message in either direction; by default 64 MiB. */
  readonly maxMessageBytes?: number;
  /** A dead connection is noticed this long after the last traffic, plus 10 s; 0 = never. */
  readonly keepaliveSeconds?: number;
  /** Longest wait for the answer of a single call, by default 60; streams are not limited. */
  readonly timeoutSeconds?: number;
}

/** Calls to one server; it connects with the first one. */
export class Connection {
  readonly maxMessageBytes: number;
  readonly #client: grpc.Client;
  readonly #metadata = new grpc.Metadata();
  readonly #timeoutSeconds: number;

  constructor(
    readonly address: string,
    options: ClientOptions,
  ) {
    const { token, tls, maxMessageBytes = 64 << 20, keepaliveSeconds = 30 } = options;
    this.maxMessageBytes = maxMessageBytes;
    this.#timeoutSeconds = options.timeoutSeconds ?? 60;
    if (token) {
      this.#metadata.set("authorization", `Bearer ${token}`);
    }
    this.#client = new grpc.Client(address, credentials(tls), {
      "grpc.max_receive_message_length": maxMessageBytes,
      "grpc.max_send_message_length": maxMessageBytes,
      // The live stream decides when to try again; the channel must not be slower.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1000,
      "grpc.enable_retries": 0,
      // A connection of its own: two clients must not wait for each other's frames.
      "grpc.use_local_subchannel_pool": 1,
      ...(keepaliveSeconds > 0 && {
        "grpc.keepalive_time_ms": Math.round(keepaliveSeconds * 1000),
        "grpc.keepalive_timeout_ms": 10_000,
      }),
      ...(tls?.serverName && { "grpc.ssl_target_name_override": tls.serverName }),
    });
  }

  /**
   * One request, one response.
   *
   * @throws InvalidRequest A value of the request fits into no message.
   * @throws EthostreamError The server refuses, fails or is not there.
   */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    timeoutSeconds = this.#timeoutSeconds,
  ): Promise<MessageShape<O>> {
    const { path, decode } = wire(method);
    const bytes = requestBytes(method.input, request);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        asBuffer,
        decode,
        bytes,
        this.#metadata,
        { deadline: Date.now() + timeoutSeconds * 1000 },
        (error, response) => (error ? reject(this.error(error)) : resolve(response!)),
      );
    });
  }

  /**
   * One request, a stream of responses.
   *
   * @throws InvalidRequest A value of the request fits into no message.
   */
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): grpc.ClientReadableStream<MessageShape<O>> {
    const { path, decode } = wire(method);
    const bytes = requestBytes(method.input, request);
    return quiet(
      this.#client.makeServerStreamRequest(path, asBuffer, decode, bytes, this.#metadata),
    );
  }

  /** A stream of requests and the promise of one response. */
  clientStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodClientStreaming<I, O>,
  ): { call: grpc.ClientWritableStream<MessageShape<I>>; answer: Promise<MessageShape<O>> } {
    const { path, encode, decode } = wire(method);
    let settle: grpc.requestCallback<MessageShape<O>> = () => {};
    const answer = new Promise<MessageShape<O>>((resolve, reject) => {
      settle = (error, response) => (error ? reject(this.error(error)) : resolve(response!));
    });
    answer.catch(() => {}); // who writes may look at it later
    const call = this.#client.makeClientStreamRequest(
      path,
      encode,
      decode,
      this.#metadata,
      (error, response) => settle(error, response),
    );
    return { call: quiet(call), answer };
  }

  /** A stream of requests, encoded by the caller, and a stream of responses. */
  bidiStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
  ): grpc.ClientDuplexStream<Uint8Array, MessageShape<O>> {
    const { path, decode } = wire(method);
    return quiet(this.#client.makeBidiStreamRequest(path, asBuffer, decode, this.#metadata));
  }

  /** The typed error of a failed call; other errors as they are. */
  error(error: unknown): unknown {
    return fromRpcError(error, this.address);
  }

  /** End the connection; calls that still run end by themselves. */
  close(): void {
    this.#client.close();
  }
}

/**
 * A request for the wire.
 *
 * @throws InvalidRequest A value fits not into its field.
 */
export function requestBytes<I extends DescMessage>(
  schema: I,
  request: MessageInitShape<I>,
): Uint8Array {
  try {
    return toBinary(schema, create(schema, request));
  } catch (error) {
    throw new InvalidRequest((error as Error).message);
  }
}

function wire<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { input: I; output: O },
) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    encode: (message: MessageShape<I>) => asBuffer(toBinary(method.input, message)),
    decode: (bytes: Buffer): MessageShape<O> => fromBinary(method.output, bytes),
  };
}

/** The same bytes, not copied. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A call whose late error, after nobody listens any more, does not end the process. */
function quiet<Call extends grpc.ClientReadableStream<unknown> | grpc.ClientWritableStream<never>>(
  call: Call,
): Call {
  call.on("error", () => {});
  return call;
}

function credentials(tls: TlsOptions | undefined): grpc.ChannelCredentials {
  if (tls === undefined) {
    return grpc.credentials.createInsecure();
  }
  if ((tls.certificate === undefined) !== (tls.privateKey === undefined)) {
    throw new InvalidRequest(
      "a client certificate and its private key come together; give both",
    );
  }
  return grpc.credentials.createSsl(
    read(tls.rootCertificate),
    read(tls.privateKey),
    read(tls.certificate),
  );
}

function read(path: string | undefined): Buffer | null {
  try {
    return path === undefined ? null : readFileSync(path);
  } catch (error) {
    throw new InvalidRequest(`cannot read ${path}: ${(error as Error).message}; give a PEM file`);
  }
}
