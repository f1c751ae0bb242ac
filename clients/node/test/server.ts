/** Real servers in processes of their own, on free loopback ports. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The checkout: this file is built into clients/node/build. */
export const REPOSITORY = resolve(fileURLToPath(import.meta.url), "../../../..");
export const SHIPPED_MODELS = join(REPOSITORY, "deploy", "models");
export const VECTORS = join(REPOSITORY, "clients", "testdata");
/** ONNX Runtime in fp32: the same numbers from run to run. */
export const EXACT = ["--engine", "onnxruntime", "--precision", "fp32"];

const PYTHON = process.env.ETHOSTREAM_PYTHON ?? join(REPOSITORY, ".venv", "bin", "python");
const START_MS = 60_000;
const STOP_MS = 30_000;

const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((one) => one.kill("SIGKILL"))); // of a test that failed

/** A server process. */
export class Server {
  private constructor(
    readonly address: string,
    private readonly process: ChildProcess,
    private readonly folder: string,
    private readonly log: string,
  ) {}

  /** Start `ethostream serve` and wait until its bundles are loaded. */
  static async start(models: string, ...more: string[]): Promise<Server> {
    const folder = mkdtempSync(join(tmpdir(), "ethostream-node-"));
    const [log, portFile] = [join(folder, "log"), join(folder, "port")];
    const output = openSync(log, "w");
    const child = spawn(
      PYTHON,
      [
        ...["-m", "ethostream.commands", "serve", "--models", models],
        ...["--listen", "127.0.0.1:0", "--port-file", portFile, ...more],
      ],
      { stdio: ["ignore", output, output], cwd: REPOSITORY },
    );
    closeSync(output);
    running.add(child);
    child.once("exit", () => running.delete(child));
    for (const began = Date.now(); !existsSync(portFile); ) {
      if (child.exitCode !== null || Date.now() - began > START_MS) {
        child.kill("SIGKILL");
        throw new Error(`the server did not start:\n${readFileSync(log, "utf8").slice(-3000)}`);
      }
      await sleep(50);
    }
    const port = readFileSync(portFile, "utf8").trim();
    return new Server(`127.0.0.1:${port}`, child, folder, log);
  }

  /** Send a signal, such as SIGSTOP, without waiting for what comes of it. */
  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** End the server; by default it may answer what it accepted. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = once(this.process, "exit");
      const late = setTimeout(() => this.process.kill("SIGKILL"), STOP_MS);
      this.process.kill(signal);
      await ended;
      clearTimeout(late);
      if (signal === "SIGTERM" && this.process.exitCode !== 0) {
        throw new Error(`the server did not stop:\n${readFileSync(this.log, "utf8").slice(-3000)}`);
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Run a Python module of the checkout and return what it prints. */
export async function python(...args: string[]): Promise<string> {
  const options = { cwd: REPOSITORY, maxBuffer: 64 << 20, timeout: 120_000 };
  return (await promisify(execFile)(PYTHON, args, options)).stdout;
}
