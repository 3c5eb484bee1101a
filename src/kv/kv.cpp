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

Kv::Kv(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<KvEntry> Kv::get(std::string_view key, const KvGetOptions& options, const Context& context) const {
  if (options.revision) return impl_->bucket.get_revision(context, key, *options.revision);
  return impl_->bucket.get(context, key, options.from_leader ? nats::KvRead::leader : nats::KvRead::any);
}

Result<Revision> Kv::put(std::string_view key, std::string_view value, const Context& context) const {
  return impl_->bucket.put(context, key, value);
}

Result<Revision> Kv::create(std::string_view key, std::string_view value, const Context& context) const {
  return impl_->bucket.create(context, key, value);
}

Result<Revision> Kv::update(std::string_view key, std::string_view value, Revision expected,
                            const Context& context) const {
  return impl_->bucket.update(context, key, value, expected);
}

Status Kv::remove(std::string_view key, std::optional<Revision> expected, const Context& context) const {
  return without_value(impl_->bucket.remove(context, key, expected));
}

Status Kv::purge(std::string_view key, std::optional<Revision> expected, const Context& context) const {
  return without_value(impl_->bucket.purge(context, key, expected));
}

Result<std::vector<std::string>> Kv::keys(std::string_view pattern, const Context& context) const {
  return impl_->bucket.keys(context, pattern);
}

Result<std::vector<KvEntry>> Kv::history(std::string_view key, const Context& context) const {
  auto entries = impl_->bucket.history(context, key);
  if (entries && entries->empty()) {
    return failure(ErrorCode::not_found, "read history", std::string(key), "there is no such key");
  }
  return entries;
}

Result<KvWatch> Kv::watch(std::string_view pattern, const KvWatchOptions& options,
                          const Context& context) const {
  auto watch = impl_->bucket.watch(context, pattern,
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

}  // namespace kv
}  // namespace litecluster
