#include "db/captured_transaction.hpp"

#include <utility>

#include "db/page_view.hpp"
#include "ltx/checksum.hpp"

namespace litecluster::db {

namespace {

void set_wal_extent(ltx::Header& header, const WalExtent& wal) {
  header.wal_offset = static_cast<std::int64_t>(wal.offset);
  header.wal_size = static_cast<std::int64_t>(wal.size);
  header.wal_salt1 = wal.salt_first;
  header.wal_salt2 = wal.salt_second;
}

}  // namespace

CapturedTransaction::CapturedTransaction(Description description, std::vector<PageNo> pages,
                                         base::Bytes memory, std::shared_ptr<PageView> view)
    : description_(description),
      pages_(std::move(pages)),
      memory_(std::move(memory)),
      view_(std::move(view)) {}

Status CapturedTransaction::for_each_page(const Context& context,
                                          const std::function<Status(const ltx::Page&)>& visit) const {
  if (view_ != nullptr) {
    return description_.complete ? view_->for_each_page(context, visit)
                                 : view_->for_each_of(pages_, context, visit);
  }
  const std::size_t size = description_.page_size;
  for (std::size_t index = 0; index < pages_.size(); ++index) {
    const auto bytes = base::ByteView(memory_).subspan(index * size, size);
    if (auto visited = visit({.number = pages_[index], .bytes = bytes}); !visited) return visited;
  }
  return {};
}

ltx::Header CapturedTransaction::ltx_header() const {
  ltx::Header header;
  header.page_size = description_.page_size;
  header.commit = description_.commit;
  header.min_txid = description_.txid;
  header.max_txid = description_.txid;
  header.timestamp = description_.captured_at;
  set_wal_extent(header, description_.wal);
  return header;
}

Result<ltx::FileInfo> CapturedTransaction::encode(ltx::Encoder& encoder, ltx::Sink& sink,
                                                  const Context& context) const {
  if (auto begun = encoder.begin(ltx_header(), sink); !begun) return std::unexpected(begun.error());
  const auto added = for_each_page(
      context, [&](const ltx::Page& page) { return encoder.add_page(page.number, page.bytes); });
  if (!added) return std::unexpected(added.error());
  return encoder.finish();
}

DatabaseSnapshot::DatabaseSnapshot(Position position, Epoch epoch, WalExtent wal, base::WallTime captured_at,
                                   std::shared_ptr<PageView> view)
    : position_(position), epoch_(epoch), wal_(wal), captured_at_(captured_at), view_(std::move(view)) {}

std::uint32_t DatabaseSnapshot::page_size() const {
  return view_->page_size();
}

std::uint32_t DatabaseSnapshot::commit() const {
  return view_->page_count();
}

Status DatabaseSnapshot::for_each_page(const Context& context,
                                       const std::function<Status(const ltx::Page&)>& visit) const {
  Checksum checksum;
  const auto read = view_->for_each_page(context, [&](const ltx::Page& page) {
    checksum = checksum.toggled(ltx::page_checksum(page.number, page.bytes));
    return visit(page);
  });
  if (!read || checksum == position_.checksum) return read;
  return failure(ErrorCode::corrupt, "read snapshot", to_string(position_),
                 "the pages read have checksum " + to_string(checksum) +
                     ": somebody changed the database file behind SQLite's back");
}

Result<ltx::FileInfo> DatabaseSnapshot::encode(ltx::Encoder& encoder, ltx::Sink& sink,
                                               const Context& context) const {
  ltx::Header header;
  header.page_size = page_size();
  header.commit = commit();
  header.min_txid = Txid(1);
  header.max_txid = position_.txid;
  header.timestamp = captured_at_;
  set_wal_extent(header, wal_);
  if (auto begun = encoder.begin(header, sink); !begun) return std::unexpected(begun.error());
  const auto added = for_each_page(
      context, [&](const ltx::Page& page) { return encoder.add_page(page.number, page.bytes); });
  if (!added) return std::unexpected(added.error());
  return encoder.finish();
}

}  // namespace litecluster::db
