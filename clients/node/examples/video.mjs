// Uploads a video and prints its keypoints as CSV:
//   node video.mjs VIDEO [ADDRESS] [BUNDLE]
import { Client, FrameStatus } from "ethostream";

const [upload, address = "127.0.0.1:50051", bundle = "openfield-mouse"] = process.argv.slice(2);
const client = new Client(address);
const analysis = client.analyze({ upload }, bundle);
const { info, bundles } = await analysis.open();
console.error(`${info.widthPx}x${info.heightPx} px, ${info.codec}, read by ${info.decoder}`);
console.log("frame,status,animal,keypoint,x_px,y_px,confidence");
for await (const { frameIndex, status, poses } of analysis) {
  const { animals, keypoints, xPx, yPx, confidence } = poses[0];
  for (let row = 0; row < xPx.length; row++) {
    const t = Math.floor(row / (animals * keypoints)); // rows are (T, N, K), the last fastest
    const animal = Math.floor(row / keypoints) % animals;
    const name = bundles[0].pose.keypoints[row % keypoints];
    const values = [xPx[row], yPx[row], confidence[row]].map((one) => one.toFixed(3));
    console.log([frameIndex[t], FrameStatus[status[t]], animal, name, ...values].join(","));
  }
}
console.error(analysis.finished);
client.close();
