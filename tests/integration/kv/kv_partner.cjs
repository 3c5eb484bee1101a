// The independent client of kv_interop_test.cpp: @nats-io/kv, loaded from the folder in LITECLUSTER_PARTNER_MODULES.
//
//   node kv_partner.cjs write URL BUCKET    creates the bucket and fills it
//   node kv_partner.cjs dump URL BUCKET     prints every kept change: "revision operation key hex-of-value"
const { createRequire } = require("node:module");
const load = createRequire(process.env.LITECLUSTER_PARTNER_MODULES + "/");
const { connect } = load("@nats-io/transport-node");
const { Kvm } = load("@nats-io/kv");

async function write(kvm, bucket) {
  const kv = await kvm.create(bucket, { history: 5 });
  const binary = Uint8Array.from({ length: 256 }, (_, index) => index);
  await kv.put("binary", binary);
  await kv.put("empty", new Uint8Array(0));
  await kv.put("a.b-c_d/e=f.G", "odd");
  await kv.put("config/max-conn", "100");
  const revision = await kv.put("config/max-conn", "200");
  await kv.update("config/max-conn", "300", revision);
  await kv.create("created", "once");
  await kv.put("deleted", "x");
  await kv.delete("deleted");
  await kv.put("purged", "x");
  await kv.put("purged", "y");
  await kv.purge("purged");
  await kv.put("again", "1");
  await kv.delete("again");
  await kv.create("again", "2");
}

async function dump(kvm, bucket) {
  const kv = await kvm.open(bucket);
  const status = await kv.status();
  let left = status.streamInfo.state.messages;
  if (left === 0) return;
  const watch = await kv.watch({ include: "history" });
  for await (const entry of watch) {
    console.log(`${entry.revision} ${entry.operation} ${entry.key} ${Buffer.from(entry.value).toString("hex")}`);
    if (--left === 0) break;
  }
}

async function main() {
  const [what, url, bucket] = process.argv.slice(2);
  const connection = await connect({ servers: url });
  const kvm = new Kvm(connection);
  await (what === "write" ? write : dump)(kvm, bucket);
  await connection.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
