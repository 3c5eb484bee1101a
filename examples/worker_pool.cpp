// Workers that share a queue of tasks.
//
//   worker_pool work NAME [--nats URL] [--cluster NAME] [--heartbeat MS] [--task-time MS]   until SIGTERM
//   worker_pool add FIRST LAST [--nats URL] [--cluster NAME]                                  adds tasks
//
// A task is a key `task/<number>`; its result is `result/<number>`. Whoever holds the lock `task-<number>`
// works on it. A worker that dies loses its locks when their lease runs out, and somebody else begins anew;
// that is why the result is *created*: it is there once, also when a worker that was only slow comes back
// with a second one.
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <litecluster/litecluster.hpp>

namespace lc = litecluster;

namespace {

struct Arguments {
  std::vector<std::string> words;  ///< without flags
  std::string nats = "nats://127.0.0.1:4222";
  std::string cluster = "worker-pool";
  std::chrono::milliseconds heartbeat{1000};
  std::chrono::milliseconds task_time{10};
};

class Worker {
 public:
  Worker(std::string name, const lc::App& app, const Arguments& arguments)
      : name_(std::move(name)), app_(app), kv_(app.kv()), arguments_(arguments) {}

  void start() {
    watcher_ = std::thread([this] { watch(); });
    worker_ = std::thread([this] { work(); });
  }
  void stop() {
    stopped_.cancel();
    if (watcher_.joinable()) watcher_.join();
    if (worker_.joinable()) worker_.join();
  }

 private:
  // Keeps the set of open tasks.
  void watch() {
    while (!stopped_.done()) {
      auto watch = kv_.watch("task/>", {}, stopped_);
      while (watch) {
        const auto entry = watch->next(stopped_);
        if (!entry) break;
        if (!*entry) continue;  // all that was there has been told
        const std::string number = (*entry)->key.substr((*entry)->key.find('/') + 1);
        const std::scoped_lock lock(mutex_);
        if ((*entry)->operation == lc::KvOperation::put) {
          open_.insert(number);
        } else {
          open_.erase(number);
        }
      }
      stopped_.wait_for(std::chrono::milliseconds(200));
    }
  }

  void work() {
    while (!stopped_.done()) {
      bool worked = false;
      for (const std::string& number : open_tasks()) {
        if (stopped_.done()) return;
        worked = attempt(number) || worked;
      }
      // All that is open is being worked on by others: look again soon, one of them may have died.
      if (!worked) stopped_.wait_for(std::chrono::milliseconds(50));
    }
  }

  // Each worker begins at another place, so that they do not all ask for the same lock.
  std::vector<std::string> open_tasks() {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> tasks(open_.begin(), open_.end());
    if (!tasks.empty()) {
      const auto shift = static_cast<std::ptrdiff_t>(std::hash<std::string>()(name_) % tasks.size());
      std::rotate(tasks.begin(), tasks.begin() + shift, tasks.end());
    }
    return tasks;
  }

  bool attempt(const std::string& number) {
    // A worker that died shows only to who has watched its lock for a lease: the client remembers since when
    // it has seen a holder, so a new object for each attempt will do.
    lc::Lock lock = app_.lock("task-" + number, {.lease = 3 * arguments_.heartbeat});
    if (!lock.try_acquire(stopped_)) return false;
    const lc::Status done = complete(lock.context(), number);
    if (!done) std::cerr << name_ << ": task " << number << ": " << done.error().message() << std::endl;
    static_cast<void>(lock.release());
    return done.has_value();
  }

  lc::Status complete(const lc::Context& context, const std::string& number) {
    const auto task = kv_.get("task/" + number, {.from_leader = true}, context);
    if (!task && task.error().code() == lc::ErrorCode::not_found) return {};  // somebody was faster
    if (!task) return std::unexpected(task.error());
    // The work: its length is all there is to it.
    if (context.wait_for(arguments_.task_time)) return context.status("work");
    const auto created = kv_.create("result/" + number, name_ + " did " + task->value, context);
    if (!created && created.error().code() != lc::ErrorCode::already_exists) {
      return std::unexpected(created.error());
    }
    if (created) std::cout << "did " << number << std::endl;
    return kv_.remove("task/" + number, {}, context);
  }

