// Lists the bundles of a server, over TLS with a token where it asks for them:
//   node models.mjs [ADDRESS] [CA.pem] [TOKEN]
import { Client, EthostreamError } from "ethostream";

const [address = "127.0.0.1:50051", rootCertificate, token] = process.argv.slice(2);
const client = new Client(address, { ...(rootCertificate && { tls: { rootCertificate }, token }) });
try {
  for (const { name, version, state, engine, precision, pose, behavior } of await client.models()) {
    const answers = pose?.keypoints ?? behavior?.behaviors ?? [];
    console.log(`${name}@${version} ${state} ${engine} ${precision}: ${answers.join(", ")}`);
  }
} catch (error) {
  if (!(error instanceof EthostreamError)) throw error;
  console.error(`${error.name} (${error.status}): ${error.message}`);
  process.exitCode = 1;
}
client.close();
