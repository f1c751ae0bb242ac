// Streams the images of a folder and prints poses with latency:
//   node folder.mjs FOLDER [ADDRESS] [BUNDLE]
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "ethostream";

const [folder, address = "127.0.0.1:50051", bundle = "openfield-mouse"] = process.argv.slice(2);
const client = new Client(address);
const stream = client.stream(bundle);

async function show() {
  for await (const answer of stream) {
    if (answer.type !== "outcome") continue; // or a behavior result
    const { xPx = [], yPx = [] } = answer.poses[0]?.poses[0] ?? {};
    const points = Array.from(xPx, (x, k) => `(${x.toFixed(1)}, ${yPx[k].toFixed(1)})`);
    const what = answer.kind === "result" ? points.join(" ") : `${answer.kind} ${answer.message}`;
    console.log(`frame ${answer.frameIndex}: ${what}, ${(answer.roundTripNs / 1e6).toFixed(1)} ms`);
  }
}

const shown = show();
const images = (await readdir(folder)).filter((name) => /\.(jpe?g|png)$/i.test(name)).sort();
for (const name of images) {
  await stream.send(await readFile(join(folder, name))); // waits while the server has no room
}
console.log(await stream.finish()); // all frames are answered
await shown;
client.close();
