// The log's bucket as one process reaches it: each call is a message there and one back, either of which may
// be lost or late. A call without an answer ends as `unavailable`, and what it asked for may be done already,
// later, or never.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "log/object_bucket.hpp"
#include "sim/cluster/process.hpp"

namespace litecluster::test::cluster {

class SimulatedBucket final : public log::ObjectBucket {
 public:
  explicit SimulatedBucket(Process& process) : process_(process) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Result<log::Object> put(const Context& context, const log::NewObject& object,
                                        base::ByteView bytes) override;
  [[nodiscard]] Result<log::Object> put(const Context&, const log::NewObject&,
                                        const log::ByteSource&) override;
  [[nodiscard]] Result<log::Object> info(const Context& context, const log::ObjectName& name) override;
  [[nodiscard]] Result<log::Object> newest_info(const Context& context, const log::ObjectName& name) override;
  [[nodiscard]] Status get(const Context&, const log::Object&, const log::ByteSink&) override;
  [[nodiscard]] Status get_many(const Context& context, std::span<const log::Object> objects, std::uint64_t,
                                const EachObject& each) override;
  [[nodiscard]] Result<std::vector<log::Object>> list(const Context& context, std::size_t) override;
  [[nodiscard]] Result<std::unique_ptr<log::BucketWatch>> watch(const Context&) override;
  [[nodiscard]] Status remove(const Context& context, const log::Object& object) override;
  [[nodiscard]] Result<std::uint64_t> remove_orphans(const Context&, std::chrono::nanoseconds) override {
    return 0;
  }
  [[nodiscard]] Result<log::BucketState> state(const Context& context) override;
  /// Makes sure that there is one; false: no answer.
  [[nodiscard]] bool create(const Context& context);

  /// The bytes of one object. Errors: not_found, unavailable.
  [[nodiscard]] Result<base::Bytes> fetch(const Context& context, const log::Object& object);

 private:
  [[nodiscard]] Result<log::Object> look_up(const Context& context, const log::ObjectName& name,
                                            const std::function<std::uint64_t()>& visible);

  Process& process_;
  std::string name_ = "log";
  Revision told_;  // of a planted mistake
};

/// An object was stored at the servers: the judge and the watches of all nodes learn of it.
void announce(Simulation& simulation, const log::Object& object, base::ByteView bytes);

}  // namespace litecluster::test::cluster
