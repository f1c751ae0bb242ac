/** Broken connections, stopping servers, limits, TLS and tokens, on real servers. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import {
  type Answer,
  Client,
  LiveStream,
  NotFound,
  Overloaded,
  PermissionDenied,
  Unauthenticated,
  Unavailable,
} from "ethostream";

import { Connection } from "../dist/connection.js";
import { madeFrame } from "./frames.js";
import { EXACT, Server, VECTORS } from "./server.js";

const MODELS = join(VECTORS, "models");
const FRAME = madeFrame(0, 64, 48);
const BUNDLES = ["vector-points", "vector-motion"];
const TIMEOUT = { timeout: 120_000 };

async function read(stream: LiveStream): Promise<Answer[]> {
  const answers: Answer[] = [];
  for await (const answer of stream) {
    answers.push(answer);
  }
  return answers;
}

function numbers(answers: Answer[], type: Answer["type"]): number[] {
  return answers
    .filter((one) => one.type === type)
    .map((one) => (one.type === "chunk" ? one.chunkIndex : one.frameIndex));
}

for (const [what, signal] of [
  ["was killed", "SIGKILL"],
  ["was told to stop", "SIGTERM"],
] as const) {
  test(`a stream goes on after its server ${what}, and every frame is answered`, TIMEOUT, async () => {
    let server = await Server.start(MODELS, ...EXACT);
    const client = new Client(server.address);
    try {
      const stream = client.stream(BUNDLES);
      for (let number = 0; number < 60; number++) {
        await stream.send(FRAME);
        if (number === 20) {
          await server.stop(signal);
          server = await Server.start(MODELS, ...EXACT, "--listen", server.address);
        }
      }
      const counts = await stream.finish();
      const answers = await read(stream);
      const all = Array.from({ length: 60 }, (_, number) => number);
      assert.deepEqual(numbers(answers, "outcome"), all);
      assert.deepEqual(numbers(answers, "behavior"), all);
      assert.deepEqual([counts.accepted, counts.inFlight, counts.unexpected], [60, 0, 0]);
      assert.equal(counts.results + counts.lost, 60);
      assert.ok(counts.lost <= stream.credits, `${counts.lost} lost`);
      if (signal === "SIGTERM") {
        assert.equal(counts.lost, 0);
      }
      assert.equal(stream.reconnects, 1);
    } finally {
      client.close();
      await server.stop();
    }
  });
}

test("without reconnecting, a killed server is told and all is closed", TIMEOUT, async () => {
  const server = await Server.start(MODELS, ...EXACT);
  const client = new Client(server.address);
  const stream = client.stream(BUNDLES, { reconnect: false });
  await stream.send(FRAME);
  await server.stop("SIGKILL");
  await assert.rejects(stream.finish(), Unavailable);
  const answers: Answer[] = [];
  await assert.rejects(async () => {
    for await (const answer of stream) {
      answers.push(answer);
    }
  }, Unavailable);
  assert.deepEqual([numbers(answers, "outcome"), numbers(answers, "behavior")], [[0], [0]]);
  assert.equal(stream.ledger.inFlight, 0);
  for (const call of [client.models(), client.session(BUNDLES).analyze(FRAME)]) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof Unavailable);
      return error.message.startsWith(`no server answers at ${server.address}`);
    });
  }
  client.close();
});

test("a server that falls silent is given up, and the stream goes on with it later", TIMEOUT, async () => {
  const server = await Server.start(MODELS, ...EXACT);
  const connection = new Connection(server.address, { keepaliveSeconds: 0 });
  try {
    const stream = new LiveStream(connection, BUNDLES, {}, 4_000);
    await stream.send(FRAME);
    await sleep(6_000); // a camera may pause
    await stream.send(FRAME);
    while (stream.ledger.results < 2) {
      await sleep(20);
    }
    assert.equal(stream.reconnects, 0);
    server.kill("SIGSTOP");
    await stream.send(FRAME);
    while (stream.ledger.lost === 0) {
      await sleep(20);
    }
    server.kill("SIGCONT");
    await stream.send(FRAME);
    const counts = await stream.finish();
    assert.deepEqual([counts.results, counts.lost, counts.unexpected], [3, 1, 0]);
    assert.deepEqual(numbers(await read(stream), "behavior"), [0, 1, 2, 3]);
  } finally {
    server.kill("SIGCONT");
    connection.close();
    await server.stop();
  }
});

test("limits of the server are told with their status", TIMEOUT, async () => {
  const folder = mkdtempSync(join(tmpdir(), "ethostream-node-"));
  const config = join(folder, "service.toml");
  writeFileSync(
    config,
    "[server]\nmax_message_mib = 1\nmax_streams = 2\n[session]\nmax_width_px = 640\n" +
      "[video]\nmax_upload_mib = 1\n",
  );
  const server = await Server.start(MODELS, ...EXACT, "--config", config);
  const client = new Client(server.address);
  try {
    const wide = client.stream("vector-points");
    await wide.send({ data: new Uint8Array(641 * 8), widthPx: 641, heightPx: 8 });
    await wide.finish();
    const [answer] = await read(wide);
    assert.ok(answer?.type === "outcome" && answer.kind === "error");
    assert.equal(answer.reason, "too_large");
    assert.match(answer.message, /641/);

    const large = client.stream("vector-points", { reconnect: false });
    const image = { data: new Uint8Array(1200 * 1000), widthPx: 1200, heightPx: 1000 };
    await large.send(image);
    await assert.rejects(large.finish(), (error) => {
      assert.ok(error instanceof Overloaded);
      return /larger than max/.test(error.message);
    });
    assert.equal((await client.models()).length, 2);

    const file = join(folder, "large.mkv");
    writeFileSync(file, new Uint8Array(2 << 20));
    await assert.rejects(client.upload(file), (error) => {
      assert.ok(error instanceof Overloaded);
      return /this server takes at most/.test(error.message);
    });

    const two = [client.stream("vector-points"), client.stream("vector-points")];
    await Promise.all(two.map((one) => one.open()));
    await assert.rejects(client.stream("vector-points").open(), (error) => {
      assert.ok(error instanceof Overloaded);
      return /2 streams are open/.test(error.message);
    });
    await Promise.all(two.map((one) => one.finish()));
  } finally {
    client.close();
    await server.stop();
    rmSync(folder, { recursive: true });
  }
});

test("models are unloaded, loaded and watched; a session that ended is not found", TIMEOUT, async () => {
  const server = await Server.start(MODELS, ...EXACT);
  const client = new Client(server.address);
  try {
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { name, state } of client.watch()) {
        seen.push(`${name} ${state}`);
        if (seen.filter((one) => one === "vector-points ready").length === 2) {
          return;
        }
      }
    })();
    while (seen.length < 2) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const [unloaded] = await client.unload("vector-points@1");
    assert.equal(unloaded?.state, "available");
    await assert.rejects(client.stream("vector-points").open(), NotFound);
    assert.equal((await client.load("vector-points")).state, "ready");
    await watching;
    assert.ok(seen.includes("vector-points loading"));
    await assert.rejects(client.load("cat"), NotFound);

    const session = client.session(BUNDLES);
    await session.analyze(FRAME);
    const { sessionId } = session;
    await session.end();
    session.sessionId = sessionId;
    await assert.rejects(session.analyze(FRAME), NotFound);

    const analysis = client.analyze({ path: "/etc/hostname" }, BUNDLES);
    await assert.rejects(analysis.open(), PermissionDenied);
  } finally {
    client.close();
    await server.stop();
  }
});

test("over TLS, a token says who may do what", TIMEOUT, async () => {
  const folder = mkdtempSync(join(tmpdir(), "ethostream-node-"));
  const [certificate, key, tokens] = ["server.pem", "server.key", "tokens.toml"].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-days", "1", "-subj", "/CN=ethostream test", "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-keyout", key, "-out", certificate],
    ],
    { stdio: "ignore" },
  );
  writeFileSync(tokens, '[rig]\ntoken = "rig-token-0123456789"\nscopes = ["infer"]\n');
  const server = await Server.start(
    MODELS,
    ...EXACT,
    ...["--tls-certificate", certificate, "--tls-key", key, "--token-file", tokens],
  );
  const tls = { rootCertificate: certificate };
  const clients = {
    rig: new Client(server.address, { tls, token: "rig-token-0123456789" }),
    stranger: new Client(server.address, { tls, token: "stranger-0123456789" }),
    nobody: new Client(server.address, { tls }),
    plain: new Client(server.address, { token: "rig-token-0123456789" }),
  };
  try {
    const stream = clients.rig.stream(BUNDLES);
    await stream.send(FRAME);
    assert.equal((await stream.finish()).results, 1);
    await assert.rejects(clients.rig.unload("vector-points"), (error) => {
      assert.ok(error instanceof PermissionDenied);
      return /needs models/.test(error.message);
    });
    await assert.rejects(clients.stranger.stream(BUNDLES).open(), Unauthenticated);
    await assert.rejects(clients.nobody.models(), Unauthenticated);
    await assert.rejects(clients.plain.models(), Unavailable);
  } finally {
    Object.values(clients).forEach((one) => one.close());
    await server.stop();
    rmSync(folder, { recursive: true });
  }
});
