/** Archive jobs of a real server. */

import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Client, InvalidRequest, type Job, NotFound, PermissionDenied, Unavailable } from "ethostream";

import { EXACT, Server, VECTORS } from "./server.js";

const BUNDLE = "vector-points";
const TIMEOUT = { timeout: 240_000 };
const folder = mkdtempSync(join(tmpdir(), "ethostream-node-"));
let server: Server;
let client: Client;

async function start(...more: string[]): Promise<Server> {
  const folders = ["--root", join(folder, "videos"), "--jobs", join(folder, "jobs")];
  return Server.start(join(VECTORS, "models"), ...EXACT, ...folders, ...more);
}

async function last(updates: AsyncIterable<Job>): Promise<Job> {
  let job: Job | undefined;
  for await (job of updates);
  return job!;
}

before(async () => {
  mkdirSync(join(folder, "videos", "day"), { recursive: true });
  const upload = JSON.parse(readFileSync(join(VECTORS, "cases", "upload.json"), "utf8"));
  const pieces = upload.requests.map((one: any) => Buffer.from(one.data ?? "", "base64"));
  writeFileSync(join(folder, "videos", "day", "points.mkv"), Buffer.concat(pieces));
  writeFileSync(join(folder, "videos", "bad.mp4"), "no video at all");
  writeFileSync(join(folder, "videos", "notes.txt"), "rat 7 escaped");
  server = await start();
  client = new Client(server.address);
});

after(async () => {
  client.close();
  await server.stop();
  rmSync(folder, { recursive: true });
});

test("a job is watched to its end over a restart, and retried", TIMEOUT, async () => {
  const options = { title: "week", priority: 2, formats: ["dlc-csv"] };
  const submitted = await client.jobs.submit(".", BUNDLE, options);
  assert.deepEqual(
    [submitted.title, submitted.priority, submitted.bundles, submitted.formats],
    ["week", 2, [`${BUNDLE}@1`], ["dlc-csv"]],
  );
  const job = await last(client.jobs.watch(submitted.jobId));
  assert.equal(job.state, "failed");
  assert.deepEqual([job.videos, job.videosDone, job.videosFailed, job.frames], [2, 1, 1, 12]);
  const [bad, good] = job.listed;
  assert.deepEqual([bad?.state, good?.state, good?.frames], ["failed", "done", 12]);
  assert.match(bad!.message, /bad\.mp4/);
  assert.ok(good!.files.every((file) => existsSync(file)));
  assert.deepEqual(job.leftOut.map(({ reason }) => reason), ["its ending .txt is none of a video"]);
  assert.deepEqual((await client.jobs.list()).map((one) => [one.jobId, one.listed]), [[job.jobId, []]]);

  copyFileSync(join(folder, "videos", "day", "points.mkv"), join(folder, "videos", "bad.mp4"));
  assert.equal((await client.jobs.retry(job.jobId)).videosFailed, 0);
  const updates = client.jobs.watch(job.jobId, 120);
  await updates.next();
  await server.stop("SIGKILL");
  server = await start("--listen", server.address);
  const again = await last(updates);
  assert.ok(again === undefined || again.state === "done"); // undefined: over before the kill
  assert.deepEqual(
    (await client.jobs.get(job.jobId)).listed.map((one) => one.state),
    ["done", "done"],
  );
  await assert.rejects(client.jobs.retry(job.jobId), InvalidRequest);
});

test("a job is cancelled", TIMEOUT, async () => {
  const { jobId } = await client.jobs.submit("day", BUNDLE, { crop: { xPx: 0, yPx: 0, widthPx: 48, heightPx: 48 } });
  const { state } = await client.jobs.cancel(jobId);
  assert.ok(["cancelled", "done"].includes(state), state);
});

test("what cannot be is refused", TIMEOUT, async () => {
  const submit = (path: string, bundle: string, options = {}) => client.jobs.submit(path, bundle, options);
  await assert.rejects(submit("/etc", BUNDLE), PermissionDenied);
  await assert.rejects(submit("gone.mp4", BUNDLE), NotFound);
  await assert.rejects(submit("day", "unicorn"), NotFound);
  await assert.rejects(submit("day", BUNDLE, { formats: ["xlsx"] }), InvalidRequest);
  await assert.rejects(submit("day", BUNDLE, { frameLimit: -1 }), InvalidRequest);
  await assert.rejects(submit("day", BUNDLE, { frameRateHz: Infinity }), /frameRateHz is Infinity/);
  await assert.rejects(submit("day", BUNDLE, { priority: 0.5 }), InvalidRequest);
  await assert.rejects(client.jobs.get("x"), NotFound);
  await assert.rejects(last(client.jobs.watch("x")), NotFound);
  const nobody = new Client("127.0.0.1:1");
  await assert.rejects(last(nobody.jobs.watch("x")), Unavailable);
  nobody.close();
});
