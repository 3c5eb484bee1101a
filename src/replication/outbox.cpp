#include "replication/outbox.hpp"

#include <fcntl.h>

#include <system_error>
#include <utility>

#include "base/file.hpp"

namespace litecluster::replication {

Result<Outbox> Outbox::open(OutboxOptions options) {
  std::error_code error;
  std::filesystem::remove_all(options.directory, error);
  return Outbox(std::move(options));
}

std::filesystem::path Outbox::file_of(Txid txid) const {
  return options_.directory / (to_string(txid) + ".ltx");
}

Status Outbox::push(OutboxItem item) {
  const std::uint64_t size = item.bytes.size();
  if (memory_bytes_ + size <= options_.memory_bytes_max || entries_.empty()) {
    memory_bytes_ += size;
    entries_.push_back({std::move(item), 0});
    return {};
  }
  std::error_code created;
  std::filesystem::create_directories(options_.directory, created);
  const auto path = file_of(item.position.txid);
  const auto spool = [&]() -> Status {
    // No fsync: a spool that a power failure tears is not read again.
    const auto file = base::open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!file) return std::unexpected(file.error());
    return base::write_at(file->get(), item.bytes, 0, path);
  };
  if (auto written = spool(); !written) {
    std::filesystem::remove(path, created);
    memory_bytes_ += size;
    entries_.push_back({std::move(item), 0});
    return std::unexpected(written.error().within("spool"));
  }
  item.bytes = {};
  disk_bytes_ += size;
  entries_.push_back({std::move(item), size});
  return {};
}

Result<OutboxItem> Outbox::front() const {
  const Entry& entry = entries_.front();
  OutboxItem item = entry.item;
  if (entry.spooled_bytes == 0) return item;
  auto bytes = base::read_file(file_of(item.position.txid), entry.spooled_bytes);
  if (!bytes) return std::unexpected(bytes.error().within("read spool"));
  item.bytes = std::move(*bytes);
  return item;
}

void Outbox::pop() {
  const Entry& entry = entries_.front();
  if (entry.spooled_bytes > 0) {
    disk_bytes_ -= entry.spooled_bytes;
    std::error_code ignored;
    std::filesystem::remove(file_of(entry.item.position.txid), ignored);
  } else {
    memory_bytes_ -= entry.item.bytes.size();
  }
  entries_.pop_front();
}

}  // namespace litecluster::replication
