#include "replication/captured_payload.hpp"

#include <utility>

#include "ltx/stream.hpp"

namespace litecluster::replication {

namespace {

// A backlog comes in captures of some 8 MiB; what is much larger is one transaction.
constexpr std::uint64_t memory_max = std::uint64_t{16} << 20U;

}  // namespace

Result<log::Payload> encode_payload(const db::CapturedTransaction& captured, ltx::Encoder& encoder,
                                    const std::filesystem::path& spool_directory, const Context& context) {
  const auto encode = [&](ltx::Sink& sink) -> Status {
    const auto encoded = captured.encode(encoder, sink, context);
    if (!encoded) return std::unexpected(encoded.error());
    return {};
  };
  if (captured.size_bytes() > memory_max) return log::Payload::spooled(spool_directory, encode);
  base::Bytes bytes;
  ltx::BytesSink sink(bytes);
  if (auto encoded = encode(sink); !encoded) return std::unexpected(encoded.error());
  return log::Payload(std::move(bytes));
}

}  // namespace litecluster::replication
