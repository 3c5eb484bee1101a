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
  const std::uint64_t size = item.payload.size();
  if (!item.payload.in_memory()) {
    disk_bytes_ += size;
    entries_.push_back({.item = std::move(item), .disk_bytes = size});
    return {};
  }
  const auto keep = [&] {
    memory_bytes_ += size;
    entries_.push_back({.item = std::move(item)});
  };
  if (memory_bytes_ + size <= options_.memory_bytes_max || entries_.empty()) {
    keep();
    return {};
  }
  std::error_code ignored;
  std::filesystem::create_directories(options_.directory, ignored);
  const auto path = file_of(item.position.txid);
  const auto spool = [&]() -> Status {
    // No fsync: a spool that a power failure tears is not read again.
    const auto file = base::open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!file) return std::unexpected(file.error());
    return base::write_at(file->get(), item.payload.memory(), 0, path);
  };
  const auto written = spool();
  spool_failed_ = !written;
  if (!written) {
    std::filesystem::remove(path, ignored);
    keep();
    return std::unexpected(written.error().within("spool"));
  }
  item.payload = {};
  disk_bytes_ += size;
  entries_.push_back({.item = std::move(item), .disk_bytes = size, .in_file_of = true});
  return {};
}

Result<OutboxItem> Outbox::front() const {
  const Entry& entry = entries_.front();
  OutboxItem item = entry.item;
  if (!entry.in_file_of) return item;
  auto bytes = base::read_file(file_of(item.position.txid), entry.disk_bytes);
  if (!bytes) return std::unexpected(bytes.error().within("read spool"));
  item.payload = std::move(*bytes);
  return item;
}

void Outbox::pop() {
  const Entry& entry = entries_.front();
  disk_bytes_ -= entry.disk_bytes;
  if (entry.disk_bytes == 0) memory_bytes_ -= entry.item.payload.size();
  if (entry.in_file_of) {
    std::error_code ignored;
    std::filesystem::remove(file_of(entry.item.position.txid), ignored);
  }
  entries_.pop_front();
}

}  // namespace litecluster::replication
