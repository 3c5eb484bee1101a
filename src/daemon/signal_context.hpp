// A Context that SIGINT and SIGTERM cancel.
#pragma once

#include <litecluster/context.hpp>

namespace litecluster::daemon {

/// Takes both signals for the whole process: the first cancels the Context in order, a second one ends the
/// process at once with the status that the signal gives. What Ctrl-C sends and what the guard passes on of
/// it count as one. Call it once, before other threads are started.
[[nodiscard]] Context context_until_signal();

}  // namespace litecluster::daemon
