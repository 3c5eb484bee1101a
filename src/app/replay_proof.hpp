// Whether going on from an unproven state of the log comes to a proven one all the same.
//
// A power failure takes the newest commits from a leader's database. What it then is, its checksum suggests:
// the state at some TXID `from`. That is no proof (ltx/checksum.hpp). But capture stored the checksum of
// every page of a later state `to` that the log holds, so it is known which pages differ from that one. When
// the objects behind `from`, up to `to`, bring all of these pages, then applying them makes every page that
// of `to`, whatever the content was before.
#pragma once

#include <span>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/log_view.hpp"
#include "log/object_bucket.hpp"

namespace litecluster::app {

/// `differing`: pages that are not those of `to`, ascending. False also when too much would have to be read
/// to tell, or an object is gone or damaged. Errors: those of the bucket otherwise.
[[nodiscard]] Result<bool> replay_replaces(const Context& context, log::ObjectBucket& bucket,
                                           const log::LogView& view, Txid from, Txid to,
                                           std::span<const PageNo> differing);

}  // namespace litecluster::app
