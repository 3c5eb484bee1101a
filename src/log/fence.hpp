// Carries out the FenceProtocol.
#pragma once

#include <functional>
#include <optional>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/appender.hpp"
#include "log/fence_protocol.hpp"
#include "log/log_view.hpp"
#include "log/payload.hpp"
#include "ltx/format.hpp"

namespace litecluster::log {

/// What the owner of the replica does for the protocol.
struct FenceDriver {
  /// Brings the replica to exactly this TXID by what the log holds, of which this is a view.
  std::function<Status(const Context&, const LogView&, Txid)> apply;
  /// The file for this TXID: page 1 as it is (make_fence_file()), or, for TXID 1, the whole database.
  std::function<Result<NewFile>(const Context&, Txid)> make_file;
};

/// Encodes page 1 unchanged as the L0 file of `txid` (> 1, unless the database has one page). `page` has the
/// size of a page, `commit` is the size of the database in pages.
[[nodiscard]] Result<base::Bytes> make_fence_file(Txid txid, std::uint32_t commit, base::ByteView page,
                                                  base::WallTime timestamp, ltx::PageEncoding encoding);

/// Takes possession of the log for the appender's author. Reads the log by listing it, unless `view` is
/// given: that of a watch that is alive. It may miss the newest objects, since the append finds their names
/// taken, or free again and then no proof (appender.hpp); then the log is listed. On success the fence
/// stands, the replica is at the TXID before it, and the appender goes on after it. Errors: deposed; those of
/// the driver and the bucket. After any other error than deposed it may be tried again.
[[nodiscard]] Result<Object> fence_log(const Context& context, ObjectBucket& bucket, Appender& appender,
                                       const FenceDriver& driver, std::optional<LogView> view = std::nullopt);

}  // namespace litecluster::log
