// Who is in a cluster, for somebody who is not a member of it.
#pragma once

#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/member.hpp>

#include "nats/kv_bucket.hpp"

namespace litecluster::membership {

/// The live members, sorted by name. What lies in the bucket alone does not tell whether a node still renews
/// its record: that shows with the next renewal of anybody, so this waits for one, for up to a heartbeat when
/// somebody is alive and up to a lease when nobody is. Errors: those of KeyValue, cancelled,
/// deadline_exceeded.
[[nodiscard]] Result<std::vector<Member>> survey(const Context& context, const nats::KeyValue& bucket);

/// The last record of each node that has not said goodbye, whether it is alive or not. Does not wait.
[[nodiscard]] Result<std::vector<Member>> last_words(const Context& context, const nats::KeyValue& bucket);

}  // namespace litecluster::membership
