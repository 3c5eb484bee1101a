#include <litecluster/kv.hpp>

#include "kv/kv_impl.hpp"

namespace litecluster {
namespace {

Status without_value(const Result<Revision>& revision) {
  if (!revision) return std::unexpected(revision.error());
  return {};
}

}  // namespace

std::string_view to_string(KvOperation operation) {
  switch (operation) {
    case KvOperation::put: return "put";
    case KvOperation::remove: return "delete";
    case KvOperation::purge: return "purge";
  }
  return "unknown";
}

KvWatch::KvWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvWatch::KvWatch(KvWatch&&) noexcept = default;
KvWatch& KvWatch::operator=(KvWatch&&) noexcept = default;
KvWatch::~KvWatch() = default;

Result<std::optional<KvEntry>> KvWatch::next(const Context& context) {
  return impl_->watch.next(context);
}

void KvWatch::stop() {
  impl_->watch.stop();
}

Result<std::shared_ptr<const nats::KeyValue>> Kv::Impl::bucket(const Context& context) {
  {
    const base::MutexLock lock(mutex_);
    if (bucket_) return bucket_;
  }
  auto opened = open_(context);
  if (!opened) return std::unexpected(std::move(opened.error()));
  const base::MutexLock lock(mutex_);
  if (!bucket_) bucket_ = std::make_shared<const nats::KeyValue>(std::move(*opened));
  return bucket_;
}

Kv::Kv(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<KvEntry> Kv::get(std::string_view key, const KvGetOptions& options, const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  if (options.revision) return (*bucket)->get_revision(context, key, *options.revision);
  return (*bucket)->get(context, key, options.from_leader ? nats::KvRead::leader : nats::KvRead::any);
}

Result<Revision> Kv::put(std::string_view key, std::string_view value, const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  return (*bucket)->put(context, key, value);
}

Result<Revision> Kv::create(std::string_view key, std::string_view value, const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  return (*bucket)->create(context, key, value);
}

Result<Revision> Kv::update(std::string_view key, std::string_view value, Revision expected,
                            const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  return (*bucket)->update(context, key, value, expected);
}

Status Kv::remove(std::string_view key, std::optional<Revision> expected, const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  return without_value((*bucket)->remove(context, key, expected));
}

Status Kv::purge(std::string_view key, std::optional<Revision> expected, const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  return without_value((*bucket)->purge(context, key, expected));
}

Result<std::vector<std::string>> Kv::keys(std::string_view pattern, const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  return (*bucket)->keys(context, pattern);
}

Result<std::vector<KvEntry>> Kv::history(std::string_view key, const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  auto entries = (*bucket)->history(context, key);
  if (entries && entries->empty()) {
    return failure(ErrorCode::not_found, "read history", std::string(key), "there is no such key");
  }
  return entries;
}

Result<KvWatch> Kv::watch(std::string_view pattern, const KvWatchOptions& options,
                          const Context& context) const {
  const auto bucket = impl_->bucket(context);
  if (!bucket) return std::unexpected(bucket.error());
  auto watch = (*bucket)->watch(context, pattern,
                                {.include_history = options.include_history,
                                 .updates_only = options.updates_only,
                                 .ignore_deletes = options.ignore_deletes,
                                 .resume_after = options.resume_after});
  if (!watch) return std::unexpected(std::move(watch.error()));
  return KvWatch(std::make_unique<KvWatch::Impl>(std::move(*watch)));
}

namespace kv {

Kv make_kv(nats::KeyValue bucket) {
  return Kv(std::make_shared<Kv::Impl>(std::move(bucket)));
}

Kv make_kv(OpenBucket open) {
  return Kv(std::make_shared<Kv::Impl>(std::move(open)));
}

}  // namespace kv
}  // namespace litecluster
