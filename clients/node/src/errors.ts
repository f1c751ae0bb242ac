/**
 * Every error that the client throws on purpose, mapped from the server's gRPC status.
 *
 * EthostreamError                 `status` is the name of the gRPC status, the text is the server's
 * ├── InvalidRequest              the request cannot be served as it is
 * │   └── InvalidFrame            an image that cannot be sent, or a frame number out of order
 * ├── NotFound                    no such bundle, video, upload or session
 * ├── Overloaded                  a limit of the server is reached: a size, a queue, open streams
 * ├── PermissionDenied            the token lacks a scope, or the path is outside the roots
 * ├── Unauthenticated             no token, or an unknown one
 * ├── FailedPrecondition          a damaged bundle, an engine that is not installed
 * ├── Unavailable                 no server answers at the address, or it is stopping
 * │   └── StreamClosed            the stream was finished or closed and takes no more frames
 * ├── DeadlineExceeded            no answer within the time allowed
 * ├── ServerFailed                the server, its engine or its decoder failed
 * └── AnswersUnread               the caller sends frames but reads no answers
 */

import { status as Status } from "@grpc/grpc-js";

/** Base of all errors of the client; its message says what happened, the value, and what to do. */
export class EthostreamError extends Error {
  /** Name of the gRPC status of errors of this class. */
  static readonly status: string = "UNKNOWN";

  /** Name of the gRPC status. */
  readonly status: string;

  constructor(message: string, status?: string) {
    super(message);
    this.name = new.target.name;
    this.status = status ?? new.target.status;
  }
}

/** The request cannot be served as it is; sending it again will not help. */
export class InvalidRequest extends EthostreamError {
  static override readonly status: string = "INVALID_ARGUMENT";
}

/** An image that no encoding fits, or a frame number that does not follow the last one. */
export class InvalidFrame extends InvalidRequest {}

/** Something that the request names does not exist. */
export class NotFound extends EthostreamError {
  static override readonly status: string = "NOT_FOUND";
}

/** A limit of the server is reached; the message says which. */
export class Overloaded extends EthostreamError {
  static override readonly status: string = "RESOURCE_EXHAUSTED";
}

/** The caller may not do this. */
export class PermissionDenied extends EthostreamError {
  static override readonly status: string = "PERMISSION_DENIED";
}

/** No token was sent, or an unknown one. */
export class Unauthenticated extends EthostreamError {
  static override readonly status: string = "UNAUTHENTICATED";
}

/** The server is not in a state to do this, such as with a damaged bundle. */
export class FailedPrecondition extends EthostreamError {
  static override readonly status: string = "FAILED_PRECONDITION";
}

/** No server answers at the address, or it is stopping. */
export class Unavailable extends EthostreamError {
  static override readonly status: string = "UNAVAILABLE";
}

/** The stream was finished or closed and takes no more frames. */
export class StreamClosed extends Unavailable {}

/** No answer came within the time allowed. */
export class DeadlineExceeded extends EthostreamError {
  static override readonly status: string = "DEADLINE_EXCEEDED";
}

/** The server, its engine or its decoder failed. */
export class ServerFailed extends EthostreamError {
  static override readonly status: string = "INTERNAL";
}

/** The caller sends frames but reads no answers, and the buffer for them is full. */
export class AnswersUnread extends EthostreamError {
  static override readonly status: string = "RESOURCE_EXHAUSTED";
}

const CLASSES = new Map<Status, new (message: string, status: string) => EthostreamError>([
  [Status.INVALID_ARGUMENT, InvalidRequest],
  [Status.OUT_OF_RANGE, InvalidRequest],
  [Status.NOT_FOUND, NotFound],
  [Status.RESOURCE_EXHAUSTED, Overloaded],
  [Status.PERMISSION_DENIED, PermissionDenied],
  [Status.UNAUTHENTICATED, Unauthenticated],
  [Status.FAILED_PRECONDITION, FailedPrecondition],
  [Status.UNAVAILABLE, Unavailable],
  [Status.CANCELLED, Unavailable],
  [Status.ABORTED, Unavailable],
  [Status.DEADLINE_EXCEEDED, DeadlineExceeded],
  [Status.INTERNAL, ServerFailed],
  [Status.UNKNOWN, ServerFailed],
  [Status.DATA_LOSS, ServerFailed],
]);

/** The typed error of a failed call, with its status and the server's message; others as they are. */
export function fromRpcError(error: unknown, address: string): unknown {
  if (!(error instanceof Error && "code" in error && typeof error.code === "number")) {
    return error;
  }
  const code: Status = error.code;
  const details = "details" in error ? String(error.details) : "";
  let message = details || `the server at ${address} gave no reason`;
  if (code === Status.UNAVAILABLE) {
    message = `no server answers at ${address}, or it is stopping (${message}); try again`;
  }
  return new (CLASSES.get(code) ?? EthostreamError)(message, Status[code] ?? "UNKNOWN");
}
