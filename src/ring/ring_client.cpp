#include <litecluster/ring_client.hpp>

#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/backoff.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "membership/record.hpp"
#include "membership/service.hpp"
#include "nats/connection.hpp"
#include "nats/jetstream.hpp"
#include "nats/kv_bucket.hpp"
#include "ring/assignment.hpp"
#include "ring/ring_impl.hpp"

namespace litecluster {
namespace {

constexpr std::string_view assignment_key = "ring.assignment";
constexpr auto watch_wait = std::chrono::seconds(30);
constexpr auto bucket_wait = std::chrono::milliseconds(200);

}  // namespace

class RingClient::Impl {
 public:
  Impl(std::string cluster, std::shared_ptr<nats::Connection> connection)
      : cluster_(std::move(cluster)), connection_(std::move(connection)) {
    watcher_ = std::jthread([this] { watch(); });
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    stopped_.cancel();
    watcher_ = {};  // joins
    const base::MutexLock lock(mutex_);
    if (ring_) ring_->connect(nullptr);
  }

  [[nodiscard]] Status wait_seen(const Context& context) {
    const auto registration = context.on_cancel([this] {
      const base::MutexLock lock(mutex_);
      changed_.notify_all();
    });
    base::MutexLock lock(mutex_);
    while (!ring_) {
      if (auto status = context.status("wait for the ring"); !status) return status;
      changed_.wait_for(lock, context.remaining(std::chrono::seconds(1)));
    }
    return {};
  }

  [[nodiscard]] Ring ring() {
    const base::MutexLock lock(mutex_);
    return Ring(ring_);
  }

 private:
  void watch() {
    base::Backoff backoff(std::chrono::milliseconds(50), std::chrono::seconds(2));
    const std::string name = membership::coordination_bucket(cluster_).bucket;
    while (!stopped_.done()) {
      const auto bucket = nats::KeyValue::open(stopped_, nats::JetStream(connection_), name);
      if (!bucket) {
        // Not there yet, most of the time: the first node makes it.
        stopped_.wait_for(bucket.error().code() == ErrorCode::not_found ? bucket_wait
                                                                        : backoff.next(base::random_u64()));
        continue;
      }
      auto watch = bucket->watch(stopped_, assignment_key);
      while (watch && !stopped_.done()) {
        const auto next = watch->next(stopped_.with_timeout(watch_wait));
        if (next) {
          backoff.reset();
          if (*next && (*next)->operation == KvOperation::put) seen((*next)->value);
        } else if (next.error().code() != ErrorCode::deadline_exceeded) {
          watch = std::unexpected(next.error());
        }
      }
      stopped_.wait_for(backoff.next(base::random_u64()));
    }
  }

  void seen(const std::string& value) {
    auto decoded = ring::decode(value);
    if (!decoded) {
      base::log_warning("unreadable assignment of a ring", {{"reason", decoded.error().message()}});
      return;
    }
    auto assignment = std::make_shared<const ring::Assignment>(std::move(*decoded));
    const auto partitions = static_cast<std::uint32_t>(assignment->slots.size());
    const base::MutexLock lock(mutex_);
    if (!ring_ || ring_->table.partitions() != partitions) {
      if (ring_) ring_->connect(nullptr);
      // The name of nobody: no owner is taken for ourselves.
      ring_ = std::make_shared<Ring::Impl>(connection_, cluster_, "", partitions);
    }
    ring_->table.set_assignment(std::move(assignment));
    changed_.notify_all();
  }

  const std::string cluster_;
  const std::shared_ptr<nats::Connection> connection_;
  const Context stopped_ = Context::background().with_cancel();
  base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::shared_ptr<Ring::Impl> ring_ LITECLUSTER_GUARDED_BY(mutex_);
  std::jthread watcher_;
};

Result<RingClient> RingClient::connect(ClientOptions options, const Context& context) {
  if (!membership::valid_node_name(options.cluster)) {
    return failure(ErrorCode::invalid_argument, "connect to ring", "cluster",
                   "1 to 64 letters, digits, '-' or '_' are needed");
  }
  auto connection = nats::Connection::connect(context, options.nats);
  if (!connection) return std::unexpected(connection.error());
  auto impl = std::make_unique<Impl>(std::move(options.cluster), std::move(*connection));
  if (auto seen = impl->wait_seen(context); !seen) return std::unexpected(seen.error());
  return RingClient(std::move(impl));
}

RingClient::RingClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RingClient::RingClient(RingClient&&) noexcept = default;
RingClient& RingClient::operator=(RingClient&&) noexcept = default;
RingClient::~RingClient() = default;

Ring RingClient::ring() const {
  return impl_->ring();
}

}  // namespace litecluster
