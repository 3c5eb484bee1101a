#include "db/change_notifier.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/file.hpp"

namespace litecluster::db {

namespace {

constexpr std::uint32_t directory_events =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;

std::unexpected<Error> watch_error(int error_number, const std::filesystem::path& path) {
  if (error_number == ENOSPC || error_number == EMFILE) {
    return failure(ErrorCode::resource_exhausted, "watch", path.string(),
                   "the user's inotify limits are used up; raise fs.inotify.max_user_watches and "
                   "fs.inotify.max_user_instances");
  }
  return std::unexpected(base::errno_error(error_number, "watch", path.string()));
}

}  // namespace

ChangeNotifier::ChangeNotifier(base::FileDescriptor inotify, base::FileDescriptor event,
                               std::string database_name)
    : inotify_(std::move(inotify)),
      event_(std::move(event)),
      database_name_(std::move(database_name)),
      wal_name_(database_name_ + "-wal") {}

Result<std::unique_ptr<ChangeNotifier>> ChangeNotifier::create(const std::filesystem::path& database) {
  const std::filesystem::path directory = database.has_parent_path() ? database.parent_path() : ".";
  base::FileDescriptor inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify) return watch_error(errno, database);
  base::FileDescriptor event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!event) return watch_error(errno, database);
  auto notifier = std::unique_ptr<ChangeNotifier>(
      new ChangeNotifier(std::move(inotify), std::move(event), database.filename().string()));
  const std::filesystem::path wal = directory / notifier->wal_name_;
  notifier->wal_watch_ = ::inotify_add_watch(notifier->inotify_.get(), wal.c_str(), IN_MODIFY);
  if (notifier->wal_watch_ < 0) return watch_error(errno, wal);
  if (::inotify_add_watch(notifier->inotify_.get(), directory.c_str(), directory_events) < 0) {
    return watch_error(errno, directory);
  }
  return notifier;
}

ChangeNotifier::Seen ChangeNotifier::drain() {
  Seen seen;
  alignas(inotify_event) std::array<std::byte, 4096> buffer;
  for (;;) {
    const ssize_t size = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (size <= 0) return seen;
    for (std::size_t offset = 0; offset + sizeof(inotify_event) <= static_cast<std::size_t>(size);) {
      inotify_event event;
      std::memcpy(&event, buffer.data() + offset, sizeof event);
      const char* name = reinterpret_cast<const char*>(buffer.data() + offset + sizeof event);
      offset += sizeof event + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) {
        seen = {.written = true, .renamed = true};
      } else if (event.wd == wal_watch_) {
        seen.written = true;
      } else if (event.len == 0 || database_name_ == name || wal_name_ == name) {
        seen.renamed = true;
      }
    }
  }
}

void ChangeNotifier::wait(std::chrono::nanoseconds delay, bool listen, const Context& context) {
  const auto registration = context.on_cancel([this] { wake(); });
  const auto limited = std::max(context.remaining(delay), std::chrono::nanoseconds(0));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limited);
  const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (limited - seconds).count()};
  std::array<pollfd, 2> descriptors{{{.fd = event_.get(), .events = POLLIN, .revents = 0},
                                     {.fd = inotify_.get(), .events = POLLIN, .revents = 0}}};
  ::ppoll(descriptors.data(), listen ? 2 : 1, &timeout, nullptr);
}

void ChangeNotifier::wake() {
  const std::uint64_t one = 1;
  // Fails only when the counter is at its maximum, and then the wait ends anyway.
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
}

bool ChangeNotifier::take_wake() {
  std::uint64_t count = 0;
  return ::read(event_.get(), &count, sizeof count) == sizeof count;
}

}  // namespace litecluster::db
