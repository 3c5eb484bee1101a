// From the public options to those of the parts.
#pragma once

#include <string>

#include <litecluster/app_options.hpp>
#include <litecluster/error.hpp>

#include "db/database.hpp"
#include "log/log_view.hpp"
#include "replication/leader_session.hpp"

namespace litecluster::replication {

/// Where this node keeps what it has to remember about a database: `.<file name>-litecluster` beside it.
[[nodiscard]] std::filesystem::path state_directory(const std::filesystem::path& database);

[[nodiscard]] db::DatabaseOptions database_options(const Sqlite& sqlite);

/// The author gets a fresh incarnation; its epoch is left to the caller.
[[nodiscard]] LeaderSessionOptions leader_session_options(const Sqlite& sqlite, const std::string& node);

/// What the log ends with, or ended with after one object, as capture wants to know it.
[[nodiscard]] db::LogEnd log_end_of(const log::LogEnd& end);
[[nodiscard]] db::LogEnd log_end_of(const log::Object& object);

/// True for errors that time may cure: NATS away, a lock held, a disk full.
[[nodiscard]] bool may_pass(const Error& error);

}  // namespace litecluster::replication
