#include "log/log_watcher.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/backoff.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;

// Below this many objects a view is not worth a new listing.
constexpr std::size_t listing_size_min = 10'000;

bool is_final(ErrorCode code) {
  return code == ErrorCode::gap || code == ErrorCode::not_found;
}

bool is_final(const Status& status) {
  return !status && is_final(status.error().code());
}

/// Only while waiting for something that a sleeping thread could miss: a cancelled Context.
constexpr auto cancel_poll = 50ms;

}  // namespace

LogWatcher::LogWatcher(ObjectBucket& bucket, OnChange on_change)
    : bucket_(bucket), on_change_(std::move(on_change)), thread_([this] { run(); }) {}

LogWatcher::~LogWatcher() {
  context_.cancel();
}

void LogWatcher::run() {
  base::Backoff backoff(100ms, 5s);
  while (!context_.done()) {
    auto watch = bucket_.watch(context_);
    if (watch) {
      backoff.reset();
      if (!follow(**watch)) return;
    } else {
      set_status(std::unexpected(watch.error()));
      if (is_final(watch.error().code())) return;
    }
    context_.wait_for(backoff.next(base::random_u64()));
  }
}

bool LogWatcher::follow(BucketWatch& watch) {
  {
    const base::MutexLock lock(mutex_);
    complete_ = watch.initial_done();
    status_ = {};
  }
  changed_.notify_all();
  while (!context_.done()) {
    // An empty bucket sends nothing: look again whether the beginning is done.
    const auto event = watch.next(context_.with_timeout(1s));
    note_live(event.has_value() || watch.live());
    if (event) {
      if (*event) {
        apply(**event, watch.initial_done());
        list_again();
      }
      continue;
    }
    const ErrorCode code = event.error().code();
    if (code == ErrorCode::deadline_exceeded || code == ErrorCode::cancelled) {
      note_initial_done(watch.initial_done());
      continue;
    }
    base::log_warning("watching the log failed",
                      {{"bucket", bucket_.name()}, {"reason", event.error().message()}});
    set_status(std::unexpected(event.error()));
    return !is_final(code);
  }
  return false;
}

void LogWatcher::apply(const BucketEvent& event, bool initial_done) {
  {
    const base::MutexLock lock(mutex_);
    if (event.deleted) {
      view_.remove(event.object.name, event.object.sequence);
    } else if (auto added = view_.put(event.object); !added) {
      status_ = std::unexpected(added.error());
    }
    seen_ = std::max(seen_, event.object.sequence);
    complete_ = complete_ || initial_done;
  }
  changed_.notify_all();
  tell();
  const base::MutexLock lock(callback_mutex_);
  if (on_object_ && !event.deleted) on_object_(event.object);
}

void LogWatcher::on_object(OnObject callback) {
  const base::MutexLock lock(callback_mutex_);
  on_object_ = std::move(callback);
  if (!on_object_) return;
  const LogView known = view();
  for (int level = 0; level < level_count; ++level) {
    for (const auto& [name, object] : known.level(level)) on_object_(object);
  }
}

void LogWatcher::note_initial_done(bool initial_done) {
  const base::MutexLock lock(mutex_);
  if (!initial_done || complete_) return;
  complete_ = true;
  changed_.notify_all();
}

void LogWatcher::note_live(bool live) {
  {
    const base::MutexLock lock(mutex_);
    const bool said = !status_ && status_.error().code() == ErrorCode::unavailable;
    if (live ? !said : !status_.has_value()) return;
    if (live) {
      status_ = {};
    } else {
      status_ = failure(ErrorCode::unavailable, "watch the log", bucket_.name(),
                        "nothing is heard from the server; the log may have gone on");
    }
  }
  changed_.notify_all();
  tell();
}

void LogWatcher::list_again() {
  {
    const base::MutexLock lock(mutex_);
    if (!complete_ || view_.size() < std::max(listing_size_min, 2 * size_after_listing_)) return;
  }
  auto listing = bucket_.list(context_, LogView::default_objects_max);
  if (!listing) return;
  const base::MutexLock lock(mutex_);
  // Objects that arrived while the list was being made are delivered by the watch afterwards.
  status_ = view_.replace(std::move(*listing));
  size_after_listing_ = view_.size();
}

void LogWatcher::listen(OnChange on_change) {
  const base::MutexLock lock(listener_mutex_);
  on_change_ = std::move(on_change);
}

void LogWatcher::tell() {
  const base::MutexLock lock(listener_mutex_);
  if (on_change_) on_change_();
}

void LogWatcher::set_status(Status status) {
  {
    const base::MutexLock lock(mutex_);
    status_ = std::move(status);
  }
  changed_.notify_all();
  tell();
}

Status LogWatcher::wait_complete(const Context& context) const {
  return wait_for(context, Revision());
}

Status LogWatcher::wait_for(const Context& context, Revision sequence) const {
  base::MutexLock lock(mutex_);
  while (!complete_ || seen_ < sequence) {
    if (is_final(status_)) return status_;
    if (auto status = context.status("wait for the log"); !status) {
      return status_ ? status : Status(std::unexpected(status_.error().within("wait for the log")));
    }
    changed_.wait_for(lock, context.remaining(cancel_poll));
  }
  return {};
}

LogView LogWatcher::view() const {
  const base::MutexLock lock(mutex_);
  return view_;
}

Revision LogWatcher::seen() const {
  const base::MutexLock lock(mutex_);
  return seen_;
}

void LogWatcher::add(const Object& object) {
  const base::MutexLock lock(mutex_);
  if (auto added = view_.put(object); !added) status_ = std::unexpected(added.error());
}

void LogWatcher::forget(const ObjectName& name) {
  const base::MutexLock lock(mutex_);
  view_.forget(name);
}

Status LogWatcher::status() const {
  const base::MutexLock lock(mutex_);
  return status_;
}

bool LogWatcher::has_ended() const {
  return is_final(status());
}

ReadEnd LogWatcher::read_end() const {
  return [this](const Context& context, Revision sequence) -> Result<LogEnd> {
    if (auto waited = wait_for(context, sequence); !waited) return std::unexpected(waited.error());
    return with_view([](const LogView& view) { return view.end(); });
  };
}

}  // namespace litecluster::log
