#include "replication/database_fence.hpp"

#include <utility>

#include "replication/captured_payload.hpp"

namespace litecluster::replication {

log::FenceDriver DatabaseFence::driver() {
  return {.apply = [this](const Context&, const log::LogView& view, Txid) { return at(view.end()); },
          .make_file = [this](const Context& context, Txid txid) { return make_file(context, txid); }};
}

Status DatabaseFence::at(const log::LogEnd& end) const {
  const db::AttachReport& attached = database_.attach_report();
  if (attached.log_end == end.txid && log::agree(attached.log_end_file, end.file_checksum)) return {};
  return failure(ErrorCode::conflict, "take over log", "TXID " + to_string(end.txid),
                 "somebody else appended meanwhile; the database is at TXID " + to_string(attached.log_end));
}

// Asked again for the same TXID after a failure, it has to give the same file.
Result<log::NewFile> DatabaseFence::make_file(const Context& context, Txid txid) {
  if (file_ && made_for_ == txid) return *file_;
  const auto captured = database_.capture_fence();
  if (!captured) return std::unexpected(captured.error());
  if (captured->txid() != txid) {
    return failure(ErrorCode::conflict, "take over log", "TXID " + to_string(txid),
                   "the database is at TXID " + to_string(captured->txid()) + "; attach it anew");
  }
  auto payload = encode_payload(database_, *captured, encoder_, spool_directory_, context);
  if (!payload) return std::unexpected(payload.error());
  made_for_ = txid;
  file_ = log::NewFile{.payload = std::move(*payload),
                       .pre_apply = captured->pre_apply(),
                       .checksum = captured->position().checksum};
  return *file_;
}

}  // namespace litecluster::replication
