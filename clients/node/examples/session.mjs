// Asks about one image after the other, a call each, and prints behaviors:
//   node session.mjs FOLDER [ADDRESS] [BUNDLE]
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { BehaviorStatus, Client } from "ethostream";

const [folder, address = "127.0.0.1:50051", bundle = "openfield-activity"] = process.argv.slice(2);
const client = new Client(address);
const session = client.session(bundle, { frameRateHz: 30 });

function show(results) {
  for (const { frameIndex, status, behaviors, present = [] } of results) {
    const names = behaviors.filter((_, place) => present[place]);
    const what = status === BehaviorStatus.OK ? names.join(", ") || "nothing" : BehaviorStatus[status];
    console.log(`frame ${frameIndex}: ${what}`);
  }
}

for (const name of (await readdir(folder)).sort()) {
  const { behaviors } = await session.analyze(await readFile(join(folder, name)));
  show(behaviors);
}
show(await session.end()); // what the look-ahead still held back
client.close();
