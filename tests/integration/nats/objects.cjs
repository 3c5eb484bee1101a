// The other side of object_interop_test.cpp: the object store of @nats-io/obj, driven from the command line.
//   node objects.cjs PACKAGES URL BUCKET write            puts the samples
//   node objects.cjs PACKAGES URL BUCKET read NAME...      one JSON line per name: size, sha256, chunks, headers
//   node objects.cjs PACKAGES URL BUCKET delete NAME...
//   node objects.cjs PACKAGES URL BUCKET list              one JSON line with the names
const { createRequire } = require("node:module");
const { createHash, webcrypto } = require("node:crypto");
if (!globalThis.crypto) globalThis.crypto = webcrypto;
const [packages, url, bucket, command, ...names] = process.argv.slice(2);
const load = createRequire(packages + "/");
const { connect, headers } = load("@nats-io/transport-node");
const { Objm } = load("@nats-io/obj");

// The same bytes as pattern() in object_interop_test.cpp.
function pattern(size, seed) {
  const bytes = new Uint8Array(size);
  let state = seed >>> 0;
  for (let index = 0; index < size; ++index) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

function stream(bytes) {
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  });
}

async function digest(result) {
  const hash = createHash("sha256");
  let size = 0;
  const reader = result.data.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    hash.update(value);
    size += value.length;
  }
  const error = await result.error;
  if (error) throw error;
  return { size, sha256: hash.digest("hex") };
}

async function main() {
  const connection = await connect({ servers: url });
  const manager = new Objm(connection);
  if (command === "write") {
    const store = await manager.create(bucket);
    const put = (name, bytes, chunk) =>
      store.put({ name, options: chunk ? { max_chunk_size: chunk } : undefined }, stream(bytes), { timeout: 60000 });
    await put("binary", pattern(300000, 1));
    await put("empty", new Uint8Array(0));
    await put("tiny chunks", pattern(5000, 2), 7);
    await put("odd/.*> $%\\\"|~", pattern(10, 3));
    await put("replaced", pattern(1000, 4));
    await put("replaced", pattern(2000, 5));
    await put("deleted", pattern(1000, 6));
    await store.delete("deleted");
    await put("64 MiB", pattern(64 << 20, 7));
    const h = headers();
    h.append("Litestream-Timestamp", "2026-11-22T20:23:26.43Z");
    await store.put({ name: "with headers", headers: h, metadata: { key: "value" } }, stream(pattern(5, 8)));
  } else {
    const store = await manager.open(bucket);
    if (command === "list") {
      const entries = await store.list();
      console.log(JSON.stringify(entries.filter((entry) => !entry.deleted).map((entry) => entry.name)));
    }
    for (const name of names) {
      if (command === "delete") {
        await store.delete(name);
        continue;
      }
      const result = await store.get(name);
      if (!result) {
        console.log(JSON.stringify({ name, missing: true }));
        continue;
      }
      const content = await digest(result);
      const timestamp = result.info.headers ? result.info.headers.get("Litestream-Timestamp") : "";
      console.log(JSON.stringify({ name, ...content, chunks: result.info.chunks, timestamp }));
    }
  }
  await connection.close();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
