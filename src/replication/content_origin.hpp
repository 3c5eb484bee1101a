// Whether a database comes from a log, judged by content: what somebody who publishes a database into a log
// that others wrote may have got wrong is the name of the bucket.
//
// There is no mark that says so: SQLite's file has no identity, we leave none in it, and it may have been
// changed since it was restored. But of two databases that have nothing to do with each other hardly a page
// is the same at the same place, and one that was restored or published before shares most of them with what
// the log leads to. So it counts as coming from the log when at least a quarter of its pages, or of the log's
// if those are fewer, are in what a restore would read. That is a guess: a VACUUM since then moves every
// page, and two small databases of one application can be alike. So the answer may refuse what a person can
// insist on, and must decide nothing else.
#pragma once

#include <filesystem>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "log/object_bucket.hpp"

namespace litecluster::replication {

/// True as well for a log that is empty, that ends with an object of another program (who changes from
/// Litestream to us is let in), or that cannot be restored. Reads the database, which is in WAL mode and
/// may be in use, and of the log as much as is needed to be sure: mostly a quarter of a snapshot, all of it
/// when the answer is no. Memory: 9 bytes for each page. Errors: unavailable (also when the log changed
/// meanwhile), and those of opening the database.
[[nodiscard]] Result<bool> comes_from_log(const Context& context, const std::filesystem::path& database,
                                          log::ObjectBucket& bucket);

}  // namespace litecluster::replication
