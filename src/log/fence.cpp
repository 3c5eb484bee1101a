#include "log/fence.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/logging.hpp"
#include "log/restore.hpp"
#include "ltx/encoder.hpp"

namespace litecluster::log {
namespace {

/// One append; tells the protocol what came of it. The fence when it stands.
Result<std::optional<Object>> append(const Context& context, Appender& appender, const FenceDriver& driver,
                                     FenceProtocol& protocol, Txid txid) {
  const auto file = driver.make_file(context, txid);
  if (!file) return std::unexpected(file.error());
  auto outcome = appender.append_fence(context, *file);
  if (!outcome) return std::unexpected(outcome.error());
  if (const auto* taken = std::get_if<Appender::Taken>(&*outcome)) {
    protocol.taken(taken->by);
    return std::nullopt;
  }
  protocol.appended();
  return std::get<Object>(std::move(*outcome));
}

}  // namespace

Result<base::Bytes> make_fence_file(Txid txid, std::uint32_t commit, base::ByteView page,
                                    base::WallTime timestamp, ltx::PageEncoding encoding) {
  ltx::Header header;
  header.page_size = static_cast<std::uint32_t>(page.size());
  header.commit = commit;
  header.min_txid = txid;
  header.max_txid = txid;
  header.timestamp = timestamp;
  header.wal_offset = ltx::wal_offset_first;
  base::Bytes bytes;
  ltx::BytesSink sink(bytes);
  ltx::Encoder encoder(encoding);
  if (auto begun = encoder.begin(header, sink); !begun) return std::unexpected(begun.error());
  if (auto added = encoder.add_page(PageNo(1), page); !added) return std::unexpected(added.error());
  if (auto info = encoder.finish(); !info) return std::unexpected(info.error());
  return bytes;
}

Result<Object> fence_log(const Context& context, ObjectBucket& bucket, Appender& appender,
                         const FenceDriver& driver, std::optional<LogView> known) {
  constexpr const char* operation = "fence the log";
  Result<LogView> view = known ? Result<LogView>(*std::move(known)) : read_log(context, bucket);
  if (!view) return std::unexpected(view.error().within(operation, bucket.name()));
  FenceProtocol protocol(appender.author(), *view);
  std::optional<Object> fence;
  while (true) {
    if (const auto* apply = std::get_if<FenceProtocol::Apply>(&protocol.action())) {
      if (view->end().txid < apply->txid) {
        view = read_log(context, bucket);
        if (!view) return std::unexpected(view.error().within(operation, bucket.name()));
      }
      const LogEnd end = view->end();
      const auto stale = view->stale().find(ObjectName::raw(apply->txid));
      if (end.txid < apply->txid && stale != view->stale().end()) {
        base::log_warning(
            "removing a stale object behind the end of the log",
            {{"object", to_string(stale->first)}, {"author", to_string(*stale->second.author)}});
        if (auto removed = bucket.remove(context, stale->second); !removed)
          return std::unexpected(removed.error());
        protocol.removed();
        continue;
      }
      if (end.txid < apply->txid) {
        return failure(ErrorCode::unavailable, operation, bucket.name(),
                       fmt::format("the listing does not show TXID {} yet", to_string(apply->txid)));
      }
      if (auto applied = driver.apply(context, *view, end.txid); !applied)
        return std::unexpected(applied.error());
      appender.start(end);
      protocol.applied(end);
    } else if (const auto* next = std::get_if<FenceProtocol::Append>(&protocol.action())) {
      auto appended = append(context, appender, driver, protocol, next->txid);
      if (!appended) return std::unexpected(appended.error());
      if (*appended) fence = std::move(*appended);
    } else if (const auto* error = std::get_if<Error>(&protocol.action())) {
      return std::unexpected(*error);
    } else {
      break;
    }
  }
  if (fence) return *std::move(fence);
  const Txid standing = std::get<FenceProtocol::Done>(protocol.action()).txid;
  return bucket.info(context, ObjectName::raw(standing));
}

}  // namespace litecluster::log
