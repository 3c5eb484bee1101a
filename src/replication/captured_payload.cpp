#include "replication/captured_payload.hpp"

#include <utility>

#include "ltx/stream.hpp"

namespace litecluster::replication {

namespace {

// A backlog comes in captures of some 8 MiB; what is much larger is one transaction.
constexpr std::uint64_t memory_max = std::uint64_t{16} << 20U;

Result<log::Payload> encode(const db::CapturedTransaction& captured, ltx::Encoder& encoder,
                            const std::filesystem::path& spool_directory, const Context& context) {
  const auto produce = [&](ltx::Sink& sink) -> Status {
    const auto encoded = captured.encode(encoder, sink, context);
    if (!encoded) return std::unexpected(encoded.error());
    return {};
  };
  if (captured.size_bytes() > memory_max) return log::Payload::spooled(spool_directory, produce);
  base::Bytes bytes;
  ltx::BytesSink sink(bytes);
  if (auto produced = produce(sink); !produced) return std::unexpected(produced.error());
  return log::Payload(std::move(bytes));
}

}  // namespace

Result<log::Payload> encode_payload(db::Database& database, const db::CapturedTransaction& captured,
                                    ltx::Encoder& encoder, const std::filesystem::path& spool_directory,
                                    const Context& context) {
  auto payload = encode(captured, encoder, spool_directory, context);
  if (!payload) return payload;
  const auto file_checksum = payload->file_checksum();
  if (!file_checksum) return std::unexpected(file_checksum.error());
  if (auto noted = database.note_file(captured.txid(), *file_checksum); !noted) {
    return std::unexpected(noted.error());
  }
  return payload;
}

}  // namespace litecluster::replication