  const std::string name_;
  const lc::App& app_;
  const lc::Kv kv_;
  const Arguments arguments_;
  const lc::Context stopped_ = lc::Context::background().with_cancel();
  std::mutex mutex_;
  std::set<std::string> open_;
  std::thread watcher_;
  std::thread worker_;
};

lc::Context until_signal() {
  static const lc::Context context = lc::Context::background().with_cancel();
  // A signal handler may not do much: a thread waits for the signal instead.
  static sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([] {
    int number = 0;
    ::sigwait(&signals, &number);
    context.cancel();
  }).detach();
  return context;
}

lc::Status work(const Arguments& arguments) {
  const lc::Context context = until_signal();
  auto app = lc::App::create({.cluster = arguments.cluster,
                              .node = arguments.words[1],
                              .nats = {.urls = {arguments.nats}},
                              .mode = lc::Mode::pool,
                              .heartbeat = arguments.heartbeat});
  if (!app) return std::unexpected(app.error());
  Worker worker(arguments.words[1], *app, arguments);
  app->on_start([&](lc::Context&) -> lc::Status {
    worker.start();
    return {};
  });
  app->on_stop([&](lc::Context&) -> lc::Status {
    worker.stop();
    return {};
  });
  app->on_member_join([](lc::Context&, const lc::Member& member) -> lc::Status {
    std::cout << "join " << member.id.node << std::endl;
    return {};
  });
  app->on_member_leave([](lc::Context&, const lc::Member& member) -> lc::Status {
    std::cout << "leave " << member.id.node << std::endl;
    return {};
  });
  return app->run(context);
}

lc::Status add(const Arguments& arguments) {
  const auto client = lc::Client::connect({.cluster = arguments.cluster, .nats = {.urls = {arguments.nats}}});
  if (!client) return std::unexpected(client.error());
  const auto kv = client->kv();
  if (!kv) return std::unexpected(kv.error());
  const int last = std::atoi(arguments.words[2].c_str());
  for (int number = std::atoi(arguments.words[1].c_str()); number <= last; ++number) {
    const std::string text = std::to_string(number);
    if (const auto put = kv->create("task/" + text, "task " + text); !put)
      return std::unexpected(put.error());
  }
  return {};
}

std::optional<Arguments> parse(int count, char** words) {
  Arguments arguments;
  for (int index = 1; index < count; ++index) {
    const std::string_view flag = words[index];
    if (!flag.starts_with("--")) {
      arguments.words.emplace_back(flag);
      continue;
    }
    if (++index == count) return std::nullopt;
    const std::string_view value = words[index];
    int number = 0;
    std::from_chars(value.data(), value.data() + value.size(), number);
    if (flag == "--nats") {
      arguments.nats = value;
    } else if (flag == "--cluster") {
      arguments.cluster = value;
    } else if (flag == "--heartbeat" && number > 0) {
      arguments.heartbeat = std::chrono::milliseconds(number);
    } else if (flag == "--task-time" && number > 0) {
      arguments.task_time = std::chrono::milliseconds(number);
    } else {
      return std::nullopt;
    }
  }
  return arguments;
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = parse(count, words);
  const std::size_t given = arguments ? arguments->words.size() : 0;
  lc::Status done;
  if (given == 2 && arguments->words[0] == "work") {
    done = work(*arguments);
  } else if (given == 3 && arguments->words[0] == "add") {
    done = add(*arguments);
  } else {
    std::cerr
        << "usage: worker_pool work NAME [--nats URL] [--cluster NAME] [--heartbeat MS] [--task-time MS]\n"
           "       worker_pool add FIRST LAST [--nats URL] [--cluster NAME]\n";
    return 2;
  }
  if (done) return 0;
  std::cerr << "worker_pool: " << done.error().message() << "\n";
  return 1;
}
