#include "daemon/control_service.hpp"

#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "app/node.hpp"
#include "base/logging.hpp"
#include "daemon/status_text.hpp"
#include "nats/subscription.hpp"

namespace litecluster::daemon {

namespace {

using nlohmann::json;

constexpr std::chrono::seconds request_timeout{30};

std::string ok() {
  return R"({"ok":true})";
}

std::string answer_of(const Status& done) {
  return done ? ok() : error_json(done.error());
}

std::string text_of(const json& request, const char* name) {
  const auto found = request.find(name);
  return found != request.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string answer(App& app, const Context& context, const std::string& text) {
  const json request = json::parse(text, nullptr, false);
  if (!request.is_object()) {
    return error_json(Error(ErrorCode::invalid_argument, "read request", "", "a JSON object is needed"));
  }
  const std::string verb = text_of(request, "verb");
  const Context limited = context.with_timeout(request_timeout);
  if (verb == "status") return status_json(app.status(), app.members(), ::getpid());
  if (verb == "stepdown") return answer_of(app.step_down(limited, text_of(request, "to")));
  if (verb == "sync") return answer_of(app.wal().sync(limited));
  if (verb == "snapshot") {
    const auto snapshot = app.snapshots().create(limited);
    if (!snapshot) return error_json(snapshot.error());
    return json{{"ok", true}, {"id", snapshot->id}, {"size", snapshot->size_bytes}}.dump();
  }
  return error_json(Error(ErrorCode::invalid_argument, "read request", verb,
                          "is not one of status, stepdown, sync, snapshot"));
}

}  // namespace

ControlHandler control_handler(App& app) {
  return [&app](const Context& context, const std::string& request) { return answer(app, context, request); };
}

RemoteControl::RemoteControl(App& app)
    : app_(app), questions_([this] { run("status"); }), orders_([this] { run("*"); }) {}

void RemoteControl::stop() {
  stop_.cancel();
  for (std::thread* thread : {&questions_, &orders_}) {
    if (thread->joinable()) thread->join();
  }
}

void RemoteControl::run(const std::string& verb) {
  const std::string prefix = app_.impl().options().cluster + ".ctl." + app_.impl().options().node + ".";
  const std::string subject = prefix + verb;
  const std::string question = prefix + "status";
  // Short: a node that leads or follows is expected to answer, and may do either as soon as it is connected.
  while (!stop_.wait_for(std::chrono::milliseconds(10))) {
    const auto connection = app_.impl().connection();
    if (!connection) continue;
    auto subscription = connection->subscribe(subject);
    if (!subscription) continue;
    while (app_.impl().connection()) {
      const auto message = subscription->next(stop_);
      if (stop_.done()) return;
      // After an interruption the subscription goes on.
      if (!message && message.error().code() != ErrorCode::gap) break;
      if (!message || message->reply().empty()) continue;
      // The other thread answers it.
      if (verb == "*" && message->subject() == question) continue;
      static_cast<void>(connection->publish(
          message->reply(), base::as_bytes(answer(app_, stop_, std::string(message->text())))));
    }
  }
}

}  // namespace litecluster::daemon
